# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Values that are no texts where a text is to be: YAML makes false of no, and 25.1 of 25.10.

A whole number is the text it was where it reads as it was written: not 83, of 0123, nor 750, of
12:30. Ansible remembers where a value stands, and the file is asked.
"""

from __future__ import annotations

import datetime
import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ansible._internal._datatag._tags import Origin
from ansible.parsing.vault import is_encrypted

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import files

# What a message shows of a value.
_SHOWN = 40
# What YAML makes of a word without quotes, in words.
_MADE = {
    bool: "true or false",
    float: "a number",
    datetime.datetime: "a time",
    datetime.date: "a date",
    bytes: "bytes",
    list: "a list",
    dict: "a dict",
    set: "a set",
}
# Of those, what no option takes, be it a text or not.
_NEVER = (datetime.date, bytes, set)
_TEXTS = ("str", "path")
# The lines of YAML (yaml.org/spec/1.1, b-generic), and a whole number behind its anchor and tag.
_LINE = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_NUMBER = re.compile(r"(?:[&!]\S*\s+)*([-+]?\d(?:\w|:(?=\w))*)")
# Octal, and of base 60.
_OTHER_BASE = re.compile(r"[-+]?(?:0[\d_]+|\d[\d_]*(?::\d+)+)")
# A NUL, and half of a pair that stands for one letter, which cannot be written.
_NOWHERE = re.compile("[\0\ud800-\udfff]")
# Nobody counts further: it is what 64 bits hold.
_COUNTABLE = 1 << 63


def refuse(spec: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Refuse what is given for options where it is not the text that somebody wrote.

    :param spec: {option: specification} of a role.
    :param given: {option: value}.
    :raises Refusal: a text was read as something else, or has what no path, name or variable can.
    """
    for option, value in given.items():
        strange = _NOWHERE.search("".join(_texts(value)))
        if strange:
            # Not the value: it may be a secret.
            code = f"U+{ord(strange.group()):04X}"
            raise Refusal(
                option,
                f"there is the character {code} in it, which no path and no file can have",
                "Take it out",
            )
        _refuse_misread(option, spec[option], value)


def name_of(key: object, where: str) -> str:
    """Return a name in a dict as the text that somebody wrote.

    :param where: what has the dict.
    :raises Refusal: YAML read it as something else.
    """
    made = "nothing" if key is None else _made(key)
    if made:
        raise Refusal(
            f"{where}: {_written(key)}",
            f"YAML reads it as {made}, and a name is to be a text",
            "Put it in quotes, as it is to be read",
        )
    return str(key)


def _made(value: object) -> str:
    """Return what YAML made of a word, '' for a text, or a whole number that reads as written."""
    # Those of an inventory are of types of Ansible's own, which know where they are from.
    made = next((says for made, says in _MADE.items() if isinstance(value, made)), "")
    is_other = not made and isinstance(value, int) and _written(value) != str(value)
    return f"the number {value}" if is_other else made


def _written(value: object) -> str:
    """Return a value as it was written, a whole number as it stands in its file."""
    origin = Origin.get_tag(value) if isinstance(value, int) else None
    if origin and origin.path and origin.line_num and origin.col_num:
        line = [*_lines(origin.path), *[""] * origin.line_num][origin.line_num - 1]
        number = _NUMBER.match(line, origin.col_num - 1)
        if number:
            return number.group(1)
    return str(value)


@functools.lru_cache(maxsize=64)
def _lines(path: str) -> list[str]:
    """Return the lines of a file of an inventory; [] where it cannot be read, or is encrypted."""
    try:
        text = files.read_text(path).removeprefix("\ufeff")
    except (OSError, ValueError):
        return []
    return [] if is_encrypted(text.encode()) else _LINE.split(text)


def _refuse_misread(where: str, spec: Mapping[str, Any], value: Any) -> None:
    kind, made = spec.get("type", "str"), _made(value)
    if kind in _TEXTS and made:
        shown = "" if isinstance(value, (list, dict, set, bytes)) else f": {_written(value)}"
        raise Refusal(
            f"{where}{shown}",
            f"YAML reads it as {made}, and it is to be a text",
            "Put it in quotes, as it is to be read",
        )
    if kind == "int" and isinstance(value, bool):
        raise Refusal(f"{where}: {value}", f"YAML reads it as {made}", "Write a number")
    if kind == "int" and _OTHER_BASE.fullmatch(_written(value)) and made:
        shown = f"{where}: {_written(value)}"
        raise Refusal(shown, f"YAML reads it as {made}", "Write it with no 0 in front nor a colon")
    if kind == "int" and not _is_countable(value):
        shown = f"{where}: {str(value)[:_SHOWN]}"
        raise Refusal(shown, "it is no whole number of 64 bits", "Write one")
    if isinstance(value, list):
        for item in value:
            element = {"type": spec.get("elements", "raw"), "options": spec.get("options")}
            _refuse_misread(where, element, item)
    elif isinstance(value, dict):
        options = spec.get("options")
        for key, option in (options or {}).items():
            if value.get(key) is not None:
                _refuse_misread(f"{key} of {where}", option, value[key])
        for key, item in ({} if options else value).items():
            if isinstance(item, _NEVER):
                _refuse_misread(f"{key} of {where}", {}, item)


def _is_countable(value: object) -> bool:
    """Say whether a number, or a text of one, is whole and none that overflows; all else counts."""
    if not isinstance(value, (int, float, str)):
        return True
    try:
        number = float(value)
    except OverflowError:
        return False
    except ValueError:
        return True
    return number.is_integer() and abs(number) < _COUNTABLE


def _texts(value: Any) -> Iterator[str]:
    """Yield every text in a value of dicts and lists, those of keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for part in value:
            yield from _texts(part)
        for part in value.values() if isinstance(value, dict) else ():
            yield from _texts(part)
