"""What `gpunode.stack.verify` prints, writes and ends with, for hosts that answer as recorded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import jsonschema
import pytest

import costs
from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape

PROJECT = Path(__file__).parents[3]
SCHEMA = json.loads((PROJECT / "docs" / "verify.schema.json").read_text(encoding="utf-8"))
# Nobody listens there.
AWAY = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
MOUNT = {"mount": "/", "fstype": "ext4", "size_total": 1000, "size_available": 500}
WAIVER = {"check": "host.room", "reason": "a bigger disk comes", "until": "2999-12-31"}


class Fleet:
    """Hosts of which nothing is wanted, each with an answer of its own, and runs of the checks."""

    def __init__(self, folder):
        self.folder = folder

    def answer(self, name, **facts):
        """Have a file with what a host answers; return the variables of one that gives it."""
        plain = {
            **facts_shape.empty(facts_shape.Facts),
            "service_mgr": "systemd",
            "own_kernel": True,
            "mounts": [MOUNT],
        }
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps({"answer": {**plain, **facts}}))
        return {
            "ansible_connection": "recorded",
            "ansible_python_interpreter": "/usr/bin/python3",
            "recorded_answer": str(path),
            "recorded_log": str(self.folder / "log"),
        }

    def verify(self, hosts, *arguments, **variables):
        """Check hosts, {name: variables}; return (exit status, what was printed, the document)."""
        inventory = self.folder / "hosts.json"
        inventory.write_text(json.dumps({"all": {"hosts": hosts, "vars": variables}}))
        written = {
            f"verification_{kind}": str(self.folder / name)
            for kind, name in (("json", "v.json"), ("junit", "v.xml"), ("textfile", "v.prom"))
        }
        for path in written.values():
            Path(path).unlink(missing_ok=True)
        done = subprocess.run(
            [
                Path(sys.executable).with_name("ansible-playbook"),
                *("-i", inventory, "playbooks/verify.yml", "-e", json.dumps(written), *arguments),
            ],
            cwd=PROJECT,
            env={
                **os.environ,
                "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"),
                "ANSIBLE_CONNECTION_PLUGINS": str(PROJECT / "tests/standins/connection"),
                "ANSIBLE_STDOUT_CALLBACK": "default",
                "ANSIBLE_SSH_RETRIES": "0",
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        path = self.folder / "v.json"
        document = json.loads(path.read_text()) if path.exists() else None
        if document:
            jsonschema.validate(document, SCHEMA, jsonschema.Draft202012Validator)
        return done.returncode, done.stdout + done.stderr, document


@pytest.fixture
def fleet(tmp_path):
    return Fleet(tmp_path)


def failed(document, name):
    rows = document["hosts"][name]["checks"]
    return [row["check"] for row in rows if row["outcome"] == "failed"]


def test_hosts_that_are_as_wanted_end_well_after_one_round_trip_each(fleet):
    hosts = {name: fleet.answer("well") for name in ("one", "two", "three")}
    status, said, document = fleet.verify(hosts)
    assert status == 0, said
    assert "3 hosts (one, three, two): " in said
    assert document["verdict"] == "passed"
    assert document["counts"]["failed"] == 0
    log = (fleet.folder / "log").read_text().split()[::2]
    assert sorted(log) == sorted([*hosts] * costs.MOST["round_trips"])
    assert "failed=0" in said
    assert said.count("TASK [") == 2


def test_exactly_the_host_that_is_not_as_wanted_fails_exactly_its_check(fleet):
    full = {**MOUNT, "size_available": 10}
    hosts = {"full": fleet.answer("full", mounts=[full]), "well": fleet.answer("well")}
    status, said, document = fleet.verify(hosts)
    assert status == 2
    assert (failed(document, "full"), failed(document, "well")) == (["host.room"], [])
    assert said.index("1 host (full)") < said.index("1 host (well)")
    assert "critical host.room: / has 1.0 % of its room left" in said
    suite = ET.parse(fleet.folder / "v.xml").getroot().find("testsuite[@name='full']")
    assert suite.get("failures") == "1"
    metrics = (fleet.folder / "v.prom").read_text()
    assert 'gpunode_check_failed{host="full",check="host.room",severity="critical"} 1' in metrics


def test_a_warning_is_told_and_fails_no_run(fleet):
    little = {**MOUNT, "size_available": 40}
    status, said, document = fleet.verify({"one": fleet.answer("little", mounts=[little])})
    assert status == 0, said
    assert document["verdict"] == "warned"
    assert "warning host.little_room" in said


def test_a_waiver_shows_and_one_that_has_ended_fails(fleet):
    full = fleet.answer("full", mounts=[{**MOUNT, "size_available": 10}])
    ended = {**WAIVER, "until": "2026-01-01"}
    hosts = {
        "waived": {**full, "gpunode_waivers": [WAIVER]},
        "late": {**full, "gpunode_waivers": [ended]},
        "wrong": {**full, "gpunode_waivers": [{**WAIVER, "check": "host.rom"}]},
    }
    status, said, document = fleet.verify(hosts)
    assert status == 2
    assert failed(document, "waived") == []
    assert "until 2999-12-31: a bigger disk comes" in said
    assert failed(document, "late") == ["host.waivers", "host.room"]
    assert failed(document, "wrong") == ["host.asked", "host.room"]
    assert "Did you mean host.room?" in said


def test_a_host_that_is_not_reached_is_one_row_and_keeps_nobody_from_the_others(fleet):
    status, said, document = fleet.verify({"away": AWAY, "well": fleet.answer("well")})
    assert status == 2
    assert failed(document, "away") == ["host.reached"]
    assert len(document["hosts"]["away"]["checks"]) == 1
    assert document["hosts"]["away"]["plan"] is None
    assert document["hosts"]["well"]["verdict"] == "passed"
    assert "critical host.reached:" in said
    assert 'gpunode_host_reached{host="away"} 0' in (fleet.folder / "v.prom").read_text()


def test_a_fleet_of_which_no_host_is_reached_has_its_rows_as_well(fleet):
    status, _said, document = fleet.verify({"away": AWAY, "gone": AWAY})
    assert status == 2
    assert [failed(document, name) for name in ("away", "gone")] == [["host.reached"]] * 2


def test_an_inventory_without_hosts_is_a_failure(fleet):
    status, said, document = fleet.verify({})
    assert status == 2
    assert "nothing was checked" in said
    assert document is None


def test_a_limit_to_some_hosts_checks_those_alone(fleet):
    hosts = {"one": fleet.answer("well"), "two": fleet.answer("well")}
    status, said, document = fleet.verify(hosts, "--limit", "two")
    assert status == 0, said
    assert list(document["hosts"]) == ["two"]


@pytest.mark.parametrize(
    "facts",
    [
        {"distribution": 7},
        {"receipts": {"../../x": {"digest": "{{ 7 * 7 }}"}}},
        {"mounts": "\x1b[2J" * 99},
    ],
)
def test_an_answer_that_is_none_is_one_row_and_nothing_of_it_is_done(fleet, facts):
    hosts = {"owned": fleet.answer("owned", **facts), "well": fleet.answer("well")}
    status, said, document = fleet.verify(hosts)
    assert status == 2
    assert failed(document, "owned") == ["host.answers"]
    assert document["hosts"]["well"]["verdict"] == "passed"
    assert "\x1b" not in said + json.dumps(document, ensure_ascii=False)
    assert "49" not in json.dumps(document["hosts"]["owned"])


def test_what_a_host_says_is_no_template_no_markup_and_has_no_secrets(fleet):
    mark = fleet.folder / "owned-by-a-host"
    says = (
        f"{{{{ lookup('pipe', 'touch {mark}') }}}} <b>&amp;</b>\x1b]0;x\x07\nsecond "
        "https://me:hunter2@index.example.org/"
    )
    receipt = {
        "digest": "d",
        "drift": [{"kind": "receipt", "of": says, "says": says}],
        "names": [],
        "notes": [says],
        "asked": {},
    }
    nothing = {"kind": "absent", "empty": True, "conda": False, "unfinished": False, "sha256": ""}
    owned = fleet.answer(
        "owned", receipts={"miniforge": receipt}, paths={"/opt/miniforge3": nothing}
    )
    status, said, document = fleet.verify({"owned": owned}, miniforge_state="absent")
    assert status == 2
    assert failed(document, "owned") == ["miniforge.receipt"]
    written = "".join((fleet.folder / name).read_text() for name in ("v.json", "v.xml", "v.prom"))
    assert not mark.exists()
    assert "hunter2" not in said + written
    assert "\x1b" not in said + written
    assert "<b>" not in (fleet.folder / "v.xml").read_text()


def test_a_misspelt_variable_fails_the_check_of_what_is_asked(fleet):
    status, said, document = fleet.verify(
        {"one": fleet.answer("well")}, gpunode_stack="r581", conda_env_lsit=[]
    )
    assert status == 2
    assert failed(document, "one") == ["host.asked"]
    assert len(document["hosts"]["one"]["checks"][2]["findings"]) == 2
    assert "variable conda_env_lsit: no role reads it" in said


def test_a_place_that_cannot_be_written_is_named_with_the_option(fleet):
    status, said, _document = fleet.verify(
        {"one": fleet.answer("well")}, "-e", "verification_json=/dev/null/v.json"
    )
    assert status == 2
    assert "/dev/null/v.json" in said
    assert "Name another file in verification_json" in said


def test_check_mode_checks_as_well(fleet):
    full = fleet.answer("full", mounts=[{**MOUNT, "size_available": 10}])
    status, _said, document = fleet.verify({"one": full}, "--check")
    assert status == 2
    assert failed(document, "one") == ["host.room"]
