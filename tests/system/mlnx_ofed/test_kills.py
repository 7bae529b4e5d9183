"""Runs that are cut, killed or doubled while they exchange MLNX_OFED."""

from __future__ import annotations

import pytest

from lab import kernel
from standins import mlnx_ofed
from system import cut_runs
from system.mlnx_ofed.rdma_image import FIRST, KEPT, SECOND, Rdma
from system.nvidia_driver import driver_runs

pytestmark = [pytest.mark.lab, pytest.mark.slow]

NODE = "node1"
LOCK_S = 60
# How far a run has come, in its order.
PLACES = {
    "unpacking": "ls -d /var/tmp/gpunode-mlnx_ofed-VERSION",
    "before the first package": f"test -e {KEPT}/at-work",
    "uninstalled": f"test -s {mlnx_ofed.STATE}/uninstall",
    "building": "ls -d /var/lib/dkms/mlnx-ofed-kernel/*/build",
    "modules built": "ls -d /var/lib/dkms/mlnx-ofed-kernel/DKMS/*/*/module",
    "installed": "ofed_info -s | grep VERSION",
    "all there": f"test -e {KEPT}/VERSION.tgz",
}


@pytest.fixture(scope="module")
def node(lab, tmp_path_factory):
    with kernel.on_fresh(lab, NODE):
        yield Rdma(lab, NODE, tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def undisturbed(node):
    """{version: what the node is like with it}, after the other one."""
    found = {}
    for version in (FIRST, SECOND, FIRST):
        node.converged(**node.said(version))
        found[version] = state(node)
    return found


def state(node):
    """Return what a node is like, as lines of which a difference tells."""
    found = {"package": node.packages(), "module of": node.cores()}
    rows = {f"{what} {name} {row}" for what in found for name, row in found[what].items()}
    return {*node.fingerprint(), *rows, *node.says("dpkg --audit").splitlines()}


def upcoming(node):
    """Return the version that the node has not."""
    return SECOND if FIRST in node.version() else FIRST


def killed(node, version, place, way):
    """Run site.yml, and end it when it has come to a place."""
    node.asked_of("uninstall")
    dkms = mlnx_ofed.versions(version)["kernel"].partition("-")[0]
    reached = PLACES[place].replace("VERSION", version).replace("DKMS", dkms)
    cut_runs.killed(node, reached, way, *node.arguments(**node.said(version)))


@pytest.mark.parametrize(
    ("way", "place"),
    [
        *(("host", place) for place in PLACES),
        ("module", "uninstalled"),
        ("controller", "building"),
    ],
)
def test_a_run_that_is_cut_off_is_brought_to_its_end_by_the_next_one(node, undisturbed, way, place):
    version = upcoming(node)
    killed(node, version, place, way)
    planned = node.converge("--check", **node.said(version))
    assert planned.status == 0, planned.messages()
    changes = node.converged(**node.said(version))
    if way == "host":
        # What still ran has come to its end meanwhile, else.
        assert planned.changes(NODE) == changes
    assert state(node) ^ undisturbed[version] == set()
    assert (
        node.says("ls -d /var/tmp/gpunode-* 2>/dev/null; ls --ignore=code /var/cache/gpunode") == ""
    )
    assert node.rests(**node.said(version))


def test_after_a_run_that_was_cut_off_the_version_before_comes_back_where_it_is_wanted(
    node, undisturbed
):
    before, version = (FIRST, SECOND) if FIRST in node.version() else (SECOND, FIRST)
    killed(node, version, "installed", "host")
    node.converged(**node.said(before))
    assert state(node) ^ undisturbed[before] == set()
    assert node.rests(**node.said(before))


def test_two_runs_at_once_take_turns(node, undisturbed):
    version = upcoming(node)
    runs = [cut_runs.begun(*node.arguments(**node.said(version))) for _number in range(2)]
    told = [run.communicate(timeout=300)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], "\n".join(told)
    assert state(node) ^ undisturbed[version] == set()


def test_a_lock_of_packages_that_is_held_is_waited_for(node, undisturbed):
    version = upcoming(node)
    node.says(driver_runs.hold_lock(LOCK_S))
    node.converged(**node.said(version))
    assert node.says("test -e /run/released && echo it was waited for")
    assert state(node) ^ undisturbed[version] == set()
