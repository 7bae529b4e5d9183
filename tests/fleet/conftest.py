"""The proofs go on from the checks that `make verify` has just made, and the plan beside them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

CHECKED = Path(__file__).resolve().parents[1] / "output" / "verify.json"


@pytest.fixture(scope="session")
def checked():
    """How the checks of the fleet ended: docs/verify.schema.json."""
    assert CHECKED.exists(), f"{CHECKED} is missing: run `make verify`, which makes it first"
    return json.loads(CHECKED.read_text())


@pytest.fixture
def host_checked(checked, host):
    """How those of the host under test ended, with its plan."""
    name = host.backend.get_hostname()
    assert name in checked["hosts"], f"{name} was not checked; was it named then?"
    return checked["hosts"][name]


@pytest.fixture
def host_plan(host_checked):
    """The plan of the host under test."""
    assert host_checked["plan"], host_checked["checks"]
    return host_checked["plan"]


@pytest.fixture
def wanted(host_plan):
    """{component: summaries} of what the host is to hold."""
    return host_plan["wanted"]
