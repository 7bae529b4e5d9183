"""What tests of the driver begin from; where theirs differs, they have one of that name.

A file says which NODE, and for :func:`files` which versions, FIRST and SECOND, and which `machine`.
"""

from __future__ import annotations

import pytest

from system.nvidia_driver import driver_runs


@pytest.fixture(scope="module")
def files(lab, machine, request, tmp_path_factory):
    """{version: what gpunode_driver_file is to say}."""
    versions = request.module.FIRST, request.module.SECOND
    return driver_runs.files(tmp_path_factory.mktemp("files"), lab, machine, *versions)


@pytest.fixture
def converge(request, tmp_path):
    """Run the driver's play on the node with that file and other variables."""
    return driver_runs.converging(tmp_path / "ssh", request.module.NODE)
