"""The driver by a .run on a node that is an image for hosts with GPUs: kernels on disk alone."""

from __future__ import annotations

import hashlib
import json

import pytest

from lab import fleet, kernel, runfile

pytestmark = pytest.mark.lab

NODE = "node1"
OTHER = "node2"
FIRST, SECOND = "535.161.08", "535.183.01"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """{version: what gpunode_driver_file is to say} of .run files on the controller."""
    folder = tmp_path_factory.mktemp("files")
    found = {}
    for version in (FIRST, SECOND):
        path = runfile.build(folder / runfile.file_name(version), version)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        found[version] = f"{path}#sha256={digest}"
    return found


@pytest.fixture(scope="module")
def release(lab):
    lab.fresh(NODE)
    return kernel.set_up(lab, NODE)


@pytest.fixture
def converge(tmp_path):
    def run(*arguments, **variables):
        only = {"conda_env_list": [], "gunicorn_app_list": []}
        said = json.dumps({**only, **variables})
        return fleet.site("--limit", NODE, "-e", said, *arguments, log=tmp_path / "ssh")

    return run


def test_a_fresh_host_has_the_driver_for_its_kernel(converge, files, release, lab):
    predicted = converge("--check", gpunode_driver_file=files[FIRST])
    assert predicted.status == 0, predicted.messages()
    done = converge(gpunode_driver_file=files[FIRST])
    assert done.status == 0, done.messages()
    print(done.changes(NODE))
    assert predicted.changes(NODE) == done.changes(NODE)
    again = converge(gpunode_driver_file=files[FIRST])
    assert again.status == 0
    assert again.changed[NODE] == 0
    assert again.plays == ["Probe, plan and refuse"]


def test_an_upgrade_replaces_it(converge, files, release, lab):
    done = converge(gpunode_driver_file=files[SECOND])
    assert done.status == 0, done.messages()
    print(done.changes(NODE))
