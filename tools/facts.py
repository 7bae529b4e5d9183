"""Write the tables of a page on facts anew, from what facts_shape.py says of them.

python tools/facts.py FILE
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape

BEGIN, END = "<!-- From plugins/module_utils/_node/facts_shape.py -->\n", "<!-- End -->\n"
_WIDTH = 118
_INDENT = " " * 4


def tables() -> str:
    """Return the tables, a part each: name and type of each fact, and what is said of it."""
    return "\n".join(_table(part) for part in facts_shape.PARTS)


def _table(part) -> str:
    rows = facts_shape.fields(part)
    column = max(map(len, rows)) + 2
    lines = [f"## {part.__doc__.rstrip('.')}", ""]
    for name, (field, says) in rows.items():
        lines += _wrapped(f"{name:{column}}", facts_shape.called(field), column)
        lines += _wrapped(" " * column, says, column) if says else []
    return "\n".join(lines) + "\n"


def _wrapped(first: str, text: str, column: int) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=_INDENT + first,
        subsequent_indent=_INDENT + " " * column,
        break_long_words=False,
        break_on_hyphens=False,
    )


def renewed(page: str) -> str:
    """Return a page with its tables as they are to be; what lies around them stays."""
    before, _begin, rest = page.partition(BEGIN)
    _tables, _end, after = rest.partition(END)
    return f"{before}{BEGIN}\n{tables()}\n{END}{after}"


def main(path: str) -> None:
    page = Path(path)
    page.write_text(renewed(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
