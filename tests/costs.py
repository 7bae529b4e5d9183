"""What a run that has nothing to do may cost; see costs.yml."""

from __future__ import annotations

from pathlib import Path

import yaml

MOST = yaml.safe_load(Path(__file__).with_suffix(".yml").read_text(encoding="utf-8"))
