# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Addresses that options name."""

from __future__ import annotations

import re

from ansible_collections.gpunode.stack.plugins.module_utils._node import urls
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal

_FORM = re.compile(r"(?:https?|file)://\S+")


def is_one(text: str) -> bool:
    """Say whether a text is an address that something can be fetched from."""
    return _FORM.fullmatch(text) is not None


def checked(option: str, url: str | None) -> str:
    """Return the address that an option names, '' where it names none.

    :param url: what it says, None or '' for nothing.
    :raises Refusal: it is none.
    """
    if url and not is_one(url):
        raise Refusal(
            f"{option} {urls.shown(url)}", "it is no http, https or file address", "Correct it"
        )
    return url or ""
