"""Real combinations of host and wanted stack with their verdicts; see standins/combinations.yml."""

from __future__ import annotations

import copy

from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import (
    project,
    wanted_state,
)
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.inputs import yaml_file

FILE = project.ROOT / "tests" / "standins" / "combinations.yml"

_CONTENT = yaml_file.load(FILE)
#: {refusals, due, notices: {rule: what it says}}
RULES = _CONTENT["rules"]
BASES = _CONTENT["bases"]
ROWS = _CONTENT["rows"]


def merged(under, over):
    """Return a dict with the values of ``over`` laid on ``under``: dicts merge, all else replaces.

    Nothing in it is shared with either of the two.
    """
    result = copy.deepcopy(under)
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def facts_of(row):
    """Return the complete facts of a row, or of a base: its own laid on those of its base."""
    under = facts_of(BASES[row["base"]]) if "base" in row else {}
    return merged(under, row.get("facts", {}))


def stack_of(row):
    """Return the GPU stack that a row's variables ask for.

    :raises Refusal: they cannot be understood.
    """
    said = {name: value for name, value in row["wanted"].items() if name != "needs"}
    return wanted_state.Site(said, "/").stack()
