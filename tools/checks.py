"""Write the page of checks anew, from the tables of plugins/plugin_utils/_controller/verify.

python tools/checks.py FILE
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping
from pathlib import Path

from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.verify import (
    check,
    report,
    table,
)

BEGIN, END = "<!-- From plugins/plugin_utils/_controller/verify -->\n", "<!-- End -->\n"


def sections() -> str:
    """Return what results may say, and each check under its subject."""
    words = [
        _table("outcome", check.OUTCOMES),
        _table("severity", check.SEVERITIES),
        _table("action", check.ACTIONS),
        _table("verdict", report.VERDICTS),
    ]
    by_subject = itertools.groupby(table.CHECKS.values(), key=lambda row: row.subject)
    return "\n".join([*words, *(_subject(name, rows) for name, rows in by_subject)])


def _table(head: str, rows: Mapping[str, str]) -> str:
    lines = [f"| `{name}` | {says} |" for name, says in rows.items()]
    return "\n".join([f"| {head} | means |", "|---|---|", *lines]) + "\n"


def _subject(name, rows) -> str:
    return "\n".join([f"## {name.replace('_', ' ').capitalize()}\n", *map(_check, rows)])


def _check(row) -> str:
    # As an operator of a clone reads it on a host with apt.
    remedy = check.filled(row.remedy, "apt", "NAME")
    lines = [
        f"### `{row.id}`\n",
        f"{row.wanted}\n",
        f"- {row.severity}, `{row.action}`: {remedy}.",
        f"- Where a host cannot show it, it is proven {row.elsewhere}." if row.elsewhere else "",
        f"- By {row.source}." if row.source else "",
    ]
    return "\n".join(filter(None, lines)) + "\n"


def renewed(page: str) -> str:
    """Return a page with what is generated as it is to be; what lies around it stays."""
    before, _begin, rest = page.partition(BEGIN)
    _sections, _end, after = rest.partition(END)
    return f"{before}{BEGIN}\n{sections()}\n{END}{after}"


def main(path: str) -> None:
    page = Path(path)
    page.write_text(renewed(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
