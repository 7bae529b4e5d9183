"""Nodes that are shaped as another distribution, asked for by the names of shapes."""

from __future__ import annotations

import pytest

from lab import commands, shapes
from lab.errors import LabError
from lab.node import Lab

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    lab = Lab(tmp_path_factory.mktemp("shapes") / "checkout")
    lab.paths.checkout.mkdir()
    lab.up(1)
    yield lab
    commands.down(lab)
    lab.remove()


def told(lab, node, command):
    done = lab.ssh(node, command)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def boots(lab):
    return [told(lab, node.name, "cat /proc/sys/kernel/random/boot_id") for node in lab.nodes]


def test_the_lab_has_as_many_nodes_as_are_named_each_in_its_shape(own):
    commands.up(own, names=["debian", "el9"])
    found = [told(own, node.name, ". /etc/os-release; echo $ID") for node in own.nodes]
    assert found == ["debian", "rocky"]
    # What has even numbers is of another Debian, on which no such node can lie.
    assert "el9 on Debian bookworm" in commands.status(own)[1]


def test_they_stay_as_they_are_whoever_asks_for_no_other(own):
    before = boots(own)
    for names in (["debian", "el9"], None):
        commands.up(own, names=names)
        assert boots(own) == before


def test_one_that_was_off_is_given_no_sources_of_its_debian(own):
    own.stop("node2")
    own.start("node2")
    assert told(own, "node2", "test ! -e /etc/apt && rpm -q kernel-core")


def test_a_node_becomes_debian_again_where_nobody_asks_for_its_shape(own):
    commands.up(own, names=["debian"])
    assert told(own, "node2", ". /etc/os-release; echo $VERSION_CODENAME") == "trixie"


@pytest.mark.parametrize("names", [["el7"], ["debian", "Ubuntu24.04"]])
def test_a_name_that_is_not_known_leaves_the_lab_as_it_is(own, names):
    before = boots(own)
    with pytest.raises(LabError, match="are known") as refused:
        commands.up(own, names=names)
    assert repr(names[-1]) in str(refused.value)
    assert boots(own) == before


def test_more_names_than_nodes_are_refused(own):
    with pytest.raises(LabError, match="3 nodes are to be el9, el9, el9, and 2 are asked"):
        commands.up(own, 2, names=["el9"] * 3)


@pytest.mark.slow
@pytest.mark.parametrize("shape", shapes.SHAPES)
def test_a_node_of_each_shape_boots_and_has_its_kernel_and_package_manager(own, shape):
    release = shapes.fresh(own, "node1", shape)
    assert told(own, "node1", "ls -d /lib/modules/*").split() == [f"/lib/modules/{release}"]
    manager = "apt-get" if shape.startswith("ubuntu") else "dnf"
    assert manager in told(own, "node1", f"command -v {manager}; {manager} --version")
