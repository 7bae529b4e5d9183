"""Live proofs of what serves on a host: processes, sockets, sandbox, answers."""

from __future__ import annotations

import http.client
import re
import ssl

import pytest

EXPOSURE_MAX = 2.0


@pytest.fixture
def apps(wanted):
    """The applications that the host is to serve."""
    return wanted.get("gunicorn_app", [])


def show(host, unit, *properties):
    """Return {property: value} of a unit."""
    answer = host.check_output("systemctl show --property=%s %s", ",".join(properties), unit)
    return dict(line.split("=", 1) for line in answer.splitlines())


def test_the_host_is_converged(host_plan):
    assert host_plan["status"] == "converged", host_plan


def test_units_run_and_come_back_after_a_reboot(host, apps):
    for app in apps:
        for unit in app["units"]:
            state = show(host, unit, "ActiveState", "UnitFileState", "NeedDaemonReload")
            assert state == {
                "ActiveState": "active",
                "UnitFileState": "enabled",
                "NeedDaemonReload": "no",
            }, unit


def test_processes_run_from_the_wanted_environment_and_release(host, apps):
    for app in apps:
        pid = show(host, f"{app['name']}.service", "MainPID")["MainPID"]
        with host.sudo():
            assert host.check_output("readlink /proc/%s/exe", pid).startswith(app["prefix"] + "/")
            assert host.check_output("readlink /proc/%s/cwd", pid) == app["release"]
            assert host.check_output("stat -c %%U /proc/%s", pid) == app["user"]


def test_applications_run_as_users_without_sudo(host, apps):
    for app in apps:
        with host.sudo():
            allowed = host.run("sudo -n -l -U %s", app["user"]).stdout
        assert re.search("not allowed to run sudo", allowed), allowed


def test_services_are_sandboxed(host, apps):
    for app in apps:
        with host.sudo():
            report = host.run("systemd-analyze security --no-pager %s.service", app["name"]).stdout
        exposure = float(re.search(r"Overall exposure level[^:]*: ([\d.]+)", report).group(1))
        assert exposure <= EXPOSURE_MAX, report


def test_nothing_of_a_release_or_an_environment_can_be_written_by_its_application(host, apps):
    for app in apps:
        with host.sudo(app["user"]):
            writable = host.run(
                "find %s %s -writable -not -type l -print -quit", app["release"], app["prefix"]
            )
        assert writable.stdout == "", writable.stdout


def test_logs_go_to_the_journal(host, apps):
    for app in apps:
        said = show(host, f"{app['name']}.service", "StandardOutput", "StandardError")
        assert said == {"StandardOutput": "journal", "StandardError": "inherit"}


def test_applications_answer_from_outside(host, apps):
    address = host.backend.get_variables().get("ansible_host", host.backend.get_hostname())
    for app in apps:
        if app["port"] is None:
            continue
        connection = http.client.HTTPConnection(address, app["port"], timeout=10)
        if app["health_scheme"] == "https":
            # Whose certificate it is does not matter here.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            connection = http.client.HTTPSConnection(
                address, app["port"], timeout=10, context=context
            )
        connection.request("GET", app["health_path"], headers=app["health_headers"])
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
