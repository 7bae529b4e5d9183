"""On what hypervisor a host runs, by systemd's word."""

from __future__ import annotations

import subprocess

from ansible_collections.gpunode.stack.plugins.module_utils._node.facts import virtualization
from ansible_collections.gpunode.stack.plugins.module_utils._node.system.root import Tree


def detected(printed, status):
    def run(argv, **_options):
        assert argv == ["systemd-detect-virt", "--vm"]
        return subprocess.CompletedProcess(argv, status, printed, b"")

    return virtualization.detect(Tree(run=run))


def test_a_guest_is_named_as_systemd_names_it():
    assert detected(b"kvm\n", 0) == "kvm"


def test_bare_metal_which_prints_none_and_fails_is_nothing():
    assert detected(b"none\n", 1) == ""
