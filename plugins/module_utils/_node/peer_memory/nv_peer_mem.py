# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""nv_peer_mem, and what a build of it takes from a host: the driver's module and header, and OFED.

What is said of its sources holds for Mellanox/nv_peer_memory 1.1-0 (4ed7715) and 1.3-0 (a15f0f6).
"""

from __future__ import annotations

import collections
import os
import re
import shutil
import tarfile
import zlib

from ..kernel import kernels, module_file
from ..rdma import symbols
from ..refusal import Refusal
from ..system import disk, files

NAME = "nv_peer_mem"
CONF = f"/etc/dkms/{NAME}.conf"
MARK = "# Written by gpunode; what is changed here by hand is lost.\n"
#: Among the sources: what they were made from, and what they were like then.
NOTE = "gpunode.txt"

# What goes through dkms.conf, make, its environment and the shell as it is.
_PATH = re.compile(r"/[\w./+@~-]+")
# Where the GPU Operator's driver container has its root (NVIDIA/gpu-driver-container).
_CONTAINER = "/run/nvidia/driver"
_MODULE_FILE = re.compile(r"nvidia\.ko(?:\.(?:xz|zst|gz))?")
_HEADER = "nvidia/nv-p2p.h"
_TAG = re.compile(r'^#define\s+DRV_VERSION\s+"([^"]+)"', re.MULTILINE)
_VERSION = re.compile(r'^PACKAGE_VERSION="?([\w.]+)"?', re.MULTILINE)
_MOST_BYTES = 1 << 20

# What the module for one kernel is built with: the driver's module, the folder with its header, and
# the folder with the RDMA stack's Module.symvers.
Needs = collections.namedtuple("Needs", "release module source ofed")

# What is to be built: the tag; made_from, the digest of its archive and patches; the patches,
# {name: text}; driver, the version of the driver; the releases of the kernels, and the Needs of
# those of which they are known; and unpack, which makes its sources with their patches in a folder
# that is not there yet.
Order = collections.namedtuple("Order", "tag made_from patches driver releases needs unpack")


def needs(tree, release, modules, said):
    """Return the Needs of one kernel.

    :param tree: the host.
    :param modules: rows of installed_driver.modules.
    :param said: {"module": path, "source": folder}, '' for what is to be found.
    :raises Refusal: something is not there.
    """
    module = driver_module(tree, release, modules, said["module"])
    version = module_file.read(tree.path(module)).info.get("version", "")
    source = _source(tree, release, version, said["source"], module)
    return Needs(release, module, source, symbols.folder_of(tree, release))


def driver_module(tree, release, modules, said=""):
    """Return the path of the driver's module for a kernel, be it that of a driver container.

    :raises Refusal: there is none.
    """
    row = next((r for r in modules if (r["kernel"], r["name"]) == (release, "nvidia")), None)
    path = said or (row["path"] if row else _in_container(tree, release))
    if not path or not tree.exists(path):
        raise Refusal(
            f"nv_peer_mem for kernel {release}",
            f"the module of the driver, {said or 'nvidia.ko'}, is not there"
            + ("" if said else f": {kernels.MODULES} and {_CONTAINER} have none for this kernel"),
            "Install the driver for this kernel, or say peer_memory_driver_module: PATH",
        )
    return path


def _in_container(tree, release):
    """Return the path of the module that a driver container has, '' for none."""
    top = f"{_CONTAINER}{kernels.MODULES}/{release}"
    for folder, _folders, names in sorted(os.walk(tree.path(top))):
        for name in filter(_MODULE_FILE.fullmatch, names):
            return os.path.normpath(f"{top}/{os.path.relpath(folder, tree.path(top))}/{name}")
    return ""


def _source(tree, release, version, said, module):
    """Return the folder of the driver's sources that has nvidia/nv-p2p.h in it.

    A .run that was unpacked has it in kernel or kernel-open, as have packages of some versions.

    :raises Refusal: there is none of this version.
    """
    root = _CONTAINER if module.startswith(_CONTAINER) else ""
    folders = [said] if said else _folders(tree, root, version)
    for folder in folders:
        for place in (folder, f"{folder}/kernel", f"{folder}/kernel-open"):
            if tree.exists(f"{place}/{_HEADER}"):
                return place
    raise Refusal(
        f"nv_peer_mem for kernel {release}",
        f"the header {_HEADER} of driver {version} is in none of "
        f"{', '.join(folders) or f'{root}/usr/src/nvidia-{version}'}",
        "Install the sources of the driver, or say peer_memory_driver_source: FOLDER, such as the "
        "kernel folder of its unpacked .run",
    )


def _folders(tree, root, version):
    """Return the folders in which sources of one version of the driver are looked for."""
    sources, dkms = f"{root}/usr/src", "/var/lib/dkms"
    return [
        *(
            f"{sources}/{name}"
            for name in tree.names(sources)
            if name.startswith("nvidia") and name.endswith(f"-{version}")
        ),
        *(
            f"{dkms}/{name}/{version}/source"
            for name in tree.names(dkms)
            if name.startswith("nvidia")
            and tree.exists(f"{dkms}/{name}/{version}/source/{_HEADER}")
        ),
    ]


def refuse_tag(tree, tag, needs_client_ex, needs_of):
    """Refuse a tag that does not build with the RDMA stack of the host.

    :param needs_client_ex: whether it demands struct peer_memory_client_ex.
    :param needs_of: the Needs of the kernels.
    :raises Refusal: it does not.
    """
    for row in needs_of:
        if needs_client_ex and not symbols.has_client_ex(tree, row.ofed):
            raise Refusal(
                f"nv_peer_mem {tag}",
                f"{row.ofed}/include/rdma/peer_mem.h has no struct peer_memory_client_ex, as "
                "MLNX_OFED has it since 5.4-3",
                "Say gpunode_peer_memory_tag: 1.1-0",
            )


def conf(patches, trees, needs_of):
    """Return the text of CONF, which adds to the dkms.conf of the sources.

    For a kernel that comes later DKMS looks for driver and OFED where they usually are.

    :param patches: the names of the patches, in their order.
    :param trees: the names of the trees of DKMS that it is to wait for, maybe none.
    :param needs_of: the Needs of the kernels that are there.
    :raises Refusal: a path has a character that does not come through.
    """
    cases = [(row.release, make_variables(row)) for row in needs_of]
    lines = [f'PATCH[{number}]="{name}"\n' for number, name in enumerate(patches)]
    # What the sources wait for themselves, mlnx-ofed-kernel, is in DKMS for one kind of OFED only.
    lines += [f'BUILD_DEPENDS[{n}]="{name}"\n' for n, name in enumerate(trees or [""])]
    lines.append('MAKE="make all KVER=$kernelver KDIR=$kernel_source_dir"\n')
    if any(variables for _release, variables in cases):
        lines.append('case "$kernelver" in\n')
        lines += [f'{name}) MAKE="$MAKE {words}" ;;\n' for name, words in cases if words]
        lines.append("esac\n")
    return MARK + "".join(lines)


def make_variables(row):
    """Return what make is told about one kernel: where things are that it would not find.

    :param row: the Needs of the kernel.
    :raises Refusal: a path has a character that does not come through.
    """
    found = {}
    if not (
        row.module.startswith(f"{kernels.MODULES}/{row.release}/")
        and _MODULE_FILE.fullmatch(os.path.basename(row.module))
    ):
        found["NV_MODULE"] = row.module
    if os.path.dirname(row.source) != "/usr/src":
        found["nv_sources"] = row.source
    if row.ofed not in symbols.usual_folders(row.release):
        found["OFA_KERNEL"] = row.ofed
    for path in found.values():
        if not _PATH.fullmatch(path):
            raise Refusal(
                f"nv_peer_mem for kernel {row.release}: {path!r}",
                "a path that make is told may have letters, digits and ./_+@~- in it",
                "Give it such a name, or a link that has one",
            )
    return " ".join(f"{name}={path}" for name, path in found.items())


def unpacked_tag(folder):
    """Return (tag, version in DKMS) of unpacked sources, '' for what they do not tell."""
    texts = []
    for name, pattern in (("nv_peer_mem.c", _TAG), ("dkms.conf", _VERSION)):
        try:
            with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as handle:
                match = pattern.search(handle.read(_MOST_BYTES))
        except OSError:
            match = None
        texts.append(match.group(1) if match else "")
    return tuple(texts)


def unpack(archive, folder, tag, patches):
    """Make the sources of a tag with their patches in a folder that is not there yet.

    :param archive: the path of a .tar.gz that has one folder in it, as GitHub makes them.
    :param patches: {name: text}.
    :raises Refusal: it is none, or the archive of another tag.
    """
    what = f"the archive of nv_peer_mem {tag}"
    with disk.watched(f"unpack {what}", folder):
        os.mkdir(folder, 0o755)
        try:
            _extract(archive, folder)
        except (tarfile.TarError, EOFError, zlib.error) as error:
            raise Refusal(what, f"it is no whole .tar.gz: {error}", "Name another one") from error
        found = unpacked_tag(folder)[0]
        if found != tag:
            raise Refusal(
                what,
                f"it has nv_peer_mem {found or 'of no tag that it names'} in it",
                "Name the archive of that tag in peer_memory_archives, or say another tag",
            )
        os.mkdir(os.path.join(folder, "patches"), 0o755)
        for name, text in patches.items():
            path = os.path.join(folder, "patches", name)
            files.write_text(path, text, owner=None, group=None)


def _extract(archive, folder):
    """Write the files of an archive without its first folder, and nothing but plain files."""
    with tarfile.open(archive) as packed:
        for row in packed:
            parts = row.name.split("/")[1:]
            if not row.isfile() or not parts or ".." in parts:
                continue
            path = os.path.join(folder, *parts)
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
            with packed.extractfile(row) as source, open(path, "wb") as target:
                shutil.copyfileobj(source, target)
            os.chmod(path, 0o755 if row.mode & 0o100 else 0o644)


def note(made_from, folder):
    """Note among the sources what they were made from, so that :func:`is_made_from` can tell."""
    text = f"{made_from}\n{files.sha256_of_tree(folder, (NOTE,))}\n"
    files.write_text(os.path.join(folder, NOTE), text, owner=None, group=None)


def is_made_from(made_from, folder):
    """Say whether sources were made from what is wanted now, and nobody changed them since."""
    try:
        with open(os.path.join(folder, NOTE), encoding="utf-8") as handle:
            noted = handle.read().split()
    except (OSError, UnicodeDecodeError):
        return False
    return noted == [made_from, files.sha256_of_tree(folder, (NOTE,))]


def made_from(sha256, patches):
    """Return one digest of an archive's digest and of its patches, {name: text}."""
    return files.sha256_of_text("\n".join([sha256, *(f"{n}\n{t}" for n, t in patches.items())]))
