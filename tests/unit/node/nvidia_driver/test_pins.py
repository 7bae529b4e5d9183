"""Pins of the driver's packages: what they say, held against apt in the lab tests."""

from __future__ import annotations

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.nvidia_driver import (
    package_family,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.nvidia_driver import (
    pins as driver_pins,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.packages import pins
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import text_files

FAMILY = package_family.Family(["libcuda1", "nvidia-kernel-*"], ["nvidia-persistenced"], [], [], {})
INSTALLED = {
    "nvidia-kernel-dkms": "535.161.08-1",
    "libcuda1": "535.161.08-1",
    "nvidia-persistenced": "535.171.04-1~deb12u1",
}
RPMS = {"nvidia-driver": "3:580.95.05-1.el9", "nvidia-modprobe": "580.95.05-1.el9"}
LOCKED = (
    "# gpunode: NVIDIA driver\nnvidia-driver-3:580.95.05-1.el9.*\n"
    "nvidia-modprobe-0:580.95.05-1.el9.*\n# gpunode: end\n"
)


def records(text):
    return [
        tuple(line.partition(": ")[2] for line in block.splitlines() if not line.startswith("#"))
        for block in text.strip().split("\n\n")
    ]


def test_each_package_is_held_at_its_own_version_and_no_other_one_comes_in():
    text = driver_pins.preferences(INSTALLED, "535.161.08", FAMILY)
    assert records(text) == [
        ("libcuda1 nvidia-kernel-dkms", "version 535.161.08-1", "990"),
        ("nvidia-persistenced", "version 535.171.04-1~deb12u1", "990"),
        ("libcuda1 nvidia-kernel-dkms nvidia-persistenced", "version *", "-1"),
        ("libcuda1 nvidia-kernel-*", "version 535.161.08-*", "990"),
        ("libcuda1 nvidia-kernel-*", "version *", "-1"),
    ]


def test_what_comes_replaces_a_newer_version():
    text = "\n".join(driver_pins.coming("535.161.08", FAMILY))
    assert records(text) == [
        ("libcuda1 nvidia-kernel-*", "version 535.161.08-*", "1001"),
        ("libcuda1 nvidia-kernel-*", "version *", "-1"),
    ]


@pytest.mark.parametrize("before", ["", "bash-0:5.1.8-9.el9.*\n", f"a-0:1-1.*\n{LOCKED}"])
def test_lines_of_others_stay_in_the_list_of_dnf(before):
    others = before.replace(LOCKED, "")
    assert pins.locked("NVIDIA driver", before, RPMS) == others + LOCKED
    assert pins.locked("NVIDIA driver", before, {}) == others


@pytest.fixture
def versionlock(tmp_path, monkeypatch):
    path = str(tmp_path / "versionlock.list")
    monkeypatch.setattr(pins, "VERSIONLOCK", path)
    return path


def test_either_manager_has_its_file(versionlock):
    (path,) = driver_pins.wanted_files("apt", INSTALLED, "535.161.08", FAMILY)
    assert path == "/etc/apt/preferences.d/gpunode-nvidia"
    files = driver_pins.wanted_files("dnf", RPMS, "580.95.05", FAMILY)
    assert files == {versionlock: text_files.of(LOCKED)}


def test_a_host_without_the_driver_has_neither(versionlock):
    assert driver_pins.unwanted_files("apt")[driver_pins.PREFERENCES].text is None
    assert driver_pins.unwanted_files("dnf") == {}
    with open(versionlock, "w", encoding="utf-8") as handle:
        handle.write(f"a-0:1-1.*\n{LOCKED}")
    assert driver_pins.unwanted_files("dnf") == {versionlock: text_files.of("a-0:1-1.*\n")}
