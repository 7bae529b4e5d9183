"""The distribution's own RDMA stack is there, and no vendor's takes its place."""

from __future__ import annotations

import json


def test_its_packages_are_installed(host):
    assert host.package("rdma-core").is_installed
    assert host.package("ibverbs-providers").is_installed


def test_versions_of_a_vendor_are_never_taken(host):
    text = host.file("/etc/apt/preferences.d/gpunode-rdma").content_string
    assert "Pin: version *mlnx*\nPin-Priority: -1\n" in text
    assert "rdma-core" in text


def test_the_receipt_has_them(host):
    with host.sudo():
        receipt = json.loads(host.file("/var/lib/gpunode/mlnx_ofed.json").content_string)
    assert {entry["kind"] for entry in receipt["manifest"]} == {"packages", "file", "absence"}
