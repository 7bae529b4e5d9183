"""When the RDMA modules in memory give way to those on disk, on a host that has an adapter.

The host has a kernel of its own (tests/standins/machine), and MLNX_OFED is brought to it for real.
"""

from __future__ import annotations

import shlex

import pytest

from standins.machine import Machine, adapter
from system.mlnx_ofed.rdma_image import FIRST, SECOND, Rdma

pytestmark = pytest.mark.lab

NODE = "node1"
CORE = ["ib_core", "ib_uverbs", "mlx5_core", "mlx5_ib"]
OFED = sorted([*CORE, "mlx_compat"])
INBOX = {"gpunode_ofed_kind": "inbox"}
RESTART = {"gpunode_consent": ["restart_openibd"]}
REBOOT = {"gpunode_consent": ["reboot"]}
WAITS = "reboot waits for gpunode_consent: [reboot]"
STALE = "the RDMA modules that are loaded are not those on disk"
KEY = "/var/lib/dkms/mok.pub"
# The node's address moves to a bridge, and the node's interface below it.
_BRIDGE = """
set -e
address=$(ip -4 -oneline address show dev host0 | awk '{print $4}')
gateway=$(ip -4 route show default | awk '{print $3}')
systemctl stop systemd-networkd.socket systemd-networkd
ip link add br0 type bridge
ip link set br0 address $(cat /sys/class/net/host0/address) up
ip link set host0 master br0
ip address flush dev host0
ip address add $address dev br0
ip route add default via $gateway
"""
_PEER_MAKEFILE = """\
obj-m := nv_peer_mem.o beegfs.o
ccflags-y := -I/usr/src/ofa_kernel/default/include
KBUILD_EXTRA_SYMBOLS := /usr/src/ofa_kernel/default/Module.symvers
"""
_PEER_MODULE = """\
#include <linux/module.h>
#include <rdma/peer_mem.h>
static struct peer_memory_client client;
static void *handle;
static int __init start(void)
{
    invalidate_peer_memory invalidate;

    handle = ib_register_peer_memory_client(&client, &invalidate);
    return handle ? 0 : -EINVAL;
}
static void __exit stop(void)
{
    ib_unregister_peer_memory_client(handle);
}
module_init(start);
module_exit(stop);
MODULE_LICENSE("GPL");
"""


class Host(Rdma):
    """The machine, and what is asked of its RDMA modules.

    :ivar machine: the Machine.
    """

    def __init__(self, lab, machine, folder):
        super().__init__(lab, machine.name, folder)
        self.machine = machine

    def loaded(self):
        """Return the names of the RDMA modules that are loaded."""
        return sorted(set(self.machine.loaded()) & set(OFED))

    def core(self):
        """Return the build id of the RDMA core that is loaded."""
        note = "/sys/module/ib_core/notes/.note.gnu.build-id"
        return self.says(f"tail -c 20 {note} | od -An -v -t x1 | tr -d ' \\n'")

    def core_on_disk(self):
        """Return that of the one that modprobe would load."""
        return self.says(
            "readelf --notes $(modinfo -n ib_core) | sed -n 's/.*Build ID: //p' | head -n 1"
        )

    def is_current(self):
        """Say whether the RDMA core that is loaded is the one on disk."""
        loaded, on_disk = self.core(), self.core_on_disk()
        assert len(loaded) == len(on_disk) == 40
        return loaded == on_disk

    def devices(self):
        """Return the names of the RDMA devices that a program can use."""
        return self.tried("ls /sys/class/infiniband").stdout.split()

    def ran(self, *arguments, **variables):
        """Run site.yml, which has to succeed; return the Run."""
        done = self.converge(*arguments, **variables)
        assert done.status == 0, done.messages()
        return done

    def load_peer_memory(self):
        """Load a driver and nv_peer_mem, which somebody built for the RDMA stack of now."""
        self.machine.module()
        self.machine.put("/usr/src/peer/Makefile", _PEER_MAKEFILE)
        for name in ("nv_peer_mem", "beegfs"):
            self.machine.put(f"/usr/src/peer/{name}.c", _PEER_MODULE)
        self.says(
            "cd /usr/src/peer && make -s -C /lib/modules/$(uname -r)/build M=$PWD modules"
            " && install -D -m 0644 -t /lib/modules/$(uname -r)/extra nv_peer_mem.ko beegfs.ko"
            " && depmod && modprobe nvidia && modprobe nv_peer_mem"
        )

    def starts(self, unit, *devices):
        """Start a process that has devices open, in a unit of its own."""
        opens = "".join(f"exec {number}<{path}; " for number, path in enumerate(devices, 3))
        script = shlex.quote(f"{opens}exec sleep infinity")
        self.says(f"systemd-run --quiet --collect --unit={unit} sh -c {script}")


@pytest.fixture(scope="module")
def host(lab, tmp_path_factory):
    machine = Machine(lab, NODE, rdma=[adapter()])
    machine.install()
    # The other kernel that headers are there for: nobody boots it, and modules for it take a while.
    machine.says("rm -r /lib/modules/*-cloud-amd64")
    yield Host(lab, machine, tmp_path_factory.mktemp("made"))
    lab.fresh(NODE)


def test_udev_loads_the_distributions_own_for_the_adapter(host):
    assert host.loaded() == CORE
    assert host.is_current()
    assert host.devices() == ["mlx5_0"]
    refused = host.tried("rmmod ib_core")
    assert refused.stderr.strip() == (
        "rmmod: ERROR: Module ib_core is in use by: ib_uverbs mlx5_ib"
    )


def test_without_consent_nothing_is_touched(host):
    before = (host.fingerprint(), host.core())
    done = host.ran(**host.said())
    assert "interrupts RDMA traffic" in done.messages()
    assert "mlnx_ofed waits for gpunode_consent: [restart_openibd]" in done.messages()
    assert (host.fingerprint(), host.core()) == before


@pytest.mark.slow
def test_whoever_reboots_by_hand_keeps_the_modules_until_then(host):
    before, boots = host.core(), host.machine.boots()
    done = host.ran("--skip-tags", "reboot", **host.said(**REBOOT))
    assert f"install MLNX_OFED {FIRST}" in done.changes(NODE)
    assert "restart openibd" not in done.changes(NODE)
    assert (host.core(), host.loaded(), host.devices()) == (before, CORE, ["mlx5_0"])
    assert not host.is_current()
    waiting = host.ran(**host.said())
    assert waiting.changes(NODE) == []
    assert STALE in waiting.messages()
    assert WAITS in waiting.messages()
    assert (host.core(), host.machine.boots()) == (before, boots)
    assert host.asked_of("openibd") == []


@pytest.mark.slow
def test_where_the_distributions_own_is_back_before_the_reboot_none_is_due(host):
    before = host.core()
    done = host.ran(**INBOX)
    assert any(row.startswith(f"remove mlnx_ofed {FIRST}") for row in done.changes(NODE))
    assert host.core() == before
    assert host.is_current()
    assert host.rests(**INBOX)


def test_with_consent_openibd_brings_another_stack_into_memory(host):
    boots = host.machine.boots()
    done = host.ran(**host.said(**RESTART))
    assert "restart openibd" in done.changes(NODE)
    assert host.asked_of("openibd") == ["restart 0"]
    assert (host.loaded(), host.devices()) == (OFED, ["mlx5_0"])
    assert host.is_current()
    assert host.machine.boots() == boots
    assert host.rests(**host.said(**RESTART))
    assert host.rests(**host.said())


def test_rdma_that_is_down_comes_up_again_and_takes_no_consent(host):
    # As a restart leaves it whose second half failed.
    host.says("/etc/init.d/openibd stop")
    host.asked_of("openibd")
    assert host.devices() == []
    done = host.ran(**host.said())
    assert done.changes(NODE) == ["start openibd"]
    assert host.asked_of("openibd") == ["start 0"]
    assert (host.loaded(), host.devices()) == (OFED, ["mlx5_0"])
    assert host.rests(**host.said())


@pytest.mark.slow
def test_who_moves_memory_of_gpus_by_rdma_keeps_the_modules_and_is_no_victim(host):
    host.load_peer_memory()
    before = host.core()
    host.starts("train.service", "/dev/nvidia0", "/dev/infiniband/uverbs0")
    done = host.converge(**host.said(SECOND, **RESTART))
    assert done.status != 0
    assert "unload nv_peer_mem" in done.messages()
    assert "Module nv_peer_mem is in use" in done.messages()
    assert host.says("systemctl is-active train.service") == "active"
    assert (host.core(), host.loaded(), host.asked_of("openibd")) == (before, OFED, [])
    assert not host.is_current()
    host.says("systemctl stop train.service")


@pytest.mark.slow
def test_who_uses_rdma_alone_is_named_and_peer_memory_comes_again(host):
    before = host.core()
    host.starts("bench.service", "/dev/infiniband/uverbs0")
    done = host.converge(**host.said(SECOND, **RESTART))
    assert done.status != 0
    assert "applications still using Infiniband devices" in done.messages()
    assert "is using device uverbs0" in done.messages()
    assert host.says("systemctl is-active bench.service") == "active"
    assert (host.core(), host.loaded(), host.asked_of("openibd")) == (before, OFED, ["restart 1"])
    assert "nv_peer_mem" in host.machine.loaded()
    host.says("systemctl stop bench.service")


@pytest.mark.slow
def test_a_module_that_openibd_does_not_know_is_named_before_rdma_is_down(host):
    before = host.core()
    host.says("modprobe beegfs")
    done = host.converge(**host.said(SECOND, **RESTART))
    assert done.status != 0
    assert "beegfs stands on the RDMA modules" in done.messages()
    assert (host.core(), host.loaded(), host.asked_of("openibd")) == (before, OFED, [])
    assert (host.devices(), "nv_peer_mem" in host.machine.loaded()) == (["mlx5_0"], True)
    # What it would have done.
    told = host.tried("rmmod nv_peer_mem && /etc/init.d/openibd restart")
    assert "ib_core is in use by: beegfs" in told.stdout
    assert (host.core(), host.devices()) == (before, [])
    host.says("rmmod beegfs && modprobe mlx5_ib && modprobe nv_peer_mem")
    host.asked_of("openibd")


@pytest.mark.slow
def test_once_nobody_does_the_next_run_goes_on_and_peer_memory_gives_way_and_comes_again(host):
    before, boots = host.core(), host.machine.boots()
    done = host.ran(**host.said(SECOND, **RESTART))
    assert "restart openibd" in done.changes(NODE)
    assert not any(row.startswith("install MLNX_OFED") for row in done.changes(NODE))
    assert host.core() != before
    assert host.is_current()
    assert (host.asked_of("openibd"), host.machine.boots()) == (["restart 0"], boots)
    assert {"nvidia", "nv_peer_mem"} <= set(host.machine.loaded())
    assert host.rests(**host.said(SECOND, **RESTART))


@pytest.mark.slow
def test_modules_of_a_vendor_stay_until_the_reboot_that_brings_the_distributions_own(host):
    before = host.core()
    done = host.ran(**INBOX, **RESTART)
    assert "restart openibd" not in done.changes(NODE)
    assert WAITS in done.messages()
    assert (host.core(), host.loaded()) == (before, OFED)
    waiting = host.ran(**INBOX)
    assert waiting.changes(NODE) == []
    assert STALE in waiting.messages()
    host.ran(**INBOX, **REBOOT)
    assert (host.loaded(), host.devices()) == (CORE, ["mlx5_0"])
    assert host.is_current()
    assert host.rests(**INBOX)


def kept_under_the_connection(host, version, words):
    """Bring a version with consent to restart openibd, which must not happen."""
    before, boots = host.core(), host.machine.boots()
    host.asked_of("openibd")
    done = host.ran(**host.said(version, **RESTART))
    assert any(row.startswith(f"install MLNX_OFED {version}") for row in done.changes(NODE))
    assert "restart openibd" not in done.changes(NODE)
    assert words in done.messages()
    assert "openibd is not restarted, the host is to be rebooted instead" in done.messages()
    assert WAITS in done.messages()
    assert (host.core(), host.asked_of("openibd"), host.machine.boots()) == (before, [], boots)
    waiting = host.ran(**host.said(version, **RESTART))
    assert waiting.changes(NODE) == []
    assert words in waiting.messages()
    assert (host.core(), host.asked_of("openibd")) == (before, [])
    # Both consents are no more than the one.
    both = {"gpunode_consent": ["reboot", "restart_openibd"]}
    rebooted = host.ran(**host.said(version, **both))
    assert "restart openibd" not in rebooted.changes(NODE)
    assert host.machine.boots() == boots + 1
    assert host.is_current()
    assert host.loaded() == OFED
    assert host.rests(**host.said(version, **RESTART))


@pytest.mark.slow
def test_under_the_connection_to_the_host_a_reboot_takes_the_place_of_the_restart(host):
    host.machine.has(rdma=[adapter("host0")])
    kept_under_the_connection(host, FIRST, "runs over host0, which stands on RDMA devices (host0)")


@pytest.mark.slow
def test_below_a_bridge_it_is_the_same(host):
    host.says(_BRIDGE)
    kept_under_the_connection(host, SECOND, "runs over br0, which stands on RDMA devices (host0)")


@pytest.mark.slow
def test_modules_that_the_firmware_keeps_out_do_not_come_by_openibd(host):
    host.ran(**INBOX)
    host.machine.has(rdma=[adapter()], secure_boot={"enabled": True, "enrolled": []})
    before = host.core()
    host.asked_of("openibd")
    assert host.loaded() == CORE
    both = {"gpunode_consent": ["restart_openibd", "unenrolled_key"]}
    done = host.ran(**host.said(**both))
    assert f"install MLNX_OFED {FIRST}" in done.changes(NODE)
    assert "restart openibd" not in done.changes(NODE)
    assert f"mokutil --import {KEY}" in done.messages()
    assert (host.core(), host.loaded(), host.asked_of("openibd")) == (before, CORE, [])
    # What it would have done.
    assert host.tried("/etc/init.d/openibd restart").returncode == 1
    assert (host.loaded(), host.devices()) == ([], [])
    host.machine.has(secure_boot={"enabled": True, "enrolled": [KEY]})
    assert host.loaded() == OFED
    assert host.rests(**host.said(**RESTART))
