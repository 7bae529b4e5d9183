"""What may stay beside a .run: of every package of a driver, plan and node say the same."""

from __future__ import annotations

import copy

import pytest
import yaml
from combinations import BASES, facts_of
from trees import planted

from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import beside_runfile
from ansible_collections.gpunode.stack.plugins.module_utils._node.nvidia_driver import (
    by_runfile,
    fabric_packages,
    package_family,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.packages import stack_packages
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import project
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.inputs import catalog
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.stack import (
    case,
    selection,
    stack_catalog,
)

VERSION = "580.105.08"
_NAMES = project.ROOT / "tests" / "standins" / "packages" / "debian.yml"
DEBIAN = yaml.safe_load(_NAMES.read_text(encoding="utf-8"))
NAMES = sorted(
    {
        *(name for row in DEBIAN.values() for name in (*row["family"], *row["companions"])),
        *("libnvsdm", "libnvsdm-580", "nvlsm", "nvidia-imex-580", "nvidia-fabricmanager-580"),
        *("libnvidia-nscq-580", "nvidia-firmware-580", "nvidia-kernel-common-580", "nvidia-open"),
        *("kmod-nvidia-open-dkms", "nvidia-driver-cuda", "nvidia-kmod-common", "cuda-drivers"),
        *("nvidia-driver-pinning-580", "nvidia-driver-pinning-580.105.08"),
        # Of ELRepo, of RPM Fusion, and of negativo17 and NVIDIA's own repository for 7.
        *("kmod-nvidia", "nvidia-x11-drv", "nvidia-x11-drv-libs", "nvidia-x11-drv-470xx"),
        *("akmod-nvidia", "akmod-nvidia-470xx", "xorg-x11-drv-nvidia"),
        *("xorg-x11-drv-nvidia-cuda-libs", "dkms-nvidia", "nvidia-driver-NVML"),
    }
)
REPOSITORIES = {row["name"]: row for row in catalog.rows("repositories")}


@pytest.mark.parametrize(
    ("name", "is_so"),
    [
        ("libnvsdm", True),
        ("nvidia-detect", True),
        ("nvidia-legacy-check", True),
        ("nvidia-tesla-legacy-check", True),
        ("firmware-nvidia-gsp", True),
        ("firmware-nvidia-tesla-535-gsp", True),
        ("nvidia-firmware-580-580.105.08", True),
        ("nvlsm", True),
        ("nvidia-imex-580", True),
        ("nvidia-libXNVCtrl", True),
        ("nvidia-libXNVCtrl-devel", True),
        ("nvidia-driver-pinning-580.105.08", True),
        ("nvidia-driver-pinning-595", True),
        ("libnvidia-ml1", False),
        ("nvidia-smi", False),
        ("nvidia-kernel-dkms", False),
        ("nvidia-kernel-common-580", False),
        ("nvidia-alternative", False),
    ],
)
def test_a_package_without_a_driver_may_stay(name, is_so):
    assert beside_runfile.may_stay(name) is is_so


def is_mixed_by_plan(name, version):
    facts = copy.deepcopy(facts_of(BASES["debian12-h100-r580"]))
    facts["driver"]["runfile"] = VERSION
    row = {"name": name, "version": version, "offered": "", "offered_by_security": False}
    facts["packages"] = [row]
    known = stack_catalog.of_project()
    host = case.Case(selection.resolve({"stack": "r580"}, known), facts, known, [], "")
    return host.driver_there.methods == ["runfile", "package"]


def is_removed_by_node(name, version):
    family = package_family.of_unknown({"distribution": "Debian"}, REPOSITORIES)
    there = {name: version} if package_family.belongs(name, family) else {}
    if not there:
        family = package_family.of(REPOSITORIES, "ubuntu")
        there = {name: version} if package_family.belongs(name, family) else {}
    seen = by_runfile.Seen(
        there, {}, True, [], [], [], "", [], False, fabric_packages.Seen(None, None, {}, {})
    )
    return bool(seen.packages)


@pytest.mark.parametrize("name", NAMES)
def test_plan_and_node_agree_on_a_package_of_the_drivers_version(name):
    assert is_mixed_by_plan(name, f"{VERSION}-1") is is_removed_by_node(name, f"{VERSION}-1")


def test_the_facts_tell_of_each_of_them(tmp_path):
    block = "Package: {}\nStatus: install ok installed\nVersion: 580.105.08-1\n"
    tree = planted(tmp_path, {"/var/lib/dpkg/status": "\n".join(map(block.format, NAMES))})
    assert sorted(stack_packages.installed(tree)) == NAMES


@pytest.mark.parametrize(
    "name", sorted({name for row in DEBIAN.values() for name in row["companions"]})
)
def test_they_agree_on_one_that_has_a_version_of_its_own(name):
    assert not is_mixed_by_plan(name, "1.2.2")
    assert not is_removed_by_node(name, "1.2.2")


def test_with_a_driver_goes_all_that_came_with_it_but_fabric_manager():
    names = ["libnvidia-ml1", "nvidia-settings", "nvidia-detect", "nvidia-fabricmanager"]
    seen = by_runfile.Seen(
        dict.fromkeys(names, "1"),
        *({}, True, [], [], [], "", [], False),
        fabric_packages.Seen(None, None, {}, {}),
    )
    assert sorted(seen.packages) == ["libnvidia-ml1", "nvidia-detect", "nvidia-settings"]
