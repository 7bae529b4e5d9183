"""All applications of a host: what is asked of it, and in which order they come and go."""

from __future__ import annotations

import json
import os

import pytest
from web_app import APP, Systemd

from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app import (
    apply,
    candidate,
    converge,
    observe,
    remains,
    service,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import own_paths, systemd

OLD = {"name": "old", "user": "no-such-user", "dir": "/no/such/old"}
DIGEST = APP["digest"]


class Host:
    """A host with units of an application that is to go, and nothing of the one that is wanted.

    :ivar order: what was looked at, and what was done.
    """

    def __init__(self, folder):
        self.sent, self.order = {}, []
        self.manager = Systemd()
        self.run = self.manager.run
        self.app = {**APP, "dir": str(folder), "release": f"{folder}/releases/{DIGEST[:12]}"}

    def converge(self, check_mode=False, others=()):
        applications = [self.app, *others]
        wanted = {"applications": applications, "absent": [OLD], "leaving": [], "keep": 1}
        return converge.converge(self, {"wanted": wanted, "secrets": json.dumps({})}, check_mode)


@pytest.fixture
def host(tmp_path, monkeypatch):
    found = Host(tmp_path / "web")
    for module, name in (
        (systemd, "UNIT_DIR"), (candidate, "UNIT_DIR"), (own_paths, "RUN_DIR"),
        (service, "SECRETS_DIR"), (own_paths, "STATE_DIR"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, str(tmp_path))
    monkeypatch.setattr(converge.listening, "survey", lambda run: [])
    (tmp_path / "old.service").write_text(service.OURS)
    for module, name in ((observe, "observe"), (remains, "observe"), (apply, "apply")):
        real = None if module is apply else getattr(module, name)
        word = module.__name__.rpartition(".")[2]

        def noted(*arguments, real=real, word=word):
            found.order.append(word)
            return real and real(*arguments)

        monkeypatch.setattr(module, name, noted)
    monkeypatch.setattr(
        converge.steps,
        "run",
        lambda todo: found.order.extend(step.sentence for step in todo),
    )
    return found


def test_the_host_is_looked_at_once_and_what_is_to_go_goes_first(host, tmp_path):
    host.sent = {DIGEST: "archive"}
    host.converge()
    assert host.order == [
        "remains",
        "observe",
        f"remove {tmp_path}/old.service",
        "reload systemd",
        "apply",
    ]


def test_check_mode_says_the_same_and_does_nothing(host):
    predicted = host.converge(check_mode=True)
    assert host.order == ["remains", "observe"]
    assert predicted.needs == []
    host.sent = {DIGEST: "archive"}
    assert host.converge().changes == predicted.changes
    assert f"unpack release {host.app['release']}" in predicted.changes


def test_without_the_archive_of_a_release_nothing_is_changed(host):
    assert host.converge().needs == [DIGEST]
    assert host.order == ["remains", "observe"]


def test_a_user_that_two_applications_share_is_created_once(host):
    units = {"api.service": "[Service]\n"}
    other = {**host.app, "name": "api", "dir": "/srv/api", "release": "/srv/api/releases/0123"}
    changes = host.converge(check_mode=True, others=[{**other, "units": units}]).changes
    assert changes.count(f"create user {host.app['user']}") == 1
    assert "unpack release /srv/api/releases/0123" in changes


def test_what_stands_in_the_way_is_refused_before_anything_is_changed(host):
    host.sent = {DIGEST: "archive"}
    place = "/usr/lib/systemd/system/web.service"
    host.manager.units = {
        "web.socket": {"LoadState": "not-found"},
        "web.service": {"LoadState": "loaded", "FragmentPath": place},
    }
    with pytest.raises(Refusal, match=r"web\.service is there already"):
        host.converge()
    assert host.order == ["remains", "observe"]


def test_one_that_fails_keeps_no_other_from_its_turn_and_all_are_told(host, monkeypatch):
    def named(name):
        units = {f"{name}.service": "[Service]\n"}
        return {**host.app, "name": name, "user": "no-such-user", "units": units}

    tried = []

    def fails(app, _seen, plan, _means):
        tried.append((app["name"], [step.sentence for step in plan.preparing]))
        if app["name"] != "api":
            raise Refusal(f"application {app['name']}", "it does not answer", "Correct it")

    monkeypatch.setattr(apply, "apply", fails)
    host.sent = {DIGEST: "archive"}
    host.app = named("web")
    with pytest.raises(Refusal) as caught:
        host.converge(others=[named("api"), named("shop")])
    assert [name for name, _steps in tried] == ["web", "api", "shop"]
    assert [refusal.what for refusal in caught.value.each()] == [
        "application web",
        "application shop",
    ]
    # What the first one was to do for the second as well may not have been done.
    assert [f"create user {host.app['user']}" in steps for _name, steps in tried] == [True] * 3


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives links away")
@pytest.mark.parametrize("check_mode", [True, False])
def test_a_link_on_the_way_to_data_is_refused_before_anything_is_made(host, tmp_path, check_mode):
    (tmp_path / "victim").mkdir()
    (tmp_path / "theirs").symlink_to("victim")
    os.chown(tmp_path / "theirs", 65534, 65534, follow_symlinks=False)
    host.app["writable"] = [f"{tmp_path}/theirs/deep/data"]
    with pytest.raises(Refusal, match="theirs on the way there is a link that others than root"):
        host.converge(check_mode)
    assert os.listdir(tmp_path / "victim") == []
    assert "apply" not in host.order


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives links away")
@pytest.mark.parametrize("check_mode", [True, False])
def test_a_link_of_a_user_is_refused_before_anything_is_changed(host, tmp_path, check_mode):
    host.sent = {DIGEST: "archive"}
    home = tmp_path / "home"
    home.mkdir()
    (home / "releases").symlink_to("/etc")
    os.chown(home / "releases", 65534, 65534, follow_symlinks=False)
    host.app |= {"dir": str(home), "release": f"{home}/releases/0123456789ab"}
    with pytest.raises(Refusal, match="is a link that others than root could turn"):
        host.converge(check_mode=check_mode)
    assert host.order == ["remains"]
