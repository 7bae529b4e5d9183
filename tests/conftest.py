"""For all tests."""

from __future__ import annotations

from hypothesis import settings

# A deadline measures how busy the machine is.
settings.register_profile("gpunode", deadline=None)
settings.load_profile("gpunode")
