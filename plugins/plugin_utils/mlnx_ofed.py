# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wanted of the RDMA stack on a host: MLNX_OFED or the distribution's own."""

from __future__ import annotations

from ansible_collections.gpunode.stack.plugins.module_utils import ofed_installer, rdma
from ansible_collections.gpunode.stack.plugins.module_utils.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.plugin_utils import catalog, sent_file, stack_catalog

NAME = "RDMA stack"
# DOCA-OFED is planned alone so far.
_KINDS = ("mlnx_ofed", "inbox")


def is_wanted(site):
    """Say whether a host's RDMA stack is to be looked after."""
    ofed = site.stack()["ofed"]
    return bool(ofed) and ofed["kind"] in _KINDS


def resolve(options, site):
    """Return the wanted state: which stack, from where, and how its installer is to be told.

    ``state`` is "unsaid" where nothing is wanted. Which bundle it is, where none was named, follows
    from the host's distribution and is left to the node.
    """
    ofed = site.stack()["ofed"]
    if not is_wanted(site):
        return {"state": "unsaid"}
    ofed_installer.refuse_options(options["options"])
    tmpdir = options["tmpdir"]
    if not tmpdir.startswith("/"):
        raise Refusal(f"mlnx_ofed_tmpdir: {tmpdir}", "it is no absolute path", "Write it from / on")
    return {
        "state": "present",
        "kind": ofed["kind"],
        "version": ofed["version"],
        "file": site.source(ofed["file"]),
        "sha256": ofed["sha256"],
        "release": stack_catalog.of_project().ofed(ofed["version"]) or {},
        "inbox_packages": {row["manager"]: row["packages"] for row in catalog.rows("inbox_rdma")},
        "options": options["options"],
        "tmpdir": tmpdir.rstrip("/"),
        "firmware_update": options["firmware_update"],
    }


def present(state):
    """Return the names of what is to be in place."""
    return [NAME] if state["state"] == "present" else []


def absent(_state):
    """Return the names of what is to be removed: a host always has one stack or the other."""
    return []


def probe(_state):
    """Return what the plan must know of the host: what it always knows is enough."""
    return {}


def refusals(state, facts):
    """Return a Refusal for each thing that cannot work on this host; see stack_refusals.py too."""
    found = facts["rdma_stack"]
    if state["state"] != "present" or rdma.described(found) == rdma.described(state):
        return []
    return sent_file.refusals("gpunode_ofed_file", state["file"])


def summary(state):
    """Return a line for people about what is on a converged host."""
    says = f"RDMA stack {rdma.called(state)}"
    return [{"says": says, "kind": state["kind"], "version": state["version"]}]
