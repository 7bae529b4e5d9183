# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""@EXPLICIT lock files: what conda is to link, by address and digest."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypedDict
from urllib.parse import unquote

HEADER = "@EXPLICIT"
NOARCH = "noarch"

_PACKAGE = re.compile(
    r"(?P<url>[a-z]+://\S+/(?P<subdir>noarch|[a-z]+-[a-z0-9_]+)/(?P<file>[^/#\s]+)\.(?:conda|tar\.bz2))(?:#(?P<digest>\S+))?"
)
_MD5 = re.compile(r"[0-9a-f]{32}")
# conda writes "sha256:" in front since it can read it; other tools write the digest alone.
_SHA256 = re.compile(r"(?:sha256:)?([0-9a-f]{64})")
# Files of other kinds, by what stands at the beginning of a line, and what to do with each.
_OTHERS = (
    ("package:", "it is conda-lock's own: take what `conda-lock render --kind explicit` writes"),
    (
        "environments:",
        "it is pixi's own: take what `pixi project export conda-explicit-spec` writes",
    ),
    ("dependencies:", "it is an environment.yml: say it with environment_file"),
)
# What another tool would install and conda passes over, such as "# pip flask @ https://..." of
# conda-lock: an address, or a distribution with its version or address (PEP 508).
_ADDRESS = re.compile(r"#.*\w://")
_DISTRIBUTION = re.compile(
    r"#[\s-]*(?:(?:pip|pypi)\b[\s:]*)?(?:install\s+)?(?:-e\s+)?"
    r"[A-Za-z0-9][\w.-]*(?:\[[^\]]*\])?\s*(?:@|[=~!<>]=)\s*\S"
)


class Digest(TypedDict, total=False):
    """The digest of a package: one of the two."""

    md5: str
    sha256: str


class Package(Digest):
    """A package of a lock.

    :ivar url: its address, without the digest.
    :ivar subdir: the platform it is for, as conda calls it.
    """

    url: str
    name: str
    version: str
    build: str
    subdir: str


def parse(text: str) -> list[Package]:
    """Return the packages of a lock, in the order of the file.

    :raises ValueError: with a sentence, when this is no lock that can be
        trusted: not explicit, a package without digest, named twice, of
        another platform than the others, or in a comment.
    """
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    passed_over = _passed_over(lines)
    if passed_over:
        raise ValueError(
            f"line{'s' if len(passed_over) > 1 else ''} {', '.join(map(str, passed_over))} would "
            "be passed over as a comment, and another tool would install what it names: move it "
            "to the requirements, with its hash, or remove it"
        )
    lines = [(number, line) for number, line in lines if line and not line.startswith("#")]
    if not lines or lines[0][1] != HEADER:
        found = [
            says for sign, says in _OTHERS if any(line.startswith(sign) for _at, line in lines)
        ]
        raise ValueError(
            found[0]
            if found
            else f"it does not begin with {HEADER}, as `conda list --explicit --md5` writes it"
        )
    packages = [_package(number, line) for number, line in lines[1:]]
    if not packages:
        raise ValueError("it names no package")
    names = [package["name"] for package in packages]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"it names {', '.join(twice)} more than once")
    platforms = sorted({package["subdir"] for package in packages} - {NOARCH})
    if len(platforms) > 1:
        raise ValueError(f"it mixes packages for {' and '.join(platforms)}")
    return packages


def _passed_over(lines: Iterable[tuple[int, str]]) -> list[int]:
    """Return the numbers of the comments in which something is to be installed.

    Before the header an address may be that of a channel.
    """
    found, is_explicit = [], False
    for number, line in lines:
        is_explicit = is_explicit or line == HEADER
        if _DISTRIBUTION.match(line) or (is_explicit and _ADDRESS.match(line)):
            found.append(number)
    return found


def _package(number: int, line: str) -> Package:
    match = _PACKAGE.fullmatch(line)
    # An epoch is quoted in an address: 1%211.0 is 1!1.0.
    parts = unquote(match.group("file")).rsplit("-", 2) if match else []
    if match is None or len(parts) != 3:
        raise ValueError(f"line {number} is not the address of a conda package: {line}")
    name, version, build = parts
    return {
        "url": match.group("url"),
        "name": name,
        "version": version,
        "build": build,
        "subdir": match.group("subdir"),
        **_digest(number, line, match.group("digest") or ""),
    }


def _digest(number: int, line: str, digest: str) -> Digest:
    digest = digest.lower()
    if _MD5.fullmatch(digest):
        return {"md5": digest}
    match = _SHA256.fullmatch(digest)
    if not match:
        raise ValueError(f"line {number} has no md5 or sha256 after '#': {line}")
    return {"sha256": match.group(1)}


def platform(packages: Iterable[Package]) -> str:
    """Return the platform a lock is for, such as 'linux-64'; 'noarch' when it fits any."""
    return next((package["subdir"] for package in packages if package["subdir"] != NOARCH), NOARCH)


def render(packages: Iterable[Package]) -> str:
    """Return the lock file for conda.

    A sha256 is left out: conda reads it only since version 25, and
    package_cache.py checks it for all versions alike.
    """
    lines = [HEADER]
    for package in packages:
        lines.append(f"{package['url']}#{package['md5']}" if "md5" in package else package["url"])
    return "\n".join(lines) + "\n"


def label(package: Mapping[str, Any]) -> str:
    """Return how people name one build of a package: 'name=version=build'."""
    return f"{package['name']}={package['version']}={package['build']}"


def is_same(package: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
    """Say whether a package of a lock is the one of an installed record.

    The digest decides where the record has it, the address elsewhere: the
    same archive from another mirror is the same package.
    """
    if label(package) != label(record):
        return False
    kind = "md5" if "md5" in package else "sha256"
    if record[kind]:
        return record[kind] == package[kind]
    return record["url"] == package["url"]
