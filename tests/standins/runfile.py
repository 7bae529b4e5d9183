"""Builds files that stand for a .run of the NVIDIA driver; see tests/standins/runfile."""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import yaml

from lab.paths import CHECKOUT

STANDIN = CHECKOUT / "tests" / "standins" / "runfile"
MODULE = CHECKOUT / "tests" / "standins" / "module" / "nvidia.c"
#: What a file can have wrong. "does-not-compile" may name the one kernel: "does-not-compile:6.1.0".
FAULTS = (
    "truncated",
    "other-architecture",
    "disk-full",
    "killed",
    "does-not-compile",
    "no-gridd-unit",
)
_PROGRAMS = ("nvidia-smi", "nvidia-persistenced")
_GRID_PROGRAMS = ("nvidia-gridd",)
_LICENSES = {"kernel": "NVIDIA", "kernel-open": "Dual MIT/GPL"}
# As NVIDIA/open-gpu-kernel-modules, kernel-open/Makefile, takes the kernel.
_MAKEFILE = """\
KERNEL_UNAME ?= $(shell uname -r)
SYSSRC ?= /lib/modules/$(KERNEL_UNAME)/build
modules:
\t$(MAKE) -C $(SYSSRC) M=$(CURDIR) modules
clean:
\t$(MAKE) -C $(SYSSRC) M=$(CURDIR) clean
"""
# The placeholders are those of NVIDIA/nvidia-installer, files.c, process_dkms_conf.
_DKMS_CONF = """\
PACKAGE_NAME="nvidia"
PACKAGE_VERSION="__VERSION_STRING"
AUTOINSTALL="yes"
__DKMS_MODULES
MAKE[0]="'make' -j__JOBS \\
NV_EXCLUDE_BUILD_MODULES='__EXCLUDE_MODULES' KERNEL_UNAME=${kernelver} modules"
CLEAN="make KERNEL_UNAME=${kernelver} clean"
"""


def file_name(version, flavour="tesla"):
    """Return what NVIDIA calls the file."""
    return f"{_folder(version, flavour)}.run"


def build(
    path,
    version,
    flavour="tesla",
    kernel_tree=None,
    programs=None,
    units=None,
    libcuda=None,
    faults=(),
):
    """Write a .run.

    :param path: where to.
    :param version: of the driver, such as "535.161.08".
    :param flavour: "tesla", or "grid" for the guest driver of a vGPU.
    :param kernel_tree: a vendor's folder of module sources; one of a single file by default.
    :param programs: a folder of programs that stand for nvidia-smi and its like, "@VERSION@" in
        them being the version; without it they only tell their version.
    :param units: a folder with the unit of nvidia-gridd; one of ours without it.
    :param libcuda: a library that stands for libcuda.so; without it nothing can be loaded from it.
    :param faults: what is wrong with it, of FAULTS.
    """
    with tempfile.TemporaryDirectory() as top:
        folder = Path(top)
        entries = _furnish(folder, version, flavour, programs, units, faults)
        if libcuda:
            shutil.copyfile(libcuda, folder / f"libcuda.so.{version}")
        modules = _furnish_modules(folder, version, kernel_tree, faults)
        _write_manifest(folder, version, modules, entries)
        _write(Path(path), _header(version, flavour, faults), _packed(folder))
    if "truncated" in faults:
        content = Path(path).read_bytes()
        Path(path).write_bytes(content[: len(content) * 2 // 3])
    return Path(path)


def options(version):
    """Return the rows of options.yml that a version has, each with whether "--no-" may precede."""
    rows = yaml.safe_load((STANDIN / "options.yml").read_text(encoding="utf-8"))["options"]
    return [
        {**row, "negatable": _is_since(version, row.get("negatable_since", "9999"))}
        for row in rows
        if _is_since(version, row.get("since", "0")) and version not in row.get("lacking", ())
    ]


def words():
    """Return words.yml."""
    return yaml.safe_load((STANDIN / "words.yml").read_text(encoding="utf-8"))


def _is_since(version, first):
    return _key(version) >= _key(first)


def _key(version):
    return [int(part) for part in version.split(".")]


def _folder(version, flavour):
    return f"NVIDIA-Linux-x86_64-{version}" + ("-grid" if flavour == "grid" else "")


def _furnish(folder, version, flavour, programs, units, faults):
    """Put in what is installed beside the modules; return the lines of the manifest."""
    entries = []
    for name in ("libcuda", "libnvidia-ml"):
        library = f"{name}.so.{version}"
        (folder / library).write_text(f"{library}\n", encoding="ascii")
        entries.append(f"{library} 0755 CUDA_LIB NATIVE /")
        entries.append(f"{name}.so.1 0000 CUDA_SYMLINK NATIVE / {library}")
        entries.append(f"{name}.so 0000 CUDA_SYMLINK NATIVE / {name}.so.1")
    for name in _PROGRAMS + (_GRID_PROGRAMS if flavour == "grid" else ()):
        _program(folder / name, version, programs)
        entries.append(f"{name} 0755 UTILITY_BINARY")
    _program(folder / "nvidia-modprobe", version, None)
    entries.append("nvidia-modprobe 04755 NVIDIA_MODPROBE")
    if flavour == "grid":
        template = "ServerAddress=\nServerPort=\nFeatureType=0\nEnableUI=FALSE\n"
        (folder / "gridd.conf.template").write_text(template, encoding="ascii")
        entries.append("gridd.conf.template 0644 SETTINGS_TEMPLATE")
        if "no-gridd-unit" not in faults:
            _unit(folder / "nvidia-gridd.service", units)
            entries.append("nvidia-gridd.service 0644 SYSTEMD_UNIT")
    told = words()
    package = {
        "version": version,
        "options": options(version),
        "words": told["words"],
        "since": told["since"],
        "unloaded": told["unloaded"],
        "faults": list(faults),
    }
    text = (STANDIN / "installer.py").read_text(encoding="utf-8")
    installer = folder / "nvidia-installer"
    installer.write_text(text.replace("PACKAGE = {}", f"PACKAGE = {package!r}"), encoding="utf-8")
    installer.chmod(0o755)
    return [
        *entries,
        "nvidia-installer 0755 INSTALLER_BINARY",
        "nvidia-uninstall 0000 UTILITY_BIN_SYMLINK nvidia-installer",
    ]


def _program(path, version, programs):
    source = Path(programs, path.name) if programs else None
    text = (
        source.read_text(encoding="utf-8") if source else f"#!/bin/sh\necho {path.name} @VERSION@\n"
    )
    path.write_text(text.replace("@VERSION@", version), encoding="utf-8")
    path.chmod(0o755)


def _unit(path, units):
    """NVIDIA, Virtual GPU Client Licensing User Guide: the daemon forks, and root runs it."""
    if units:
        shutil.copyfile(Path(units, path.name), path)
    else:
        service = "[Service]\nType=forking\nExecStart=/usr/bin/nvidia-gridd\n"
        path.write_text(
            f"[Unit]\nDescription=NVIDIA Grid Daemon\n{service}"
            "[Install]\nWantedBy=multi-user.target\n",
            encoding="ascii",
        )


def _furnish_modules(folder, version, kernel_tree, faults):
    """Put in the modules' sources, of each type that the version has; return the modules' names."""
    kinds = ["kernel"]
    if _is_since(version, words()["since"]["open_modules"]):
        kinds.append("kernel-open")
    for kind in kinds:
        if kernel_tree:
            shutil.copytree(kernel_tree, folder / kind, symlinks=True)
        else:
            (folder / kind).mkdir()
            _small_tree(folder / kind, version, faults)
        (folder / kind / "dkms.conf").write_text(_DKMS_CONF, encoding="ascii")
    return sorted(path.name for path in (folder / "kernel").glob("nvidia*/")) or ["nvidia"]


def _small_tree(tree, version, faults):
    text = MODULE.read_text(encoding="utf-8")
    text = text.replace("535.161.08", version).replace("Dual MIT/GPL", _LICENSES[tree.name])
    # What ends R440 on kernels that have no stdarg.h of the compiler's any more.
    text += "#ifdef BROKEN\n#include <stdarg.h>\n#endif\n"
    (tree / "nvidia.c").write_text(text, encoding="utf-8")
    (tree / "Makefile").write_text(_MAKEFILE, encoding="ascii")
    kbuild = "obj-m := nvidia.o\n"
    for fault in faults:
        name, _colon, kernel = fault.partition(":")
        if name == "does-not-compile":
            broken = "ccflags-y += -DBROKEN\n"
            kbuild += f"ifeq ($(KERNELRELEASE),{kernel})\n{broken}endif\n" if kernel else broken
    (tree / "Kbuild").write_text(kbuild, encoding="ascii")


def _write_manifest(folder, version, modules, entries):
    """The order of lines: NVIDIA/nvidia-installer, install-from-cwd.c, parse_manifest."""
    sources = [
        f"{path.relative_to(folder)} 0644 "
        + ("DKMS_CONF" if path.name == "dkms.conf" else "KERNEL_MODULE_SRC")
        + " INHERIT_PATH_DEPTH:1"
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] in _LICENSES
    ]
    head = [
        "NVIDIA Accelerated Graphics Driver for Linux-x86_64",
        version,
        " ",
        " ".join(modules),
        " ",
        " ",
        "./kernel/",
        "./kernel/precompiled/",
    ]
    text = "\n".join([*head, *sources, *entries]) + "\n"
    (folder / ".manifest").write_text(text, encoding="ascii")


def _packed(folder):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(folder, arcname=".")
    return buffer.getvalue()


def _header(version, flavour, faults):
    text = (STANDIN / "header.sh").read_text(encoding="utf-8")
    for token, value in (
        ("@SKIP@", str(text.count("\n") + 1)),
        ("@LABEL@", f"NVIDIA Accelerated Graphics Driver for Linux-x86_64 {version}"),
        ("@VERSION@", version),
        ("@TARGETDIR@", _folder(version, flavour)),
        ("@ARCHITECTURE@", "aarch64" if "other-architecture" in faults else "x86_64"),
        ("@SIZE@", "64"),
    ):
        text = text.replace(token, value)
    return text


def _write(path, header, packed):
    """The sums are over what follows the third line, which is after the lines that hold them."""
    body = "".join(header.splitlines(keepends=True)[3:]).encode() + packed
    crc = subprocess.run(["cksum"], input=body, capture_output=True, check=True).stdout.split()[0]
    first = "".join(header.splitlines(keepends=True)[:3])
    first = first.replace("CRCsum=0000000000", f"CRCsum={crc.decode()}")
    first = first.replace("MD5=" + "0" * 32, f"MD5={hashlib.md5(body).hexdigest()}")
    path.write_bytes(first.encode() + body)
    path.chmod(0o755)
