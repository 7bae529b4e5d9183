# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What hosts answer, held to a shape, and to characters that people can be shown.

Somebody may have taken a host over, or any of its users may choose names that it tells. So an
answer gives what was asked of it and nothing else, and no character that a terminal obeys.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.gpunode.stack.plugins.module_utils._node import (
    facts_shape,
    steps,
    terminal,
    urls,
)

_DEEPEST = 50
_LONGEST = 1 << 20
_LAST_WORD = re.compile(r"\S{1,999}\Z")
# What Ansible itself makes of a module that fails, or warns.
_ANSIBLES = (
    *("failed", "msg", "exception", "rc", "module_stdout", "module_stderr", "skipped"),
    *("warnings", "deprecations"),
)
_NAMED, _LONGEST_WORDS = 5, 200
# What Ansible takes them for once it shows an answer, or counts it.
_TRUTHS = ("failed", "skipped", "changed")
_TEXTS = ("msg", "exception", "module_stdout", "module_stderr")
_LISTS = {"warnings": str, "changes": str, "deprecations": dict, "diff": dict}
# Of several lines, which are printed as they are: the others stand behind the first.
_PRINTED = ("msg", "exception", "warnings", "deprecations")
_BEHIND = "\n    "


def passed_on(answer: Mapping[str, Any], keys: Iterable[str] = ()) -> dict[str, Any]:
    """Return those parts of a module's answer that are its business, cleaned.

    What Ansible makes of a module that fails may quote what that was given, and is shown without
    the secrets of addresses. What is not of the kind that Ansible takes it for is left out, or
    shown as it came.

    :param keys: what the module answers beside whether it failed, and why.
    """
    told = {
        key: _of_kind(key, cleaned(answer[key])) for key in (*_ANSIBLES, *keys) if key in answer
    }
    if not isinstance(told.get("rc", 0), int):
        del told["rc"]
    for keys_of, change in ((_ANSIBLES, urls.shown), (_PRINTED, _hanging)):
        told |= {key: _each_text(told[key], change) for key in keys_of if key in told}
    return told


def _of_kind(key: str, value: Any) -> Any:
    """Return a part of an answer as what Ansible takes that for."""
    if key in _TRUTHS:
        return bool(value)
    if key in _TEXTS and _is_of_json(value):
        return value if isinstance(value, str) else json.dumps(value)
    if key in _LISTS:
        items = value if isinstance(value, list) else [value]
        sound = [item for item in items if _is_sound(key, item)]
        return [*map(_difference, sound)] if key == "diff" else sound
    return value


def _is_sound(key: str, item: Any) -> bool:
    """Say whether something can stand in a list of an answer: texts, or dicts of them."""
    if not _is_of_json(item):
        return key != "diff"
    if not isinstance(item, dict) or _LISTS[key] is not dict:
        return isinstance(item, _LISTS[key])
    is_plain = all(isinstance(text, (str, type(None))) for text in item.values())
    return is_plain and (key != "deprecations" or isinstance(item.get("msg"), str))


def _difference(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return a difference without what would be printed as it is; its lines have a sign each."""
    headers = {key: terminal.one_line(said[key] or "") for key in steps.HEADERS if key in said}
    return {key: said[key] for key in steps.CONTENTS if key in said} | headers


def _is_of_json(value: Any) -> bool:
    return isinstance(value, (str, int, float, list, dict, type(None)))


def _hanging(text: str) -> str:
    return text.replace("\n", _BEHIND)


def cleaned(value: Any, lines: bool = True) -> Any:
    """Return a value without the characters that a terminal obeys, which are spelled out.

    :param lines: whether a text may have several. One that stands among those of other hosts would
        say some of its own in their place.
    """
    return _each_text(value, _clean if lines else lambda text: terminal.one_line(_clean(text)))


def _clean(text: str) -> str:
    if len(text) > _LONGEST:
        # The last word may be half a secret, which nothing would know.
        text = f"{_LAST_WORD.sub('', text[:_LONGEST])}..."
    return terminal.without_orders(text)


def _each_text(value: Any, change: Callable[[str], str], depth: int = 0) -> Any:
    """Return a value with each text in it changed, also in what Ansible has made of an answer."""
    if depth > _DEEPEST:
        return "..."
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {
            _each_text(key, change): _each_text(item, change, depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        items = [_each_text(item, change, depth + 1) for item in value]
        return items if isinstance(value, list) else tuple(items)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        # Its errors and warnings, which hold what the host says.
        parts = {
            field.name: _each_text(getattr(value, field.name), change, depth + 1)
            for field in dataclasses.fields(value)
            if field.init
        }
        try:
            return dataclasses.replace(value, **parts)
        except TypeError:
            # Too deep in it stands a text in the place of something else.
            return "..."
    return value


def facts(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts that node_info answered, cleaned.

    :raises ValueError: with a sentence, where they have not the shape of facts.
    """
    return of_shape(answer, "gpunode_facts", facts_shape.Facts, "facts")


def of_shape(answer: Mapping[str, Any], key: str, wanted: Any, called: str) -> dict[str, Any]:
    """Return a part of an answer, cleaned, that has a shape, each text of one line.

    :param wanted: the shape, such as facts_shape.Facts.
    :param called: what such parts are, for the message.
    :raises ValueError: with a sentence, where it has not.
    """
    found: dict[str, Any] = cleaned(answer.get(key), lines=False)
    wrong = facts_shape.misfits(found, wanted, key)
    if wrong:
        more = f" and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
        words = "; ".join(sentence[:_LONGEST_WORDS] for sentence in wrong[:_NAMED])
        raise ValueError(f"the host answers what are no {called}: {words}{more}")
    return found
