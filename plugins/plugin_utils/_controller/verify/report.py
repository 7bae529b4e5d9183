# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How the checks of a fleet ended: for people, as JSON, as JUnit, and for Prometheus."""

from __future__ import annotations

import collections
import datetime
import pathlib
import xml.etree.ElementTree as ET
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypedDict

from ansible_collections.gpunode.stack.plugins.module_utils._node.system import files

from ..plan import report
from . import quick, table
from .check import FAILED, NOT_PROVABLE, OUTCOMES, PASSED, SEVERITIES, WAIVED, WARNING, Result

#: That of the document; another one has another number.
SCHEMA = 1
GROUP = "quick"
#: How a host can come off, the gravest first; a fleet is as its worst host.
VERDICTS = {
    "failed": "a check failed that is more than a warning, or the host was not reached",
    "warned": "warnings alone failed",
    "passed": "none failed",
}
_FAILED, _WARNED, _PASSED = VERDICTS
_LOST = "the look at it failed, as is told above"


class Host(TypedDict):
    """How a host came off.

    :ivar plan: its plan, None where it was not looked at.
    """

    address: str
    checks: list[Result]
    plan: dict[str, Any] | None


def of_fleet(names: Iterable[str], found: Mapping[str, Host]) -> dict[str, Host]:
    """Return {host: how it came off} of all hosts that were to be asked.

    :param names: those hosts.
    :param found: what the module ``verify`` returned, of those of which it returned something.
    """
    today = datetime.date.today()
    lost: Host = {"address": "", "checks": quick.not_answered(_LOST, {}, today), "plan": None}
    return {name: found.get(name, lost) for name in sorted(names)}


def verdict(checks: Iterable[Result]) -> str:
    """Return how a host came off, one of VERDICTS."""
    failed = {row["severity"] for row in checks if row["outcome"] == FAILED}
    return _PASSED if not failed else _WARNED if failed == {WARNING} else _FAILED


def of_all(hosts: Mapping[str, Host]) -> str:
    """Return how a fleet came off: as its worst host, and failed where there is none."""
    found = {verdict(host["checks"]) for host in hosts.values()}
    return next((each for each in VERDICTS if each in found), _FAILED)


def as_document(hosts: Mapping[str, Host], at: datetime.datetime) -> dict[str, Any]:
    """Return the document that docs/verify.schema.json describes.

    :param at: when the hosts were looked at.
    """
    return {
        "schema": SCHEMA,
        "group": GROUP,
        "at": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        "verdict": of_all(hosts),
        "counts": {"hosts": len(hosts), **_counts(_all_checks(hosts))},
        "hosts": {
            name: {**host, "verdict": verdict(host["checks"])} for name, host in hosts.items()
        },
    }


def _all_checks(hosts: Mapping[str, Host]) -> list[Result]:
    return [row for host in hosts.values() for row in host["checks"]]


def _counts(checks: Iterable[Result]) -> dict[str, int]:
    found = collections.Counter(row["outcome"] for row in checks)
    return {outcome: found[outcome] for outcome in OUTCOMES}


def as_text(hosts: Mapping[str, Host], about: str = "") -> str:
    """Return how the checks ended for people: the worst hosts first, alike ones together.

    :param about: which checks these are, where they are not all.
    """
    if not hosts:
        return "no host was asked"
    told = {name: _lines(host["checks"]) for name, host in hosts.items()}
    ranks = list(VERDICTS)
    groups = sorted(
        report.alike(told), key=lambda names: ranks.index(verdict(hosts[names[0]]["checks"]))
    )
    paragraphs = []
    for names in groups:
        addresses = {name: hosts[name]["address"] for name in names}
        sentence, *lines = told[names[0]]
        paragraphs += [f"{report.named(addresses)}: {about}{sentence}"]
        paragraphs += [f"    {line}" for line in lines]
    return "\n".join(paragraphs)


_WORDS = {
    FAILED: "failed",
    PASSED: "passed",
    WAIVED: "waived",
    NOT_PROVABLE: "not provable here",
}


def _sentence(checks: Sequence[Result]) -> str:
    """Return how many ended how: '1 failed, 40 passed'."""
    counts = _counts(checks)
    return ", ".join(
        f"{counts[outcome]} {word}" for outcome, word in _WORDS.items() if counts[outcome]
    )


def _lines(checks: Sequence[Result]) -> list[str]:
    """Return what became of a host's checks: a sentence, then what is to be seen to."""
    ranks = list(SEVERITIES)
    failed = [row for row in checks if row["outcome"] == FAILED]
    failed.sort(key=lambda row: ranks.index(row["severity"]))
    return [
        _sentence(checks),
        *(line for row in failed for line in _failed_lines(row)),
        *(line for row in checks if row["outcome"] == WAIVED for line in _waived_lines(row)),
        *_unproven_lines(checks),
    ]


def _failed_lines(row: Result) -> Iterator[str]:
    for finding in row["findings"]:
        yield f"{row['severity']} {row['check']}: {finding['seen']}"
        yield f"    {finding['remedy']} ({finding['action']})"


def _waived_lines(row: Result) -> Iterator[str]:
    waiver = row["waiver"] or {"until": "", "reason": ""}
    for finding in row["findings"]:
        yield f"waived {row['check']}: {finding['seen']}"
        yield f"    until {waiver['until']}: {waiver['reason']}"


def _unproven_lines(checks: Iterable[Result]) -> list[str]:
    """Return a line for each reason why checks are not provable, with the checks."""
    alike: dict[str, list[str]] = {}
    for row in checks:
        if row["outcome"] == NOT_PROVABLE:
            alike.setdefault(row["because"], []).append(row["check"])
    return [f"not provable here, {why}: {', '.join(names)}" for why, names in alike.items()]


def as_junit(hosts: Mapping[str, Host], at: datetime.datetime) -> str:
    """Return the same as JUnit: a suite for each host, a case for each check.

    What is waived or not provable is skipped there, with its reason; so is a warning, which fails
    no run.
    """
    root = ET.Element("testsuites", name=f"gpunode verify {GROUP}")
    for name, host in hosts.items():
        kinds = [_junit_kind(row) for row in host["checks"]]
        suite = ET.SubElement(
            root,
            "testsuite",
            name=_xml(name),
            timestamp=f"{at:%Y-%m-%dT%H:%M:%S}",
            tests=str(len(kinds)),
            failures=str(kinds.count("failure")),
            errors="0",
            skipped=str(kinds.count("skipped")),
            time="0",
        )
        for row, kind in zip(host["checks"], kinds, strict=True):
            case = ET.SubElement(
                suite, "testcase", classname=_xml(name), name=row["check"], time="0"
            )
            if kind:
                lines = _failed_lines(row) if row["outcome"] == FAILED else _waived_lines(row)
                text = _xml("\n".join([*lines, row["because"]]).strip())
                message = text.partition("\n")[0]
                ET.SubElement(case, kind, message=message, type=row["severity"]).text = text
    ET.indent(root)
    return f"{ET.tostring(root, encoding='unicode', xml_declaration=True)}\n"


def _junit_kind(row: Result) -> str:
    if row["outcome"] == PASSED:
        return ""
    return "failure" if row["outcome"] == FAILED and row["severity"] != WARNING else "skipped"


def _xml(text: str) -> str:
    """Return a text without what XML 1.0 has no way to write (2.2, Char)."""
    return "".join(letter for letter in text if letter in "\t\n\r" or _is_char(ord(letter)))


def _is_char(code: int) -> bool:
    return 0x20 <= code <= 0xD7FF or 0xE000 <= code <= 0xFFFD or code >= 0x10000


# What each metric says, as the exposition format has it.
_METRICS = {
    "gpunode_check_failed": "Whether a check failed on a host; no series where it did not.",
    "gpunode_checks": "How many checks of a host ended so.",
    "gpunode_host_reached": "Whether a host was reached.",
    "gpunode_verify_timestamp_seconds": "When the hosts were looked at.",
}


def as_textfile(hosts: Mapping[str, Host], at: datetime.datetime) -> str:
    """Return the same for the textfile collector of Prometheus' node exporter."""
    rows: dict[str, list[tuple[dict[str, str], float]]] = {name: [] for name in _METRICS}
    for name, host in hosts.items():
        failed = [row for row in host["checks"] if row["outcome"] == FAILED]
        rows["gpunode_check_failed"] += [
            ({"host": name, "check": row["check"], "severity": row["severity"]}, 1)
            for row in failed
        ]
        rows["gpunode_checks"] += [
            ({"host": name, "outcome": outcome}, count)
            for outcome, count in _counts(host["checks"]).items()
        ]
        is_lost = any(row["check"] == table.REACHED for row in host["checks"])
        rows["gpunode_host_reached"].append(({"host": name}, int(not is_lost)))
    rows["gpunode_verify_timestamp_seconds"].append(({}, int(at.timestamp())))
    lines = []
    for metric, samples in rows.items():
        lines += [f"# HELP {metric} {_METRICS[metric]}", f"# TYPE {metric} gauge"]
        lines += [f"{metric}{_labels(labels)} {value}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    said = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{said}}}" if said else ""


def _escaped(value: str) -> str:
    """Return a label's value as the exposition format writes it."""
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def write_document(path: pathlib.Path, hosts: Mapping[str, Host], at: datetime.datetime) -> None:
    """Write :func:`as_document` as JSON.

    :raises OSError: it cannot be written.
    """
    report.write(path, as_document(hosts, at))


def write_junit(path: pathlib.Path, hosts: Mapping[str, Host], at: datetime.datetime) -> None:
    """Write :func:`as_junit`.

    :raises OSError: it cannot be written.
    """
    report.write_text(path, as_junit(hosts, at))


def write_textfile(path: pathlib.Path, hosts: Mapping[str, Host], at: datetime.datetime) -> None:
    """Write :func:`as_textfile` whole or not at all, for the node exporter, which is another user.

    :raises OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(str(path), as_textfile(hosts, at), None, None, 0o644)


def failing(hosts: Mapping[str, Host]) -> Collection[str]:
    """Return the hosts that fail a run."""
    return [name for name, host in hosts.items() if verdict(host["checks"]) == _FAILED]
