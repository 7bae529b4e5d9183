"""The commands of the README, as an operator types them."""

from __future__ import annotations

import json
import os
import subprocess
import xml.etree.ElementTree as ET

import pytest

from system.playbooks import PROJECT

pytestmark = pytest.mark.lab


def make(*arguments):
    """Run make in the checkout and return what it did; this run's own settings stay here."""
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("MAKE") and key not in ("ARGS", "INVENTORY", "NODES")
    }
    return subprocess.run(
        ["make", *arguments],
        cwd=PROJECT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.fixture(scope="module")
def site(lab):
    """What `make site` says."""
    done = make("site")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_make_site_says_what_runs_where(site, lab):
    for node in lab.nodes:
        assert f"{node.name} at {node.address}" in site
    assert "conda packages come from" in site
    assert "application ob_cuda answers on 0.0.0.0:9001" in site


def test_make_verify_proves_each_host_and_leaves_junit(site, lab):
    done = make("verify")
    assert done.returncode == 0, done.stdout + done.stderr
    checked = json.loads((PROJECT / "tests" / "output" / "verify.json").read_text())
    assert {name: host["verdict"] for name, host in checked["hosts"].items()} == {
        node.name: "passed" for node in lab.nodes
    }
    suites = ET.parse(PROJECT / "tests" / "output" / "verify.xml").getroot()
    assert [suite.get("name") for suite in suites] == [node.name for node in lab.nodes]
    suite = ET.parse(PROJECT / "tests" / "output" / "proofs.xml").getroot().find("testsuite")
    assert int(suite.get("tests")) % len(lab.nodes) == 0
    assert int(suite.get("tests")) > 0
    # The hosts of the lab are to have no GPU stack; all else is proven, and nothing looks away.
    skipped = {
        (case.get("classname"), skip.get("message"))
        for case in suite.iter("testcase")
        for skip in case.iter("skipped")
    }
    assert skipped == {
        ("tests.fleet.test_driver", "no NVIDIA driver is wanted of this host"),
        ("tests.fleet.test_peer_memory", "no route of peer memory is said for this host"),
        ("tests.fleet.test_rdma_stack", "no RDMA stack is said for this host"),
    }
