# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What of an application's folder is no part of it, by patterns as gitignore(5) has them."""

from __future__ import annotations

import os
import pathlib
import re
import string
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app.release import (
    LeaveOut,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import files

_FILE = ".gitignore"
_CLASS = re.compile(r"\[:([^]]*):\]")
# The classes of letters of git, wildmatch.c and ctype.c: of ASCII alone, and of spaces these.
_CLASSES = {
    "alnum": string.ascii_letters + string.digits,
    "alpha": string.ascii_letters,
    "blank": " \t",
    "cntrl": "".join(map(chr, (*range(32), 127))),
    "digit": string.digits,
    "graph": string.ascii_letters + string.digits + string.punctuation,
    "lower": string.ascii_lowercase,
    "print": string.ascii_letters + string.digits + string.punctuation + " ",
    "punct": string.punctuation,
    "space": " \t\n\r",
    "upper": string.ascii_uppercase,
    "xdigit": string.hexdigits,
}


class _Rule(NamedTuple):
    """One pattern.

    :ivar path: what a path relative to the pattern's folder has to match as a whole.
    :ivar of_folders: whether it is about folders alone.
    :ivar excludes: whether it leaves out what it matches, or takes it back in.
    """

    path: re.Pattern[str]
    of_folders: bool
    excludes: bool


def of(folder: str, patterns: Iterable[str], by_git: bool) -> LeaveOut:
    """Return what says of each path in a folder whether it is left out.

    What is in a folder that is left out is not asked for.

    :param folder: the application's.
    :param patterns: such as 'node_modules/' and '!keep.txt'; they go before files' own.
    :param by_git: whether the .gitignore files in it count, each for its folder.
    """
    own = _rules(patterns)
    read: dict[str, list[_Rule]] = {}

    def rules_in(place: str) -> list[_Rule]:
        if place not in read:
            path = pathlib.Path(folder, place, _FILE)
            read[place] = _rules(_lines(path)) if path.is_file() else []
        return read[place]

    def leave_out(path: str, is_folder: bool) -> bool:
        verdict = False
        parts = path.split(os.sep)
        for depth in range(len(parts) if by_git else 0):
            below = "/".join(parts[depth:])
            verdict = _verdict(rules_in("/".join(parts[:depth])), below, is_folder, verdict)
        return _verdict(own, "/".join(parts), is_folder, verdict)

    return leave_out


def _lines(path: pathlib.Path) -> list[str]:
    """Return the lines of a file of patterns.

    :raises Refusal: it cannot be read, or is larger than anybody would write one.
    """
    try:
        return files.read_text(path, "surrogateescape").splitlines()
    except OSError as error:
        raise Refusal(str(path), f"it cannot be read: {error.strerror}", "Mend it") from error


def _verdict(rules: Iterable[_Rule], path: str, is_folder: bool, before: bool) -> bool:
    for rule in rules:
        if (is_folder or not rule.of_folders) and rule.path.fullmatch(_bytes(path)):
            before = rule.excludes
    return before


def _rules(lines: Iterable[str]) -> list[_Rule]:
    return [rule for rule in map(_rule, lines) if rule]


def _rule(line: str) -> _Rule | None:
    """Return what a line of a .gitignore says, None where that is nothing."""
    pattern = re.sub(r"(?<!\\)[ \t]+$", "", line.rstrip("\r"))
    if not pattern or pattern.startswith("#"):
        return None
    excludes = not pattern.startswith("!")
    pattern = pattern if excludes else pattern[1:]
    of_folders = pattern.endswith("/")
    pattern = pattern.rstrip("/") if of_folders else pattern
    # One with a slash begins at its folder; any other one is about names at every depth.
    begin = "" if "/" in pattern else "(?:.*/)?"
    try:
        path = re.compile(begin + _expression(_bytes(pattern.removeprefix("/"))), re.DOTALL)
    except LookupError:
        # git takes no notice of it either.
        return None
    return _Rule(path, of_folders, excludes)


def _bytes(text: str) -> str:
    """Return a text with one letter for each byte of it, which is what git compares."""
    return os.fsencode(text).decode("latin-1")


def _expression(pattern: str) -> str:
    """Return the regular expression of a pattern of gitignore.

    :raises LookupError: it has an end that is missing, or a class that there is not.
    """
    # What stands between two "**/"; the last of it so far; and in its last part, between two stars.
    groups: list[str] = []
    group, between, at = "", [""], 0
    while at < len(pattern):
        rest, length = pattern[at:], 1
        starts_part = at == 0 or pattern[at - 1] == "/"
        if starts_part and rest.startswith("**/"):
            groups, group, length = [*groups, group], "", 3
        elif starts_part and rest == "**":
            between, length = [".+"], 2
        elif rest[0] == "*":
            between, length = [*between, ""], len(rest) - len(rest.lstrip("*"))
        elif rest[0] == "/":
            group, between = f"{group}{_apart(between, '[^/]*', '[^/]*?')}/", [""]
        elif rest[0] == "[":
            letters, length = _letters(rest)
            between[-1] += letters
        elif rest[0] == "\\":
            between[-1] += re.escape(rest[1])
            length = 2
        else:
            between[-1] += "[^/]" if rest[0] == "?" else re.escape(rest[0])
        at += length
    last = group + _apart(between, "[^/]*", "[^/]*?")
    return _apart([*groups, last], "(?:.*/)?", "(?:[^/]*/)*?")


def _apart(parts: Sequence[str], gap: str, least: str) -> str:
    """Return the regular expression of parts with gaps between them.

    Each but the last one matches where it first can, for good: the gap behind it takes as much as
    there is, and nobody who wrote a pattern has us try all ways to divide a path.

    :param gap: the expression of a gap.
    :param least: the same, of one that takes as little as it can.
    """
    first, *others = parts
    if not others:
        return first
    *inner, last = others
    return first + "".join(f"(?>{least}{part})" for part in inner) + gap + last


def _letters(pattern: str) -> tuple[str, int]:
    """Return (regular expression, length) of what a pattern begins with, such as [!a-z[:space:]].

    As wildmatch.c reads it.

    :raises LookupError: its end is missing, or there is no such class.
    """
    denied = pattern[1] in "!^"
    at = begin = 1 + denied
    chosen: set[str] = set()
    before = ""
    while pattern[at] != "]" or at == begin:
        letter = pattern[at]
        if letter == "-" and before and pattern[at + 1] != "]":
            at += 1 + (pattern[at + 1] == "\\")
            chosen.update(map(chr, range(ord(before), ord(pattern[at]) + 1)))
            letter = ""
        elif named := _CLASS.match(pattern, at):
            chosen.update(_CLASSES[named.group(1)])
            at = named.end() - 1
            letter = ""
        else:
            at += letter == "\\"
            letter = pattern[at]
            chosen.add(letter)
        before = letter
        at += 1
    letters = "".join(map(re.escape, sorted(chosen)))
    one = f"[{letters}]" if letters else "(?!)"
    return f"(?!/)(?!{one})." if denied else f"(?!/){one}", at + 1
