"""Kernel modules are loaded and unloaded, or it is said why not."""

from __future__ import annotations

import subprocess

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.kernel import modprobe
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal


def test_a_module_that_nobody_uses_goes_and_another_is_a_refusal():
    told = []

    def run(argv, **_options):
        told.append(argv)
        return subprocess.CompletedProcess(argv, int("nouveau" in argv), "", "no")

    modprobe.unload("nvidia", run)
    assert told == [["rmmod", "nvidia"]]
    with pytest.raises(Refusal, match="unload nouveau"):
        modprobe.unload("nouveau", run)
