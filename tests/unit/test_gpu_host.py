"""What is seen of whole hosts with GPUs, as their composed trees and answers have them."""

from __future__ import annotations

import hosts
import pytest

from ansible_collections.gpunode.stack.plugins.module_utils import gpu_host

NOBODY = 1 << 22


def survey(host, folder):
    run = hosts.lay_down(host, folder)
    running = [row["release"] for row in host["facts"]["kernels"] if row["running"]]
    return gpu_host.survey(str(folder), "".join(running), NOBODY, run)


@pytest.mark.parametrize("name", hosts.NAMES)
def test_a_whole_host_is_seen_as_it_is(name, tmp_path):
    host = hosts.load(name)
    found = survey(host, tmp_path)
    differing = {key for key in found if found[key] != host["facts"].get(key)}
    assert {key: found[key] for key in differing} == {
        key: host["facts"].get(key) for key in differing
    }
