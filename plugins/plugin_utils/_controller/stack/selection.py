# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The GPU stack that is wanted of a host: a named one of the catalog, and what differs from it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.gpunode.stack.plugins.module_utils._node import near_miss
from ansible_collections.gpunode.stack.plugins.module_utils._node.packages import versions
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal

from ..inputs.wanted_stack import Driver, File, Ofed, PeerMemory, Stack, Vgpu
from .stack_catalog import StackCatalog

# What a host's variables may say otherwise: gpunode_driver_version, and so on.
PARTS = ("driver", "ofed", "peer_memory", "vgpu")
_DIGEST = re.compile(r"(?P<file>.+)#sha256=(?P<sha256>[0-9a-f]{64})")
# As NVIDIA names its .run files: NVIDIA-Linux-x86_64-535.161.08-grid.run
_RUNFILE = re.compile(r"-(?P<version>\d+(?:\.\d+)+)(?:-grid)?\.run$")

# systemd.unit(5), of the kinds that can be stopped.
_UNIT = re.compile(r"[\w@:.\\-]+\.(?:service|socket|timer|path|target|mount|scope|slice)")

# What is wanted where nothing is said.
NOTHING: Stack = {
    "name": "",
    "driver": None,
    "ofed": None,
    "peer_memory": None,
    "vgpu": None,
    "consent": [],
    "drain": [],
}


def resolve(options: Mapping[str, Any], known: StackCatalog) -> Stack:
    """Return the wanted stack, without what the options of a part's own role say of it.

    :param options: the gpunode_* variables without that prefix.
    :param known: the StackCatalog.
    :raises Refusal: there is no such stack, or a part of it is half said.
    """
    said = {part: _said(part, options) for part in PARTS}
    row = _named(options["stack"], known) if options.get("stack") else {}
    driver = _driver(row.get("driver"), said["driver"], known)
    return {
        "name": row.get("name", ""),
        "driver": driver,
        "ofed": _ofed(row.get("ofed"), said["ofed"]),
        "peer_memory": _peer_memory(row.get("peer_memory"), said["peer_memory"]),
        "vgpu": _vgpu(driver, said["vgpu"], known),
        "consent": list(options.get("consent") or []),
        "drain": _units(options.get("drain") or []),
    }


def _units(names: Iterable[str]) -> list[str]:
    """Return the names of units, as they are said.

    :raises Refusal: one is none, and the run would find that out with the others stopped.
    """
    for name in names:
        if not _UNIT.fullmatch(name):
            raise Refusal(
                f"gpunode_drain: {name}",
                "it is no name of a unit",
                "Write it as systemctl does, such as ob_cuda.service",
            )
    return list(names)


def _said(part: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is said of a part, {key: value}; a file comes with its digest."""
    said = {
        name[len(part) + 1 :]: value
        for name, value in options.items()
        if name.startswith(f"{part}_") and value
    }
    if "file" in said:
        match = _DIGEST.fullmatch(said["file"])
        if not match:
            raise Refusal(
                f"gpunode_{part}_file: {said['file']}",
                "it does not end in #sha256= and 64 digits, and nothing is installed unchecked",
                "Write it as FILE#sha256=DIGEST; sha256sum FILE prints the digest",
                rule="file-needed",
            )
        said |= match.groupdict()
    return said


def _named(name: str, known: StackCatalog) -> dict[str, Any]:
    if name in known.stacks:
        return known.stacks[name]
    raise Refusal(
        f"gpunode_stack: {name}",
        f"the catalog has no such stack; it has {', '.join(known.stacks)}",
        near_miss.remedy(name, known.stacks, "Name one of those"),
        rule="unknown-stack",
    )


def _driver(
    row: Mapping[str, Any] | None, said: Mapping[str, Any], known: StackCatalog
) -> Driver | None:
    if row is None and not said:
        return None
    of_file = _RUNFILE.search(said.get("file", ""))
    said = {**(of_file.groupdict() if of_file else {}), **said}
    driver = {"flavour": "tesla", "modules": "auto", "repository": "", **(row or {}), **said}
    if "version" in said:
        driver["branch"] = versions.branch(said["version"])
    if "branch" not in driver:
        raise Refusal(
            "gpunode_driver_*",
            "neither a stack nor a version says which driver it is",
            "Say gpunode_stack or gpunode_driver_version",
        )
    driver["method"] = said.get("method") or (
        "runfile" if "file" in said or row is None else driver["method"]
    )
    # Packages are chosen by their branch, and pinned at what was installed.
    driver["version"] = driver.get("version", "") if driver["method"] == "runfile" else ""
    if driver["method"] == "runfile" and not driver["version"]:
        raise Refusal(
            "gpunode_driver_method: runfile",
            f"a .run file is one version, and neither its name nor the stack says which of branch "
            f"{driver['branch']}",
            "Add gpunode_driver_version",
        )
    # GRID drivers are handed to NVIDIA's customers, each of whom names an own copy.
    release = known.driver(driver["version"], "tesla") if driver["flavour"] == "tesla" else None
    return {
        "branch": driver["branch"],
        "version": driver["version"],
        "flavour": driver["flavour"],
        "method": driver["method"],
        "modules": driver["modules"],
        "repository": driver["repository"],
        **_file(said, release),
    }


def _file(said: Mapping[str, Any], release: Mapping[str, Any] | None) -> File:
    """Return the File: as said, else as the catalog's row has it, '' where there is none."""
    if "file" in said:
        return {"file": said["file"], "sha256": said["sha256"]}
    release = release or {}
    return {"file": release.get("url", ""), "sha256": release.get("sha256", "")}


def _ofed(row: Mapping[str, Any] | None, said: Mapping[str, Any]) -> Ofed | None:
    if row is None and not said:
        return None
    ofed = {**(row or {}), **said}
    if "kind" not in ofed or (ofed["kind"] != "inbox" and "version" not in ofed):
        raise Refusal(
            "gpunode_ofed_*",
            "neither a stack nor these say which RDMA stack it is",
            "Say gpunode_ofed_kind and gpunode_ofed_version",
        )
    version = "" if ofed["kind"] == "inbox" else ofed["version"]
    # Which file it is otherwise depends on the host's distribution.
    return {"kind": ofed["kind"], "version": version, **_file(said, None)}


def _peer_memory(row: Mapping[str, Any] | None, said: Mapping[str, Any]) -> PeerMemory | None:
    if row is None and not said:
        return None
    wanted = {"route": "auto", "tag": "", **(row or {}), **said}
    return {"route": wanted["route"], "tag": wanted["tag"]}


def _vgpu(driver: Driver | None, said: Mapping[str, Any], known: StackCatalog) -> Vgpu | None:
    if not driver or driver["flavour"] != "grid":
        return None
    release = known.driver(driver["version"], "grid") or {}
    branches = {row["branch"]: name for name, row in known.vgpu.items()}
    return {
        "release": versions.branch(release.get("vgpu", "")) or branches.get(driver["branch"], ""),
        "host": said.get("host", ""),
        "license": said.get("license", ""),
    }
