"""The running CPython, as the source of the channel's python package."""

from __future__ import annotations

import platform
import re
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from lab import command
from lab.errors import LabError

# Large, or of use only to who develops CPython, or (the last two) Debian's own arrangements.
_LEFT_OUT = (
    "__pycache__",
    "*.a",
    "config-*",
    "site-packages",
    "dist-packages",
    "test",
    "tests",
    "idlelib",
    "tkinter",
    "turtledemo",
    "lib2to3",
    "_test*.so",
    "_ctypes_test*.so",
    "_tkinter*.so",
    "xx*.so",
    "EXTERNALLY-MANAGED",
    "sitecustomize.py",
    "_distutils_system_mod.py",
)
_DEBIAN_SITE = Path(__file__).parent / "debian" / "sitecustomize.py"
# Debian's sysconfig leaves upstream's layout to virtual environments, which it tells by this
# expression, and sends everything else to dist-packages. A conda prefix wants upstream's.
_DEBIAN_ASKS = 'sys.base_prefix != sys.prefix or hasattr(sys, "real_prefix")'


@dataclass(frozen=True)
class Interpreter:
    """An installed CPython and what of it goes into a package."""

    version: str  # such as 3.11.7
    executable: Path
    library: Path | None  # the libpython the executable is linked with, if any
    stdlib: Path
    prefix: Path
    debian: bool  # built with Debian's changes to where packages go

    @property
    def minor(self):
        """The version as environments ask for it, such as 3.11."""
        return ".".join(self.version.split(".")[:2])

    @property
    def abi(self):
        """The tag of compiled modules, such as cp311."""
        return "cp" + self.minor.replace(".", "")


def running():
    """Return the interpreter that this program runs on, seen through a virtual environment.

    :raises LabError: it is no CPython for 64-bit x86 Linux whose library lies in its own prefix.
    """
    prefix = Path(sys.base_prefix)
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    executable = prefix / "bin" / name
    stdlib = prefix / "lib" / name
    machine = (sys.implementation.name, sys.platform, platform.machine())
    whole = executable.is_file() and (stdlib / "os.py").is_file()
    if machine != ("cpython", "linux", "x86_64") or not whole:
        raise LabError(
            f"The lab's conda packages are made from the Python at {prefix}, and it is no x86_64 "
            f"CPython with {executable} and {stdlib}. "
            "Make the tool environment with Debian's python3 or one built by pyenv"
        )
    library = prefix / "lib" / str(sysconfig.get_config_var("INSTSONAME"))
    linked = library.name.encode() in executable.read_bytes()
    return Interpreter(
        version=platform.python_version(),
        executable=executable.resolve(),
        library=library if linked else None,
        stdlib=stdlib,
        prefix=prefix,
        debian="deb_system" in sysconfig.get_scheme_names(),
    )


def stage(interpreter, root, placeholder, patchelf):
    """Copy an interpreter to ``root`` so that it works wherever that folder ends up.

    :param root: an empty folder, the package's content.
    :param placeholder: stands for the final prefix in text files.
    :param patchelf: the program that sets where binaries look for libraries.
    """
    name = f"python{interpreter.minor}"
    (root / "bin").mkdir()
    (root / "lib").mkdir()
    executable = Path(shutil.copy(interpreter.executable, root / "bin" / name))
    for alias in ("python3", "python"):
        (root / "bin" / alias).symlink_to(name)
    stdlib = root / "lib" / name
    shutil.copytree(
        interpreter.stdlib,
        stdlib,
        ignore=shutil.ignore_patterns(*_LEFT_OUT),
        ignore_dangling_symlinks=True,
    )
    (stdlib / "site-packages").mkdir()
    readme = stdlib / "site-packages" / "README.txt"
    readme.write_text("Packages of this environment.\n", encoding="utf-8")
    library = interpreter.library and Path(shutil.copy(interpreter.library, root / "lib"))
    _settle(executable, library, list(stdlib.glob("lib-dynload/*.so")), patchelf)
    if interpreter.debian:
        _change(_first(stdlib / "sysconfig.py", stdlib / "sysconfig" / "__init__.py"), as_upstream)
        shutil.copy(_DEBIAN_SITE, stdlib)
    else:
        for data in stdlib.glob("_sysconfigdata_*.py"):
            _change(data, lambda text: text.replace(str(interpreter.prefix), placeholder))


def as_upstream(text):
    """Return Debian's sysconfig so that packages go where upstream's CPython puts them.

    :raises LabError: the text does not ask what Debian's asks.
    """
    if _DEBIAN_ASKS not in text:
        raise LabError(
            f"Debian's python3 does not ask {_DEBIAN_ASKS!r} in its sysconfig, so it cannot "
            "be made a conda package. Make the tool environment with a Python built by pyenv"
        )
    return text.replace(_DEBIAN_ASKS, "True")


def needed_glibc(root):
    """Return the newest C library version that any file below ``root`` asks for, such as 2.34."""
    asked = {
        (int(major), int(minor))
        for path in root.rglob("*")
        if path.is_file()
        for major, minor in re.findall(rb"\0GLIBC_(\d+)\.(\d+)", path.read_bytes())
    }
    return ".".join(map(str, max(asked)))


def _settle(executable, library, extensions, patchelf):
    """Make binaries look for libpython in their own prefix, for all else where the host has it."""
    binaries = [executable, *extensions, *([library] if library else [])]
    for binary in binaries:
        command.run([patchelf, "--remove-rpath", binary])
    if library:
        command.run([patchelf, "--set-rpath", "$ORIGIN/../lib", executable])
    if shutil.which("strip"):  # an interpreter built by hand carries its debug information
        command.run(["strip", "--strip-unneeded", *binaries])


def _first(*paths):
    return next(path for path in paths if path.is_file())


def _change(path, change):
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
