"""The conda that the conda-lock wheel carries, put back under its own name."""

from __future__ import annotations

import re
import shutil
import zipfile
from pathlib import Path

_FILES = Path(__file__).parent / "conda"
_VENDORED = "conda_lock/_vendor/conda/"
# Its own name, and what Python 3.13's logging no longer has.
_CHANGES = (
    (re.compile(r"conda_lock\._?vendor\.conda\b"), "conda"),
    (re.compile(r"\blogging\._(acquire|release)Lock\(\)"), r"logging._lock.\1()"),
)
_PROGRAM = """#!{prefix}/bin/python
import sys
from conda.cli import main

if __name__ == "__main__":
    sys.exit(main())
"""
DEPENDS = (
    "archspec >=0.2.3",
    "boltons >=23.0.0",
    "conda-package-handling >=2.2.0",
    "distro >=1.5.0",
    "frozendict >=2.4.2",
    "jsonpatch >=1.32",
    "packaging >=23.0",
    "platformdirs >=3.10.0",
    "pluggy >=1.0.0",
    "pycryptosat >=5",
    "requests >=2.28.0,<3",
    "ruamel-yaml >=0.11.14",
    "setuptools >=60.0.0",
    "tqdm >=4",
    "truststore >=0.8.0",
    "zstandard >=0.19.0",
)


def version(wheel):
    """Return the version of the conda in the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(f"{_VENDORED}_version.py").decode()
    return re.search(r"""\bversion = ['"]([\d.]+)['"]""", text).group(1)


def stage(wheel, root, python_minor, placeholder):
    """Lay conda out below ``root`` as its own package has it.

    :param wheel: the conda-lock wheel.
    :param root: an empty folder, the package's content.
    :param python_minor: such as 3.11, names the folder of site-packages.
    :param placeholder: stands for the final prefix.
    """
    site = root / "lib" / f"python{python_minor}" / "site-packages"
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            if member.startswith(_VENDORED) and not member.endswith("/"):
                path = site / "conda" / member[len(_VENDORED) :]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(_changed(member, archive.read(member)))
    _write_metadata(site / f"conda-{version(wheel)}.dist-info", version(wheel))
    for folder in ("bin", "condabin"):
        program = root / folder / "conda"
        program.parent.mkdir()
        program.write_text(_PROGRAM.format(prefix=placeholder), encoding="utf-8")
        program.chmod(0o755)
    hook = site / "conda" / "shell" / "etc" / "profile.d"
    hook.mkdir(parents=True)
    shutil.copy(_FILES / "conda.sh", hook)
    profile = root / "etc" / "profile.d"
    profile.mkdir(parents=True)
    (profile / "conda.sh").write_text(
        f"export CONDA_EXE={placeholder}/bin/conda CONDA_PYTHON_EXE={placeholder}/bin/python\n"
        + (_FILES / "conda.sh").read_text(encoding="utf-8"),
        encoding="utf-8",
    )
    (root / "condarc.d").mkdir()
    shutil.copy(_FILES / "solver.yml", root / "condarc.d")


def _changed(member, content):
    if not member.endswith(".py"):
        return content
    text = content.decode()
    for pattern, replacement in _CHANGES:
        text = pattern.sub(replacement, text)
    return text.encode()


def _write_metadata(folder, conda_version):
    folder.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: conda\nVersion: {conda_version}\n"
    (folder / "METADATA").write_text(metadata, encoding="utf-8")
    (folder / "INSTALLER").write_text("conda\n", encoding="utf-8")
    (folder / "RECORD").touch()
