# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The environment.yml of conda, as what an environment is asked for."""

from __future__ import annotations

from typing import Any

import yaml

# What says nothing of what is to be in an environment.
_WITHOUT_MEANING = ("name", "prefix", "platforms")


def read(text: str) -> dict[str, list[str]]:
    """Return {channels, packages, pip} of an environment.yml, each a list of texts.

    :raises ValueError: with a sentence, where it says what cannot be had, or is none.
    """
    try:
        said = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"it is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(said, dict) or not said.get("dependencies"):
        raise ValueError("it is no environment.yml: it has no dependencies")
    if said.get("variables"):
        raise ValueError(
            "its variables would be set by conda's activation alone: say them in "
            "environment_variables of the application, and take them out"
        )
    for key in said:
        if key not in ("channels", "dependencies", "variables", *_WITHOUT_MEANING):
            raise ValueError(f"it says {key}, which is not understood: take it out")
    plain = [entry for entry in _listed("dependencies", said) if not isinstance(entry, dict)]
    pip: list[str] = []
    for entry in said["dependencies"]:
        if isinstance(entry, dict):
            pip += _pip(entry)
    return {
        "channels": _texts("channels", _listed("channels", said)),
        "packages": _texts("dependencies", plain),
        "pip": pip,
    }


def _pip(entry: dict[Any, Any]) -> list[str]:
    for key in entry:
        if key != "pip":
            raise ValueError(f"its dependencies say {key}, which is not understood: take it out")
    return _texts("pip", _listed("pip", entry))


def _listed(key: str, said: dict[Any, Any]) -> list[Any]:
    found = said.get(key) or []
    if not isinstance(found, list):
        raise ValueError(f"its {key} are no list")
    return found


def _texts(key: str, entries: list[Any]) -> list[str]:
    for entry in entries:
        if entry is None:
            raise ValueError(f"its {key} have an entry with nothing in it: take that out")
        if not isinstance(entry, str):
            raise ValueError(f"its {key} have {entry!r}, which is no text: put it in quotes")
    return entries
