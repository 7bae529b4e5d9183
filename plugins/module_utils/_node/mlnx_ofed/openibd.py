# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""openibd, the service of MLNX_OFED and DOCA-OFED that loads the RDMA modules.

Stopping it takes down every interface of an RDMA device, so that it is never restarted under a
connection that runs over one.
"""

from __future__ import annotations

import re

from ..component.bring import Node
from ..facts_shape import Surveyed
from ..kernel import kernels, modprobe
from ..rdma import openibd_restart, peer_route
from ..refusal import Refusal
from ..system import commands, systemd
from ..system.root import Root

UNIT = "openibd.service"
_SCRIPT = "/etc/init.d/openibd"
# What it unloads, in its own words: wjz304/mlnx-ofed-kernel@2c0186b, ofed_scripts/openibd.
_UNLOADS = re.compile(r"^\s*UNLOAD_MODULES=\"([^\"]*)\"", re.MULTILINE)
# What it comes to last: by then all above is gone, whoever keeps these.
_LAST = ("ib_core", "mlx5_core")


def is_there(tree: Root) -> bool:
    """Say whether the host has the service."""
    return tree.exists(_SCRIPT)


def starts_not(node: Node) -> bool:
    """Say whether the host has the service, and does not start it at boot."""
    state = systemd.show([UNIT], ("UnitFileState",), node.run) if is_there(node.tree) else {}
    return state.get(UNIT, {}).get("UnitFileState") == "disabled"


def enable(node: Node) -> None:
    """Have the service start at boot.

    :raises Refusal: systemd does not do so.
    """
    try:
        systemd.tell("enable", UNIT, run=node.run)
    except systemd.UnitError as error:
        raise Refusal(f"enable {UNIT}", str(error), "Look at the unit, and run again") from error


def start(node: Node) -> None:
    """Have the modules loaded that are not.

    :raises Refusal: they were not.
    """
    what = "start openibd"
    done = commands.run_long(what, [_SCRIPT, "start"], {"LC_ALL": "C.UTF-8"}, node.execute, "/run")
    if done.returncode:
        raise Refusal(
            what,
            commands.last_words(done, done.stdout + done.stderr),
            "Look at `dmesg` for what it names and run again, or reboot the host",
        )


def restart(node: Node) -> list[str]:
    """Have the modules on disk take the place of those that are loaded.

    Clients of the RDMA core give way first, which openibd does not know of and would fail for, and
    come again after it, whatever became of it.

    :param node: the bring.Node.
    :returns: sentences about those that do not come again: they fit the modules before alone.
    :raises Refusal: the connection to the host runs over RDMA now, a client is in use, or it
        failed.
    """
    what = "restart openibd"
    # The stack was exchanged since the host was looked at: devices and their interfaces, by which
    # the connection may run, are others now. What else keeps openibd from being the way stays.
    facts = node.survey()
    _refuse_under_connection(facts, what)
    _refuse_half_way(node.tree, what)
    clients = [name for name in peer_route.MODULES if name in facts["peer_memory"]["loaded"]]
    for name in clients:
        modprobe.unload(name, node.run)
    done = commands.run_long(
        what, [_SCRIPT, "restart"], {"LC_ALL": "C.UTF-8"}, node.execute, "/run"
    )
    failures = {name: modprobe.load(name, node.run) for name in clients}
    if done.returncode:
        raise Refusal(
            what,
            commands.last_words(done, done.stdout + done.stderr),
            "What is installed stays. End what it names and run again, or reboot the host",
        )
    return [
        f"{name} gave way to openibd and was not loaded again: {words}"
        for name, words in failures.items()
        if words
    ]


def _refuse_under_connection(facts: Surveyed, what: str) -> None:
    """Refuse where the connection to the host would be cut."""
    over = openibd_restart.under_connection(facts)
    if over:
        raise Refusal(
            what,
            f"the connection to this host runs over {', '.join(over)}, which it takes down",
            "Consent with gpunode_consent: [reboot] instead",
        )


def _refuse_half_way(tree: Root, what: str) -> None:
    """Refuse where a module would keep openibd from unloading the RDMA core.

    Where the script does not tell what it unloads, nothing is known.

    :raises Refusal: RDMA would be down, and the modules before still there.
    """
    told = _UNLOADS.findall(tree.text(_SCRIPT))
    if not told:
        return
    users = kernels.module_users(tree)
    own = {*" ".join(told).split(), *_LAST, *peer_route.MODULES}
    foreign = sorted(kernels.above(tree, _LAST) - own)
    permanent = [name for name in sorted(own & users.keys()) if users[name].is_permanent]
    down = "RDMA would be down, and the modules before still there"
    if permanent:
        raise Refusal(
            what,
            f"the kernel does not unload {', '.join(permanent)}: {down}",
            "What is installed stays. Reboot the host",
        )
    if foreign:
        raise Refusal(
            what,
            f"{', '.join(foreign)} stands on the RDMA modules, and it does not unload that: {down}",
            "What is installed stays. Unload that and run again, or reboot the host",
        )
