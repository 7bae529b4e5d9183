"""The driver by packages on families that no lab has: what would be done there, and written."""

from __future__ import annotations

import copy
import subprocess

import pytest
from trees import planted

from ansible_collections.gpunode.stack.plugins.module_utils._node.component.bring import Node
from ansible_collections.gpunode.stack.plugins.module_utils._node.nvidia_driver import by_packages
from ansible_collections.gpunode.stack.plugins.module_utils._node.nvidia_driver.target import Target
from ansible_collections.gpunode.stack.plugins.module_utils._node.packages import package_manager
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import wanted_state
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.stack import case

KERNEL = {"release": "5.14.0-503.el9.x86_64", "headers": False, "running": True, "next": True}
AMPERE = {"address": "0000:3b:00.0", "driver": "", "architecture": "ampere"}
ENTERPRISE = {
    "distribution": "Rocky",
    "distribution_major_version": "9",
    "distribution_version": "9.4",
    "distribution_release": "Blue Onyx",
    "pkg_mgr": "dnf",
    "kernels": [KERNEL],
    "gpus": [AMPERE],
}
UBUNTU = {
    "distribution": "Ubuntu",
    "distribution_major_version": "24",
    "distribution_version": "24.04",
    "distribution_release": "noble",
    "pkg_mgr": "apt",
    "kernels": [{**KERNEL, "release": "6.8.0-40-generic", "headers": True}],
    "gpus": [AMPERE],
}
NOBLE = """\
Types: deb
URIs: http://archive.ubuntu.com/ubuntu
Suites: noble noble-updates
Components: main universe restricted multiverse
Signed-By: /usr/share/keyrings/ubuntu-archive-keyring.gpg
"""


def method(root, facts, files=None, answers=None, **variables):
    """Return the ByPackages of a host, of which nothing is asked from then on."""
    state = wanted_state.Site({"gpunode_stack": "r580", **variables}, "/").wanted("nvidia_driver")
    facts = {**copy.deepcopy(case.EMPTY), **facts}

    def execute(argv, _environment):
        raise AssertionError(f"{argv} ran before it was due")

    def run(argv, **_options):
        asked = [] if argv[0] == "dpkg-query" else argv[argv.index("--whatprovides") + 1 :]
        says = "".join(f"no package provides {name}\n" for name in asked)
        return subprocess.CompletedProcess(argv, len(asked), says, "")

    tree = planted(root, files, answers=answers)
    host = Node(tree, lambda: facts, execute, run)
    return by_packages.of_host(Target(state, facts), host)


@pytest.fixture
def dnf(monkeypatch):
    monkeypatch.setattr(package_manager, "managers_own", package_manager.Dnf)


@pytest.fixture
def apt(monkeypatch):
    monkeypatch.setattr(package_manager, "managers_own", package_manager.Apt)


def sentences(*phases):
    return [says for steps in phases for says, _action in steps]


DEVEL = "kernel-devel-5.14.0-503.el9.x86_64"


def test_enterprise_linux_takes_exact_packages_and_what_holds_them(tmp_path, dnf):
    found = method(tmp_path, ENTERPRISE, answers={"dnf": f"{DEVEL}\n"})
    assert sentences(
        found.preparing(), found.building(), found.exchanging(), found.finishing()
    ) == [
        "write /etc/yum.repos.d/gpunode-nvidia.repo, "
        "write /etc/pki/rpm-gpg/RPM-GPG-KEY-gpunode-nvidia",
        f"install {DEVEL}",
        "install dkms, python3-dnf-plugin-versionlock",
        "fetch kmod-nvidia-open-dkms, nvidia-driver-cuda, nvidia-persistenced",
        "build the open modules of branch 580 for kernel 5.14.0-503.el9.x86_64",
        "install kmod-nvidia-open-dkms, nvidia-driver-cuda, nvidia-persistenced of branch 580",
        "hold the packages by /etc/dnf/plugins/versionlock.list",
    ]
    text = found._seen.sources["/etc/yum.repos.d/gpunode-nvidia.repo"].text
    assert "baseurl=https://developer.download.nvidia.com/compute/cuda/repos/rhel9/x86_64/\n" in (
        text
    )
    assert "gpgcheck=1\n" in text


def test_the_proprietary_modules_have_a_package_of_their_own(tmp_path, dnf):
    said = {"gpunode_driver_modules": "proprietary"}
    found = method(tmp_path, ENTERPRISE, answers={"dnf": f"{DEVEL}\n"}, **said)
    assert "install kmod-nvidia-latest-dkms" in sentences(found.exchanging())[0]


@pytest.mark.parametrize(
    ("taken", "again"),
    [
        (["nvidia-modprobe"], ["install nvidia-modprobe of 580.95.05 again"]),
        (
            ["nvidia-modprobe", "libnvidia-ml"],
            ["install libnvidia-ml, nvidia-modprobe of 580.95.05 again"],
        ),
        ([], []),
    ],
)
def test_what_was_taken_from_below_packages_comes_again_and_stays_held(
    tmp_path, dnf, monkeypatch, taken, again
):
    there = ["kmod-nvidia-open-dkms", "nvidia-driver-cuda", "nvidia-persistenced"]
    version = "3:580.95.05-1.el9"
    kept = dict.fromkeys([*there, *taken], version)
    monkeypatch.setattr(
        by_packages.package_archives,
        "kept_versions",
        lambda driver, _manager: kept if driver == "580.95.05" else {},
    )
    rows = "".join(f"{name}\t{version}\n" for name in there)
    found = method(tmp_path, ENTERPRISE, {"/var/lib/rpm/rpmdb.sqlite": ""}, {"rpm": rows})
    steps = [words for words in sentences(found.finishing()) if "again" in words]
    assert steps == again
    (pins,) = found._seen.pins.values()
    assert all(f"{name}-3:580.95.05-1.el9" in pins.text for name in taken)


def test_the_other_kind_of_modules_gives_way(tmp_path, dnf):
    rows = "".join(
        f"{name}\t3:580.95.05-1.el9\n" for name in ("kmod-nvidia-latest-dkms", "nvidia-driver-cuda")
    )
    files = {"/var/lib/rpm/rpmdb.sqlite": ""}
    said = {"gpunode_driver_modules": "open", "nvidia_driver_persistence": False}
    found = method(tmp_path, ENTERPRISE, files, {"rpm": rows}, **said)
    assert sentences(found.exchanging()) == [
        "install kmod-nvidia-open-dkms, nvidia-driver-cuda of branch 580 "
        "in place of kmod-nvidia-latest-dkms"
    ]


@pytest.mark.parametrize(("version", "exchanges"), [("580.95.05", False), ("570.133.20", True)])
def test_a_host_that_was_set_up_by_a_stream_is_taken_as_it_is(tmp_path, dnf, version, exchanges):
    names = ("nvidia-driver", "nvidia-driver-cuda", "kmod-nvidia-open-dkms")
    found = method(
        tmp_path,
        ENTERPRISE,
        {"/var/lib/rpm/rpmdb.sqlite": ""},
        {"rpm": "".join(f"{name}\t3:{version}-1.el9\n" for name in names)},
        nvidia_driver_persistence=False,
    )
    assert (found.version, found.exchanges) == (version, exchanges)
    assert not exchanges or sentences(found.exchanging()) == [
        "install kmod-nvidia-open-dkms, nvidia-driver-cuda of branch 580 "
        "in place of driver 570.133.20"
    ]


def test_ubuntu_takes_its_server_packages_from_its_own_archive(tmp_path, apt):
    files = {"/etc/apt/sources.list.d/ubuntu.sources": NOBLE}
    found = method(tmp_path, UBUNTU, files)
    assert sentences(found.preparing(), found.building(), found.exchanging()) == [
        "install dkms",
        "fetch nvidia-headless-580-server-open, nvidia-utils-580-server",
        "build the open modules of branch 580 for kernel 6.8.0-40-generic",
        "install nvidia-headless-580-server-open, nvidia-utils-580-server of branch 580",
    ]


def test_a_mirror_of_nvidias_repository_is_where_a_host_of_enterprise_linux_goes(tmp_path, dnf):
    said = {"nvidia_driver_repository_url": "https://mirror.example.com/cuda"}
    found = method(tmp_path, ENTERPRISE, **said)
    text = found._seen.sources["/etc/yum.repos.d/gpunode-nvidia.repo"].text
    assert "baseurl=https://mirror.example.com/cuda/\n" in text
    assert "gpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-gpunode-nvidia\n" in text
