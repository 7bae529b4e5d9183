# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""YAML files of this project, which every worker of a run reads for itself."""

from __future__ import annotations

import os
import pathlib
from typing import Any

import yaml

# libyaml's is eight times as fast, where PyYAML was built with it.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load(path: str | os.PathLike[str]) -> Any:
    """Return the content of a YAML file."""
    return yaml.load(pathlib.Path(path).read_text(encoding="utf-8"), Loader=_LOADER)
