"""What is to be done for an application, from what is there."""

from __future__ import annotations

import copy
import os
import subprocess
import time
from pathlib import Path

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils import (
    app_host,
    app_plan,
    app_process,
    app_release,
    app_service,
    systemd,
)
from ansible_collections.gpunode.stack.plugins.module_utils.refusal import Refusal

RELEASE = "/srv/web/releases/0123456789ab"
APP = {
    "name": "web",
    "user": "web",
    "dir": "/srv/web",
    "release": RELEASE,
    "digest": "0123456789ab" + "0" * 52,
    "prefix": "/opt/envs/web",
    "listen": "0.0.0.0:9001",
    "units": {"web.socket": "[Socket]\n", "web.service": "[Service]\n"},
    "unit_digest": "d1",
    "secrets_digest": "",
}
CONVERGED = {
    "account": {"exists": True, "uid": 990, "home": "/srv/web", "shell": app_service.NOLOGIN},
    "releases": True,
    "release": "intact",
    "secrets": "as wanted",
    "units": APP["units"],
    "states": {
        unit: {"ActiveState": "active", "UnitFileState": "enabled", "NeedDaemonReload": "no"}
        for unit in APP["units"]
    },
    "listens": True,
    "restart": "",
    "link": RELEASE,
    "releases_on_disk": [RELEASE],
    "in_use": [],
}
VIRGIN = {
    "account": {"exists": False, "uid": -1, "home": "", "shell": ""},
    "releases": False,
    "release": "absent",
    "secrets": "as wanted",
    "units": {"web.socket": None, "web.service": None},
    "states": {"web.socket": {}, "web.service": {}},
    "listens": False,
    "restart": "its main process is gone",
    "link": None,
    "releases_on_disk": [],
    "in_use": [],
}


def changes(keep=1, **seen):
    """Return the sentences for a converged host on which something is different."""
    stages = app_plan.steps(APP, {**CONVERGED, **seen}, keep)
    return [step.sentence for stage in stages for step in stage]


def state(unit, **properties):
    states = copy.deepcopy(CONVERGED["states"])
    states[unit].update(properties)
    return states


def test_a_converged_host_needs_nothing():
    assert changes() == []


def test_a_virgin_host_gets_everything_in_order():
    assert changes(**VIRGIN) == [
        "create user web",
        "make /srv/web/releases a folder that only root writes",
        f"unpack release {RELEASE}",
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
    "release": ({"release": "changed"}, [
        f"replace the changed release {RELEASE}",
        "restart web.service: its release is replaced",
    ]),
    "unit": ({"units": {**APP["units"], "web.service": "x"}}, [
        "write /etc/systemd/system/web.service", "reload systemd",
    ]),
    "forgotten reload": ({"states": state("web.service", NeedDaemonReload="yes")}, [
        "reload systemd",
    ]),
    "disabled": ({"states": state("web.socket", UnitFileState="disabled")}, ["enable web.socket"]),
    "stopped": ({"states": state("web.service", ActiveState="inactive")}, ["start web.service"]),
    "failed": ({"states": state("web.service", ActiveState="failed")}, ["start web.service"]),
    "closed socket": ({"listens": False}, [
        "listen on 0.0.0.0:9001 by web.socket",
        "restart web.service: its socket is opened anew",
    ]),
    "another process": ({"restart": "it was started from another unit"}, [
        "restart web.service: it was started from another unit",
    ]),
    "link": ({"link": "/tmp"}, [f"point /srv/web/current at {RELEASE}"]),
    "secrets": ({"secrets": "differs"}, ["write /etc/gpunode/web.env"]),
    "left secrets": ({"secrets": "unwanted"}, ["remove /etc/gpunode/web.env"]),
    "login": ({"account": {**CONVERGED["account"], "shell": "/bin/bash"}}, [
        "set the shell of user web to /usr/sbin/nologin",
    ]),
    "open folder": ({"releases": False}, ["make /srv/web/releases a folder that only root writes"]),
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGE)
def test_each_damage_has_its_own_repair_and_nothing_else(kind):
    seen, repair = DAMAGE[kind]
    assert changes(**seen) == repair


def test_a_persons_account_keeps_its_shell():
    account = {**CONVERGED["account"], "uid": 1000, "shell": "/bin/bash"}
    assert changes(account=account) == []


def test_every_step_is_something_a_host_can_do():
    for seen in (VIRGIN, *({**CONVERGED, **seen} for seen, _repair in DAMAGE.values())):
        for stage in app_plan.steps(APP, seen, 0):
            assert [step.verb for step in stage if not hasattr(app_host.Host, step.verb)] == []


# Earlier releases

EARLIER = [f"/srv/web/releases/{digit * 12}" for digit in "abc"]
UNFINISHED = f"/srv/web/releases/{app_service.TEMPORARY}new-abc"


@pytest.mark.parametrize(
    ("keep", "in_use", "removed"),
    [
        (1, [], EARLIER[1:]),
        (0, [], EARLIER),
        (3, [], []),
        (0, [EARLIER[2]], EARLIER[:2]),
    ],
)
def test_the_newest_earlier_releases_stay_and_those_in_use(keep, in_use, removed):
    found = app_plan.superfluous(APP, [RELEASE, *EARLIER], keep, in_use)
    assert found == removed


def test_what_a_killed_run_left_is_removed_and_what_is_not_ours_stays():
    on_disk = [UNFINISHED, RELEASE, "/srv/web/releases/precious"]
    assert app_plan.superfluous(APP, on_disk, 1, []) == [UNFINISHED]


# The running process


@pytest.fixture
def running(tmp_path):
    """A real process in a release folder, started with marks, and the APP that wants exactly it."""
    release = tmp_path / "release"
    release.mkdir()
    marks = {systemd.UNIT_MARK: "d1", app_service.SECRETS_MARK: "s1"}
    process = subprocess.Popen(["/bin/sleep", "60"], cwd=release, env=marks)
    exe = os.path.realpath("/bin/sleep")
    deadline = time.monotonic() + 5
    while not Path(f"/proc/{process.pid}/environ").read_bytes() and time.monotonic() < deadline:
        time.sleep(0.01)  # the kernel is still loading it
    wanted = {
        **APP, "release": str(release), "prefix": os.path.dirname(exe), "secrets_digest": "s1",
    }  # fmt: skip
    yield process, wanted
    process.kill()
    process.wait()


def reason(process, wanted):
    return app_process.reasons_to_restart(
        wanted, app_process.process(process.pid, wanted["release"])
    )


def test_the_process_that_is_wanted_is_left_alone(running):
    assert reason(*running) == ""


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("unit_digest", "d2", "another unit"),
        ("secrets_digest", "s2", "other secrets"),
        ("secrets_digest", "", "other secrets"),
        ("prefix", "/opt/envs/other", "not the environment /opt/envs/other"),
        ("release", "/", "does not work in /"),
        ("release", "/no/such", "does not work in /no/such"),
    ],
)
def test_a_process_that_was_started_from_something_else_is_restarted(running, key, value, said):
    process, wanted = running
    assert said in reason(process, {**wanted, key: value})


def test_a_process_in_a_folder_that_was_replaced_is_restarted(running):
    process, wanted = running
    os.rename(wanted["release"], wanted["release"] + ".old")
    os.mkdir(wanted["release"])
    assert "does not work in" in reason(process, wanted)


def test_a_process_that_is_gone_is_restarted(running):
    process, wanted = running
    process.kill()
    process.wait()
    assert "gone" in reason(process, wanted)
    assert app_process.process("0", "/") is None


# Secrets


def test_secrets_are_quoted_for_systemd_and_carry_their_mark():
    text = app_service.secrets_text({"B": 'a"b\\c$d`e', "A": "two\nlines"}, "s1")
    assert text == 'A="two\nlines"\nB="a\\"b\\\\c\\$d\\`e"\nGPUNODE_SECRETS="s1"\n'
    assert app_service.secrets_text({}, "") == ""


# Placing a release


@pytest.fixture
def placing(tmp_path):
    """Return a Host with the archive of a release, and the application that wants it."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "main.py").write_text("app = 1\n")
    digest = app_release.digest_of(source)
    archive = tmp_path / "release.tar.gz"
    app_release.pack(source, archive)
    (tmp_path / "releases").mkdir()
    release = tmp_path / "releases" / app_release.id_of(digest)
    return app_host.Host({}, {digest: str(archive)}), {
        **APP, "digest": digest, "release": str(release),
    }  # fmt: skip


def names(folder):
    return sorted(os.listdir(folder))


def test_a_release_is_placed_whole_and_over_a_changed_one_and_over_leftovers(placing):
    host, app = placing
    folder = os.path.dirname(app["release"])
    os.makedirs(os.path.join(app["release"], "changed"))
    os.makedirs(
        os.path.join(folder, f"{app_service.TEMPORARY}new-{os.path.basename(app['release'])}")
    )
    host.place_release(app)
    assert names(folder) == [os.path.basename(app["release"])]
    assert names(app["release"]) == ["main.py"]


def test_an_archive_of_another_release_is_not_placed(placing, tmp_path):
    host, app = placing
    other = {**app, "digest": "0" * 64}
    host = app_host.Host({}, {"0" * 64: str(tmp_path / "release.tar.gz")})
    with pytest.raises(Refusal, match="its archive holds"):
        host.place_release(other)
    assert names(tmp_path / "releases") == []


def test_an_application_without_its_environment_is_refused_before_anything_is_done(placing):
    host, app = placing
    with pytest.raises(Refusal, match="no bin/python"):
        host.apply({**app, "prefix": "/no/such"}, [], [], [])
    assert names(os.path.dirname(app["release"])) == []
