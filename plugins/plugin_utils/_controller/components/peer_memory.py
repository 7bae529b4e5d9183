# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wanted of peer memory on a host: how RDMA devices reach the memory of GPUs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape
from ansible_collections.gpunode.stack.plugins.module_utils._node.peer_memory import wanted
from ansible_collections.gpunode.stack.plugins.module_utils._node.rdma import peer_route
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal

from .. import project
from ..inputs import catalog, sent_file
from ..inputs.site import Site
from ..inputs.wanted_stack import File, Stack
from ..stack import stack_catalog

NAME = "peer memory"
_ARCHIVE = re.compile(r"(?P<file>.+)#sha256=(?P<sha256>[0-9a-f]{64})")
_PATCHES = project.ROOT / "roles" / "peer_memory" / "files"


def is_wanted(site: Site) -> bool:
    """Say whether a host is to have peer memory, or to lose it."""
    return bool(site.stack()["peer_memory"])


def resolve(options: Mapping[str, Any], site: Site) -> wanted.State:
    """Return the wanted state: the route, and with what nv_peer_mem would be built."""
    said = site.stack()["peer_memory"]
    if not said:
        return {"state": "unsaid"}
    known = stack_catalog.of_project()
    ofed = site.stack()["ofed"]
    row = known.ofed(ofed["version"]) if ofed else None
    return {
        "state": "absent" if said["route"] == "none" else "present",
        "route": said["route"],
        "delivery": said["delivery"],
        "tag": said["tag"],
        "tags": _tags(options["archives"], site),
        "patches": {
            path.name: path.read_text(encoding="utf-8") for path in sorted(_PATCHES.glob("*.patch"))
        },
        "driver": {
            "module": _path(options, "driver_module"),
            "source": _path(options, "driver_source"),
        },
        "branches": known.routes,
        "architectures": known.architectures,
        "nvidia_driver": _driver_before(site, known),
        "rdma_stack": {
            "kind": ofed["kind"] if ofed else "",
            "version": ofed["version"] if ofed else "",
            "release": known.doca(ofed["version"]).get("doca", "") if ofed else "",
            "client_ex": row["peer_client_ex"] if row else None,
            "of_archive": bool(ofed and ofed.get("of_archive")),
        },
    }


def present(state: wanted.State) -> list[str]:
    """Return the names of what is to be in place."""
    return [NAME] if state["state"] == "present" else []


def absent(state: wanted.State) -> list[str]:
    """Return the names of what is to be removed."""
    return [NAME] if state["state"] == "absent" else []


def probe(_state: wanted.State) -> dict[str, list[str]]:
    """Return what the plan must know of the host: what it always knows is enough."""
    return {}


def refusals(state: wanted.State, _facts: facts_shape.Facts) -> list[Refusal]:
    """Return a Refusal where nv_peer_mem is said and there is no archive to build it from.

    What else cannot work is told by the plan of the stack, see stack/refusals.py.
    """
    if state["state"] == "unsaid" or state["route"] != "nv_peer_mem":
        return []
    tags = [row for row in state["tags"] if state["tag"] in ("", row["tag"])]
    # Which one it is depends on the RDMA stack, which is still to come maybe.
    rows = [row for row in tags if row["file"]]
    if not state["tag"] and rows:
        return []
    try:
        peer_route.refuse_without_archive(state["tag"] or tags[0]["tag"], rows)
    except Refusal as refusal:
        return [refusal]
    return []


def in_stack(stack: Stack, options: Callable[[], dict[str, Any]]) -> Stack:
    """Return the wanted GPU stack with what this role's options say of its peer memory.

    :param stack: what is wanted besides.
    :param options: returns those of this component, which are asked for where they matter.
    """
    if not stack["peer_memory"]:
        return stack
    delivery = options()["delivery"]
    return {**stack, "peer_memory": {**stack["peer_memory"], "delivery": delivery}}


def arguments(_state: wanted.State, site: Site) -> dict[str, Any]:
    """Return what the module takes besides: what decides what is loaded when it is its turn."""
    stack = site.stack()
    return {"consent": stack["consent"], "drain": stack["drain"]}


def sendable(state: wanted.State) -> dict[str, sent_file.File]:
    """Return the files of the controller that the host may ask for: the archives of nv_peer_mem."""
    if state["state"] == "unsaid":
        return {}
    return {
        name: file
        for row in state["tags"]
        for name, file in sent_file.of("peer_memory_archives", row["file"], row["sha256"]).items()
    }


def summary(state: wanted.State) -> list[dict[str, Any]]:
    """Return a line for people about what is on a converged host."""
    if state["state"] != "present":
        return [{"says": "no peer memory", "route": "none"}]
    return [{"says": f"peer memory by {state['route']}", "route": state["route"]}]


def _driver_before(site: Site, known: stack_catalog.StackCatalog) -> wanted.NvidiaDriver:
    """Return what is said of the driver that the same run brings."""
    driver = site.stack()["driver"]
    if not driver:
        return {}
    return {
        "version": driver["version"],
        "branch": driver["branch"],
        "method": driver["method"],
        "modules": driver["modules"],
        "guest": driver["flavour"] == "grid",
        "offered": known.branches.get(driver["branch"], {}).get("module_types", []),
        "leaves_headerless": driver.get("kernels_without_headers") == "report",
    }


def _tags(archives: Mapping[str, Any], site: Site) -> list[wanted.Tag]:
    """Return nv_peer_mem's tags, newest first.

    The archive is what was said, else the catalog's where that has its digest; '' for none.
    """
    rows = catalog.rows("nv_peer_mem")
    unknown = sorted(set(archives) - {row["tag"] for row in rows})
    if unknown:
        raise Refusal(
            f"peer_memory_archives: {unknown[0]}",
            f"the catalog has no such tag; it has {', '.join(row['tag'] for row in rows)}",
            "Name one of them",
        )
    return [
        {
            "tag": row["tag"],
            "needs_client_ex": row["needs_client_ex"],
            **_archive(row, archives.get(row["tag"]), site),
        }
        for row in rows
    ]


def _archive(row: Mapping[str, Any], said: object, site: Site) -> File:
    if not said:
        sha256 = row.get("sha256", "")
        return {"file": row["url"] if sha256 else "", "sha256": sha256}
    match = _ARCHIVE.fullmatch(str(said))
    if not match:
        raise Refusal(
            f"peer_memory_archives: {row['tag']}: {said}",
            "it does not end in #sha256= and 64 digits, and nothing is installed unchecked",
            "Write it as FILE#sha256=DIGEST; sha256sum FILE prints the digest",
        )
    return {"file": site.source(match["file"]), "sha256": match["sha256"]}


def _path(options: Mapping[str, Any], name: str) -> str:
    """Return a path of the host that an option names, '' where it was not said."""
    path = options.get(name) or ""
    if path and not path.startswith("/"):
        raise Refusal(f"peer_memory_{name}: {path}", "it is no absolute path", "Write it from / on")
    return path
