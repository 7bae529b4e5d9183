"""What a host remembers of its RDMA stack, and what rubbish in it comes to."""

from __future__ import annotations

import pytest
from trees import planted

from ansible_collections.gpunode.stack.plugins.module_utils import ofed_note
from ansible_collections.gpunode.stack.plugins.module_utils.tree import Tree


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path)


def test_an_exchange_is_at_work_from_its_beginning_to_its_end(tree):
    assert not ofed_note.is_at_work(tree)
    ofed_note.begin(tree)
    ofed_note.begin(tree)
    assert ofed_note.is_at_work(tree)
    ofed_note.end(tree, {"ofed-scripts": "24.10"}, True)
    assert not ofed_note.is_at_work(tree)
    assert (ofed_note.packages(tree), ofed_note.had_symbols(tree)) == (
        {"ofed-scripts": "24.10"},
        True,
    )


@pytest.mark.parametrize("text", ["", "{", "[]", '{"packages": []}', "null"])
def test_rubbish_is_no_note(tree, tmp_path, text):
    ofed_note.begin(tree)
    (tmp_path / "var/lib/gpunode/mlnx_ofed/installed.json").write_text(text)
    assert (ofed_note.packages(tree), ofed_note.had_symbols(tree)) == ({}, False)


def test_the_bundle_that_is_installed_is_kept_and_no_other(tree, tmp_path):
    archive = tmp_path / "a.tgz"
    for version in ("23.10-3.2.1.1", "24.10-1.1.4.0"):
        archive.write_text(version)
        ofed_note.keep(tree, str(archive), version)
    assert ofed_note.kept(tree, "23.10-3.2.1.1") == ""
    kept = ofed_note.kept(tree, "24.10-1.1.4.0")
    assert ofed_note.kept_version(tree) == "24.10-1.1.4.0"
    # It may be what it was installed from again.
    ofed_note.keep(tree, kept, "24.10-1.1.4.0")
    with open(kept, encoding="ascii") as handle:
        assert handle.read() == "24.10-1.1.4.0"
    ofed_note.forget(tree)
    assert ofed_note.kept_version(tree) == ""


def test_the_archives_of_what_is_installed_are_kept_and_no_others(tmp_path):
    old, new = "rdma-core_1_amd64.deb", "rdma-core_2_amd64.deb"
    files = {
        f"{ofed_note.DIR}/packages/{old}": "",
        f"{ofed_note.COMING}/{new}": "",
        f"{ofed_note.DIR}/24.10-1.1.4.0.tgz": "",
    }
    tree = planted(tmp_path, files)
    ofed_note.keep_packages(tree, {"rdma-core": "2"})
    kept = ofed_note.kept_packages(tree, {"rdma-core": "2"})
    assert kept == {"rdma-core": tree.path(f"{ofed_note.DIR}/packages/{new}")}
    assert tree.names(f"{ofed_note.DIR}/packages") == [new]
    assert ofed_note.kept_version(tree) == ""
    ofed_note.forget(tree)
    assert not tree.exists(f"{ofed_note.DIR}/packages")
