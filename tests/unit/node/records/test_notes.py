"""What we note on a host counts as none where somebody broke it, and keeps nobody waiting."""

from __future__ import annotations

import json
import os
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.gpunode.stack.plugins.module_utils._node.conda import builds, prefixes
from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import (
    drained,
    driver_archive,
    in_kernel_drivers,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app import (
    rollback,
    surroundings,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.mlnx_ofed import note
from ansible_collections.gpunode.stack.plugins.module_utils._node.peer_memory import sources
from ansible_collections.gpunode.stack.plugins.module_utils._node.records import receipts
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import own_paths
from ansible_collections.gpunode.stack.plugins.module_utils._node.system.root import Root

APP = {"name": "web", "start_timeout_s": 5, "units": {"web.socket": "", "web.service": ""}}


def builds_record(place):
    with pytest.raises(ValueError, match=r"no record|cannot be read|was changed"):
        builds.read_record(os.path.dirname(place))


# Each note: where it lies below the folder of all notes, what reads it, and what that returns then.
NOTES = {
    "receipt": (
        "conda_env.json",
        lambda _place: receipts.read("conda_env", own_paths.STATE_DIR),
        None,
    ),
    "what served before": ("web.before", lambda _place: rollback.Before(APP, run).is_noted, False),
    "drop-ins": (
        "web.drop-ins",
        lambda _place: surroundings.noted(APP),
        {"web.socket": {}, "web.service": {}},
    ),
    "drained": (
        "drained.json",
        lambda _place: drained.noted(Root()),
        {"triggers": [], "services": []},
    ),
    "kept drivers": (
        "nvidia_driver/kept.json",
        lambda place: driver_archive.rows(Root(), os.path.dirname(place)),
        [],
    ),
    "exchange of OFED": (
        "ofed.json",
        lambda _place: note._noted(Root()),
        {"packages": {}, "symbols": False},
    ),
    "images": ("images.json", lambda _place: in_kernel_drivers._known(Root()), {}),
    "build": (builds.RECORD, builds_record, None),
    "package of conda": (
        "conda-meta/x-1-0.json",
        lambda place: prefixes.conda_records(os.path.dirname(os.path.dirname(place))),
        {},
    ),
    "sources": (sources.NOTE, lambda place: sources.noted(os.path.dirname(place)), ""),
}
TEXTS = {
    "nothing": "",
    "cut": '{"schema": 2, "digest": "a',
    "a list": "[]",
    "a list of lists": "[[], []]",
    "a number": "1e400",
    "null": "null",
    "a text": '"text"',
    "deep": "[" * 100_000,
    "deep dicts": '{"a":' * 100_000,
    "a long number": "9" * 5000,
    "other types": json.dumps(
        {"schema": 2, "digest": [], "manifest": {}, "names": 7, "triggers": 7, "services": {},
         "packages": [], "lock": {}, "dists": 7, "web.service": 7, "files": 7, "name": []}
    ),
    "a pair of nothing": json.dumps([{}, {}]),
    "a pair": json.dumps([{"/etc/passwd": ["x", 420]}, {}]),
    "a pair of other types": json.dumps([{"/etc/passwd": 7}, {"web.service": 7}]),
    "rows of other types": json.dumps(
        [{"name": 7, "version": None, "flavour": [], "sha256": {}}, 7]
    ),
    "rows that lead out": json.dumps(
        [{"name": "..", "version": "1", "flavour": "", "sha256": ""}]
    ),
}  # fmt: skip


def run(argv, **_options):
    raise AssertionError(argv)


@pytest.fixture
def notes(tmp_path, monkeypatch):
    monkeypatch.setattr(own_paths, "STATE_DIR", str(tmp_path))
    monkeypatch.setattr(note, "_NOTE", str(tmp_path / "ofed.json"))
    monkeypatch.setattr(in_kernel_drivers, "CACHE", str(tmp_path / "images.json"))
    monkeypatch.setattr(rollback.Before, "_snapshot", lambda _self: ({}, {}))
    return tmp_path


def place(notes, name):
    path = notes / NOTES[name][0]
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def found(name, path):
    limit = sys.getrecursionlimit()
    try:
        return NOTES[name][1](str(path))
    finally:
        assert sys.getrecursionlimit() == limit


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("name", NOTES)
def test_a_note_of_another_shape_is_none(notes, name, text):
    path = place(notes, name)
    path.write_text(TEXTS[text])
    assert found(name, path) == NOTES[name][2]


@pytest.mark.parametrize("name", NOTES)
def test_what_is_no_file_of_text_is_no_note(notes, name):
    path = place(notes, name)
    path.write_bytes(bytes(range(256)) * 4)
    assert found(name, path) == NOTES[name][2]
    path.unlink()
    os.mkfifo(path)
    assert found(name, path) == NOTES[name][2]
    path.unlink()
    path.mkdir()
    assert found(name, path) == NOTES[name][2]
    path.rmdir()
    path.symlink_to(path)
    assert found(name, path) == NOTES[name][2]


@pytest.mark.parametrize("name", NOTES)
def test_no_note_is_larger_than_a_host_can_hold(notes, name):
    path = place(notes, name)
    with open(path, "wb") as file:
        file.truncate(4 << 40)
    assert found(name, path) == NOTES[name][2]


# Names that mean something in one of the notes, and others.
_KEYS = st.sampled_from(
    [
        *("schema", "digest", "manifest", "names", "asked", "kind", "path", "sha256", "triggers"),
        *("services", "packages", "symbols", "lock", "dists", "web.service", "web.socket", "mark"),
        *("holds", "name", "version", "flavour", "files", "/boot/initrd.img-6.1.0-1-amd64", ""),
    ]
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(2),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=_VALUES)
def test_whatever_a_note_says_it_is_taken_or_is_none(notes, value):
    for name in NOTES:
        path = place(notes, name)
        path.write_text(json.dumps(value), encoding="utf-8")
        NOTES[name][1](str(path))
        path.unlink()
