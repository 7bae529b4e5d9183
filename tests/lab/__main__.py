"""`python -m lab`: the lab of the checkout that this file belongs to."""

from __future__ import annotations

import argparse
import os
import sys

from lab import commands, host, process, shapes
from lab.errors import LabError
from lab.kernel_host import guest
from lab.node import DEFAULT_COUNT, Lab
from lab.paths import CHECKOUT

CANNOT_RUN_HERE = 3


def main(arguments=None):
    """Do what the command line asks; return the exit status.

    0: done. 1: it went wrong, and a message says how. 3: no lab can run on
    this machine, and a sentence says why.
    """
    options = _parser().parse_args(arguments)
    obstacle = host.obstacle()
    if obstacle:
        print(obstacle, file=sys.stderr)
        return CANNOT_RUN_HERE
    lab = Lab(CHECKOUT, say=lambda sentence: print(sentence, flush=True))
    try:
        if options.command == "up":
            asked = (options.nodes, options.fresh, options.shapes, options.kernel, options.boot)
            print(commands.up(lab, *asked))
        elif options.command == "down":
            commands.down(lab)
        elif options.command == "borrow":
            commands.borrow(lab, options.inventory, _borrower(), options.shape)
        elif options.command == "give-back":
            commands.give_back(lab, _borrower())
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    print("\n".join(commands.status(lab)) or "This lab was never up.")
    return 0


def _borrower():
    """Return the id of the process on whose behalf this one runs: molecule, or else its parent."""
    return process.ancestor("molecule") or os.getppid()


def _parser():
    parser = argparse.ArgumentParser(prog="python -m lab", description=__doc__)
    verbs = parser.add_subparsers(dest="command", required=True)
    up = verbs.add_parser("up", help="bring the lab up, or repair it")
    up.add_argument(
        "--nodes",
        type=int,
        metavar="N",
        help=f"how many nodes; default: as many as it has, or {DEFAULT_COUNT}",
    )
    up.add_argument("--fresh", action="store_true", help="make all nodes new")
    known = f"{shapes.DEBIAN}, {', '.join(shapes.SHAPES)}"
    up.add_argument(
        "--shapes",
        nargs="*",
        metavar="SHAPE",
        help=f"what the first nodes are to be, of {known}; others are Debian. Default: as they are",
    )
    up.add_argument(
        "--kernel",
        type=int,
        metavar="N",
        help="how many hosts with a kernel of their own; default: as many as run",
    )
    up.add_argument(
        "--boot", default="", help=f"what these boot by: {', '.join(guest.BOOT_LOADERS)}"
    )
    verbs.add_parser("down", help="leave nothing of the lab running")
    verbs.add_parser("status", help="show the nodes")
    borrow = verbs.add_parser("borrow", help="add a fresh node beside the lab's own")
    borrow.add_argument(
        "--inventory", required=True, metavar="FILE", help="where to write an inventory of it"
    )
    borrow.add_argument("--shape", default="", help=f"what it is to be, of {known}")
    verbs.add_parser("give-back", help="remove that node; leave the lab on or off as it was")
    return parser


if __name__ == "__main__":
    sys.exit(main())
