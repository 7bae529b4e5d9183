"""Without a route nothing is there but the receipt that says so."""

from __future__ import annotations

import json


def test_no_module_is_there_or_loaded_at_boot(host):
    # The node has neither folder where it has no kernel.
    assert host.run("find /lib/modules /etc/dkms -name 'nv*peer*' 2>/dev/null").stdout == ""
    assert not host.file("/etc/modules-load.d/gpunode-peer-memory.conf").exists


def test_the_receipt_says_so(host):
    with host.sudo():
        receipt = json.loads(host.file("/var/lib/gpunode/peer_memory.json").content_string)
    kinds = {entry["kind"] for entry in receipt["manifest"]}
    assert kinds == {"absence"}
