"""Which packages bring a driver to a host of Ubuntu: of one kind, and of a version handed out."""

from __future__ import annotations

import copy

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.component.bring import Node
from ansible_collections.gpunode.stack.plugins.module_utils._node.nvidia_driver import (
    wanted_packages,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.nvidia_driver.target import Target
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system.root import Root
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import wanted_state
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.stack import case

UBUNTU = {
    "distribution": "Ubuntu",
    "distribution_version": "24.04",
    "gpus": [{"address": "0000:3b:00.0", "driver": "", "architecture": "ampere"}],
}
OLD, NEW = "580.95.05-0ubuntu0.24.04.1", "580.126.20-0ubuntu0.24.04.1"
EITHER = [
    *("libnvidia-cfg1-580-server", "libnvidia-compute-580-server", "nvidia-utils-580-server"),
    *("nvidia-compute-utils-580-server", "nvidia-kernel-common-580-server"),
]
# The first of their dependencies alone is named in the catalog.
OF_KIND = [
    *("nvidia-headless-580-server", "nvidia-headless-no-dkms-580-server"),
    *("nvidia-dkms-580-server", "nvidia-kernel-source-580-server"),
]
KINDS = {"proprietary": OF_KIND, "open": [f"{name}-open" for name in OF_KIND]}


def packages_of(kind):
    variables = {"gpunode_stack": "r580", "gpunode_driver_modules": kind}
    wanted = wanted_state.Site(variables, "/").wanted("nvidia_driver")
    host = Node(Root("/nonexistent"), lambda: {}, None, None)
    target = Target(wanted, {**copy.deepcopy(case.EMPTY), **UBUNTU})
    return wanted_packages.WantedPackages(target, host)


def offered(*versions):
    return {name: list(versions) for name in [*EITHER, *KINDS["open"], *KINDS["proprietary"]]}


@pytest.mark.parametrize(("before", "kind"), [("open", "proprietary"), ("proprietary", "open")])
def test_packages_of_both_kinds_are_never_asked_for_together(before, kind):
    packages = packages_of(kind)
    there = dict.fromkeys([*EITHER, *KINDS[before]], OLD)
    choice, _archives = packages.choice(there, offered(OLD), {})
    assert set(choice.packages) & set(KINDS[before]) == set()
    assert choice.superseded == sorted(KINDS[before])
    assert packages.replaced(there, {}) == sorted(KINDS[before])


def test_what_serves_either_kind_stays_and_what_serves_one_is_not_in_place_beside_the_other():
    packages = packages_of("open")
    there = dict.fromkeys([*EITHER, *KINDS["open"]], OLD)
    assert packages.are_in_place(there)
    assert not packages.are_in_place({**there, "nvidia-dkms-580-server": OLD})


def test_a_version_that_the_archive_stopped_is_passed_over_and_told():
    packages, stopped = packages_of("open"), {name: [NEW] for name in offered()}
    offers = offered(NEW, OLD)
    choice, _archives = packages.choice({}, offers, stopped)
    assert choice.driver == "580.95.05"
    assert packages.passed_over(offers, stopped) == "580.126.20"
    # A newer one is handed out.
    newest = "580.159.03-0ubuntu0.24.04.1"
    assert packages.passed_over(offered(newest, NEW, OLD), stopped) == ""
    assert packages.passed_over(offers, {}) == ""


def test_where_the_archive_has_but_a_version_that_it_stopped_there_is_none():
    packages = packages_of("open")
    with pytest.raises(Refusal, match=r"the archive stopped 580\.126\.20"):
        packages.choice({}, offered(NEW), {name: [NEW] for name in offered()})


def test_a_version_that_is_installed_stays_whole_though_the_archive_stopped_it():
    packages = packages_of("open")
    there = dict.fromkeys(["nvidia-headless-580-server-open", "nvidia-dkms-580-server-open"], NEW)
    choice, _archives = packages.choice(
        there, offered(NEW, OLD), {"nvidia-utils-580-server": [NEW]}
    )
    assert choice.packages["nvidia-utils-580-server"] == NEW
