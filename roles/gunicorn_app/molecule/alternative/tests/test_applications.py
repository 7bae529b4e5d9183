"""Both applications answer, and run as all options say."""

from __future__ import annotations

import json
import urllib.request

import pytest


@pytest.fixture
def address(host):
    """Where the host is reached."""
    return host.backend.get_variables()["ansible_host"]


@pytest.fixture
def web(host):
    """Properties of the service that gunicorn serves."""
    names = (
        "User,MemoryMax,TimeoutStartUSec,PrivateDevices,DevicePolicy,DeviceAllow,"
        "MemoryDenyWriteExecute"
    )
    show = "systemctl show web.service"
    lines = host.check_output(f"{show} --property={names}").splitlines()
    # The one of several lines.
    command = host.check_output(f"{show} --property=ExecStart --value")
    return {**dict(line.split("=", 1) for line in lines), "ExecStart": command}


def ask(url, **headers):
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read()


def test_the_application_answers_from_its_environment_and_release(address):
    said = json.loads(ask(f"http://{address}:9101/"))
    assert said["prefix"].startswith("/opt/gpunode/envs/web-")
    assert said["release"].startswith("/srv/elsewhere/web/releases/")


def test_the_application_has_its_variables_and_its_secret(host, address):
    said = json.loads(ask(f"http://{address}:9101/ready", Host="web.example"))
    assert (said["GREETING"], said["TOKEN"]) == ("good morning", "for-the-application-alone")
    with host.sudo("nobody"):
        assert host.run("grep -rs for-the-application-alone /etc /srv").stdout == ""


def test_the_application_writes_to_its_folder_of_data_and_knows_its_host(host, address):
    said = json.loads(ask(f"http://{address}:9101/"))
    assert (said["visits"], said["CONDA_PREFIX"]) == (1, said["prefix"])
    assert int(said["MemTotal"]) > 0
    assert host.file("/srv/elsewhere/data").user == "webuser"


def test_the_application_runs_as_its_user_in_one_worker_with_threads(host, web, address):
    assert web["User"] == "webuser"
    assert json.loads(ask(f"http://{address}:9101/"))["threaded"] is True
    main = host.check_output("systemctl show web.service --property=MainPID --value")
    assert len(host.check_output(f"ps -o pid= --ppid {main}").split()) == 1
    for words in (
        *("--workers 1", "--threads 3", "--timeout 40"),
        *("--worker-class gthread", "--max-requests=1000"),
    ):
        assert words in web["ExecStart"]


def test_the_unit_shows_what_it_was_allowed_and_denied(web):
    assert web["MemoryMax"] == str(1 << 30)
    assert web["MemoryDenyWriteExecute"] == "no"
    assert (web["PrivateDevices"], web["DevicePolicy"]) == ("no", "closed")
    assert web["DeviceAllow"] == "char-nvidia* rwm"


def test_the_start_may_take_as_long_as_was_said(web):
    assert web["TimeoutStartUSec"] == "1min 30s"


def test_the_application_that_serves_itself_answers_without_a_socket_unit(host, address):
    assert ask(f"http://{address}:9102/") == b"plain"
    assert host.service("plain.service").is_enabled
    assert not host.file("/etc/systemd/system/plain.socket").exists


def test_what_is_to_be_absent_is(host):
    assert host.check_output("find /etc/systemd/system -name 'gone*'") == ""
    assert not host.file("/srv/gone").exists
