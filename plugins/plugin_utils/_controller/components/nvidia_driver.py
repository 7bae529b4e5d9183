# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wanted of the NVIDIA driver on a host."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape
from ansible_collections.gpunode.stack.plugins.module_utils._node.nvidia_driver import wanted
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal

from ..inputs import addresses, catalog, repository_keys, sent_file
from ..inputs.site import Site
from ..inputs.wanted_stack import Stack
from ..stack import stack_catalog

NAME = "NVIDIA driver"
_PARAMETER = re.compile(r"\w+")
# One word of modprobe.d(5).
_VALUE = re.compile(r"[\w.,:;=/+@%-]+")


def is_wanted(site: Site) -> bool:
    """Say whether a host is to have the driver, or to lose it."""
    return site.options("nvidia_driver")["state"] == "absent" or bool(site.stack()["driver"])


def resolve(options: Mapping[str, Any], site: Site) -> wanted.State:
    """Return the wanted state: which driver, by what means, and how it is to be set up."""
    held = functools.partial(
        repository_keys.held_to, "nvidia_driver_repository_key", options.get("repository_key")
    )
    repositories = {row["name"]: held(row) for row in catalog.rows("repositories")}
    if options["state"] == "absent":
        return {"state": "absent", "repositories": repositories}
    driver = site.stack()["driver"]
    if driver is None:
        return {"state": "unsaid"}
    known = stack_catalog.of_project()
    peers = site.stack()["peer_memory"]
    branch = known.branches.get(driver["branch"], {})
    return {
        "state": "present",
        **driver,
        # By now in_stack has said it.
        "kernels_without_headers": driver["kernels_without_headers"],
        "file": site.source(driver["file"]),
        "guest": driver["flavour"] == "grid",
        "offered": branch.get("module_types", []),
        "architectures": known.architectures,
        "packages": known.packages_of(driver["branch"], driver["repository"]),
        "repositories": repositories,
        "repository_url": addresses.checked(
            "nvidia_driver_repository_url", options.get("repository_url")
        ),
        "peermem": peers is not None and peers["route"] in ("auto", "nvidia_peermem"),
        "parameters": _parameters(options["parameters"]),
        "persistence": options["persistence"],
    }


def present(state: wanted.State) -> list[str]:
    """Return the names of what is to be in place."""
    return [NAME] if state["state"] == "present" else []


def absent(state: wanted.State) -> list[str]:
    """Return the names of what is to be removed."""
    return [NAME] if state["state"] == "absent" else []


def probe(state: wanted.State) -> dict[str, list[str]]:
    """Return what the plan must know of the host: what it always knows is enough."""
    return {}


def refusals(state: wanted.State, facts: facts_shape.Facts) -> list[Refusal]:
    """Return a Refusal for each thing that cannot work on this host; see stack/refusals.py too."""
    if state["state"] != "present" or state["method"] != "runfile":
        return []
    if facts["driver"]["runfile"] == state["version"]:
        return []
    return sent_file.refusals("gpunode_driver_file", state["file"])


def in_stack(stack: Stack, options: Callable[[], dict[str, Any]]) -> Stack:
    """Return the wanted GPU stack with what this role's options say of its driver.

    :param stack: what is wanted besides.
    :param options: returns those of this component, which are asked for where they matter.
    """
    said = options()
    if said["state"] == "absent":
        # Peer memory is nothing without a driver.
        peers = stack["peer_memory"] and {**stack["peer_memory"], "route": "none"}
        return {**stack, "driver": None, "vgpu": None, "peer_memory": peers}
    if not stack["driver"]:
        return stack
    policy = said["kernels_without_headers"]
    return {**stack, "driver": {**stack["driver"], "kernels_without_headers": policy}}


def arguments(_state: wanted.State, site: Site) -> dict[str, Any]:
    """Return what the module takes besides: the consents, and the units to be drained."""
    stack = site.stack()
    return {"consent": stack["consent"], "drain": stack["drain"]}


def sendable(state: wanted.State) -> dict[str, sent_file.File]:
    """Return the files of the controller that the host may ask for: the .run."""
    if state["state"] != "present":
        return {}
    return sent_file.of("gpunode_driver_file", state["file"], state["sha256"])


def summary(state: wanted.Absent | wanted.Present) -> list[dict[str, Any]]:
    """Return a line for people about what is on a converged host."""
    if state["state"] == "absent":
        return [{"says": "no NVIDIA driver"}]
    flavour = "vGPU guest driver" if state["guest"] else "NVIDIA driver"
    version = state["version"] or state["branch"]
    return [{"says": f"{flavour} {version}", "version": version}]


def _parameters(given: Mapping[str, Any]) -> dict[str, str]:
    """Return {name: value as modprobe takes it}; YAML's true is 1."""
    for name, value in given.items():
        is_value = value is not None and _VALUE.fullmatch(str(value))
        if not _PARAMETER.fullmatch(name) or not is_value:
            raise Refusal(
                f"nvidia_driver_parameters {name}: {value}",
                "a parameter of a module is a name of letters, digits and _ with one value",
                "`modinfo nvidia` lists those there are",
            )
    return {
        name: str(int(value) if isinstance(value, bool) else value)
        for name, value in sorted(given.items())
    }
