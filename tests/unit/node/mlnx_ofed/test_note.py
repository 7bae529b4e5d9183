"""What a host remembers of its RDMA stack, and what rubbish in it comes to."""

from __future__ import annotations

import pytest
from trees import planted

from ansible_collections.gpunode.stack.plugins.module_utils._node.mlnx_ofed import note
from ansible_collections.gpunode.stack.plugins.module_utils._node.packages import package_manager
from ansible_collections.gpunode.stack.plugins.module_utils._node.system.root import Root


@pytest.fixture
def tree(tmp_path):
    return Root(tmp_path)


def test_an_exchange_is_at_work_from_its_beginning_to_its_end(tree):
    assert not note.is_at_work(tree)
    note.begin(tree)
    note.begin(tree)
    assert note.is_at_work(tree)
    note.end(tree, {"ofed-scripts": "24.10"})
    assert not note.is_at_work(tree)
    assert (note.packages(tree), note.had_symbols(tree)) == ({"ofed-scripts": "24.10"}, False)


def test_it_is_noted_whether_there_were_symbols_to_build_others_with(tree, tmp_path):
    symbols = "0x0\tib_register_peer_memory_client\tib_core\tEXPORT_SYMBOL\n"
    planted(tmp_path, {"/usr/src/ofa_kernel/default/Module.symvers": symbols})
    note.end(tree, {})
    assert note.had_symbols(tree)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"packages": []}', "null"])
def test_rubbish_is_no_note(tree, tmp_path, text):
    note.begin(tree)
    (tmp_path / "var/lib/gpunode/mlnx_ofed/installed.json").write_text(text)
    assert (note.packages(tree), note.had_symbols(tree)) == ({}, False)


def test_the_bundle_that_is_installed_is_kept_and_no_other(tree, tmp_path):
    archive = tmp_path / "a.tgz"
    for version in ("23.10-3.2.1.1", "24.10-1.1.4.0"):
        archive.write_text(version)
        note.keep(tree, str(archive), version)
    assert note.kept(tree, "23.10-3.2.1.1") == ""
    kept = note.kept(tree, "24.10-1.1.4.0")
    assert note.kept_version(tree) == "24.10-1.1.4.0"
    # It may be what it was installed from again.
    note.keep(tree, kept, "24.10-1.1.4.0")
    with open(kept, encoding="ascii") as handle:
        assert handle.read() == "24.10-1.1.4.0"
    note.forget(tree)
    assert note.kept_version(tree) == ""


def test_the_archives_of_what_is_installed_are_kept_and_no_others(tmp_path):
    old, new = "rdma-core_1_amd64.deb", "rdma-core_2_amd64.deb"
    files = {
        f"{note.DIR}/packages/{old}": "",
        f"{note.COMING}/{new}": "",
        f"{note.DIR}/24.10-1.1.4.0.tgz": "",
    }
    tree = planted(tmp_path, files)
    note.keep_packages(tree, {"rdma-core": "2"}, package_manager.Apt())
    kept = note.kept_packages(tree, {"rdma-core": "2"}, package_manager.Apt())
    assert kept == {"rdma-core": tree.path(f"{note.DIR}/packages/{new}")}
    assert tree.names(f"{note.DIR}/packages") == [new]
    assert note.kept_version(tree) == ""
    note.forget(tree)
    assert not tree.exists(f"{note.DIR}/packages")
