"""The work of a component's module, around what the component does itself."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import subprocess

import pytest
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args

from ansible_collections.gpunode.stack.plugins.module_utils._node.component import bring
from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import gridd
from ansible_collections.gpunode.stack.plugins.module_utils._node.records import receipts
from ansible_collections.gpunode.stack.plugins.module_utils._node.steps import Result
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import (
    files,
    transient_unit,
)

COMPONENT = bring.Component("mlnx_ofed", "RDMA stack", "bring it", 7)
NOTHING = {"changed": False, "changes": [], "diff": [], "manifest": [], "needs": []}
# As it is before a test replaces it.
SWEPT = bring.at_work._FOLDERS
RECEIPT = {"digest": "d1", "present": ["one"], "absent": []}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Neither the lock of this machine nor its receipts are anybody's business."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(bring.at_work, "node_lock", _NoLock)
    monkeypatch.setattr(bring.at_work, "_FOLDERS", [str(tmp_path / "etc"), "/no/such"])
    monkeypatch.setattr(transient_unit, "settle", lambda *_asked: None)
    settle = receipts.settle
    monkeypatch.setattr(
        bring.receipts,
        "settle",
        lambda *asked, **parts: settle(*asked, **parts, state_dir=str(tmp_path)),
    )
    return tmp_path


class _NoLock:
    @staticmethod
    def held(_purpose):
        return contextlib.nullcontext()


@pytest.fixture
def brought(capsys):
    """What the module answers: (converge, state, **arguments) -> dict."""

    def bring_it(converge, state="present", check_mode=False, **arguments):
        arguments = {
            "wanted": {"state": state},
            "_ansible_check_mode": check_mode,
            **arguments,
        }
        with patch_module_args(arguments), pytest.raises(SystemExit):
            bring.bring(COMPONENT, converge, lambda _wanted: "/usr", consent={"type": "list"})
        return json.loads(capsys.readouterr().out)

    return bring_it


def test_whoever_is_not_root_is_told_so_before_anything_else(brought, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    told = brought(lambda *_asked: pytest.fail("it was begun"))
    assert told["failed"]
    assert told["msg"].startswith("needs root: ")
    assert "ansible_become: true" in told["msg"]


def answer(result, *keys):
    return {key: result[key] for key in keys or NOTHING}


def test_where_nothing_is_said_nothing_is_done(brought):
    result = brought(lambda *_asked: pytest.fail("it was asked"), "unsaid")
    assert answer(result) == NOTHING


def test_a_component_is_handed_the_host_and_what_was_asked(brought):
    def converge(host, asked, check_mode):
        return Result([f"{host.sent} {asked['consent']} {check_mode}"], needs=["other"])

    result = brought(converge, check_mode=True, consent=["reboot"], files={"f": "/tmp/f"})
    assert result["changes"] == ["{'f': '/tmp/f'} ['reboot'] True"]
    assert (result["changed"], result["needs"]) == (True, ["other"])


def test_nothing_that_is_told_holds_the_secret_of_an_address(brought):
    address = "https://jane@acme.example:HUNTER@h/t/HUNTER/x"

    def converge(*_asked):
        difference = {"before": "", "after": f"[global]\nindex-url = {address}\n"}
        return Result([f"write {address}"], [difference], warnings=[f"no {address}"])

    result = brought(converge)
    assert "HUNTER" not in json.dumps(result)
    assert result["changes"] == ["write https://***@h/t/***/x"]


def test_a_command_that_hangs_is_told_without_what_it_was_given(brought):
    def converge(*_asked):
        raise subprocess.TimeoutExpired(["/usr/sbin/userdel", "https://jane:HUNTER@h/"], 600)

    told = brought(converge)
    assert told["msg"].startswith("userdel: it did not end within 600 s. ")
    assert "HUNTER" not in json.dumps(told)


def test_a_disk_that_fills_up_under_the_work_is_told(brought, tmp_path):
    def converge(*_asked):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path))

    assert f"the file system of {tmp_path} is full" in brought(converge)["msg"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_has_no_room_for_the_receipt_is_told(brought, here, monkeypatch, number):
    def full(*_asked):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.os, "fsync", full)
    said = brought(lambda *_asked: Result(["do it"]), receipt=RECEIPT)["msg"]
    assert f"the file system of {here}/mlnx_ofed.json is full" in said
    assert "run again" in said
    assert list(here.iterdir()) == []


def test_what_went_wrong_beside_the_work_is_a_warning(brought, monkeypatch):
    warned = []
    monkeypatch.setattr(basic.AnsibleModule, "warn", lambda _module, says: warned.append(says))
    brought(lambda *_asked: Result(warnings=["it went wrong"]))
    assert warned == ["it went wrong"]


def test_a_password_that_is_to_be_hidden_is_never_shown(brought):
    wanted = {"state": "present", "channels": [{"url": 'http://user:hunt"\u00e9r22@mirror'}]}

    def converge(host, asked, _check_mode):
        host.hide(asked["wanted"])
        # As a program tells of it that takes the address apart.
        return Result([f"use mirror as {asked['wanted']['channels'][0]['url'][7:-7]}"])

    assert brought(converge, wanted=wanted)["changes"] == ["use mirror as user:********"]


def test_a_file_is_asked_for_by_its_name_though_a_password_is_a_part_of_it(brought):
    wanted = {"state": "present", "url": "https://mirror:nvidia@mirror/", "file": "/srv/nvidia/1"}
    result = brought(lambda *_asked: Result(needs=["/srv/nvidia/1"]), wanted=wanted)
    assert result["needs"] == ["/srv/nvidia/1"]


@pytest.mark.parametrize("check_mode", [True, False])
def test_what_an_earlier_run_began_comes_to_its_end_first(monkeypatch, brought, check_mode):
    done = []
    monkeypatch.setattr(transient_unit, "settle", lambda *asked: done.append(asked))
    brought(lambda *_asked: done.append("work") or Result(), check_mode=check_mode)
    assert done == ([] if check_mode else [("mlnx_ofed", 7)]) + ["work"]


def test_the_receipt_is_left_last_and_is_a_change_of_its_own(brought, here):
    path = here / "mlnx_ofed.json"
    work = Result(manifest=[{"kind": "absence", "path": "/nowhere"}])
    assert brought(lambda *_asked: work, check_mode=True, receipt=RECEIPT)["changed"]
    assert not path.exists()
    first = brought(lambda *_asked: work, receipt=RECEIPT)
    assert (first["changed"], first["changes"]) == (True, [])
    left = json.loads(path.read_text())
    assert (left["digest"], left["names"], left["manifest"]) == ("d1", ["one"], work.manifest)
    assert not brought(lambda *_asked: work, receipt=RECEIPT)["changed"]


def test_the_receipt_keeps_the_parts_of_what_was_asked_for(brought, here):
    parts = {"application web: workers": "1a2b3c4d"}
    brought(lambda *_asked: Result(["do it"]), receipt={**RECEIPT, "asked": parts})
    assert receipts.survey(str(here))["mlnx_ofed"]["asked"] == parts


@pytest.mark.parametrize(
    "result",
    [Result(needs=["file"]), None],
    ids=["a file is lacking", "no receipt is asked for"],
)
def test_what_is_not_done_leaves_no_receipt(brought, here, result):
    asked = {"receipt": RECEIPT} if result else {}
    brought(lambda *_asked: result or Result(["do it"]), **asked)
    assert list(here.iterdir()) == []


def test_names_that_were_placed_stay_until_they_are_removed(brought, here):
    for present, absent, names in (
        (["a", "b"], [], ["a", "b"]),
        (["a"], [], ["a", "b"]),
        (["a"], ["b"], ["a"]),
    ):
        receipt = {"digest": "d", "present": present, "absent": absent}
        brought(lambda *_asked: Result(["do it"]), receipt=receipt)
        assert json.loads((here / "mlnx_ofed.json").read_text())["names"] == names


def test_where_nothing_is_was_or_is_to_be_there_is_no_receipt(brought, here):
    receipt = {"digest": "d", "present": [], "absent": ["gone"]}
    assert not brought(lambda *_asked: Result(), receipt=receipt)["changed"]
    assert list(here.iterdir()) == []


def test_tokens_are_swept_as_well():
    assert gridd.TOKENS in SWEPT


def test_what_a_killed_run_had_not_put_in_place_goes_and_nothing_else(brought, here):
    folder = here / "etc"
    folder.mkdir()
    for name in (".gpunode-abc123", "web.env", ".other"):
        (folder / name).write_text("TOKEN=x")
    (folder / ".gpunode-folder").mkdir()
    brought(lambda *_asked: Result(), check_mode=True)
    assert (folder / ".gpunode-abc123").exists()
    brought(lambda *_asked: Result())
    assert sorted(os.listdir(folder)) == [".gpunode-folder", ".other", "web.env"]
