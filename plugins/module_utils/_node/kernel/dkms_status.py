# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What DKMS has, as `dkms status` tells it, without running it."""

from __future__ import annotations

from ..facts_shape import DkmsTree
from ..system.root import Root

FOLDER = "/var/lib/dkms"


def survey(tree: Root) -> list[DkmsTree]:
    """Return [{name, version, kernel, state}] of every tree that DKMS has.

    As `dkms status` tells it, without running its shell script (dkms-project/dkms, dkms.in,
    is_module_added and following): a tree counts as added where its source leads to a folder;
    built for a kernel where there is a folder of modules; installed where the link of that
    kernel leads to it.
    """
    rows: list[DkmsTree] = []
    for name in tree.names(FOLDER):
        for version in tree.names(f"{FOLDER}/{name}"):
            folder = f"{FOLDER}/{name}/{version}"
            if not tree.names(tree.resolve(f"{folder}/source")):
                continue
            states = sorted(_built(tree, name, folder).items()) or [("", "added")]
            rows += [
                {"name": name, "version": version, "kernel": kernel, "state": state}
                for kernel, state in states
            ]
    return rows


def orphans(tree: Root) -> list[tuple[str, str]]:
    """Return [(name, version)] of the trees that lead to no sources, which `dkms status` omits.

    A package that was removed without its script, or a run that was cut, leaves them; `dkms add`
    refuses the same version then (dkms.in, add_module: "DKMS tree already contains").
    """
    return [
        (name, version)
        for name in tree.names(FOLDER)
        for version in tree.names(f"{FOLDER}/{name}")
        # Beside versions there are links of kernels, and what had been there before DKMS.
        if not tree.target(f"{FOLDER}/{name}/{version}")
        and version != "original_module"
        and not tree.names(tree.resolve(f"{FOLDER}/{name}/{version}/source"))
    ]


def _built(tree: Root, name: str, folder: str) -> dict[str, str]:
    """Return {kernel: state} of the kernels that a tree of DKMS is built for."""
    states = {}
    for kernel in tree.names(folder):
        # As dkms: what else is in there begins with a letter.
        if not kernel[:1].isdigit():
            continue
        for architecture in tree.names(f"{folder}/{kernel}"):
            made = f"{folder}/{kernel}/{architecture}"
            if tree.names(f"{made}/module"):
                link = tree.resolve(f"{FOLDER}/{name}/kernel-{kernel}-{architecture}")
                states[kernel] = "installed" if link == made else "built"
    return states
