# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Addresses that may carry a password: shown without it."""

from __future__ import annotations

import re

_USER_INFO = re.compile(r"(?<=://)([^/@:\s]*)(?::([^/@\s]*))?@")


def shown(text):
    """Return a text with the user and password of every URL in it left out."""
    return _USER_INFO.sub("***@", text)


def has_password(text):
    """Say whether a URL in the text carries a user or password."""
    return _USER_INFO.search(text) is not None


def passwords(text):
    """Return the passwords in the URLs of a text, and users without one, which tokens are."""
    return {password or user for user, password in _USER_INFO.findall(text)} - {""}
