"""Modules that Ubuntu has built: who has them, which packages bring them, and what gives way."""

from __future__ import annotations

import copy
import subprocess

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node import steps
from ansible_collections.gpunode.stack.plugins.module_utils._node.component.bring import Node
from ansible_collections.gpunode.stack.plugins.module_utils._node.nvidia_driver import (
    by_packages,
    pins,
    prebuilt,
    wanted_packages,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.nvidia_driver.target import Target
from ansible_collections.gpunode.stack.plugins.module_utils._node.packages import package_manager
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system.root import Root
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import wanted_state
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.stack import case

KERNEL, NEXT = "6.8.0-45-generic", "6.8.0-47-generic"
OLD, NEW = "580.95.05", "580.126.20"
STEM = "linux-modules-nvidia-580-server-open"
PLAIN = "linux-modules-nvidia-580-server"
ENROLLED = {"enabled": True, "key": "/var/lib/dkms/mok.pub", "key_enrolled": True}
NAMES = ["nvidia-headless-no-dkms-580-server-open", "nvidia-utils-580-server"]


def kernel(release, **row):
    return {"release": release, "running": False, "next": False, "headers": False, **row}


def record(name, version, driver, needs=""):
    """Return what apt-cache show says of a package of modules."""
    return (
        f"Package: {name}\nVersion: {version}\nDepends: {needs}nvidia-kernel-common-580-server "
        f"(<= {driver}-1), nvidia-kernel-common-580-server (>= {driver})\n\n"
    )


def of_kernel(release, driver, version, stem=STEM):
    objects = stem.replace("modules", "objects", 1)
    return record(
        f"{stem}-{release}", version, driver, f"{objects}-{release} (= {version}), linux-image-x, "
    )


def following(release, driver, version, stem=STEM):
    return record(f"{stem}-generic", version, driver, f"{stem}-{release} (= {version}), ")


class Ubuntu:
    """A host of Ubuntu 24.04 with a kernel.

    :ivar shows: what apt-cache show says of all packages there are.
    :ivar packages: {name: version} of those that are installed.
    """

    def __init__(self, root):
        self.root = root
        self.shows = ""
        self.packages = {"linux-image-generic": "6.8.0-45.45"}
        self.facts = {
            **copy.deepcopy(case.EMPTY),
            "distribution": "Ubuntu",
            "distribution_version": "24.04",
            "pkg_mgr": "apt",
            "kernels": [kernel(KERNEL, running=True, next=True)],
            "gpus": [{"address": "0000:3b:00.0", "driver": "", "architecture": "ampere"}],
        }

    def run(self, argv, **_options):
        blocks = [block for block in self.shows.split("\n\n") if f"Package: {argv[-1]}\n" in block]
        is_asked = argv[:2] == ["apt-cache", "show"]
        said = "\n\n".join(blocks) if is_asked else ""
        return subprocess.CompletedProcess(argv, 0, said.encode(), b"")

    def target(self, **variables):
        said = {"gpunode_stack": "r580", "gpunode_driver_modules": "open", **variables}
        return Target(wanted_state.Site(said, "/").wanted("nvidia_driver"), self.facts)

    @property
    def host(self):
        status = self.root / "var/lib/dpkg/status"
        status.parent.mkdir(parents=True, exist_ok=True)
        status.write_text(
            "\n".join(
                f"Package: {name}\nStatus: install ok installed\nVersion: {version}\n"
                for name, version in self.packages.items()
            )
        )
        return Node(Root(str(self.root), self.run), lambda: self.facts, None, self.run)

    def wanted(self, **variables):
        return wanted_packages.WantedPackages(self.target(**variables), self.host)


@pytest.fixture
def ubuntu(tmp_path):
    made = Ubuntu(tmp_path)
    made.shows = of_kernel(KERNEL, OLD, "6.8.0-45.45+1") + following(KERNEL, OLD, "6.8.0-45.45+1")
    return made


@pytest.fixture
def secured(ubuntu):
    """The same under Secure Boot, whose firmware does not know a key of the host."""
    ubuntu.facts["secure_boot"]["enabled"] = True
    return ubuntu


def test_a_host_that_has_them_keeps_them(ubuntu):
    assert ubuntu.wanted().prebuilt is None
    ubuntu.packages[f"{PLAIN}-{KERNEL}"] = "6.8.0-45.45+1"
    packages = ubuntu.wanted()
    assert (packages.names, packages.prebuilt.why) == (NAMES, "the host has such modules")


def test_under_secure_boot_they_come_unless_a_key_of_the_host_is_known(secured):
    packages = secured.wanted()
    assert packages.names == NAMES
    assert "Secure Boot is on" in packages.prebuilt.why
    secured.facts["secure_boot"].update(ENROLLED)
    assert secured.wanted().prebuilt is None


def test_where_a_kernel_is_offered_none_dkms_builds_them_for_all(secured):
    secured.facts["kernels"].append(kernel(NEXT, headers=True))
    assert secured.wanted().prebuilt is None
    secured.shows += of_kernel(NEXT, OLD, "6.8.0-47.47+1")
    assert set(secured.wanted().prebuilt.kernels) == {KERNEL, NEXT}


def test_a_host_that_has_them_for_all_kernels_keeps_them_though_none_are_offered(ubuntu):
    ubuntu.shows = ""
    ubuntu.packages[f"{STEM}-{KERNEL}"] = "6.8.0-45.45+1"
    assert ubuntu.wanted().prebuilt is None
    path = f"/lib/modules/{KERNEL}/kernel/nvidia-580srv-open/nvidia.ko"
    module = {"name": "nvidia", "path": path, "version": OLD, "open": True, "kernel": KERNEL}
    ubuntu.facts["driver"]["modules"] = [module]
    assert ubuntu.wanted().names == NAMES
    assert ubuntu.wanted(gpunode_stack="r595").prebuilt is None


def test_a_host_without_a_kernel_has_none(secured):
    secured.facts["kernels"] = []
    assert secured.wanted().prebuilt is None


def test_what_is_linked_to_another_rdma_core_is_built_here(secured):
    secured.facts["peer_memory"]["headers"] = "/usr/src/ofa_kernel/default"
    assert secured.wanted(gpunode_peer_memory_route="nvidia_peermem").prebuilt is None


def test_modules_are_those_of_the_driver_and_the_metapackage_brings_no_further_kernel(secured):
    secured.shows += of_kernel(KERNEL, NEW, "6.8.0-45.45+2")
    secured.shows += of_kernel(NEXT, NEW, "6.8.0-47.47+1") + following(NEXT, NEW, "6.8.0-47.47+1")
    found = secured.wanted().prebuilt
    objects = STEM.replace("modules", "objects", 1)
    assert found.packages(OLD) == dict.fromkeys(
        [f"{objects}-{KERNEL}", f"{STEM}-{KERNEL}", f"{STEM}-generic"], "6.8.0-45.45+1"
    )
    assert found.packages(NEW) == dict.fromkeys(
        [f"{objects}-{KERNEL}", f"{STEM}-{KERNEL}"], "6.8.0-45.45+2"
    )


def test_the_driver_is_the_newest_that_every_kernel_has_modules_of(secured):
    revision = "0ubuntu0.24.04.1"
    offers = {name: [f"{driver}-{revision}" for driver in (NEW, OLD)] for name in NAMES}
    choice, _archives = secured.wanted().choice({}, offers, {})
    assert choice.driver == OLD
    assert choice.packages[f"{STEM}-{KERNEL}"] == "6.8.0-45.45+1"
    assert choice.packages[NAMES[0]] == f"{OLD}-{revision}"


def test_what_builds_modules_or_brings_those_of_another_driver_gives_way(secured):
    there = {
        f"{STEM}-{KERNEL}": "6.8.0-45.45+1",
        f"{PLAIN}-{KERNEL}": "6.8.0-45.45+1",
        f"linux-modules-nvidia-550-server-open-{KERNEL}": "6.8.0-45.45",
        "nvidia-dkms-580-server-open": OLD,
        "nvidia-kernel-source-580-server-open": OLD,
    }
    given_up = set(there) - {f"{STEM}-{KERNEL}", "nvidia-kernel-source-580-server-open"}
    assert secured.wanted().of_other_kind(there) == given_up


def test_pins_leave_the_modules_free_to_follow_the_kernel(secured):
    packages = secured.wanted()
    there = {NAMES[1]: f"{OLD}-1", f"{STEM}-generic": "6.8.0-45.45+1"}
    assert pins.held(there, packages.family) == {NAMES[1]: f"{OLD}-1"}
    (file,) = pins.wanted_files("apt", there, OLD, packages.family).values()
    assert NAMES[1] in file.text
    assert STEM not in file.text


@pytest.mark.parametrize(
    ("name", "is_kernel"),
    [
        (f"{STEM}-{KERNEL}", False),
        (f"linux-modules-{KERNEL}", True),
        (f"linux-modules-extra-{KERNEL}", True),
        (f"linux-image-unsigned-{KERNEL}", True),
    ],
)
def test_modules_of_the_driver_are_no_kernel(name, is_kernel):
    assert bool(package_manager.Apt.kernel.fullmatch(name)) == is_kernel


def planned(ubuntu, monkeypatch):
    monkeypatch.setattr(package_manager, "managers_own", package_manager.Apt)
    source = ubuntu.root / "etc/apt/sources.list"
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text(
        "deb http://m/ubuntu noble main restricted universe multiverse\n"
        "deb http://m/ubuntu noble-updates main restricted universe multiverse\n"
        "deb http://m/ubuntu noble-security main restricted universe multiverse\n"
    )
    ubuntu.facts["distribution_release"] = "noble"
    return by_packages.of_host(ubuntu.target(nvidia_driver_persistence=False), ubuntu.host)


def test_the_plan_says_that_they_come_and_why_and_builds_nothing(secured, monkeypatch):
    found = planned(secured, monkeypatch)
    assert (found.builds, found.exchanges, found.can_serve(KERNEL)) == (False, True, True)
    todo = [*found.preparing(), *found.building(), *found.exchanging()]
    assert steps.sentences(todo) == [
        f"fetch {', '.join(NAMES)}",
        f"install {', '.join(NAMES)} of branch 580, with modules for kernel {KERNEL} that the "
        "distribution has built and signed: Secure Boot is on, and the firmware knows the key "
        "that they are signed with",
    ]


def test_a_kernel_that_arrives_gets_them_and_one_without_is_named_before(secured, monkeypatch):
    version = f"{OLD}-0ubuntu0.24.04.1"
    secured.packages.update(dict.fromkeys(NAMES, version))
    module = {
        "name": "nvidia",
        "path": "/x.ko",
        "version": OLD,
        "open": True,
        "signer": "Canonical",
    }
    secured.facts["driver"]["modules"] = [{**module, "kernel": KERNEL, "depends": []}]
    secured.facts["kernels"].append(kernel(NEXT, next=True))
    secured.shows += of_kernel(NEXT, OLD, "6.8.0-47.47+1")
    found = planned(secured, monkeypatch)
    assert not found.exchanges
    said = steps.sentences(found.finishing())
    assert said[0] == f"install the modules of {OLD} for kernel {NEXT}"
    secured.shows = of_kernel(KERNEL, NEW, "6.8.0-45.45+2") + of_kernel(NEXT, NEW, "6.8.0-47.47+1")
    with pytest.raises(Refusal, match=f"is offered for {NEW}"):
        planned(secured, monkeypatch).finishing()


def test_nothing_is_offered_where_apt_does_not_answer(ubuntu):
    ubuntu.shows = ""
    assert prebuilt.offered(ubuntu.host.tree, [STEM]) == {STEM: []}
