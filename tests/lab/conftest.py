"""The lab that the lab tests share."""

from __future__ import annotations

import pytest

from lab import commands, host
from lab.node import DEFAULT_COUNT, Lab
from lab.paths import CHECKOUT


@pytest.fixture(scope="session", autouse=True)
def _possible():
    """Skip the lab tests where no lab can run, with the sentence that says why."""
    obstacle = host.obstacle()
    if obstacle:
        pytest.skip(obstacle)


@pytest.fixture(scope="session")
def lab():
    """The lab of this checkout, up with two nodes; it stays up, the next run takes it as it is."""
    shared = Lab(CHECKOUT)
    commands.up(shared, DEFAULT_COUNT)
    return shared
