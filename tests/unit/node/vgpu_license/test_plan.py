"""What is to be done about a licence follows from what was seen, and from nothing else."""

from __future__ import annotations

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import gridd
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.steps import sentences
from ansible_collections.gpunode.stack.plugins.module_utils._node.system.text_files import OnDisk
from ansible_collections.gpunode.stack.plugins.module_utils._node.vgpu_license import plan
from ansible_collections.gpunode.stack.plugins.module_utils._node.vgpu_license.observe import Seen

UNIT = gridd.UNIT
TEXT = f"{plan.MARK}FeatureType=1\n"
WANTED = {"configuration": TEXT, "token": {"name": "a.tok", "sha256": "0"}}
OURS, OTHERS = (f"{gridd.TOKENS}/{name}.tok" for name in "ab")
# As a run leaves it.
RESTS = Seen(
    unit={"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled"},
    own_kernel=True,
    is_up=True,
    unlicensed=[],
    tokens=[OURS],
    there={OURS: OnDisk("token", 0o744), gridd.CONFIGURATION: OnDisk(TEXT)},
    newer=[],
)


def no_program(_argv, **_options):
    raise AssertionError("a plan runs nothing")


def planned(**changes):
    return plan.present(WANTED, "token", RESTS._replace(**changes), no_program)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, []),
        ({"unlicensed": ["0000:3b:00.0"]}, [f"restart {UNIT}"]),
        ({"newer": [OURS]}, [f"restart {UNIT}"]),
        ({"newer": [OURS], "is_up": False}, []),
        ({"unit": {**RESTS.unit, "ActiveState": "failed"}}, [f"restart {UNIT}"]),
        ({"unit": {**RESTS.unit, "UnitFileState": "disabled"}}, [f"enable {UNIT}"]),
        (
            {"there": {}, "tokens": []},
            [f"write {OURS}", f"write {gridd.CONFIGURATION}", f"restart {UNIT}"],
        ),
        (
            {"tokens": [OURS, OTHERS], "there": {**RESTS.there, OTHERS: OnDisk("other", 0o744)}},
            [f"remove {OTHERS}", f"restart {UNIT}"],
        ),
    ],
)
def test_what_is_not_as_wanted_is_brought_to_it(changes, said):
    assert sentences(planned(**changes).steps) == said


def test_only_files_with_which_there_was_a_licence_are_put_back():
    there = {**RESTS.there, gridd.CONFIGURATION: OnDisk("FeatureType=2\n", 0o600)}
    before = planned(there=there).before
    assert {path: (file.text, file.mode) for path, file in before.items()} == {
        gridd.CONFIGURATION: ("FeatureType=2\n", 0o600)
    }
    assert planned(there=there, unlicensed=["0000:3b:00.0"]).before == {}


def test_without_the_daemons_unit_nothing_is_begun():
    plan.refuse(RESTS)
    with pytest.raises(Refusal, match="no such unit"):
        plan.refuse(RESTS._replace(unit={}))


@pytest.mark.parametrize("is_running", [True, False])
def test_what_is_ours_goes_while_the_daemon_does_not_run(is_running):
    steps = plan.absent(RESTS._replace(own_kernel=is_running), no_program).steps
    going = [f"remove {OURS}", f"remove {gridd.CONFIGURATION}"]
    stopped = [f"stop {UNIT}", *going, f"start {UNIT}"]
    assert sentences(steps) == (stopped if is_running else going)
    others = {**RESTS.there, gridd.CONFIGURATION: OnDisk("FeatureType=1\n")}
    assert plan.absent(RESTS._replace(there=others), no_program).steps == []
