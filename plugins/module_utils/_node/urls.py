# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Addresses that may carry secrets: shown without them.

A secret stands before the host, as RFC 3986 (3.2.1) has it and as people write it, with an '@' in
the password; in the path, as anaconda.org's tokens (/t/TOKEN/); or in the query, under a name that
says so.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

# All up to the last '@' before the path: a password may have others in it.
_USER_INFO = re.compile(r"(?<=://)([^/?#@:\s\"']*)(?::([^/?#\s]*))?@")
_TOKEN = re.compile(r"(?<=/t/)([^/?#\s\"']+)(?=/)")
_QUERY = re.compile(
    r"([?&;](?:[\w.-]*(?:token|key|secret|passw|pwd|auth|sig|credential)[\w.-]*)=)([^&;#\s\"']+)",
    re.IGNORECASE,
)
_USER_AND_HOST = re.compile(rf"{_USER_INFO.pattern}([^/:\s\[]+)")
# Quotes are read differently by Python's versions, so nothing that needs them is written.
_PLAIN = re.compile(r"[^\s\"'\\#]+")


def shown(text: str) -> str:
    """Return a text with the secrets of every URL in it left out."""
    text = _TOKEN.sub("***", _USER_INFO.sub("***@", text))
    return _QUERY.sub(r"\1***", text)


def bare(text: str) -> str:
    """Return a text with its URLs as they are without user and password."""
    return _USER_INFO.sub("", text)


def has_password(text: str) -> bool:
    """Say whether a URL in the text carries a secret."""
    return shown(text) != text


def passwords(text: str) -> set[str]:
    """Return the secrets in the URLs of a text: passwords, and users without one, and tokens.

    As they are written there, and as they read once they are unquoted.
    """
    found = {password or user for user, password in _USER_INFO.findall(text)}
    found.update(_TOKEN.findall(text), (value for _name, value in _QUERY.findall(text)))
    return {*found, *map(unquote, found)} - {""}


def to_netrc(text: str) -> tuple[str, str]:
    """Return (text, netrc): a text without the users and passwords of its URLs, and a file of them.

    Programs write down the addresses that they are given, and not what a netrc file adds. What such
    a file cannot say stays where it is: a second user of one host, a user without a password, and
    what would have to be quoted. The netrc is "" where there is nothing to say.
    """
    users: dict[str, tuple[str, str]] = {}

    def take(match: re.Match[str]) -> str:
        user, password, host = (unquote(part or "") for part in match.groups())
        plain = _PLAIN.fullmatch(user) and _PLAIN.fullmatch(password)
        if not plain or users.setdefault(host, (user, password)) != (user, password):
            return match.group()
        return match.group(3)

    bare = _USER_AND_HOST.sub(take, text)
    return bare, "".join(
        f"machine {host} login {user} password {password}\n"
        for host, (user, password) in users.items()
    )
