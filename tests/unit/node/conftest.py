"""What tests of several rooms are given."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest


@pytest.fixture
def deepened():
    """Return a function that makes a folder with folders in each other, more than a path can name.

    It returns its path. What a test leaves of it, which pytest could not remove, goes afterwards.
    """
    made = []

    def make(folder, depth=1500):
        made.append(folder)
        Path(folder).mkdir(parents=True, exist_ok=True)
        place = os.open(folder, os.O_RDONLY)
        for _level in range(depth):
            os.mkdir("d", dir_fd=place)
            above, place = place, os.open("d", os.O_RDONLY, dir_fd=place)
            os.close(above)
        os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=place))
        os.close(place)
        return str(folder)

    yield make
    subprocess.run(["rm", "--recursive", "--force", *made], check=True)
