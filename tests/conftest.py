"""For all tests."""

from __future__ import annotations

import pytest
from hypothesis import settings

from lab import commands, host
from lab.node import DEFAULT_COUNT, Lab
from lab.paths import CHECKOUT

# A deadline measures how busy the machine is. `make test` chooses "quick", `make test-full` "full".
settings.register_profile("full", deadline=None)
settings.register_profile("quick", deadline=None, max_examples=30)
# For `make fuzz`: as many as there is time for.
settings.register_profile("fuzz", deadline=None, max_examples=20_000)
settings.load_profile("full")


def pytest_runtest_setup(item):
    """Skip what needs a lab where none can run, with the sentence that says why."""
    if item.get_closest_marker("lab"):
        obstacle = host.obstacle()
        if obstacle:
            pytest.skip(obstacle)


@pytest.fixture(scope="session")
def lab():
    """The lab of this checkout, up with two nodes of Debian alone; it stays up for the next run."""
    shared = Lab(CHECKOUT)
    commands.up(shared, DEFAULT_COUNT, names=(), kernel_hosts=0)
    return shared
