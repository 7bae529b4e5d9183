"""The facts, as they are written once: of which types they are, and what follows from that."""

from __future__ import annotations

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape


def test_a_host_that_tells_nothing_has_every_fact_in_its_shape():
    assert facts_shape.misfits(facts_shape.empty(facts_shape.Facts), facts_shape.Facts) == []


def test_what_tells_nothing_is_nobody_elses():
    facts_shape.empty(facts_shape.Facts)["gpus"].append("mine")
    assert facts_shape.empty(facts_shape.Facts)["gpus"] == []


def test_a_host_has_a_vendors_rdma_stack_only_where_it_says_so():
    assert facts_shape.empty(facts_shape.GpuHost)["rdma_stack"]["kind"] == "inbox"


NOUVEAU = {"loaded": False, "blacklisted": False, "initramfs": ["6.1"]}


@pytest.mark.parametrize(
    ("changed", "misfit"),
    [
        ({"loaded": 0}, "nouveau.loaded is 0, no bool"),
        ({"initramfs": [6.1]}, "nouveau.initramfs[0] is 6.1, no str"),
        ({"initramfs": "6.1"}, "nouveau.initramfs is '6.1', no list"),
        ({"initramfs": None}, "nouveau.initramfs is None, no list"),
        ({"more": 1}, "nouveau.more is no fact"),
    ],
)
def test_another_shape_is_told(changed, misfit):
    found = facts_shape.misfits({**NOUVEAU, **changed}, facts_shape.InKernelDriver, "nouveau")
    assert found == [misfit]


def test_what_is_missing_is_told():
    assert facts_shape.misfits({}, facts_shape.LoadedDriver, "loaded") == [
        "loaded.version is missing",
        "loaded.open is missing",
    ]


def test_a_truth_value_is_no_number():
    rows = [{"address": "", "xid": True, "says": ""}]
    assert facts_shape.misfits(rows, list[facts_shape.GpuFault]) == ["[0].xid is True, no int"]


@pytest.mark.parametrize("number", [1 << 64, -(1 << 64), 10**400])
def test_a_number_that_nobody_counts_to_is_none(number):
    rows = [{"address": "", "xid": number, "says": ""}]
    told = facts_shape.misfits(rows, list[facts_shape.GpuFault])
    assert told == ["[0].xid is a number of more than 64 bits"]
    rows[0]["xid"] = (1 << 64) - 1
    assert facts_shape.misfits(rows, list[facts_shape.GpuFault]) == []


def test_names_of_the_hosts_own_may_be_any_and_their_values_may_not():
    one = {"exists": True, "uid": 0, "home": "", "shell": "", "sudo": False}
    users = {"root": one, "ob": {**one, "uid": "0"}}
    assert facts_shape.misfits(users, dict[str, facts_shape.Account]) == ["[ob].uid is '0', no int"]


def test_a_type_is_called_as_people_write_it():
    assert facts_shape.called(facts_shape.fields(facts_shape.GpuHost)["driver"][0]).startswith(
        "{loaded: {version: str, open: bool}, modules: [{kernel: str, "
    )
    assert facts_shape.called(dict[str, str]) == "{str: str}"


def test_every_fact_stands_on_the_page_once():
    named = [name for part in facts_shape.PARTS for name in facts_shape.fields(part)]
    assert sorted(named) == sorted(facts_shape.fields(facts_shape.Facts))
