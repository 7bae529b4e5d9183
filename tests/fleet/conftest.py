"""The proofs read what is wanted of each host from the plan that `make verify` has just made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

PLAN = Path(__file__).resolve().parents[1] / "output" / "plan.json"


@pytest.fixture(scope="session")
def plan():
    """The fleet's plan."""
    assert PLAN.exists(), f"{PLAN} is missing: run `make verify`, which makes the plan first"
    return json.loads(PLAN.read_text())


@pytest.fixture
def host_plan(plan, host):
    """The plan of the host under test."""
    name = host.backend.get_hostname()
    assert name in plan["hosts"], (
        f"{name} is not in the plan; did it answer when the plan was made?"
    )
    return plan["hosts"][name]


@pytest.fixture
def wanted(host_plan):
    """{component: summaries} of what the host is to hold."""
    return host_plan["wanted"]
