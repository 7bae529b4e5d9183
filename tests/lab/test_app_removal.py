"""Applications that are to go leave a host as it was before they came."""

from __future__ import annotations

import json

import pytest

from lab import fleet, ssh
from lab.demo import Demo

pytestmark = pytest.mark.lab

# Everything but what the application has no part in: receipts, logs, caches, and what systemd and
# Debian keep about accounts and units besides.
TRACES = " ; ".join(
    (
        "find / -xdev "
        + " ".join(
            f"-path {path} -prune -o"
            for path in (
                "/proc", "/sys", "/tmp", "/var/log", "/var/lib/gpunode", "/var/cache",
                "/var/lib/systemd", f"/home/{ssh.USER}/.ansible",
            )
        )
        + " -not -name \"*-\" -not -name \"*.pyc\" -not -name __pycache__ -print",
        "find /run/systemd/system /run/gpunode* /run/demo* /etc/systemd/system.control 2>/dev/null",
        "cut -d: -f1 /etc/passwd /etc/group",
        "systemctl list-units --all --plain --no-legend \"demo*\" | cut -d\" \" -f1",
    )
)  # fmt: skip


def traces(demo):
    """Return what is on the node, as a set of lines."""
    return set(demo.root(TRACES).splitlines())


@pytest.fixture
def demo(lab, tmp_path):
    found = Demo(lab, tmp_path)
    found.options["dir"] = "/srv/demo"
    found.secrets = {"TOKEN": "x"}
    yield found
    lab.fresh("node1")


def without_applications(log):
    """Run site.yml with an inventory that has no application."""
    nothing = json.dumps({"gunicorn_app_list": []})
    return fleet.site("--limit", "node1", "-e", nothing, log=log)


def test_an_application_that_is_to_go_leaves_nothing_and_what_is_not_ours_stays(demo, tmp_path):
    assert without_applications(tmp_path / "ssh").status == 0
    before = traces(demo)
    demo.converge()
    first = demo.ask()["release"]
    placed = traces(demo) - before
    assert {first, "/etc/gpunode/demo.env", "demo.service", "demo"} < placed

    # What merely vanished from the inventory stays, and is named.
    forgotten = without_applications(tmp_path / "ssh")
    assert (forgotten.status, forgotten.changes("node1")) == (0, [])
    assert "gunicorn_app demo: on the host, and not in the inventory any" in forgotten.messages()
    assert demo.ask()["release"] == first

    # Something else works in a release: nothing is taken from under it.
    demo.root(f"systemd-run --quiet --unit=visitor --working-directory={first} sleep 300")
    demo.options = {"name": "demo", "dir": "/srv/demo", "state": "absent"}
    demo.secrets = {}
    refused = demo.run()
    assert refused.status != 0
    assert f"of visitor.service uses {first}" in refused.messages()
    assert traces(demo) >= placed
    demo.root("systemctl stop visitor")

    predicted = demo.converge("--check")
    assert demo.converge() == predicted
    assert "remove user demo" in predicted
    assert traces(demo) == before
    assert demo.converge() == []

    # What comes back is reported and removed again.
    unit = "/etc/systemd/system/demo.service"
    demo.root(f'mkdir -p /srv/demo/releases && echo "# Written by gpunode" > {unit}')
    assert demo.converge("--check") == demo.converge() != []
    assert traces(demo) == before


def test_an_address_goes_over_from_an_application_to_another_in_one_run(demo, tmp_path):
    demo.secrets = {}
    demo.converge()
    heir = {**demo.options, "name": "heir", "dir": "/srv/heir"}
    gone = {"name": "demo", "dir": "/srv/demo", "state": "absent"}
    both = ("--limit", "node1", "-e", json.dumps({"gunicorn_app_list": [gone, heir]}))
    predicted = fleet.site(*both, "--check", log=tmp_path / "ssh")
    assert predicted.status == 0, predicted.messages()
    run = fleet.site(*both, log=tmp_path / "ssh")
    assert run.status == 0, run.messages()
    assert run.changes("node1") == predicted.changes("node1")
    assert demo.ask()["release"].startswith("/srv/heir/")
