"""What modules on disk say of themselves, where they can be asked."""

from __future__ import annotations

import subprocess

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.kernel import modinfo
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import commands, root

PATHS = ["/lib/modules/6.1/a.ko", "/lib/modules/6.1/b.ko"]


def test_a_module_that_modinfo_cannot_describe_says_nothing():
    def run(argv, **_options):
        said = f"filename:       {PATHS[0]}\nvermagic:       6.1 SMP\n".encode()
        return subprocess.CompletedProcess(argv, 1, said, b"ERROR: Module b.ko not found.\n")

    told = modinfo.described(root.Root(run=run), PATHS)
    assert told == {PATHS[0]: {"vermagic": "6.1 SMP"}, PATHS[1]: {}}


def test_a_host_without_modinfo_says_nothing():
    def run(argv, **_options):
        raise FileNotFoundError(argv[0])

    assert modinfo.described(root.Root(run=run), PATHS) == {PATHS[0]: {}, PATHS[1]: {}}


def test_a_modinfo_that_does_not_answer_takes_no_module_for_broken():
    def run(argv, timeout, **_options):
        raise subprocess.TimeoutExpired(argv, timeout)

    with pytest.raises(commands.NotRun, match="modinfo: it had not answered after 30 s"):
        modinfo.described(root.Root(run=run), PATHS)
