"""Modules of an RDMA stack in DKMS: which are there, whole, and in which order they are built."""

from __future__ import annotations

import os
import subprocess

import pytest
from trees import planted

from ansible_collections.gpunode.stack.plugins.module_utils._node.component import bring
from ansible_collections.gpunode.stack.plugins.module_utils._node.kernel import dkms
from ansible_collections.gpunode.stack.plugins.module_utils._node.mlnx_ofed import (
    kernel_modules as ofed_modules,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal

K = "6.1.0-56-amd64"
WHICH = ("mlnx-ofed-kernel", "24.10")
BUILT = f"/var/lib/dkms/mlnx-ofed-kernel/24.10/{K}/x86_64/module"
PLACE = f"/lib/modules/{K}/updates/dkms"
KERNEL = {"release": K, "compiler": "", "compiler_found": True}


@pytest.fixture
def tree(tmp_path):
    found = planted(
        tmp_path,
        {
            **{f"{BUILT}/{name}.ko": "" for name in ("ib_core", "mlx5_core")},
            **{f"{PLACE}/{name}.ko.xz": "" for name in ("ib_core", "mlx5_core", "nvidia")},
            f"/lib/modules/{K}/kernel/drivers/infiniband/core/ib_core.ko": "",
            "/usr/sbin/modinfo": "",
        },
    )
    found.vermagic = K

    def run(argv, **_options):
        said = "".join(f"filename: {path}\nvermagic: {found.vermagic} SMP\n" for path in argv[1:])
        return subprocess.CompletedProcess(argv, 0, said.encode(), b"")

    found.run = run
    return found


def test_of_what_dkms_forgot_the_stacks_own_trees_are_added_again(tmp_path, monkeypatch):
    names = ("mlnx-ofed-kernel-25.10", "knem-1.1.4", "nvidia-580.105.08", "iser-25.10")
    tree = planted(
        tmp_path,
        {
            **{f"/usr/src/{name}/dkms.conf": "" for name in names},
            "/var/lib/dkms/iser/25.10/source/dkms.conf": "",
        },
    )
    added = []

    def execute(argv, _environment):
        added.append(argv)
        return subprocess.CompletedProcess(argv, 0, "", "")

    monkeypatch.setattr(dkms.stack_packages, "owns", lambda *_: True)
    ofed_modules.add_forgotten(bring.Node(tree, dict, execute, tree.run))
    asked = " ".join(" ".join(argv) for argv in added)
    assert ("mlnx-ofed-kernel" in asked, "knem" in asked) == (True, True)
    assert ("nvidia" in asked, "iser" in asked) == (False, False)


def test_the_core_is_built_before_what_is_built_with_it():
    names = ("knem", "isert", "nvidia", "mlnx-ofed-kernel", "kernel-mft-dkms")
    rows = [{"name": name, "version": "1"} for name in names]
    assert [name for name, _version in ofed_modules.dkms_trees(rows)] == [
        *("mlnx-ofed-kernel", "isert", "knem", "kernel-mft-dkms")
    ]


def test_modules_are_there_beside_the_kernels_own(tree):
    assert sorted(ofed_modules.paths(tree, WHICH, K)) == [
        f"{PLACE}/ib_core.ko.xz",
        f"{PLACE}/mlx5_core.ko.xz",
    ]


def test_with_one_of_them_gone_none_counts(tree, tmp_path):
    (tmp_path / PLACE[1:] / "mlx5_core.ko.xz").unlink()
    assert ofed_modules.paths(tree, WHICH, K) == []


def test_one_that_is_of_another_kernel_or_broken_does_not_count(tree):
    tree.vermagic = "6.1.0-55-amd64"
    assert ofed_modules.paths(tree, WHICH, K) == []


def completed(tree, monkeypatch, status=0, outdated=ofed_modules.NO_BUILDS):
    commands = []

    def execute(argv, _environment):
        commands.append(argv[:2])
        return subprocess.CompletedProcess(argv, status, "", "error: no\n")

    monkeypatch.setattr(dkms, "_wait_for_others", lambda *_: None)
    host = bring.Node(tree, None, execute, None)
    try:
        ofed_modules.complete(host, WHICH, KERNEL, outdated)
    finally:
        tree.commands = commands
    return commands


def test_what_is_there_is_not_built_again(tree, monkeypatch):
    assert completed(tree, monkeypatch) == []


def test_what_was_built_from_other_sources_is_built_again(tree, tmp_path, monkeypatch):
    source = tmp_path / "usr/src/mlnx-ofed-kernel-24.10"
    source.mkdir(parents=True)
    (source / "dkms.conf").write_text("")
    (tmp_path / "var/lib/dkms/mlnx-ofed-kernel/24.10/source").symlink_to(
        "/usr/src/mlnx-ofed-kernel-24.10"
    )
    before = ofed_modules.builds(tree)
    assert len(before) == 2
    for path, _inode, _time in before:
        os.utime(tree.path(path), ns=(1, 1))
    # Built since.
    assert completed(tree, monkeypatch, outdated=before) == []
    found = ofed_modules.builds(tree)
    assert completed(tree, monkeypatch, outdated=found) == [["dkms", "build"], ["dkms", "install"]]


def test_what_is_lacking_is_built_and_installed(tree, tmp_path, monkeypatch):
    (tmp_path / PLACE[1:] / "ib_core.ko.xz").unlink()
    assert completed(tree, monkeypatch) == [["dkms", "build"], ["dkms", "install"]]


def test_a_build_that_fails_names_the_kernel_and_is_not_installed(tree, tmp_path, monkeypatch):
    (tmp_path / PLACE[1:] / "ib_core.ko.xz").unlink()
    with pytest.raises(Refusal, match=f"mlnx-ofed-kernel 24.10 for kernel {K}"):
        completed(tree, monkeypatch, status=1)
    assert tree.commands == [["dkms", "build"]]
