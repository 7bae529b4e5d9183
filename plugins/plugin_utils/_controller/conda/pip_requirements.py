# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""pip requirements in which every distribution is pinned by version and sha256."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ansible_collections.gpunode.stack.plugins.module_utils._node.conda import prefixes

if TYPE_CHECKING:
    from packaging.markers import Marker
    from packaging.requirements import Requirement

_HASH = re.compile(r"--hash[= ]sha256:([0-9a-f]{64})(?!\S)")
_COMMENT = re.compile(r"(^|\s)#.*")
# Nobody can know these before the host runs; they are no ground for what is installed.
_UNKNOWABLE = ("platform_release", "platform_version")


def parse(text: str, python_version: str, machine: str) -> list[dict[str, str]]:
    """Return the distributions that a requirements file asks for on a Linux host.

    A list of dicts ``name`` (as PEP 503 compares it), ``version`` and ``line``
    (the requirement with its hashes, for pip), in the order of the names.

    :param text: the file.
    :param python_version: the environment's Python, such as '3.11.7', for markers.
    :param machine: the host's architecture, such as 'x86_64', for markers.
    :raises ValueError: with a sentence, when a line is not name==version with
        a sha256, or a distribution is asked for twice.
    """
    environment = _marker_environment(python_version, machine)
    dists = {}
    for number, line in _logical_lines(text):
        dist = _dist(number, line, environment)
        if dist is None:
            continue
        if dist["name"] in dists:
            raise ValueError(f"line {number} asks for {dist['name']} a second time")
        dists[dist["name"]] = dist
    return [dists[name] for name in sorted(dists)]


def check_wish(text: str) -> None:
    """Raise ValueError, with a sentence, where pip cannot be asked for this and pin what it finds.

    :param text: a requirement such as 'flask>=3'.
    """
    try:
        requirement = _requirement(text)
    except ValueError as error:
        raise ValueError("pip would not understand it") from error
    if requirement.url:
        raise ValueError("it is an address, and only versions from an index are pinned")


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield (number of its first line, line) with continuations joined and comments left out."""
    parts: list[str] = []
    first = 0
    for number, line in enumerate(text.splitlines(), 1):
        first = first if parts else number
        parts.append(_COMMENT.sub("", line).removesuffix("\\"))
        if not line.endswith("\\"):
            joined = " ".join(" ".join(parts).split())
            if joined:
                yield first, joined
            parts = []
    if parts:
        raise ValueError(f"line {first} ends in a continuation, and nothing follows")


def _dist(number: int, line: str, environment: Mapping[str, str]) -> dict[str, str] | None:
    hashes = _HASH.findall(line)
    try:
        requirement = _requirement(_HASH.sub("", line).strip())
    except ValueError as error:
        raise ValueError(
            f"line {number} is not name==version with a --hash=sha256: {line}"
        ) from error
    pins = list(requirement.specifier)
    if (
        requirement.url
        or len(pins) != 1
        or pins[0].operator != "=="
        or pins[0].version.endswith(".*")
    ):
        raise ValueError(f"line {number} does not pin one version with '==': {line}")
    if not hashes:
        raise ValueError(f"line {number} has no --hash=sha256: {line}")
    if requirement.marker is not None and not _applies(number, requirement.marker, environment):
        return None
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    pin = f"{requirement.name}{extras}=={pins[0].version}"
    return {
        "name": prefixes.normalise(requirement.name),
        "version": pins[0].version,
        "line": " ".join([pin, *(f"--hash=sha256:{digest}" for digest in sorted(hashes))]),
    }


def _requirement(text: str) -> Requirement:
    # Not above: ansible-core depends on packaging, but ansible-test imports plugins without it.
    from packaging.requirements import Requirement

    return Requirement(text)


def _applies(number: int, marker: Marker, environment: Mapping[str, str]) -> bool:
    if any(name in str(marker) for name in _UNKNOWABLE):
        raise ValueError(
            f"line {number} depends on the host's kernel, which no lock can know: {marker}"
        )
    try:
        return marker.evaluate(environment)
    except ValueError as error:
        raise ValueError(
            f"line {number} has a marker that cannot be evaluated: {marker}"
        ) from error


def _marker_environment(python_version: str, machine: str) -> dict[str, str]:
    return {
        "extra": "",
        "implementation_name": "cpython",
        "implementation_version": python_version,
        "os_name": "posix",
        "platform_machine": machine,
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": python_version,
        "python_version": ".".join(python_version.split(".")[:2]),
        "sys_platform": "linux",
    }
