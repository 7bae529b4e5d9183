# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a component was asked for, so that a plan can say which part of that is another now.

A receipt's digest says that something is. Beside it there are short digests, of each option of each
item, of each other option, of what was resolved from them, and of the files that do the work.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.gpunode.stack.plugins.module_utils._node import urls

# Between what is asked for and its setting; no name has it.
_SEPARATOR = ": "
_LENGTH = 8
_SHOWN = 5
_CONTENT = "content"
_WORK = "work"


def digests(
    options: Mapping[str, Any], items: Iterable[Mapping[str, Any]], noun: str, work: str
) -> dict[str, str]:
    """Return {part of what is asked for: short digest}.

    :param options: {option: value}, without those that are secret.
    :param items: what was resolved of the component's items, each with a name. ``decided`` is
        {option: value} of those options that the host decided.
    :param noun: what people call an item; '' for a component that is made of none.
    :param work: a digest of the files that do its work.
    """
    found = {_WORK: work[:_LENGTH]}
    for option, value in options.items():
        if option.endswith("_list"):
            for item in value:
                found[_part(noun, item)] = ""
                for key, said in item.items():
                    found[_part(noun, item, key)] = _digest(said)
        else:
            found[option] = _digest(value)
    for item in items:
        for option, value in item.get("decided", {}).items():
            found[_part(noun, item, option)] = _digest(value)
        # Secrets are options that nothing is kept of, and known by a digest that is slow to try.
        rest = {key: value for key, value in item.items() if key != "secrets_digest"}
        found[_part(noun, item, "secrets")] = _digest(item.get("secrets_digest", ""))
        found[_part(noun, item, _CONTENT)] = _digest(rest)
    return found


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return a sentence for each thing that is asked for otherwise; [] where none can be told.

    :param before: what :func:`digests` returned when it was brought; {} where that is not known.
    :param now: what it returns now.
    """
    if not before:
        return []
    settings: dict[str, list[str]] = {}
    for part in sorted({*before, *now}):
        subject, _separator, key = part.partition(_SEPARATOR)
        if before.get(part) != now.get(part):
            settings.setdefault(subject, []).append(key)
    sentences = []
    for subject, keys in settings.items():
        if subject == _WORK:
            continue
        if "" in keys and subject not in before:
            sentences.append(f"{subject} is new")
        elif "" in keys and subject not in now:
            sentences.append(f"{subject} is not asked for any more")
        elif keys == [""]:
            sentences.append(f"another {subject} is asked for")
        else:
            named = [key for key in keys if key != _CONTENT] or [_CONTENT]
            more = f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
            sentences.append(f"{subject} is asked for with other {', '.join(named[:_SHOWN])}{more}")
    if not sentences and _WORK in settings:
        return ["this project does it otherwise than it did then"]
    return sentences


def _part(noun: str, item: Mapping[str, Any], key: str = "") -> str:
    subject = f"{noun} {item['name']}"
    return f"{subject}{_SEPARATOR}{key}" if key else subject


def _digest(value: Any) -> str:
    # Of a secret in an address nothing is kept, not even that.
    text = urls.shown(json.dumps(value, sort_keys=True))
    return hashlib.sha256(text.encode()).hexdigest()[:_LENGTH]
