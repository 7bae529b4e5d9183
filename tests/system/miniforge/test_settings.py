"""conda's settings, broken on a host that has it: put right before conda is asked for anything."""

from __future__ import annotations

import json

import pytest

from system import environments, playbooks

pytestmark = pytest.mark.lab

NODE, CONDARC = "node1", "/opt/miniforge3/.condarc"
NOTHING_SERVED = json.dumps({"gunicorn_app_list": []})
# What the real conda does not answer with.
BROKEN = {
    "no YAML": f"echo [channels > {CONDARC}",
    "vanished certificates": f"echo ssl_verify: /gone/own.pem >> {CONDARC}",
}


@pytest.fixture(scope="module")
def converge(lab, tmp_path_factory):
    """Return a function that runs site.yml on a node with conda, and returns what it changed."""
    environments.fresh(lab, NODE)
    log = tmp_path_factory.mktemp("settings") / "ssh"

    def run(*arguments):
        done = playbooks.site("--limit", NODE, "-e", NOTHING_SERVED, *arguments, log=log)
        assert done.status == 0, done.messages()
        return done.changes(NODE)

    yield run
    lab.fresh(NODE)


@pytest.mark.parametrize(
    "way", ["no YAML", pytest.param("vanished certificates", marks=pytest.mark.slow)]
)
def test_settings_that_keep_conda_from_answering_are_put_right_as_foretold(lab, converge, way):
    assert lab.ssh(NODE, f"sudo sh -c '{BROKEN[way]}'").returncode == 0
    assert lab.ssh(NODE, "/opt/miniforge3/bin/conda info").returncode != 0
    predicted = converge("--check")
    assert converge() == predicted == [f"write {CONDARC}"]
    assert lab.ssh(NODE, "/opt/miniforge3/bin/conda info").returncode == 0
    assert converge() == []
