"""What is to be done about environments, from what is there: no file is read, nothing runs."""

from __future__ import annotations

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node import steps
from ansible_collections.gpunode.stack.plugins.module_utils._node.conda_env import plan
from ansible_collections.gpunode.stack.plugins.module_utils._node.conda_env.builder import Builder
from ansible_collections.gpunode.stack.plugins.module_utils._node.conda_env.observe import (
    Build,
    Environment,
    Leaving,
    Seen,
)

FOLDER = "/no/such/envs"
TARGET = "web-0123456789ab"
PREFIX, OLD, OLDER = (f"{FOLDER}/web-{digits}" for digits in ("0123456789ab", "a" * 12, "b" * 12))
WEB = {
    "name": "web",
    "prefix": PREFIX,
    "link": f"{FOLDER}/web",
    "lock": [{"name": "python", "version": "3.11.7", "build": "h_0"}],
    "dists": [],
    "imports": [],
}
WANTED = {
    "dir": FOLDER,
    "keep": 1,
    "environments": [WEB],
    "absent": [],
    "remove_dir": False,
    "conda": "/no/such/conda",
    "pip_config": "",
}


class Contents:
    """What is in a build: what it lacks."""

    def __init__(self, *lacking):
        self.lacking = lacking

    def is_as_wanted(self):
        return not self.lacking

    def sentences(self):
        return [f"install {name}" for name in self.lacking]

    def labels(self):
        return ["some=1=0"]


FINISHED = Environment("conda", Contents(), True, TARGET, False, None, [])
FREE = Environment("free", None, False, None, False, None, [])
AT_REST = Seen([], True, True, "", frozenset(), {"web": FINISHED}, {}, [])


def planned(seen, wanted=None):
    def asked(*_arguments, **_options):
        raise AssertionError("nothing is to be asked")

    wanted = wanted or WANTED
    return plan.plan(wanted, seen, Builder(wanted, asked), asked)


def sentences(seen, wanted=None):
    found = planned(seen, wanted)
    said = steps.sentences(found.preparing), steps.sentences(found.switching)
    return tuple([says.replace(f"{FOLDER}/", "") for says in part] for part in said)


def here(**changes):
    return AT_REST._replace(environments={"web": FINISHED._replace(**changes)})


def test_at_rest_there_is_nothing_to_do():
    assert planned(AT_REST) == ([], [], [])


def test_a_bare_host_gets_packages_folder_build_and_link_in_order():
    seen = Seen(["libgl1", "libsm6"], False, False, "", frozenset(), {"web": FREE}, {}, [])
    assert sentences(seen) == (
        [
            "install libgl1",
            "install libsm6",
            f"create {FOLDER}",
            f"build environment web (1 packages, 0 distributions) in {TARGET}",
        ],
        [f"point web to {TARGET}"],
    )


@pytest.mark.parametrize(
    ("seen", "preparing", "switching"),
    [
        (AT_REST._replace(is_open=False), [f"give {FOLDER} to root, readable by all"], []),
        (here(contents=Contents("a", "b"), is_recorded=False), ["install a", "install b"], []),
        (here(is_recorded=False), [f"write {TARGET}/.gpunode.lock"], []),
        (here(link="elsewhere"), [], [f"point web to {TARGET}"]),
        (
            here(verdict="unfinished", contents=None),
            [f"build environment web (1 packages, 0 distributions) in {TARGET}"],
            [],
        ),
    ],
)
def test_each_damage_has_its_own_repair_and_nothing_else(seen, preparing, switching):
    assert sentences(seen) == (preparing, switching)


def test_a_build_is_compared_with_the_one_that_it_replaces():
    env = FREE._replace(link=OLD, serving=OLD, serving_labels=["pip=26=0", "python=3.10=0"])
    found = planned(AT_REST._replace(environments={"web": env}))
    assert "(1 packages, 0 distributions, 1 changed, 1 removed)" in found.preparing[0].sentence
    (shown,) = found.diff
    assert (shown["before_header"], shown["after_header"]) == (OLD, PREFIX)
    assert (shown["before"], shown["after"]) == (
        "pip=26=0\npython=3.10=0\n",
        "python=3.11.7=h_0\n",
    )


@pytest.mark.parametrize(
    ("keep", "serving", "removed"),
    [(0, None, ["a", "b"]), (1, None, ["b"]), (1, OLDER, ["a"]), (2, None, [])],
)
def test_the_builds_that_served_last_are_kept(keep, serving, removed):
    earlier = [Build(OLDER, True, 1, False), Build(OLD, True, 2, False)]
    seen = here(serving=serving)._replace(earlier=earlier)
    _preparing, switching = sentences(seen, {**WANTED, "keep": keep})
    assert switching == [f"remove web-{digit * 12}" for digit in removed]


def test_what_is_used_stays_and_what_was_never_finished_goes():
    earlier = [
        Build(OLD, False, 1, False),
        Build(OLDER, True, 2, True),
        Build(f"{FOLDER}/web-{'c' * 12}", False, 3, True),
    ]
    _preparing, switching = sentences(AT_REST._replace(earlier=earlier), {**WANTED, "keep": 0})
    assert switching == [f"remove unfinished web-{'a' * 12}"]


GOING = {
    **WANTED,
    "environments": [],
    "absent": [{"name": "web", "link": f"{FOLDER}/web", "dir": FOLDER}],
    "remove_dir": True,
}


@pytest.mark.parametrize("beside", [[], [f"{FOLDER}/precious"]])
def test_the_folder_goes_with_the_last_environment_unless_something_lies_beside_it(beside):
    seen = Seen(
        *([], True, True, "", frozenset([OLD, f"{FOLDER}/web", *beside])),
        *({}, {"web": Leaving([OLD], True, {})}, []),
    )
    preparing, switching = sentences(seen, GOING)
    assert preparing[:2] == [f"remove web-{'a' * 12}", "remove web"]
    assert preparing[2:] == ([] if beside else [f"remove {FOLDER}"])
    assert switching == []


@pytest.mark.parametrize(
    ("seen", "because"),
    [
        (here(verdict="foreign", contents=None), "holds something else"),
        (here(is_blocked=True, link=None), "is not a link"),
        (
            AT_REST._replace(leaving={"old": Leaving([OLD], True, {OLD: "process cat (pid 7)"})}),
            "process cat (pid 7) lives in",
        ),
    ],
)
def test_what_stands_in_the_way_is_told(seen, because):
    (refusal,) = plan.obstacles(WANTED, seen)
    assert because in str(refusal)
    assert plan.obstacles(WANTED, AT_REST) == []
