"""What is broken by hand on a node that has the driver by a .run: reported, and repaired."""

from __future__ import annotations

import pytest

from lab import kernel
from system.nvidia_driver import driver_image

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.executes("driver_file", "debian13")]

NODE = "node2"
VERSION = "535.161.08"
MODULE = "/lib/modules/$(ls /lib/modules)/updates/dkms/nvidia.ko*"
LIBRARIES = "/usr/lib/x86_64-linux-gnu"
UNIT = "/etc/systemd/system/nvidia-persistenced.service"
SETTING = "/etc/modprobe.d/gpunode-nvidia.conf"
HOOK = "/etc/initramfs-tools/hooks/gpunode-nvidia"

# What somebody does, and what the plan says of it.
BREAKS = {
    "settings": (f"echo options nvidia x=1 >>{SETTING}", f"{SETTING} was changed"),
    "settings-gone": (f"rm {SETTING}", f"{SETTING} is gone"),
    "hook": (f"rm {HOOK}", f"{HOOK} is gone"),
    "unit": (f"echo '[Service]' >>{UNIT}; systemctl daemon-reload", f"{UNIT} was changed"),
    "drop-in": (f"rm -r {UNIT}.d", f"{UNIT}.d/gpunode.conf is gone"),
    "disabled": (
        "systemctl disable -q nvidia-persistenced",
        "nvidia-persistenced.service is disabled, should be enabled",
    ),
    "masked": (
        f"mv {UNIT} /root; systemctl mask -q nvidia-persistenced",
        "nvidia-persistenced.service is masked, should be enabled",
    ),
    "program": ("rm /usr/bin/nvidia-smi", "/usr/bin/nvidia-smi is gone"),
    "library": (f"rm {LIBRARIES}/libcuda.so.{VERSION}", f"libcuda.so.{VERSION} is gone"),
    "link": (f"rm {LIBRARIES}/libcuda.so.1", "libcuda.so.1 is gone"),
    "other-library": (
        f"touch {LIBRARIES}/libcuda.so.470.57.02",
        f"there are libraries of 470.57.02 and {VERSION}",
    ),
    "uninstaller": ("rm /usr/bin/nvidia-uninstall", "/usr/bin/nvidia-uninstall is gone"),
    "module": (f"rm {MODULE}", "has no nvidia module"),
    "dkms-removed": (f"dkms remove nvidia/{VERSION} --all", "has no nvidia module"),
    "dkms-lost": ("rm -r /var/lib/dkms/nvidia", "source/dkms.conf is gone"),
    "sources": (f"rm -r /usr/src/nvidia-{VERSION}", "source/dkms.conf is gone"),
}
# Whatever disturbs no other.
TOGETHER = ("settings", "unit", "drop-in", "disabled", "program", "link", "dkms-lost")


@pytest.fixture(scope="module")
def wanted(tmp_path_factory):
    return {
        "gpunode_driver_file": driver_image.file(tmp_path_factory.mktemp("files"), VERSION),
        "nvidia_driver_parameters": {"NVreg_OpenRmEnableUnsupportedGpus": 1},
    }


@pytest.fixture(scope="module")
def node(lab, wanted, tmp_path_factory):
    with kernel.on_fresh(lab, NODE, "initramfs-tools"):
        image = driver_image.Image(lab, NODE, tmp_path_factory.mktemp("log") / "ssh")
        image.converged(**wanted)
        yield image


def broken_and_repaired(node, wanted, names):
    """Break some things, and have them reported, repaired as foreseen, and then left alone."""
    before = node.fingerprint()
    for name in names:
        node.says(BREAKS[name][0])
    assert set(node.fingerprint()) != set(before)
    planned = node.converge("--check", **wanted)
    said = planned.messages()
    assert [BREAKS[name][1] for name in names if BREAKS[name][1] not in said] == [], said
    assert planned.changes(NODE) == node.converged(**wanted)
    assert set(node.fingerprint()) ^ set(before) == set()
    assert node.rests(**wanted)


def test_what_is_broken_by_hand_is_reported_repaired_and_left_alone(node, wanted):
    broken_and_repaired(node, wanted, TOGETHER)


@pytest.mark.parametrize("name", sorted(BREAKS))
def test_each_kind_of_thing_that_is_broken_alone_is_repaired(node, wanted, name):
    broken_and_repaired(node, wanted, [name])


def test_what_is_repaired_for_modules_alone_leaves_the_libraries_untouched(node, wanted):
    """Who uses a GPU is not disturbed by that: nothing is exchanged."""
    inode = f"stat -c %i {LIBRARIES}/libcuda.so.{VERSION}"
    before = node.says(inode)
    broken_and_repaired(node, wanted, ["module"])
    assert node.says(inode) == before


@pytest.mark.parametrize("damage", ["rm {}", "sed -i 1s/.$/x/ {}"])
def test_a_file_that_is_kept_no_more_or_damaged_is_sent_again(node, wanted, damage):
    before = node.fingerprint()
    node.says(damage.format(f"/var/lib/gpunode/nvidia_driver/{VERSION}-tesla.run"))
    assert node.rests(**wanted)
    node.says(BREAKS["library"][0])
    node.converged(**wanted)
    assert set(node.fingerprint()) ^ set(before) == set()


def test_persistence_that_is_no_longer_wanted_ends_and_comes_back(node, wanted):
    before = node.fingerprint()
    node.converged(**wanted, nvidia_driver_persistence=False)
    assert [line for line in node.fingerprint() if line.startswith("/etc/") and UNIT in line] == []
    assert node.tried("systemctl is-enabled nvidia-persistenced").stdout.strip() in (
        "",
        "not-found",
    )
    assert node.rests(**wanted, nvidia_driver_persistence=False)
    node.converged(**wanted)
    assert set(node.fingerprint()) ^ set(before) == set()
