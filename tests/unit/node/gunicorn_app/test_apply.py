"""Placing an application's release on a host."""

from __future__ import annotations

import errno
import os

import pytest
from web_app import APP, Systemd

from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app import (
    actions,
    apply,
    candidate,
    observe,
    process,
    proof,
    rollback,
    service,
    surroundings,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app import (
    plan as app_plan,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app import (
    release as app_release,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import own_paths, systemd


@pytest.fixture
def placing(tmp_path):
    """Return {digest: the archive of a release}, and the application that wants it."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "main.py").write_text("app = 1\n")
    digest = app_release.digest_of(source)
    archive = tmp_path / "release.tar.gz"
    app_release.pack(source, archive)
    (tmp_path / "releases").mkdir()
    release = tmp_path / "releases" / app_release.id_of(digest)
    return {digest: str(archive)}, {
        **APP, "digest": digest, "release": str(release),
    }  # fmt: skip


def names(folder):
    return sorted(os.listdir(folder))


def test_a_release_is_placed_whole_and_over_a_changed_one_and_over_leftovers(placing):
    archives, app = placing
    folder = os.path.dirname(app["release"])
    os.makedirs(os.path.join(app["release"], "changed"))
    os.makedirs(os.path.join(folder, f"{service.TEMPORARY}new-{os.path.basename(app['release'])}"))
    actions.place_release(app, archives)
    assert names(folder) == [os.path.basename(app["release"])]
    assert names(app["release"]) == ["main.py"]


def test_a_new_application_gets_its_folders_and_its_secrets_go_with_their_folder(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(service, "SECRETS_DIR", str(tmp_path / "secrets"))
    monkeypatch.setattr(actions.accounts, "group_of", lambda _user: "root")
    folder = tmp_path / "made" / "web"
    app = {**APP, "dir": str(folder), "release": f"{folder}/releases/{'a' * 12}"}
    before = os.umask(0o077)
    try:
        actions.make_releases(app)
        actions.write_secrets(app, {"TOKEN": "x"})
    finally:
        os.umask(before)
    modes = [path.stat().st_mode & 0o777 for path in (tmp_path / "made", folder / "releases")]
    assert modes == [0o755, 0o750]
    assert names(tmp_path / "secrets") == ["web.env"]
    actions.remove_secrets(app)
    assert not (tmp_path / "secrets").exists()


def test_an_archive_of_another_release_is_not_placed(placing, tmp_path):
    _archives, app = placing
    other = {**app, "digest": "0" * 64}
    with pytest.raises(Refusal, match="its archive holds"):
        actions.place_release(other, {"0" * 64: str(tmp_path / "release.tar.gz")})
    assert names(tmp_path / "releases") == []


def test_an_application_without_its_environment_is_refused_before_anything_is_done(web):
    web.app["prefix"] = "/no/such"
    assert "no bin/python" in web.refusal()
    assert web.releases() == ["a" * 12]
    assert web.manager.told == []


# From the first step to the proof, and back


class Web:
    """An application that serves one release, and a host that is to bring it to another.

    :ivar complaints: what the proof, or the candidate's, raises; () where all is well.
    """

    def __init__(self, folder, host, app):
        self.folder, self.manager = folder, host
        self.old = str(folder / "web" / "releases" / ("a" * 12))
        self.app = {**app, "dir": str(folder / "web"), "prefix": str(folder / "env")}
        self.app["release"] = os.path.join(os.path.dirname(self.old), app["digest"][:12])
        self.complaints = ()
        self.archive = str(folder / "release.tar.gz")

    def place(self):
        """Place the release, as a run does that is killed then."""
        actions.place_release(self.app, {self.app["digest"]: self.archive})

    def apply(self, *, tried=True):
        """Bring it to the release, which counts as changed where it is there."""
        app = self.app if tried else {**self.app, "candidate": None}
        seen = observe.Seen(
            account={"exists": True, "uid": 990, "shell": service.NOLOGIN},
            has_group=True,
            is_private=True,
            releases=observe.Releases(
                state="changed" if os.path.exists(app["release"]) else "absent",
                link=os.readlink(service.link_of(app)),
                on_disk=[],
                served=observe.served(app),
                in_use=[],
            ),
            secrets="as wanted",
            units=dict.fromkeys(app["units"], "before"),
            unwanted_units=[],
            states=self.manager.units,
            listens=True,
            socket_left="",
            restart="it was started from another unit",
            repaired=False,
            candidate_left=False,
            is_taken=False,
            folders_lacking=[],
            drop_ins={"web.service": {"/x.conf": "d"}},
            before=rollback.Before(app, self.manager.run),
        )
        means = app_plan.Means({}, {app["digest"]: self.archive}, self.manager.run)
        apply.apply(app, seen, app_plan.plan(app, seen, 1, means), means)

    def refusal(self, **options):
        with pytest.raises(Refusal) as refused:
            self.apply(**options)
        return str(refused.value)

    def unit(self):
        return (self.folder / "units" / "web.service").read_text()

    def releases(self):
        return names(os.path.dirname(self.old))

    def prove(self, _app, unit, *_arguments):
        for complaint in self.complaints:
            raise complaint


@pytest.fixture
def web(placing, tmp_path, monkeypatch):
    for module, name in (
        (systemd, "UNIT_DIR"), (candidate, "UNIT_DIR"), (own_paths, "RUN_DIR"),
        (service, "SECRETS_DIR"), (own_paths, "STATE_DIR"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, str(tmp_path / "units"))
    active = {"ActiveState": "active", "UnitFileState": "enabled"}
    found = Web(tmp_path, Systemd(web_socket=dict(active), web_service=dict(active)), placing[1])
    monkeypatch.setattr(proof, "prove", found.prove)
    monkeypatch.setattr(process, "process", lambda *_arguments: None)
    monkeypatch.setattr(process, "reasons_to_restart", lambda *_arguments: "")
    for folder in (found.old, tmp_path / "env" / "bin", tmp_path / "units"):
        os.makedirs(folder)
    (tmp_path / "env" / "bin" / "python").symlink_to("/bin/true")
    for unit in found.app["units"]:
        (tmp_path / "units" / unit).write_text("before")
    os.symlink(found.old, service.link_of(found.app))
    return found


def test_what_an_application_was_started_under_is_noted_once_it_is_proven(web):
    web.complaints = (proof.NotServing("it dies"),)
    web.refusal()
    assert surroundings.noted(web.app)["web.service"] == {}
    web.complaints = ()
    web.apply()
    assert surroundings.noted(web.app)["web.service"] == {"/x.conf": "d"}


def test_a_release_counts_as_one_that_served_once_it_is_proven(web):
    web.place()
    assert observe.served(web.app) == [web.old]
    web.apply()
    assert observe.served(web.app) == [web.app["release"], web.old]
    assert not os.path.exists(rollback.note_of("web"))
    assert web.unit() == web.app["units"]["web.service"]


@pytest.mark.parametrize("tried", [True, False])
def test_a_release_that_is_refused_does_not_stay_though_a_killed_run_had_brought_it(web, tried):
    web.place()
    web.complaints = [proof.NotServing("it dies")]
    said = web.refusal(tried=tried)
    assert ("Nothing in service was touched" in said) is tried
    assert ("What was in service before is in service again" in said) is not tried
    assert web.releases() == ["a" * 12]
    assert web.unit() == "before"


def test_what_took_the_place_of_a_changed_release_that_had_served_does_not_stay_either(web):
    os.makedirs(os.path.join(web.app["release"], "changed"))
    assert web.app["release"] in observe.served(web.app)
    web.complaints = [proof.NotServing("it dies")]
    web.refusal()
    assert web.releases() == ["a" * 12]


@pytest.mark.parametrize("tried", [True, False])
def test_what_a_run_switched_that_was_killed_before_its_proof_is_taken_back_by_the_next(web, tried):
    web.complaints = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        web.apply(tried=False)
    assert web.unit() == web.app["units"]["web.service"]
    web.complaints = [proof.NotServing("it dies")]
    assert "What was in service before is in service again" in web.refusal(tried=tried)
    assert web.unit() == "before"
    assert web.releases() == ["a" * 12]


def test_what_changed_while_the_candidate_was_tried_is_what_comes_back(web, monkeypatch):
    def prove(_app, unit, *_arguments):
        if unit == service.service_of(web.app):
            raise proof.NotServing("it dies")
        (web.folder / "units" / "web.service").write_text("changed meanwhile")

    monkeypatch.setattr(proof, "prove", prove)
    web.refusal()
    assert web.unit() == "changed meanwhile"


def test_what_is_said_of_a_mended_release_in_service_is_true(web):
    os.symlink(web.app["release"], f"{web.folder}/link")
    os.replace(f"{web.folder}/link", service.link_of(web.app))
    os.makedirs(os.path.join(web.app["release"], "changed"))
    web.complaints = [proof.NotServing("it dies")]
    assert "What had been changed in the release in service was put right" in web.refusal()
    assert names(web.app["release"]) == ["main.py"]


def full(*_arguments, **_options):
    raise OSError(errno.ENOSPC, "No space left on device", "/etc/x")


@pytest.mark.parametrize("module", [systemd, candidate])
def test_a_full_disk_before_the_switch_leaves_no_new_release(web, monkeypatch, module):
    monkeypatch.setattr(module, "verify" if module is systemd else "_started", full)
    with pytest.raises((OSError, Refusal), match="/etc/x"):
        web.apply()
    assert web.releases() == ["a" * 12]
    assert web.unit() == "before"


def test_where_the_way_back_cannot_be_noted_nothing_is_switched(web, monkeypatch):
    monkeypatch.setattr(rollback.Before, "note", full)
    with pytest.raises(OSError, match="No space left"):
        web.apply(tried=False)
    assert [told for told in web.manager.told if not told.startswith("verify ")] == []
    assert web.unit() == "before"


def test_a_full_disk_at_the_switch_is_told_with_what_is_in_service(web, monkeypatch):
    monkeypatch.setattr(actions, "restart", full)
    assert web.refusal().endswith(
        "the file system of /etc/x is full, or its quota is. "
        "What was in service before is in service again. Free room there and run again"
    )
    assert web.unit() == "before"
