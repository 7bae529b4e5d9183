"""The archive of a bundle: the controller sends it where the host has no whole copy of it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from trees import planted

from ansible_collections.gpunode.stack.plugins.module_utils._node.component import bring
from ansible_collections.gpunode.stack.plugins.module_utils._node.mlnx_ofed import archive, note

VERSION, FILE = "24.10-1.1.4.0", "/srv/bundle.tgz"
DIGEST = hashlib.sha256(b"whole").hexdigest()


@pytest.fixture
def host(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "_WORK_DIR", str(tmp_path / "work"))
    return bring.Node(planted(tmp_path / "root", {}), None, None, None)


def made(host, place=FILE):
    return archive.Archive(archive.Source(place, DIGEST), VERSION, host)


def kept(host, text):
    planted(Path(host.tree.root), {f"{note.DIR}/{VERSION}.tgz": text})


@pytest.mark.parametrize(("text", "needs"), [("whole", []), ("damaged", [FILE])])
def test_a_copy_that_is_kept_is_as_good_where_it_is_whole(host, text, needs):
    assert made(host).needs() == [FILE]
    kept(host, text)
    assert made(host).needs() == needs


def test_what_has_an_address_is_not_asked_for(host):
    assert made(host, "https://mirror.example.com/bundle.tgz").needs() == []


def test_what_was_sent_is_taken_over_by_its_digest(host, tmp_path):
    sent = tmp_path / "sent"
    sent.write_text("whole")
    host.sent = {FILE: str(sent)}
    found = made(host)
    assert found.needs() == []
    assert Path(found.fetched()).read_text() == "whole"
    archive.discard()
    assert not (tmp_path / "work").exists()
