"""The parts of the tests, each a target of make: how long each took, and the slowest tests.

    python -m testrun.parts [NAME=VALUE ...] PART ...

Parts that need no lab go two at a time, those that do one after the other, in their order. What a
part says is shown when it has ended. The first that fails ends the run once those beside it have
ended.
"""

from __future__ import annotations

import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

OUTPUT = Path("tests", "output")
#: The parts that take the whole machine, and show what they say at once.
ALONE = ("lab-test", "kernel-test")
_BESIDE = 2
_SLOWEST = 10


def run(parts, make, say=print):
    """Run parts and return ({part: seconds}, the parts that failed).

    :param make: the command that a part's name is added to.
    """
    took, failed = {}, []

    def one(part):
        if failed:
            return
        began = time.monotonic()
        output = {} if part in ALONE else {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        done = subprocess.run(
            [*make, part], stdin=subprocess.DEVNULL, text=True, check=False, **output
        )
        took[part] = time.monotonic() - began
        if done.returncode:
            failed.append(part)
        say(f"{done.stdout or ''}{part} {'FAILED' if done.returncode else 'passed'}")

    with ThreadPoolExecutor(_BESIDE) as pool:
        list(pool.map(one, [part for part in parts if part not in ALONE]))
    for part in parts:
        if part in ALONE:
            one(part)
    return took, failed


def slowest(reports, count=_SLOWEST):
    """Return the (seconds, test) of JUnit files that took longest."""
    found = []
    for report in reports:
        for case in ET.parse(report).iter("testcase"):
            name = f"{case.get('classname')}::{case.get('name')}"
            found.append((float(case.get("time", 0)), name))
    return sorted(found, reverse=True)[:count]


def main(arguments):
    """Do what the command line asks; return 0 where all parts passed."""
    variables = [word for word in arguments if "=" in word]
    parts = [word for word in arguments if "=" not in word]
    reports = [OUTPUT / f"{part}.xml" for part in parts]
    for report in reports:
        report.unlink(missing_ok=True)
    began = time.monotonic()
    took, failed = run(
        parts, ["make", "--no-print-directory", *variables], lambda text: print(text, flush=True)
    )
    print("\nThe slowest tests:")
    for seconds, name in slowest(report for report in reports if report.exists()):
        print(f"{seconds:7.0f} s  {name}")
    print("\nThe parts:")
    for part in parts:
        told = f"{took[part]:7.0f} s  {part}" if part in took else f"  not run  {part}"
        print(f"{told}{', FAILED' if part in failed else ''}")
    print(f"{time.monotonic() - began:7.0f} s  in all", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
