"""What a local user can do while a run is under way on a host: nothing to it, and nothing by it."""

from __future__ import annotations

import json
import re
import shlex
import textwrap

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.system import confinement
from system import environments, playbooks

pytestmark = pytest.mark.lab

PAGE = playbooks.PROJECT / "docs" / "security.md"
NODE, USER, NAME = "node1", "mallory", "wanted"
SOCKET, PLACE = f"/run/{NAME}/http.sock", f"/srv/{NAME}"
CODE = """\
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""
# Stays, and is in the way of whoever believes what a user's things are called.
ATTACK = f"""\
import contextlib, ctypes, fcntl, os, socket, time
held = []
def listen(name):
    held.append(socket.socket(socket.AF_UNIX))
    held[-1].bind(name)
    held[-1].listen()
os.makedirs("/home/{USER}/a/b", exist_ok=True)
os.chdir("/home/{USER}/a")
name = "x\\n0: 0 0 00010000 0001 01 4242 {SOCKET}"
os.makedirs(os.path.dirname(name))
listen(name)
listen("\\x1b[2Jevil")
ctypes.CDLL(None).prctl(15, b"\\x1b[2J\\nUid:\\t0", 0, 0, 0)
for path in ("/run/lock/gpunode.lock", "/run/lock/gpunode", "/tmp/gpunode.lock"):
    with contextlib.suppress(OSError):
        held.append(open(path, "w"))
        fcntl.flock(held[-1], fcntl.LOCK_EX)
for folder in ("/tmp", "/var/tmp", "/dev/shm"):
    for name in ("gpunode", "gpunode-wanted", ".gpunode-new"):
        with contextlib.suppress(OSError):
            os.mkfifo(os.path.join(folder, name))
    with contextlib.suppress(OSError):
        os.symlink("/etc", os.path.join(folder, "gpunode-conda_env"))
print("ready", flush=True)
time.sleep(3600)
"""
# The kernel's posix_acl_xattr.h: the user writes, and neither owner nor group is another than ever.
GRANT = """\
import os, pwd, struct, sys
user = pwd.getpwnam(sys.argv[2]).pw_uid
entries = [(1, 7, -1), (2, 7, user), (4, 5, -1), (16, 7, -1), (32, 5, -1)]
data = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
os.setxattr(sys.argv[1], "system.posix_acl_access", data)
"""
CONDA = "/opt/miniforge3/bin/conda"


class Host:
    """The node, with a user who has no sudo."""

    def __init__(self, lab, folder):
        self._lab, self._log = lab, folder / "ssh"
        source = folder / "source"
        source.mkdir()
        (source / "main.py").write_text(CODE)
        self.options = {
            "name": NAME, "environment": "ob_cuda", "source": str(source), "listen": SOCKET,
            "health_path": "/", "dir": PLACE, "start_timeout_s": 20,
        }  # fmt: skip

    def root(self, *argv, text=""):
        """Return what a command of root answers, given a text."""
        command = f"printf %s {shlex.quote(text)} | sudo {shlex.join(argv)}"
        answer = self._lab.ssh(NODE, command, timeout_s=60)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    def run(self, *arguments, **options):
        """Run site.yml with the application."""
        variables = {"gunicorn_app_list": [{**self.options, **options}]}
        return playbooks.site(
            "--limit", NODE, "-e", json.dumps(variables), *arguments, log=self._log
        )


@pytest.fixture(scope="module")
def host(lab, tmp_path_factory):
    """A node at which a user is at work."""
    environments.fresh(lab, NODE)
    host = Host(lab, tmp_path_factory.mktemp("hostile"))
    host.root("useradd", "--create-home", USER)
    place = f"/home/{USER}/attack.py"
    host.root("tee", place, text=ATTACK)
    host.root("systemd-run", f"--uid={USER}", "--unit=attack", "--collect", "python3", place)
    yield host
    lab.fresh(NODE)


def test_a_user_keeps_no_run_from_its_work_by_names_locks_and_pipes(host):
    run = host.run()
    assert run.status == 0, run.messages()
    assert host.root("systemctl", "is-active", "attack").strip() == "active"
    assert "\x1b" not in run.text
    assert host.run().changed == {NODE: 0}


def test_a_folder_of_ours_that_was_given_away_is_reported_and_taken_back(host):
    host.root("chown", USER, PLACE)
    run = host.run()
    assert run.status == 0, run.messages()
    assert f"directory {PLACE} has owner {USER}, should be root" in run.messages()
    assert host.root("stat", "--format=%U %a", PLACE) == "root 755\n"
    assert host.run().changed == {NODE: 0}


def test_the_rule_of_sudo_that_the_page_shows_is_enough(host):
    (rule,) = re.findall("^    (.* NOPASSWD: .*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    account = host.root("sh", "-c", "echo $SUDO_USER").strip()
    place = f"/etc/sudoers.d/{account}"
    before = host.root("cat", place)
    host.root("tee", place, text=f"{rule.replace('gpunode', account, 1)}\n")
    try:
        with pytest.raises(AssertionError, match="password"):
            host.root("id")
        assert host.run("--check").changed == {NODE: 0}
    finally:
        host.root("/bin/sh", "-c", f"cat > {place}", text=before)
    assert host.root("id", "-u").strip() == "0"


def test_no_link_of_a_user_is_followed_for_an_application(host):
    before = host.root("stat", "--format=%U %a", "/etc", "/etc/ssh")
    host.root("runuser", "-u", USER, "--", "mkdir", "-p", f"/home/{USER}/code")
    host.root("runuser", "-u", USER, "--", "ln", "-s", "/etc/ssh", f"/home/{USER}/code/releases")
    for arguments in (["--check"], []):
        run = host.run(*arguments, name="other", listen="/run/other/http.sock",
                       dir=f"/home/{USER}/code")  # fmt: skip
        assert run.status != 0
    assert host.root("stat", "--format=%U %a", "/etc", "/etc/ssh") == before


def test_a_conda_that_a_list_lets_a_user_change_is_not_run(host):
    host.root("python3", "-", CONDA, USER, text=GRANT)
    host.root("runuser", "-u", USER, "--", "tee", CONDA, text="#!/bin/sh\ntouch /root/owned\n")
    for arguments in (["--check"], []):
        run = host.run(*arguments)
        assert run.status != 0
        assert f"{CONDA} is written by user {USER}" in run.messages()
    assert "owned" not in host.root("ls", "-A", "/root")


def test_what_is_confined_reaches_no_further_than_it_must(host):
    script = textwrap.dedent("""\
        cat /proc/self/net/dev; grep NoNewPrivs /proc/self/status
        ls -A /tmp; touch /usr/in /etc/in /home/in /root/in; touch /opt/in /var/in && echo written
        ln /opt/in /var/linked && echo linked; rm /opt/in /var/in /var/linked
    """)
    settings = confinement.confined(["sh", "-c", script], ["/opt"]).settings
    options = [f"--property={setting}" for setting in settings]
    said = host.root("systemd-run", "--wait", "--pipe", "--quiet", *options, "sh", "-c", script)
    assert "lo:" in said.split()
    assert "host0:" not in said.split()
    assert "NoNewPrivs:\t1" in said
    assert "gpunode" not in said
    assert said.split()[-2:] == ["written", "linked"]
    for place in ("/usr/in", "/etc/in", "/home/in", "/root/in"):
        with pytest.raises(AssertionError):
            host.root("test", "-e", place)
