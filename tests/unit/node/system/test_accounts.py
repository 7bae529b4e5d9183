"""What a host knows of an account, and whether it may become root."""

from __future__ import annotations

import os
import subprocess

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.system import accounts


def sudo_says(text, status=0):
    def run(argv, **_options):
        return subprocess.CompletedProcess(argv, status, text, "")

    return run


def no_sudo(*_arguments, **_options):
    raise FileNotFoundError("sudo")


def test_a_missing_account_is_one_that_does_not_exist():
    found = accounts.survey(["no-such-user"], no_sudo)["no-such-user"]
    assert found == {"exists": False, "uid": -1, "home": "", "shell": "", "sudo": False}


def test_root_may_become_root():
    assert accounts.survey(["root"], no_sudo)["root"]["sudo"] is True


def test_an_account_is_described_as_the_host_knows_it():
    found = accounts.survey(["nobody"], no_sudo)["nobody"]
    assert found["exists"] is True
    assert found["uid"] == 65534
    assert found["sudo"] is False


@pytest.mark.parametrize(
    ("says", "status", "allowed"),
    [
        # sudo 1.9.13 (Debian 12) and 1.9.16 (Debian 13) say the second with status 0 and 1.
        ("User nobody may run the following commands on node1:\n    (ALL) ALL\n", 0, True),
        ("User nobody is not allowed to run sudo on node1.\n", 0, False),
        ("User nobody is not allowed to run sudo on node1.\n", 1, False),
        ("", 1, False),
    ],
)
def test_any_sudo_rule_counts(says, status, allowed):
    found = accounts.survey(["nobody"], sudo_says(says, status))["nobody"]
    assert found["sudo"] is allowed


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        *(("wheel", True), ("docker", True), ("disk", True), ("lxd", True), ("libvirt", True)),
        *(("incus-admin", True), ("shadow", True), ("kmem", True)),
        *(("libvirtd", True), ("microk8s", True), ("staff", True)),
        *(("users", False), ("video", False), ("render", False), ("dialout", False)),
        *(("docker-users", False), ("adm", False)),
    ],
)
def test_a_member_of_a_root_group_counts_without_sudo_being_there(monkeypatch, group, expected):
    monkeypatch.setattr(accounts.files, "group_name", {998: group, 65534: "nogroup"}.get)
    monkeypatch.setattr(accounts.os, "getgrouplist", lambda *_: [65534, 998])
    assert accounts.survey(["nobody"], no_sudo)["nobody"]["sudo"] is expected


def test_sudo_that_does_not_answer_vouches_for_nobody():
    def hangs(argv, timeout, **_options):
        raise subprocess.TimeoutExpired(argv, timeout)

    assert accounts.survey(["nobody"], hangs)["nobody"]["sudo"] is True


@pytest.mark.parametrize(
    ("rule", "allowed"),
    [
        ("permit nobody\n", True),
        ("# all\npermit nopass setenv { PATH LANG=de } nobody as root cmd /bin/sh\n", True),
        ("permit persist :nogroup\n", True),
        ('permit "nobody" # of the night\n', True),
        ("permit nopass 65534\n", True),
        ("permit jane cmd ls args nobody\n", False),
        ("permit jane as nobody\n", False),
        ("deny nobody\n", False),
        ("# permit nobody\n", False),
        ("", False),
        (None, False),
    ],
)
def test_a_rule_of_doas_counts_as_one_of_sudo(monkeypatch, tmp_path, rule, allowed):
    path = tmp_path / "doas.conf"
    if rule is not None:
        path.write_text(rule)
    monkeypatch.setattr(accounts, "_DOAS", str(path))
    assert accounts.survey(["nobody"], no_sudo)["nobody"]["sudo"] is allowed


@pytest.mark.parametrize(
    ("mode", "uid", "gid", "allowed"),
    [
        (0o660, 0, 998, True),
        (0o666, 0, 0, True),
        (0o600, 65534, 0, True),
        (0o660, 0, 0, False),
        (0o640, 0, 998, False),
        (0o660, 0, 997, False),
        (None, 0, 0, False),
    ],
)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_whoever_may_ask_a_daemon_that_starts_containers_counts_whatever_its_group_is_called(
    monkeypatch, tmp_path, mode, uid, gid, allowed
):
    monkeypatch.setattr(accounts.os, "getgrouplist", lambda *_: [65534, 998])
    place = tmp_path / "docker.sock"
    if mode is not None:
        place.touch()
        place.chmod(mode)
        os.chown(place, uid, gid)
    monkeypatch.setattr(accounts, "_SOCKETS", (str(tmp_path / "none.sock"), str(place)))
    assert accounts.survey(["nobody"], no_sudo)["nobody"]["sudo"] is allowed
