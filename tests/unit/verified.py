"""Hosts that are as wanted, component by component, from recorded facts: what checks begin from."""

from __future__ import annotations

import datetime

import combinations
from applications import LOCK

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import wanted_state
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.plan import host_plan
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.verify import quick

TODAY = datetime.date(2026, 11, 30)
PEERS, SWITCHES, VGPU, OPEN = (
    "ubuntu2204-a100-peermem",
    "ubuntu2204-a100-nvswitch-r550",
    "debian12-vgpu-grid16",
    "debian12-h100-r580",
)
NONE = "debian12-no-gpu"
_GRID = f"files/NVIDIA-Linux-x86_64-535.161.08-grid.run#sha256={'0' * 64}"
# What each host of combinations.yml is asked to be, and is.
STACKS = {
    PEERS: {
        "gpunode_stack": "r550",
        "gpunode_ofed_kind": "mlnx_ofed",
        "gpunode_ofed_version": "24.10-1.1.4.0",
        "gpunode_ofed_file": f"https://mirror.example/MLNX_OFED.tgz#sha256={'0' * 64}",
        "gpunode_peer_memory_route": "nvidia_peermem",
    },
    SWITCHES: {"gpunode_stack": "r550"},
    VGPU: {
        "gpunode_stack": "grid-16",
        "gpunode_driver_version": "535.161.08",
        "gpunode_driver_file": _GRID,
        "vgpu_license_server": "licences.example.org",
    },
    OPEN: {"gpunode_stack": "r580"},
    NONE: {},
}
_ENTRY = {"kind": "directory", "empty": False, "conda": True, "unfinished": False, "sha256": ""}
_LINKS = {"/opt/gpunode/envs/env": {"kind": "link"}}
_USER = {"exists": True, "uid": 990, "home": "/", "shell": "/usr/sbin/nologin", "sudo": False}
_SOCKET = {"address": "0.0.0.0", "port": 9001, "pid": 1, "process": "systemd", "unit": "web.socket"}


class Host:
    """A host of combinations.yml that has all that is wanted of it, an application included.

    :ivar asked: what its variables ask for.
    :ivar facts: its facts, which a test changes.
    """

    def __init__(self, base, folder, **variables):
        (folder / "env.lock").write_text(LOCK.format(gunicorn="23.0.0"))
        (folder / "web").mkdir(exist_ok=True)
        (folder / "web" / "main.py").write_text("app = print\n")
        app = {"name": "web", "environment": "env", "source": "web", "listen": "0.0.0.0:9001"}
        said = {
            "conda_env_list": [{"name": "env", "lock": "env.lock"}],
            "gunicorn_app_list": [app],
            **STACKS[base],
            **variables,
        }
        self.asked = host_plan.wishes(wanted_state.Site(said, folder), said)
        recorded = combinations.facts_of(combinations.BASES[base])
        probe = self.asked.probe()
        self.facts = {
            **combinations.merged(facts_shape.empty(facts_shape.Facts), recorded),
            "paths": {path: _ENTRY | _LINKS.get(path, {}) for path in probe["paths"]},
            "users": dict.fromkeys(probe["users"], _USER),
            "units": {unit: f"/etc/systemd/system/{unit}" for unit in probe["units"]},
            "receipts": {name: self._receipt(name) for name in self.asked.states},
        }
        self.facts["listening"] = [*recorded["listening"], _SOCKET]

    def _receipt(self, component):
        names = ["web"] if component == "gunicorn_app" else []
        digest, asked = self.asked.digests[component], self.asked.asked[component]
        return {"digest": digest, "drift": [], "names": names, "notes": [], "asked": asked}

    def changed(self, change):
        """Lay a change on its facts: dicts merge, all else replaces."""
        self.facts = combinations.merged(self.facts, change)

    def results(self, waived=None, subjects=()):
        """Return {check: result} of a look at it."""
        plan = host_plan.plan(self.asked, self.facts, today=TODAY)["plan"]
        rows = quick.looked_at(self.asked, self.facts, plan, waived or {}, TODAY, subjects)
        return {row["check"]: row for row in rows}


def ended(results, outcome):
    """Return the names of the checks that ended so."""
    return {name for name, row in results.items() if row["outcome"] == outcome}
