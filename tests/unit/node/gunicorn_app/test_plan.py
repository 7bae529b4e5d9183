"""What is to be done for an application, from what is there."""

from __future__ import annotations

import copy
import inspect

import pytest
from web_app import APP, PYTHON, RELEASE

from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app import (
    plan,
    service,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app.observe import (
    Releases,
    Seen,
)

TRY = f"try release {RELEASE} as a candidate"
CONVERGED = {
    "account": {"exists": True, "uid": 990, "home": "/srv/web", "shell": service.NOLOGIN},
    "has_group": False,
    "is_private": True,
    "releases": Releases("intact", RELEASE, [RELEASE], [RELEASE], []),
    "secrets": "as wanted",
    "units": APP["units"],
    "states": {
        unit: {"ActiveState": "active", "UnitFileState": "enabled", "NeedDaemonReload": "no"}
        for unit in APP["units"]
    },
    "is_taken": False,
    "listens": True,
    "socket_left": "",
    "unwanted_units": [],
    "restart": "",
    "repaired": False,
    "candidate_left": False,
    "folders_lacking": [],
    "drop_ins": {},
    "before": None,
}
VIRGIN = {
    "account": {"exists": False, "uid": -1, "home": "", "shell": ""},
    "has_group": False,
    "is_private": False,
    "releases": Releases("absent", None, [], [], []),
    "secrets": "as wanted",
    "units": {"web.socket": None, "web.service": None},
    "states": {"web.socket": {}, "web.service": {}},
    "is_taken": False,
    "listens": False,
    "socket_left": "",
    "unwanted_units": [],
    "restart": "its main process is gone",
    "repaired": False,
    "candidate_left": False,
    "folders_lacking": [],
    "drop_ins": {},
    "before": None,
}


def releases(**differences):
    """Return what is different on a converged host whose releases differ in something."""
    return {"releases": CONVERGED["releases"]._replace(**differences)}


def planned(app=None, keep=1, **seen):
    """Return the plan for a converged host on which something is different."""

    def asked(*_arguments, **_options):
        raise AssertionError("nothing is to be asked")

    return plan.plan(app or APP, Seen(**{**CONVERGED, **seen}), keep, plan.Means({}, {}, asked))


def changes(app=None, keep=1, **seen):
    """Return the sentences of that plan."""
    return [step.sentence for step in planned(app, keep, **seen).steps()]


def state(unit, **properties):
    states = copy.deepcopy(CONVERGED["states"])
    states[unit].update(properties)
    return states


def test_a_converged_host_needs_nothing():
    assert changes() == []


def test_the_unix_socket_of_an_earlier_address_goes_last():
    said = changes(listens=False, socket_left="/run/web/old.sock")
    assert said[-1] == "remove /run/web/old.sock"


def test_a_folder_of_data_that_lacks_is_made_once_there_is_a_user():
    said = changes(**{**VIRGIN, "folders_lacking": ["/srv/data"]})
    assert (
        said.index("create user web") < said.index("make /srv/data for user web") < said.index(TRY)
    )


def test_a_virgin_host_gets_everything_in_order():
    assert changes(**VIRGIN) == [
        "create user web",
        "make /srv/web/releases a folder that only root writes",
        f"unpack release {RELEASE}",
        TRY,
        "write /etc/systemd/system/web.socket",
        "write /etc/systemd/system/web.service",
        "reload systemd",
        "enable web.socket",
        "enable web.service",
        "listen on 0.0.0.0:9001 by web.socket",
        "start web.service",
        f"point /srv/web/current at {RELEASE}",
    ]


DAMAGE = {
    "release": (releases(state="changed"), [
        f"replace the changed release {RELEASE}",
        TRY,
        "restart web.service: its release is replaced",
    ]),
    "unit": ({"units": {**APP["units"], "web.service": "x"}}, [
        "write /etc/systemd/system/web.service", "reload systemd",
    ]),
    "forgotten reload": ({"states": state("web.service", NeedDaemonReload="yes")}, [
        "reload systemd",
    ]),
    "disabled": ({"states": state("web.socket", UnitFileState="disabled")}, ["enable web.socket"]),
    "stopped": ({"states": state("web.service", ActiveState="inactive")}, [
        TRY, "start web.service",
    ]),
    "failed": ({"states": state("web.service", ActiveState="failed")}, [TRY, "start web.service"]),
    "closed socket": ({"listens": False}, [
        "listen on 0.0.0.0:9001 by web.socket",
        "restart web.service: its socket is opened anew",
    ]),
    "another process": ({"restart": "it was started from another unit"}, [
        TRY,
        "restart web.service: it was started from another unit",
    ]),
    "repaired environment": ({"repaired": True}, [
        TRY,
        "restart web.service: its environment was repaired after it started",
    ]),
    "repaired environment of another process": ({"repaired": True, "restart": "it is old"}, [
        TRY,
        "restart web.service: it is old",
    ]),
    "left candidate": ({"candidate_left": True}, [
        "remove the candidate of web that an earlier run left",
    ]),
    "left socket": ({"unwanted_units": ["web.socket"]}, [
        "remove /etc/systemd/system/web.socket", "reload systemd",
    ]),
    "link": (releases(link="/tmp"), [f"point /srv/web/current at {RELEASE}"]),
    "secrets": ({"secrets": "differs"}, ["write /etc/gpunode/web.env"]),
    "left secrets": ({"secrets": "unwanted"}, ["remove /etc/gpunode/web.env"]),
    "login": ({"account": {**CONVERGED["account"], "shell": "/bin/bash"}}, [
        "set the shell of user web to /usr/sbin/nologin",
    ]),
    "open folder": ({"is_private": False}, [
        "make /srv/web/releases a folder that only root writes",
    ]),
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGE)
def test_each_damage_has_its_own_repair_and_nothing_else(kind):
    seen, repair = DAMAGE[kind]
    assert changes(**seen) == repair


def test_a_persons_account_keeps_its_shell():
    account = {**CONVERGED["account"], "uid": 1000, "shell": "/bin/bash"}
    assert changes(account=account) == []


def test_without_a_candidate_the_switch_comes_at_once():
    assert changes({**APP, "candidate": None}, **VIRGIN).count(TRY) == 0


def test_plain_python_has_no_socket_and_no_candidate():
    seen = {
        "units": PYTHON["units"], "states": {"web.service": CONVERGED["states"]["web.service"]},
    }  # fmt: skip
    assert changes(PYTHON, **seen) == []
    assert changes(PYTHON, **seen, repaired=True) == [
        "restart web.service: its environment was repaired after it started"
    ]
    virgin = changes(PYTHON, **{**VIRGIN, "listens": True})
    assert not [sentence for sentence in virgin if "socket" in sentence or sentence == TRY]


@pytest.mark.parametrize(
    ("found", "said"), [("absent", "is not on this host"), ("changed", "was changed")]
)
def test_a_named_release_that_is_not_kept_as_it_was_is_refused_with_those_that_are(found, said):
    app = {**APP, "digest": "0123456789ab"}
    on_disk = [*EARLIER[:2], f"/srv/web/releases/{service.TEMPORARY}x"]
    seen = Seen(**{**CONVERGED, **releases(state=found, on_disk=on_disk)})
    (refusal,) = plan.obstacles(app, seen)
    assert said in refusal.because
    assert "aaaaaaaaaaaa, bbbbbbbbbbbb:" in refusal.remedy


def test_a_release_from_its_source_or_one_that_is_kept_is_not_refused():
    assert plan.obstacles(APP, Seen(**{**CONVERGED, **releases(state="absent")})) == []
    assert plan.obstacles({**APP, "digest": "0123456789ab"}, Seen(**CONVERGED)) == []


def test_every_step_is_something_a_host_can_do():
    for seen in (VIRGIN, *(seen for seen, _repair in DAMAGE.values())):
        for step in planned(keep=0, **seen).steps():
            action = step.action
            # What it would be called with, it takes.
            assert inspect.signature(action.func).bind(*action.args, **action.keywords)


@pytest.mark.parametrize(
    ("seen", "units"),
    [
        ({}, {}),
        ({"restart": "it is old"}, {"web-candidate.service": APP["candidate"]}),
        ({"units": {**APP["units"], "web.service": "x"}}, APP["units"]),
        (VIRGIN, {**APP["units"], "web-candidate.service": APP["candidate"]}),
    ],
)
def test_systemd_reads_the_units_that_are_about_to_be_put_in_place(seen, units):
    assert planned(**seen).units == units


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (
            releases(state="changed"),
            "What had been changed in the release in service was put right",
        ),
        (releases(state="changed", served=["/other", RELEASE]), "Nothing in service was touched"),
        (releases(state="absent"), "Nothing in service was touched"),
    ],
)
def test_a_failure_before_the_switch_says_what_was_touched(seen, said):
    before = type("Before", (), {"is_noted": False})
    assert planned(**seen, before=before).fallback().startswith(said)


def test_a_release_that_is_not_as_it_was_is_needed():
    assert plan.needs(APP, Seen(**CONVERGED)) == []
    for found in ("absent", "changed"):
        assert plan.needs(APP, Seen(**{**CONVERGED, **releases(state=found)})) == [APP["digest"]]


# Earlier releases

EARLIER = [f"/srv/web/releases/{digit * 12}" for digit in "abc"]
UNFINISHED = f"/srv/web/releases/{service.TEMPORARY}new-abc"


@pytest.mark.parametrize(
    ("keep", "in_use", "removed"),
    [
        (1, [], EARLIER[1:]),
        (0, [], EARLIER),
        (3, [], []),
        (0, [EARLIER[2]], EARLIER[:2]),
    ],
)
def test_those_that_served_last_stay_and_those_in_use(keep, in_use, removed):
    assert superfluous([RELEASE, *EARLIER], [RELEASE, *EARLIER], keep, in_use) == removed


def superfluous(on_disk, served, keep=1, in_use=()):
    seen = releases(on_disk=on_disk, served=served, in_use=in_use)
    return plan.superfluous(APP, Seen(**{**CONVERGED, **seen}), keep)


def test_what_a_killed_run_left_is_removed_and_what_is_not_ours_stays():
    on_disk = [UNFINISHED, RELEASE, "/srv/web/releases/precious"]
    assert superfluous(on_disk, [RELEASE]) == [UNFINISHED]


def test_a_release_that_never_served_takes_nobodys_place():
    killed, served, older = EARLIER
    assert superfluous([killed, served, older], [served, older]) == [killed, older]


def test_a_file_where_a_socket_is_to_be_is_refused_and_stays():
    refusals = plan.obstacles(APP, Seen(**{**CONVERGED, "is_taken": True}))
    assert [refusal.because for refusal in refusals] == ["something that is no socket lies there"]
