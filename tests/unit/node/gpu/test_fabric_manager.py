"""Fabric Manager: its version and the states of its unit."""

from __future__ import annotations

import pytest
from trees import planted

from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import fabric_manager

PROGRAM = {"/usr/bin/nv-fabricmanager": ""}
PACKAGE = {"name": "nvidia-fabricmanager-535", "version": "535.161.08-1"}


def test_the_program_tells_its_version(tmp_path):
    answers = {"nv-fabricmanager": "Fabric Manager version is : 535.161.08\n"}
    tree = planted(tmp_path, PROGRAM, answers=answers)
    facts = fabric_manager.survey(tree, [{**PACKAGE, "version": "1.2-1"}], {})
    assert facts["version"] == "535.161.08"


@pytest.mark.parametrize(
    ("name", "version", "told"),
    [
        ("nvidia-fabricmanager-535", "535.161.08-1", "535.161.08"),
        ("nvidia-fabricmanager-535", "535.161.08-0ubuntu1", "535.161.08"),
        ("nvidia-fabricmanager", "580.95.05-1", "580.95.05"),
        ("nvidia-fabric-manager", "570.133.20-1", "570.133.20"),
        ("nvidia-fabrics-manager", "580.95.05-1", ""),
        ("nvidia-fabricmanager", "3:550.54.14-1.el9", "550.54.14"),
        ("nvidia-fabricmanager", "rubbish", ""),
    ],
)
def test_the_package_tells_the_version_where_the_program_does_not(tmp_path, name, version, told):
    tree = planted(tmp_path, PROGRAM, answers={"nv-fabricmanager": b"\xff\x00"})
    rows = [{"name": "libcuda1", "version": "1.2"}, {"name": name, "version": version}]
    assert fabric_manager.survey(tree, rows, {})["version"] == told


@pytest.mark.parametrize(
    ("states", "active", "enabled"),
    [
        (("active", "enabled"), True, True),
        (("failed", "enabled"), False, True),
        (("active", "disabled"), True, False),
        (("inactive", ""), False, False),
        (("active", "enabled-runtime"), True, False),
        (("active", "linked-runtime"), True, False),
        (("active", "masked"), True, False),
        (("active", "alias"), True, True),
        (("inactive", "static"), False, True),
    ],
)
def test_the_states_of_the_unit_are_told(tmp_path, states, active, enabled):
    states = dict(zip(("ActiveState", "UnitFileState"), states, strict=True))
    facts = fabric_manager.survey(planted(tmp_path), (), states)
    assert facts == {"version": "", "active": active, "enabled": enabled}


def test_a_host_of_whose_unit_nothing_is_known_has_none(tmp_path):
    facts = fabric_manager.survey(planted(tmp_path), (), {})
    assert facts == {"version": "", "active": False, "enabled": False}


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("nvidia-fabricmanager-535", True),
        ("nvidia-fabricmanager", True),
        ("nvidia-fabric-manager", True),
        ("cuda-drivers-fabricmanager-535", True),
        ("libnvidia-nscq-535", True),
        ("nvidia-driver-cuda", False),
        ("libcuda1", False),
    ],
)
def test_what_may_lie_beside_a_run_file_is_told_by_its_name(name, is_one):
    assert fabric_manager.is_package(name) is is_one
