# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""pip requirements in which every distribution is pinned by version and sha256."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from ansible_collections.gpunode.stack.plugins.module_utils._node import urls
from ansible_collections.gpunode.stack.plugins.module_utils._node.conda import prefixes
from ansible_collections.gpunode.stack.plugins.module_utils._node.conda.wanted import Dist

if TYPE_CHECKING:
    from packaging.markers import Marker
    from packaging.requirements import Requirement

# Of the kinds that pip takes, the one that is checked here; of another one no more than its form.
_HASH = re.compile(r"--hash[= ]sha256:([0-9a-f]{64})(?!\S)", re.IGNORECASE)
_OTHER_HASH = re.compile(r"--hash[= ](?!sha256:)\w+:[0-9a-f]+(?!\S)", re.IGNORECASE)
_COMMENT = re.compile(r"(^|\s)#.*")
# By its name, and by that of before.
_PYPI = ("https://pypi.org/simple", "https://pypi.python.org/simple")
_VERSION_CONTROL = re.compile(r"(?:[^#;]*@\s*)?(?:git|hg|svn|bzr)\+", re.IGNORECASE)
_NO_HASH = (
    "names a place of version control, which has no sha256: what is there can change; build a "
    "wheel of it, put that on an index, and ask for its version"
)
_PATH = re.compile(r"[./~]|file:|[^\s:]+\.(?:whl|zip|tar\.gz)$")
_URL = re.compile(r"[a-z]+://", re.IGNORECASE)
_IS_ADDRESS = "an address, and only versions from an index are pinned"
_IS_PATH = "a path, and only versions from an index are pinned"
# What is told to pip behind a requirement.
_OPTION = re.compile(r"\s(--[a-z][a-z-]*)")
# Files of other tools, by what stands in them, and what makes requirements of each.
_OTHERS = (
    (
        re.compile(r"^\[\[packages?\]\]", re.MULTILINE),
        "it is a lock of poetry or uv: take what `poetry export` or `uv export` writes",
    ),
    (
        re.compile(r'\A\s*\{\s*"(?:_meta|default|develop)"'),
        "it is a Pipfile.lock: take what `pipenv requirements --hash` writes",
    ),
    (
        re.compile(r"^dependencies:", re.MULTILINE),
        "it is an environment.yml: say it with environment_file",
    ),
)
# What an option of pip is replaced by: its names, and what to do instead.
_INSTEAD = {
    ("-i", "--index-url", "--pypi-url"): "say it with miniforge_pip_index_url",
    ("--extra-index-url",): "say it with miniforge_pip_extra_index_urls",
    ("--trusted-host",): "say with miniforge_ca_source whose certificates to trust",
    ("-f", "--find-links", "--no-index"): (
        "put the files on an index, and name that with miniforge_pip_extra_index_urls"
    ),
    ("--no-binary", "--only-binary", "--prefer-binary", "--pre"): (
        "the hashes say which files are taken; keep those of the files that are wanted"
    ),
    ("-r", "--requirement", "-c", "--constraint"): "write all into one file, as pip-compile does",
    ("-e", "--editable"): "build a wheel of it, put that on an index, and ask for its version",
}
_LEAVE_OUT = "leave it out"
# Nobody can know these before the host runs; they are no ground for what is installed.
_UNKNOWABLE = ("platform_release", "platform_version")


def parse(text: str, python_version: str, machine: str, indexes: Iterable[str] = ()) -> list[Dist]:
    """Return the distributions that a requirements file asks for on a Linux host, by their names.

    :param text: the file.
    :param python_version: the environment's Python, such as '3.11.7', for markers.
    :param machine: the host's architecture, such as 'x86_64', for markers.
    :param indexes: where pip looks on the host; lines that name one of these say nothing new.
    :raises ValueError: with a sentence, when a line is not name==version with
        a sha256, or a distribution is asked for twice.
    """
    for sign, says in _OTHERS:
        if sign.search(text):
            raise ValueError(says)
    environment = _marker_environment(python_version, machine)
    dists = {}
    known = _known(indexes)
    for number, line in _logical_lines(text):
        if line.startswith("-"):
            _refuse_option(f"line {number} is for pip itself ({line})", line, known)
            continue
        dist = _dist(number, line, environment)
        if dist is None:
            continue
        if dist["name"] in dists:
            raise ValueError(f"line {number} asks for {dist['name']} a second time")
        dists[dist["name"]] = dist
    return [dists[name] for name in sorted(dists)]


def is_wish(text: str, indexes: Iterable[str] = ()) -> bool:
    """Say whether something is asked for; a line for pip itself may say what holds anyway.

    :param text: a requirement such as 'flask>=3'.
    :param indexes: see :func:`parse`.
    :raises ValueError: with a sentence, where pip cannot be asked for this and pin what it finds.
    """
    if text.startswith("-"):
        _refuse_option("it is for pip itself", text, _known(indexes))
        return False
    if _VERSION_CONTROL.match(text):
        raise ValueError(f"it {_NO_HASH}")
    _refuse_option_behind("it", text)
    if _PATH.match(text):
        raise ValueError(f"it is {_IS_PATH}")
    if _URL.match(text):
        raise ValueError(f"it is {_IS_ADDRESS}")
    try:
        requirement = _requirement(text)
    except ValueError as error:
        raise ValueError("pip would not understand it") from error
    if requirement.url:
        raise ValueError(f"it is {_IS_ADDRESS}")
    return True


def _known(indexes: Iterable[str]) -> set[str]:
    """Return where pip looks anyway, as it is compared."""
    return {urls.bare(index).rstrip("/") for index in (*_PYPI, *indexes)}


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


def _refuse_option(says: str, line: str, indexes: Collection[str]) -> None:
    """Refuse a line for pip itself, unless it says what holds anyway.

    :param says: that it is one, for the message.
    :raises ValueError: with what replaces it.
    """
    option, _blank, value = line.replace("=", " ", 1).partition(" ")
    # -fADDRESS and -rFILE are written without a blank, too.
    short = option[:2] if not option.startswith("--") else option
    value = option[2:] if short != option else value
    if option == "--require-hashes":
        return
    names_index = short in ("-i", "--index-url", "--extra-index-url")
    if names_index and urls.bare(value.strip(" \"'")).rstrip("/") in indexes:
        return
    instead = _instead_of(short)
    besides = "" if instead == _LEAVE_OUT else ", and leave the line out"
    raise ValueError(f"{says}: {instead}{besides}")


def _refuse_option_behind(subject: str, text: str) -> None:
    """Refuse a requirement with something for pip behind it; see _refuse_option."""
    option = _OPTION.search(text)
    if option:
        name = option.group(1)
        raise ValueError(f"{subject} has {name} for pip itself: {_instead_of(name)}")


def _instead_of(option: str) -> str:
    return next((says for names, says in _INSTEAD.items() if option in names), _LEAVE_OUT)


def _dist(number: int, line: str, environment: Mapping[str, str]) -> Dist | None:
    hashes = {digest.lower() for digest in _HASH.findall(line)}
    if _VERSION_CONTROL.match(line):
        raise ValueError(f"line {number} {_NO_HASH}: {line}")
    bare = _OTHER_HASH.sub("", _HASH.sub("", line)).strip()
    _refuse_option_behind(f"line {number}", bare.replace("--hash", ""))
    if _PATH.match(bare):
        raise ValueError(f"line {number} names {_IS_PATH}: {line}")
    if _URL.match(bare):
        raise ValueError(f"line {number} names {_IS_ADDRESS}: {line}")
    try:
        requirement = _requirement(bare)
    except ValueError as error:
        raise ValueError(
            f"line {number} is not name==version with a --hash=sha256: {line}"
        ) from error
    if requirement.url:
        raise ValueError(f"line {number} names {_IS_ADDRESS}: {line}")
    pins = list(requirement.specifier)
    if len(pins) != 1 or pins[0].operator != "==" or pins[0].version.endswith(".*"):
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
