"""What a part of the benchmarks found, for people as Markdown and for programs as JSON."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Series:
    """The same, measured several times.

    :ivar values: what it came to each time, in the order of the runs.
    """

    values: tuple

    @property
    def median(self):
        """What people are told of it."""
        return statistics.median(self.values)


@dataclass(frozen=True)
class Figure:
    """What follows from a table; ratios within one run say more than seconds.

    :ivar says: what it is, with its unit where it has one.
    :ivar most: what it is to be at most, None where nothing is promised of it.
    """

    says: str
    value: float
    most: float | None = None

    @property
    def is_met(self):
        """Whether it is what it is to be; None where nothing is promised."""
        return None if self.most is None else self.value <= self.most


@dataclass
class Table:
    """Measurements of one kind.

    :ivar title: what was measured.
    :ivar columns: what stands in a row, with its unit.
    :ivar rows: texts, whole numbers, seconds and Series.
    :ivar figures: the Figures that follow.
    :ivar notes: sentences on how it was measured.
    """

    title: str
    columns: tuple
    rows: list = field(default_factory=list)
    figures: list = field(default_factory=list)
    notes: list = field(default_factory=list)


def markdown(table):
    """Return a table as people read it."""
    lines = [f"### {table.title}", "", _row(table.columns), _row(["---"] * len(table.columns))]
    lines += [_row(map(_shown, row)) for row in table.rows]
    items = [*map(_told, table.figures), *table.notes]
    lines += ["", *(f"- {item}" for item in items)] if items else []
    return "\n".join([*lines, ""])


def plain(table):
    """Return a table as JSON carries it, with each single run."""
    return {
        "title": table.title,
        "columns": list(table.columns),
        "rows": [[_plain(cell) for cell in row] for row in table.rows],
        "figures": [
            {"says": figure.says, "value": figure.value, "most": figure.most, "met": figure.is_met}
            for figure in table.figures
        ],
        "notes": list(table.notes),
    }


def _row(cells):
    return f"| {' | '.join(cells)} |"


def _shown(cell):
    if isinstance(cell, Series):
        cell = cell.median
    return f"{cell:.2f}" if isinstance(cell, float) else str(cell)


def _plain(cell):
    return {"median": cell.median, "runs": list(cell.values)} if isinstance(cell, Series) else cell


def _told(figure):
    verdict = {None: "", True: ": met", False: ": **missed**"}[figure.is_met]
    bound = "" if figure.most is None else f" (at most {figure.most:g}){verdict}"
    return f"{figure.says}: {figure.value:.2f}{bound}"
