"""When openibd is restarted, what gives way before, and when it never is."""

from __future__ import annotations

import copy
import subprocess

import pytest
from trees import planted

from ansible_collections.gpunode.stack.plugins.module_utils._node.component import bring
from ansible_collections.gpunode.stack.plugins.module_utils._node.mlnx_ofed import openibd
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.stack import case

SCRIPT = "/etc/init.d/openibd"
DEVICE = {"name": "mlx5_0", "interfaces": ["ib0", "ens1f0"]}


class Host:
    def __init__(self, folder):
        self.tree = planted(folder, {})
        self.commands = []
        self.status, self.says, self.complains = 0, "", ""
        self.refuses = ""
        self.ended = subprocess.CompletedProcess([], 0, "", "")
        self.facts = copy.deepcopy(case.EMPTY)
        self.facts["rdma_devices"] = [DEVICE]

    def execute(self, argv, _environment):
        self.commands.append(argv)
        return self.ended

    def run(self, argv, **_options):
        self.commands.append(argv)
        status = self.status or int(argv[0] == self.refuses)
        return subprocess.CompletedProcess(argv, status, self.says, self.complains)

    def made(self):
        return bring.Node(self.tree, lambda: self.facts, self.execute, self.run)

    def restart(self):
        return openibd.restart(self.made())


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


GIVES_WAY = [["rmmod", "nvidia_peermem"], [SCRIPT, "restart"], ["modprobe", "nvidia_peermem"]]


def test_clients_of_the_rdma_core_give_way_before_and_come_again_after(host):
    host.facts["peer_memory"]["loaded"] = ["nvidia_peermem"]
    assert host.restart() == []
    assert host.commands == GIVES_WAY


def test_they_come_again_where_it_failed_too(host):
    host.facts["peer_memory"]["loaded"] = ["nvidia_peermem"]
    host.ended = subprocess.CompletedProcess([], 1, "a device is in use\n", "")
    with pytest.raises(Refusal, match="a device is in use"):
        host.restart()
    assert host.commands == GIVES_WAY


def test_one_that_does_not_come_again_is_told_with_the_reason(host):
    host.facts["peer_memory"]["loaded"] = ["nvidia_peermem"]
    host.refuses, host.complains = "modprobe", "modprobe: ERROR: Invalid argument"
    assert host.restart() == [
        "nvidia_peermem gave way to openibd and was not loaded again: "
        "modprobe nvidia_peermem: modprobe: ERROR: Invalid argument"
    ]


def test_a_start_that_fails_says_why(host):
    openibd.start(host.made())
    assert host.commands == [[SCRIPT, "start"]]
    host.ended = subprocess.CompletedProcess([], 1, "Failed loading kernel module mlx5_ib\n", "")
    with pytest.raises(Refusal, match="start openibd: Failed loading kernel module mlx5_ib"):
        openibd.start(host.made())


# As the script and /proc/modules have them.
UNLOADS = 'UNLOAD_MODULES="mlx5_ib mlx5_core"\nUNLOAD_MODULES="$UNLOAD_MODULES rdma_cm ib_core"\n'
MODULES = "ib_core 1 3 mlx5_ib,rdma_cm,nv_peer_mem, Live 0x0\nrdma_cm 1 {} Live 0x0\n"


def test_a_module_that_openibd_would_fail_for_half_way_is_named_before(host):
    files = {SCRIPT: UNLOADS, "/proc/modules": MODULES.format("1 beegfs,")}
    planted(host.tree.path("/"), files)
    with pytest.raises(Refusal, match="beegfs stands on the RDMA modules"):
        host.restart()
    assert host.commands == []


@pytest.mark.parametrize(("script", "above"), [(UNLOADS, "0 -"), ("#!/bin/sh\n", "1 beegfs,")])
def test_what_it_unloads_itself_and_what_is_not_known_is_no_obstacle(host, script, above):
    planted(host.tree.path("/"), {SCRIPT: script, "/proc/modules": MODULES.format(above)})
    host.restart()
    assert host.commands == [[SCRIPT, "restart"]]


@pytest.mark.parametrize(
    "modules",
    [
        # linux v6.1, kernel/module/procfs.c: one without an exit, one that is stuck on its way.
        MODULES.format("0 -").replace("nv_peer_mem,", "nv_peer_mem,[permanent],"),
        MODULES.format("1 [permanent],"),
        MODULES.format("- -"),
        MODULES.format("-1 -").replace("Live", "Unloading"),
    ],
)
def test_a_module_that_the_kernel_never_unloads_is_named_before(host, modules):
    planted(host.tree.path("/"), {SCRIPT: UNLOADS, "/proc/modules": modules})
    with pytest.raises(Refusal, match=r"the kernel does not unload (ib_core|rdma_cm)") as caught:
        host.restart()
    assert "Reboot" in caught.value.remedy
    assert host.commands == []


def test_a_module_that_is_none_of_its_own_may_be_permanent(host):
    modules = MODULES.format("0 -") + "ext4 1 1 [permanent], Live 0x0\n"
    planted(host.tree.path("/"), {SCRIPT: UNLOADS, "/proc/modules": modules})
    host.restart()
    assert host.commands == [[SCRIPT, "restart"]]


def test_where_one_is_in_use_nothing_is_restarted(host):
    host.facts["peer_memory"]["loaded"] = ["nvidia_peermem"]
    host.refuses, host.complains = "rmmod", "rmmod: ERROR: Module nvidia_peermem is in use"
    with pytest.raises(Refusal, match="is in use"):
        host.restart()
    assert host.commands == [["rmmod", "nvidia_peermem"]]


@pytest.mark.parametrize(
    "lower",
    [["ib0"], ["bond0", "ens1f0", "ens1f1"], ["vlan7", "ens1f0"], ["br0", "bond0", "ens1f0"]],
)
def test_it_is_never_restarted_under_the_connection_to_the_host(host, lower):
    host.facts["management"] = {
        "interface": lower[0],
        "lower": lower,
        "drivers": {},
        "found_by": "ssh",
    }
    with pytest.raises(Refusal) as caught:
        host.restart()
    assert f"runs over {'ib0' if 'ib0' in lower else 'ens1f0'}," in caught.value.because
    assert "reboot" in caught.value.remedy
    assert host.commands == []


def test_a_connection_over_another_interface_is_no_obstacle(host):
    host.facts["management"] = {
        "interface": "eno1",
        "lower": ["eno1"],
        "drivers": {},
        "found_by": "ssh",
    }
    host.restart()
    assert host.commands == [[SCRIPT, "restart"]]


@pytest.mark.parametrize(
    ("state", "is_so"), [("enabled", False), ("disabled", True), ("generated", False)]
)
def test_it_starts_at_boot_unless_it_is_disabled(host, state, is_so):
    planted(host.tree.path("/"), {SCRIPT: ""})
    host.says = f"UnitFileState={state}\n"
    assert openibd.starts_not(host.made()) is is_so


def test_where_it_is_not_there_nothing_is_asked(host):
    assert not openibd.starts_not(host.made())
    assert host.commands == []


def test_a_unit_that_cannot_be_enabled_is_told_in_the_words_of_systemd(host):
    host.status, host.complains = 1, "Failed to enable unit: it is masked"
    with pytest.raises(Refusal, match="it is masked"):
        openibd.enable(host.made())


def test_what_it_says_when_it_fails_is_told(host):
    host.ended = subprocess.CompletedProcess(
        [], 1, "Unloading ib_core [FAILED]\n", "rmmod: in use\n"
    )
    with pytest.raises(Refusal, match=r"Unloading ib_core \[FAILED\] / rmmod: in use"):
        host.restart()
