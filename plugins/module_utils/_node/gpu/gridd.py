# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a vGPU guest gets its license: the daemon nvidia-gridd and what it was told.

Of the tokens, which are credentials, the names are told and nothing of what is in them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from ..system.root import Root

UNIT = "nvidia-gridd.service"
CONFIGURATION = "/etc/nvidia/gridd.conf"
TOKENS = "/etc/nvidia/ClientConfigToken"
_SETTING = re.compile(r"""\s*(\w+)\s*=\s*(["']?)(.*?)\2\s*""")
_LINES = 200


def survey(tree: Root, states: Mapping[str, str]) -> dict[str, Any]:
    """Return {unit, active, server, tokens, feature_type, says}; see docs/facts.md.

    :param states: what systemd says of UNIT, {property: value}; {} where it is not there.
    """
    there = states.get("LoadState") == "loaded"
    settings = {
        match.group(1): match.group(3)
        for match in map(_SETTING.fullmatch, tree.lines(CONFIGURATION))
        if match
    }
    tokens = tree.names(os.path.normpath(settings.get("ClientConfigTokenPath") or TOKENS))
    return {
        "unit": there,
        "active": states.get("ActiveState") == "active",
        "server": settings.get("ServerAddress", ""),
        "tokens": [name for name in tokens if name.endswith(".tok")],
        "feature_type": settings.get("FeatureType", ""),
        "says": _last_word(tree) if there else "",
    }


def _last_word(tree: Root) -> str:
    """Return the last line in the daemon's log of this boot that speaks of a license."""
    log = tree.answer(
        "journalctl",
        f"--unit={UNIT}",
        "--boot",
        f"--lines={_LINES}",
        "--output=cat",
        "--no-pager",
        "--quiet",
    )
    lines = [line.strip() for line in log.splitlines() if re.search("licen[cs]", line, re.I)]
    return (lines or [""])[-1]
