"""`make bench`: what runs, switches and builds cost; the machine is shared and noisy.

Ratios within one run say more than seconds.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks import builds, first_run, fleets, machine, peer, plans, probes, switches
from benchmarks.site_runs import NODE
from benchmarks.table import Table, markdown, plain
from lab import commands
from lab.node import DEFAULT_COUNT, Lab
from lab.paths import CHECKOUT

#: {name: (lab, options) -> its Tables}, in the order in which they are measured.
PARTS = {
    "plans": plans.measure,
    "fleets": fleets.measure,
    "first-run": first_run.measure,
    "probes": probes.measure,
    "switches": switches.measure,
    "builds": builds.measure,
}
OUTPUT = CHECKOUT / "tests" / "output"


def main(arguments=None):
    """Measure what the command line asks, show it, and leave it as bench.md and bench.json."""
    options = _parser().parse_args(arguments)
    described = machine.describe(peer.PINS)
    tables = []
    texts = []

    def show(table):
        texts.append(markdown(table))
        print(texts[-1], flush=True)

    show(Table("The machine", ("", ""), [list(pair) for pair in described.items()]))
    lab = Lab(CHECKOUT, say=lambda sentence: print(sentence, file=sys.stderr))
    before = len(lab.nodes) or DEFAULT_COUNT
    try:
        commands.up(lab, before)
        for part in options.parts or PARTS:
            for table in PARTS[part](lab, options):
                tables.append(table)
                show(table)
    finally:
        # What was measured before something failed is worth no less.
        leave(OUTPUT, texts, {"machine": described, "tables": [plain(table) for table in tables]})
        for node in lab.nodes[before:]:
            node.discard()
        commands.up(lab, before)
        lab.fresh(NODE)


def leave(folder, texts, found):
    """Write what was found into a folder, for people and for programs."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench.md").write_text("\n".join(texts), encoding="utf-8")
    (folder / "bench.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _parser():
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", metavar="PART", type=_part, help=f"{', '.join(PARTS)}; default: all"
    )
    parser.add_argument(
        "--nodes",
        nargs="+",
        type=int,
        default=[1, 10, 30],
        metavar="N",
        help="sizes of the fleets",
    )
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="of which medians are")
    return parser


def _part(name):
    if name not in PARTS:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(PARTS)}")
    return name


if __name__ == "__main__":
    main()
