# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wanted of the RDMA stack on a host: MLNX_OFED, DOCA-OFED or the distribution's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape
from ansible_collections.gpunode.stack.plugins.module_utils._node.mlnx_ofed import (
    installer,
    wanted,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.rdma import (
    ofed_release,
    rdma_stack,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import distribution

from ..inputs import addresses, catalog, host_folder, repository_keys, sent_file
from ..inputs.site import Site
from ..inputs.wanted_stack import Ofed, Stack
from ..stack import stack_catalog

NAME = "RDMA stack"


def is_wanted(site: Site) -> bool:
    """Say whether anything is said of a host's RDMA stack."""
    return bool(site.stack()["ofed"])


def resolve(options: Mapping[str, Any], site: Site) -> wanted.State:
    """Return the wanted state: which stack, from where, and how its installer is to be told."""
    ofed = site.stack()["ofed"]
    if not ofed:
        return {"state": "unsaid"}
    installer.refuse_options(options["options"])
    tmpdir = host_folder.checked("mlnx_ofed_tmpdir", options["tmpdir"])
    known = stack_catalog.of_project()
    return {
        "state": "present",
        "kind": ofed["kind"],
        "version": ofed["version"],
        "file": site.source(ofed["file"]),
        "sha256": ofed["sha256"],
        "release": known.ofed(ofed["version"]) or {},
        "inbox_packages": {row["manager"]: row["packages"] for row in catalog.rows("inbox_rdma")},
        **_packages(options, ofed, known.doca(ofed["version"])),
        "options": options["options"],
        "tmpdir": tmpdir,
        "firmware_update": options["firmware_update"],
    }


def _packages(
    options: Mapping[str, Any], ofed: Ofed, row: Mapping[str, Any]
) -> wanted.DocaPackages:
    """Return what DOCA-OFED comes from: its release, and where that is.

    :param ofed: the stack that is wanted.
    :param row: the catalog's row of its series.
    :raises Refusal: what is wanted has no meaning, or nobody says where it is.
    """
    address = addresses.checked("mlnx_ofed_repository_url", options.get("repository_url"))
    if ofed["kind"] != "doca":
        return {"doca": "", "profile": "", "repository": {}, "repository_url": ""}
    if options["options"]:
        raise Refusal(
            f"mlnx_ofed_options {' '.join(options['options'])}",
            "DOCA-OFED comes by packages, without an installer that could be told",
            "Leave it out, or say gpunode_ofed_kind: mlnx_ofed",
        )
    where = _repository(options)
    if ofed["of_archive"]:
        profile = _package_of_archive(options, ofed, where)
        doca = row.get("doca", "")
        return {
            "doca": doca,
            "profile": profile,
            "repository": dict(where),
            "repository_url": address,
        }
    return _of_vendor(options, ofed, row, where, address)


def _of_vendor(
    options: Mapping[str, Any],
    ofed: Ofed,
    row: Mapping[str, Any],
    where: Mapping[str, Any],
    address: str,
) -> wanted.DocaPackages:
    """Return what the vendor's DOCA-OFED comes from.

    :param where: the catalog's row of the repository.
    :param address: of a mirror, '' for none.
    :raises Refusal: nobody says where it is.
    """
    if not address and "release" not in row:
        raise Refusal(
            f"gpunode_ofed_version: {ofed['version']}",
            "the catalog has no repository of that DOCA-OFED",
            "Say mlnx_ofed_repository_url, or another gpunode_ofed_version",
        )
    found = repository_keys.held_to(
        "mlnx_ofed_repository_key", options.get("repository_key"), where
    )
    place = found["address"].replace("{release}", row.get("release", ""))
    return {
        "doca": row.get("doca", ""),
        "profile": ofed_release.PROFILE,
        "repository": {**found, "address": place},
        "repository_url": address,
    }


def _repository(options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the catalog's row of the repository that options name."""
    rows = {row["name"]: row for row in catalog.rows("doca_repositories")}
    return rows[options["repository"]]


def in_stack(stack: Stack, options: Callable[[], dict[str, Any]]) -> Stack:
    """Return the wanted GPU stack with what this role's options say of its RDMA stack.

    :param stack: what is wanted besides.
    :param options: returns those of this component, which are asked for where they matter.
    """
    ofed = stack["ofed"]
    if not ofed or ofed["kind"] != "doca":
        return stack
    of_archive = "address" not in _repository(options())
    return {**stack, "ofed": {**ofed, "of_archive": of_archive}}


def _package_of_archive(options: Mapping[str, Any], ofed: Ofed, where: Mapping[str, Any]) -> str:
    """Return the package that brings a series of DOCA-OFED in the distribution's archive.

    :param where: the catalog's row of the archive.
    :raises Refusal: it has none.
    """
    if options["firmware_update"]:
        raise Refusal(
            "mlnx_ofed_firmware_update",
            "the archive has no package that updates the firmware of adapters",
            f"Leave it out, or say mlnx_ofed_repository: {ofed['kind']}",
        )
    packages = {part["ofed"]: part["package"] for part in where["series"]}
    if ofed["version"] not in packages:
        raise Refusal(
            f"gpunode_ofed_version: {ofed['version']}",
            f"the archive has {' and '.join(packages)}, whichever build of these it is",
            "Say one of these, or mlnx_ofed_repository: doca",
        )
    return str(packages[ofed["version"]])


def present(state: wanted.State) -> list[str]:
    """Return the names of what is to be in place."""
    return [NAME] if state["state"] == "present" else []


def absent(_state: wanted.State) -> list[str]:
    """Return the names of what is to be removed: a host always has one stack or the other."""
    return []


def probe(_state: wanted.State) -> dict[str, list[str]]:
    """Return what the plan must know of the host: what it always knows is enough."""
    return {}


def refusals(state: wanted.State, facts: facts_shape.Facts) -> list[Refusal]:
    """Return a Refusal for each thing that cannot work on this host; see stack/refusals.py too."""
    if state["state"] != "present":
        return []
    if state["kind"] == "doca":
        return _unknown_distribution(state, distribution.catalog_name(facts))
    if rdma_stack.described(facts["rdma_stack"]) == rdma_stack.described(state):
        return []
    return sent_file.refusals("gpunode_ofed_file", state["file"])


def _unknown_distribution(state: wanted.Present, distribution: str) -> list[Refusal]:
    """Return [Refusal] where DOCA-OFED has no packages for a distribution, as far as is known."""
    if distribution in [part["distribution"] for part in state["repository"]["distributions"]]:
        return []
    return [
        Refusal(
            rdma_stack.called(state),
            f"it is not known where its packages are for {distribution}",
            "Say gpunode_ofed_kind: mlnx_ofed or inbox for this host",
        )
    ]


def arguments(_state: wanted.State, site: Site) -> dict[str, Any]:
    """Return what the module takes besides: the consents."""
    return {"consent": site.stack()["consent"]}


def sendable(state: wanted.State) -> dict[str, sent_file.File]:
    """Return the files of the controller that the host may ask for: the bundle."""
    if state["state"] != "present":
        return {}
    return sent_file.of("gpunode_ofed_file", state["file"], state["sha256"])


def summary(state: wanted.Present) -> list[dict[str, Any]]:
    """Return a line for people about what is on a converged host."""
    says = f"RDMA stack {rdma_stack.called(state)}"
    return [{"says": says, "kind": state["kind"], "version": state["version"]}]
