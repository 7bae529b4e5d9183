# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What hosts answer, held to a shape, and to characters that people can be shown.

Somebody may have taken a host over, or any of its users may choose names that it tells. So an
answer gives what was asked of it and nothing else, and no character that a terminal obeys.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.gpunode.stack.plugins.module_utils._node import terminal, urls
from ansible_collections.gpunode.stack.plugins.module_utils._node.facts import shape

_DEEPEST = 50
_LONGEST = 1 << 20
_LAST_WORD = re.compile(r"\S{1,999}\Z")
# What Ansible itself makes of a module that fails, or warns.
_ANSIBLES = (
    *("failed", "msg", "exception", "rc", "module_stdout", "module_stderr", "skipped"),
    *("warnings", "deprecations"),
)
_NAMED, _LONGEST_WORDS = 5, 200


def passed_on(answer: Mapping[str, Any], keys: Iterable[str] = ()) -> dict[str, Any]:
    """Return those parts of a module's answer that are its business, cleaned.

    What Ansible makes of a module that fails may quote what that was given, and is shown without
    the secrets of addresses.

    :param keys: what the module answers beside whether it failed, and why.
    """
    told = {key: cleaned(answer[key]) for key in (*_ANSIBLES, *keys) if key in answer}
    return {key: urls.shown_in(told[key]) if key in _ANSIBLES else told[key] for key in told}


def cleaned(value: Any, lines: bool = True, depth: int = 0) -> Any:
    """Return a value of JSON without the characters that a terminal obeys, which are spelled out.

    What is no JSON is left to Ansible, which put it there.

    :param lines: whether a text may have several. One that stands among those of other hosts would
        say some of its own in their place.
    """
    if depth > _DEEPEST:
        return "..."
    if isinstance(value, str):
        if len(value) > _LONGEST:
            # The last word may be half a secret, which nothing would know.
            value = f"{_LAST_WORD.sub('', value[:_LONGEST])}..."
        return terminal.without_orders(value) if lines else terminal.one_line(value)
    if isinstance(value, Mapping):
        return {cleaned(key, lines): cleaned(item, lines, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [cleaned(item, lines, depth + 1) for item in value]
    return value


def facts(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts that node_info answered, cleaned.

    :raises ValueError: with a sentence, where they have not the shape of facts.
    """
    return of_shape(answer, "gpunode_facts", shape.Facts, "facts")


def of_shape(answer: Mapping[str, Any], key: str, wanted: Any, called: str) -> dict[str, Any]:
    """Return a part of an answer, cleaned, that has a shape, each text of one line.

    :param wanted: the shape, such as shape.Facts.
    :param called: what such parts are, for the message.
    :raises ValueError: with a sentence, where it has not.
    """
    found: dict[str, Any] = cleaned(answer.get(key), lines=False)
    wrong = shape.misfits(found, wanted, key)
    if wrong:
        more = f" and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
        words = "; ".join(sentence[:_LONGEST_WORDS] for sentence in wrong[:_NAMED])
        raise ValueError(f"the host answers what are no {called}: {words}{more}")
    return found
