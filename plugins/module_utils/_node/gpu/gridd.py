# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a vGPU guest gets its license: the daemon nvidia-gridd and what it was told.

Of the tokens, which are credentials, the names are told and nothing of what is in them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from ..facts_shape import Licensing
from ..system.root import Root

UNIT = "nvidia-gridd.service"
CONFIGURATION = "/etc/nvidia/gridd.conf"
TOKENS = "/etc/nvidia/ClientConfigToken"
_SETTING = re.compile(r"""\s*(\w+)\s*=\s*(["']?)(.*?)\2\s*""")
_LINES = 200
# That there is no license, and not why: NVIDIA/nvidia-docker#1787 and other public logs.
_GENERAL = re.compile(r"Failed to (?:acquire|renew|register|return)|license not found", re.I)
# Unless it says so itself, such as "(Info: ... - Error: Couldn't connect to server)".
_DETAIL = "Error:"
_CAUSE = re.compile(
    r"fail|error|unable|cannot|could ?n[o']t|denied|invalid|expired|exceeded|missing|not set", re.I
)
_HAD = re.compile(r"license (?:acquired|renewed) successfully", re.I)
# Said also where a token does the job (Reverse Engineering Notes of fastapi-dls); without either
# the daemon says that it has no token.
_HARMLESS = "ServerAddress"
# What systemd says between two lives of a unit. "Started" may come after the daemon's first words.
_NEW_LIFE = re.compile(r"(?:Stopped|Starting) |\S+: Scheduled restart job")


def survey(tree: Root, states: Mapping[str, str]) -> Licensing:
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
    """Return what the daemon's log of this boot says last of a license."""
    log = tree.answer(
        "journalctl",
        f"--unit={UNIT}",
        "--boot",
        f"--lines={_LINES}",
        "--output=cat",
        "--no-pager",
        "--quiet",
    )
    return last_word(log)


def last_word(log: str) -> str:
    """Return the last line of the daemon's log that speaks of a license, '' where none does.

    One that only says that there is none has the line before it that says why, where there is one.
    """
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    spoken = [at for at, line in enumerate(lines) if re.search("licen[cs]", line, re.I)]
    if not spoken:
        return ""
    word = lines[spoken[-1]]
    if not _GENERAL.search(word) or _DETAIL in word:
        return word
    # What went wrong before it had one, or was started again, is over.
    over = [at for at, line in enumerate(lines) if _HAD.search(line) or _NEW_LIFE.match(line)]
    causes = [
        line
        for line in lines[max((at for at in over if at < spoken[-1]), default=-1) + 1 : spoken[-1]]
        if _CAUSE.search(line) and not _GENERAL.search(line) and _HARMLESS not in line
    ]
    return f"{causes[-1]}; {word}" if causes else word
