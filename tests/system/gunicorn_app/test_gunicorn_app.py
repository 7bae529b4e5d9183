"""An application on a real host: secrets, releases, addresses, changes that went half way."""

from __future__ import annotations

import concurrent.futures
import time

import pytest

from lab.load import load
from system import environments
from system.gunicorn_app.demo import CODE, Demo

pytestmark = pytest.mark.lab

# Says in "click" whether that was tampered with when it was loaded.
TELLS_OF_CLICK = f"""\
import click
import os
os.environ["click"] = "tampered with" if hasattr(click, "TAMPERED") else "as it was"
{CODE}"""

SECRETS = {
    "FIRST": "Uncommon-Secret-1",
    "TOKEN": "se\"c$r`e\\t 'x' %n",
    "KEY": "-----\nline\n-----",
}
PLAIN = {"MODE": 'a "b" \\ 50% of\n$HOME'}


@pytest.fixture(scope="module")
def demo(lab, tmp_path_factory):
    environments.fresh(lab, "node1")
    found = Demo(lab, tmp_path_factory.mktemp("demo"))
    found.converge()
    yield found
    lab.fresh("node1")


@pytest.fixture(scope="module")
def given(demo):
    """What a run says that gives the application variables and secrets."""
    demo.options["environment_variables"], demo.secrets = PLAIN, SECRETS
    run = demo.run("-vvv", "--diff")
    assert run.status == 0, run.messages()
    return run


def test_variables_and_secrets_arrive_as_they_were_written(given, demo):
    environment = demo.ask()
    assert {key: environment[key] for key in {**PLAIN, **SECRETS}} == {**PLAIN, **SECRETS}


def test_secrets_are_for_root_and_the_application_alone(given, demo):
    # What was given on the command line is shown by nobody but the operator's own shell.
    assert "Uncommon-Secret-1" not in given.text
    assert demo.root('stat -c "%a %U" /etc/gpunode/demo.env') == "600 root"
    found = demo.root("grep -rl Uncommon-Secret-1 /etc /var/lib/gpunode /home /srv || true")
    assert found == "/etc/gpunode/demo.env"
    assert "Uncommon-Secret-1" not in demo.root("systemctl show demo.service")


def test_a_changed_secret_restarts_the_service_and_nothing_else(demo):
    demo.secrets = {"TOKEN": "Uncommon-Secret-2"}
    assert demo.converge()[1:] == [
        "write /etc/gpunode/demo.env",
        "restart demo.service: it was started with other secrets",
    ]
    assert demo.ask()["TOKEN"] == "Uncommon-Secret-2"


def test_secrets_that_are_no_longer_wanted_are_removed(demo):
    demo.secrets = {}
    assert "remove /etc/gpunode/demo.env" in demo.converge()
    assert "TOKEN" not in demo.ask()
    # No other application has any, so the folder goes with them.
    assert "No such file" in demo.root("ls -d /etc/gpunode 2>&1 || true")


def test_a_restart_that_a_killed_run_still_owes_is_made_up_for(demo):
    """The unit is in place and systemd has read it; what runs is of another one, and no receipt."""
    unit = "/etc/systemd/system/demo.service"
    demo.root(
        f"cp {unit} /tmp/wanted && sed -i s/GPUNODE_UNIT=.*/GPUNODE_UNIT=old/ {unit}"
        " && systemctl daemon-reload && systemctl restart demo.service"
        f" && cat /tmp/wanted > {unit} && systemctl daemon-reload"
        " && rm /var/lib/gpunode/gunicorn_app.json"
    )
    assert demo.converge()[1:] == ["restart demo.service: it was started from another unit"]


def test_an_address_that_systemd_read_and_does_not_listen_on_yet_is_opened(demo):
    demo.root(
        "sed -i s/9100/9101/ /etc/systemd/system/demo.socket && systemctl daemon-reload"
        " && ss -tln | grep -q :9100"
    )
    demo.options["listen"] = "0.0.0.0:9101"
    assert demo.converge() == [
        "listen on 0.0.0.0:9101 by demo.socket",
        "restart demo.service: its socket is opened anew",
    ]
    assert demo.ask()["release"].startswith("/home/demo/code/releases/")
    assert demo.root("ss -tln | grep -c :9100 || true") == "0"


def test_one_earlier_release_stays_and_one_that_somebody_uses(demo):
    first = demo.ask()["release"]
    demo.root(f"systemd-run --quiet --unit=visitor --working-directory={first} sleep 300")
    for number in range(2):
        demo.code(f"{CODE}# {number}\n")
        demo.converge()
    demo.code(f"{CODE}# 2\n")
    predicted = demo.converge("--check")
    assert demo.converge() == predicted
    now = demo.ask()["release"]
    assert len(demo.releases()) == 3
    assert {first.rpartition("/")[2], now.rpartition("/")[2]} < demo.releases()
    assert demo.root("readlink /home/demo/code/current") == now
    demo.root("systemctl stop visitor")


def test_a_release_that_is_named_serves_again_and_the_newer_one_stays(demo):
    """With one earlier release kept, the one that served last stays, not the one that came last."""
    first = demo.ask()["release"].rpartition("/")[2]
    demo.code(f"{CODE}# second\n")
    demo.converge()
    second = demo.ask()["release"].rpartition("/")[2]
    source = demo.options.pop("source")
    demo.options["release"] = first
    predicted = demo.converge("--check")
    assert demo.converge() == predicted
    assert demo.ask()["release"].endswith(first)
    assert demo.releases() == {first, second}
    del demo.options["release"]
    demo.options["source"] = source
    demo.code(f"{CODE}# third\n")
    demo.converge()
    assert demo.releases() == {first, demo.ask()["release"].rpartition("/")[2]}


@pytest.mark.slow
def test_an_environment_that_was_repaired_is_what_the_workers_have_loaded(demo):
    """A reload would not do: with preload_app, workers are forks of what has loaded the code.

    benoitc/gunicorn#2449, galaxyproject/gravity#54: the old code goes on after HUP.
    """
    demo.options["environment_variables"] = {"GUNICORN_CMD_ARGS": "--preload"}
    demo.code(TELLS_OF_CLICK)
    demo.converge()
    prefix = demo.root("readlink -f /opt/gpunode/envs/ob_cuda")
    click = f"{prefix}/lib/python3.*/site-packages/click"
    demo.root(f"rm -r {click}-*.dist-info && echo TAMPERED = 1 >> $(ls {click}/__init__.py)")
    demo.root("systemctl restart demo.service")
    assert demo.ask()["click"] == "tampered with"
    predicted = demo.converge("--check")
    with demo.polled() as pressure:
        assert demo.converge() == predicted
    restart = "restart demo.service: its environment was repaired after it started"
    assert predicted[-1] == restart
    assert pressure.lost == []
    assert demo.ask()["click"] == "as it was"
    # A run that is killed after the repair owes the restart.
    demo.root(f"touch {prefix}/.gpunode.lock")
    assert demo.converge()[-1] == restart
    assert demo.converge() == []


@pytest.mark.slow
def test_a_release_under_load_is_not_taken_back_since_its_workers_are_recycled(demo):
    """benoitc/gunicorn#1318, #3038: max_requests under load."""
    demo.options["environment_variables"] = {"GUNICORN_CMD_ARGS": "--max-requests 20"}
    demo.code(f"{CODE}# recycles\n")
    with load(demo.address, demo.port(), "/release", clients=8, pause_s=0.02) as pressure:
        began = time.monotonic()
        demo.converge()
        rate = pressure.answered / (time.monotonic() - began)
    assert rate > 100, "that was no load"
    assert demo.ask()["GUNICORN_CMD_ARGS"] == "--max-requests 20"
    assert pressure.lost == []
    del demo.options["environment_variables"]


OVERRIDE = "/etc/systemd/system/demo.service.d/override.conf"


def overridden(demo, *settings):
    """Change the service's unit as `systemctl edit` does, and restart it."""
    text = "\\n".join(["[Service]", *settings])
    demo.root(f'mkdir -p $(dirname {OVERRIDE}) && printf "{text}\\n" > {OVERRIDE}')
    demo.root("systemctl daemon-reload && systemctl restart demo.service")


def test_what_changes_a_unit_from_outside_is_told_and_refused_where_it_is_no_more_confined(demo):
    demo.code(CODE)
    demo.converge()
    overridden(demo, "User=root", "ProtectSystem=no")
    run = demo.run()
    assert run.status != 0
    said = run.messages()
    assert f"unit demo.service is changed by {OVERRIDE} (User=root, ProtectSystem=no)" in said
    assert "runs as root, not as demo" in said
    overridden(demo, "Environment=FROM_OUTSIDE=1")
    restart = f"restart demo.service: it was not started under {OVERRIDE} (Environment=...)"
    assert demo.converge()[-1] == restart
    assert demo.ask()["FROM_OUTSIDE"] == "1"
    again = demo.run()
    assert again.changes("node1") == []
    assert f"note: unit demo.service is changed by {OVERRIDE}" in again.messages()
    demo.root(f"rm -r $(dirname {OVERRIDE}) && systemctl daemon-reload")
    assert f"it was started under {OVERRIDE}, which is gone" in "\n".join(demo.converge())
    assert "FROM_OUTSIDE" not in demo.ask()


@pytest.mark.slow
def test_a_candidate_runs_under_what_changes_its_unit_from_outside(demo):
    overridden(demo, "Environment=FROM_OUTSIDE=1")
    demo.code(f"{CODE}os.environ['FROM_OUTSIDE']\n")
    demo.converge()
    assert demo.ask()["FROM_OUTSIDE"] == "1"
    demo.code(CODE)
    demo.converge()
    demo.root(f"rm -r $(dirname {OVERRIDE}) && systemctl daemon-reload")
    demo.converge()
    assert demo.converge() == []


def test_no_request_is_lost_while_the_service_is_restarted(demo):
    demo.converge()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        restart = pool.submit(demo.root, "systemctl restart demo.service")
        answers = [demo.ask()["INVOCATION_ID"]]
        while not restart.done():
            answers.append(demo.ask()["INVOCATION_ID"])
    answers.append(demo.ask()["INVOCATION_ID"])
    assert len(set(answers)) == 2, "requests were answered by the old service and by the new one"


def test_a_unix_socket_serves_too(demo):
    demo.options["listen"] = "/run/demo/demo.sock"
    assert "listen on /run/demo/demo.sock by demo.socket" in demo.converge()
    assert demo.root("ss -xln | grep -c /run/demo/demo.sock") == "1"
    assert demo.converge() == []
