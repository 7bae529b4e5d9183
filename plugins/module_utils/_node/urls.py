# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Addresses that may carry secrets, and texts that name some: shown without them.

In an address a secret stands before the host, as RFC 3986 (3.2.1) has it and as people write it,
with an '@' in the user's name and whatever in the password; in the path, as tokens of package
indexes; in the query, under a name that says so; or in a header of who asks. Elsewhere it stands
behind what it is called, as in variables, settings and options, or tells itself by how it begins.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

# All up to the last '@' before the path: a password may have others in it, and so may a user.
_USER_INFO = re.compile(r"(?<=://)([^/?#:\s\"']*)(?::([^/?#\s]*))?@")
_USER_AND_HOST = re.compile(rf"{_USER_INFO.pattern}([^/:\s\[]+)")
# What may stand before an address that has no scheme.
_BEGIN = r"(?<![^\s\"'(\[,=])"
# JSON may have a backslash before each slash.
_AUTHORITY = r"(?:(?<=://)|(?<=:\\/\\/))"
_SEGMENT = r"(?P<secret>[^/?#\s\"']+)"
_COOKIE = r"[^\s\"',;=]{1,199}=[^\s\"',;]{1,4096}"
# Each hides its group "hidden", or the "secret" in it where there is none of that name. What could
# begin at many places of a text has a bound, so that a long one is read in a moment.
_FORMS = (
    rf"{_AUTHORITY}(?P<hidden>(?P<user>[^/?#:\s\"']*)(?::(?P<secret>[^/?#\s]*))?)@",
    # With a slash too few.
    r"(?:(?<=http:/)|(?<=https:/))(?P<hidden>[^/?#:\s\"']{1,99}:(?P<secret>[^/?#\s]{1,199}))@",
    # A password that ought to be quoted. A port is followed by the path.
    r"(?<=://)(?P<hidden>[^/?#:@\[\s\"']+:"
    r"(?P<secret>(?!\d*(?:[/?#\s\"']|$))[^\s\"'@]{1,199}))@",
    # Without a scheme, as of proxies and of links on a page.
    rf"{_BEGIN}(?://)?(?P<hidden>[\w.%+@-]+:(?P<secret>[^\s\"'/]{{1,199}}))@(?=[\w-]+(?:\.[\w-]|:\d))",
    # As part of another address.
    r"(?<=%3A%2F%2F)(?P<hidden>(?:(?!%2F)[^\s\"'&]){0,99}?"
    r"%3A(?P<secret>(?:(?!%2F%2F)[^\s\"'&]){1,199}?))(?=%40)",
    # anaconda.org and its like; without a host, as urllib3 tells of what it asked for.
    rf"(?:://(?:(?!://)[^\s\"'?#])*?|(?<![^\s\"'(\[,=:])(?:[\w-]{{1,99}}\.[\w.:-]{{1,199}})?)"
    rf"/t/{_SEGMENT}",
    # https://gemfury.com/help/private-repo-url: the token, then the account.
    rf"(?<=\.fury\.io/){_SEGMENT}(?=/[^/?#\s\"'-])",
    # https://help.cloudsmith.io/docs/entitlements: the token, or how else one enters.
    rf"(?<=dl\.cloudsmith\.io/)(?!(?:public|basic)/){_SEGMENT}(?=/)",
    # https://packagecloud.io/docs#read_tokens
    rf"(?<=packagecloud\.io/priv/){_SEGMENT}(?=/)",
    # Those of GitHub, GitLab, PyPI and Hugging Face tell themselves by how they begin.
    r"(?<![\w-])(?P<secret>gh[oprsu]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}"
    r"|pypi-AgE[\w-]{16,}|hf_\w{20,})",
    r"[?&;#](?:[\w.-]*(?:token|key|secret|passw|pwd|auth|sig|credential|jwt)[\w.-]*)="
    r"(?P<secret>[^&;#\s\"']+)",
    # Headers, as they are sent, or as Python shows a dict of them.
    r"(?<![\w-])(?:(?:proxy-)?authorization|private-token|x-(?:\w{1,19}-){0,4}(?:key|token|api|auth))"
    r"[\"']?:\s{1,9}(?:b?[\"'])?(?:(?:basic|bearer|token|apikey)\s{1,9})?(?P<secret>[^\s\"',]+)",
    r"(?<![\w-])(?:set-)?cookie[\"']?:\s{1,9}(?:b?[\"'])?"
    rf"(?P<secret>{_COOKIE}(?:; ?{_COOKIE}){{0,99}})",
    # A line of a netrc.
    r"(?<![\w-])login\s{1,9}\S{1,199}\s{1,9}password\s{1,9}(?P<secret>[^\s\"']+)",
)
# What people call a secret, with whatever is before it, and what is none although it is called so:
# tokens of a language, and the one that a parser did not expect.
_NAME = (
    r"(?<!unexpected )(?!(?:pad|eos|bos|unk|sep|cls|mask)_token)[\w.-]{0,60}?"
    r"(?:passw(?:or)?d|passphrase|pwd|secret|token|(?<![a-z])_auth|[a-z0-9]_pass"
    r"|(?:api|access|secret|private|encryption|account|signing)[_-]?key)"
)
# Behind it stands no secret, but nothing, a path, a place to fill, or what somebody else hid.
_NO_SECRET = (
    r"(?!(?:none|null|nil|true|false|yes|no|undefined)(?![\w-])|\*{3}|<[^>\s]*>|\{\{|!vault\b"
    r"|(?:~?/[\w.@-]+)+/?\W{0,3}(?:\s|$)|[\w./-]+\.(?:tok|pem)\b|%[sdr]\b"
    r"|[bfru]{0,2}\\?[\"']|[=:]|\W{1,3}(?:\s|$))"
)
# Nor is code one, or how a sentence goes on.
_NO_CODE = r"(?!(?:str|string|int|bool|bytes|object|any)\b|[\w.]+[(\[]|[({\[])"
_NO_SENTENCE = (
    r"(?!(?:an?|the|this|that|its?|your|their|not|never|nothing|neither|must|may|might|can|cannot"
    r"|could|should|would|will|shall|is|are|was|were|be|been|has|have|had|does|did|too|to|for"
    r"|from|in|of|on|at|by|with|without|and|or|but|if|as|than|then|when|where|which|who|what"
    r"|whether|all|each|some|such|only|also|already|still|yet|please|required|missing|invalid"
    r"|incorrect|expired|wrong|bad|empty|unset|unknown|failed|denied|rejected|refused|mismatch"
    r"|expected|got|given|found|changed|updated|set|hidden|redacted|masked|omitted|ok|okay"
    r"|valid|accepted|correct|optional|field|value|file|path|error|permission|authentication"
    r"|authori[sz]ation|unable|unauthori[sz]ed|forbidden|disabled|enabled|needed|name|use"
    r"|using|enter|provide)"
    r"(?=[\s.,:;!?)\"']|$))"
)
# Up to a quote, a blank, the brackets that close before it, or what the next one is called.
_BARE = r"(?P<secret>(?:(?![,;&}\])]{1,3}(?:[\s\"']|$)|[,;&][\w.-]+=)[^\s\"']){1,4096})"
_QUOTED = (
    r"(?P<quote>\\?[\"'])(?!(?P=quote)|/|\*{3}|<[^>\n]*>(?P=quote)|\{\{|%[sdr])"
    r"(?P<secret>(?:(?!(?P=quote))(?:\\.|[^\n])){1,4096})"
)
_CALLED = rf"(?<![\w/.-]){_NAME}"
_OPTION = rf"(?<!\S)(?=--?\w){_NAME}[ \t]{{1,3}}"
# As _FORMS, for what is no address.
_NAMED = (
    rf"{_CALLED}\\?[\"']?[ \t]?(?:=>?|:)[ \t]?[bfru]{{0,2}}{_QUOTED}",
    rf"{_CALLED}(?:=>|=(?!>)){_NO_SECRET}{_BARE}",
    rf"{_CALLED} = {_NO_SECRET}{_NO_CODE}{_BARE}",
    rf"{_CALLED}\\?[\"']?[ \t]?:[ \t]{{0,3}}{_NO_SECRET}{_NO_CODE}{_NO_SENTENCE}{_BARE}",
    rf"{_OPTION}{_QUOTED}",
    rf"{_OPTION}(?!-){_NO_SECRET}{_NO_CODE}{_NO_SENTENCE}{_BARE}",
    # sshpass(1) and curl(1), and the grammar of SQL.
    r"(?<![\w-])sshpass[ \t]{1,9}-p[ \t]{0,9}(?P<secret>[^\s\"']+)",
    r"(?<![\w-])curl(?=[ \t])(?:(?!curl)[^\n]){0,200}?[ \t](?:-u|-U|--user|--proxy-user)"
    r"[ \t=]{1,9}[\"']?(?P<secret>[^\s\"':]+:[^\s\"']+)",
    r"(?<![\w-])(?:identified\s{1,9}by|password)\s{1,9}'(?P<secret>[^'\n]{1,4096})(?=')",
    # RFC 6750 (2.1) and RFC 7617 (2), RFC 7519 (3), and RFC 7468 (2).
    r"(?<![\w-])bearer\s{1,9}(?P<secret>(?=[^\s\d]*\d)[\w.~+/-]{16,}=*)",
    r"(?<![\w-])basic\s{1,9}(?P<secret>[A-Za-z0-9+/]{8,}={1,2})",
    r"(?<![\w-])(?P<secret>eyJ[\w-]{10,}\.eyJ[\w-]{2,}\.[\w-]*)",
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----(?P<secret>(?:(?!-----).|\n){1,16384})",
    # Those of AWS, Slack, OpenAI, NVIDIA, Google, npm, Docker and Vault.
    r"(?<![\w-])(?P<secret>(?:AKIA|ASIA)[A-Z0-9]{16}(?!\w)|xox[abeoprs]-[\w-]{10,}"
    r"|sk-(?:\w{2,12}-)?[A-Za-z0-9]{20,}|nvapi-[\w-]{20,}|AIza[\w-]{35}|npm_\w{36}"
    r"|dckr_pat_[\w-]{20,}|hvs\.[\w-]{20,})",
)
_HIDDEN = "***"
# Quotes are read differently by Python's versions, so nothing that needs them is written.
_PLAIN = re.compile(r"[^\s\"'\\#]+")


def shown(text: str) -> str:
    """Return a text without the secrets of the addresses in it, and without those that it names."""
    return _without_secrets(text, (*_FORMS, *_NAMED))[0]


def shown_in(value: Any) -> Any:
    """Return a value of dicts, lists and scalars with every text in it as :func:`shown` has it."""
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, dict):
        return {shown_in(key): shown_in(item) for key, item in value.items()}
    return [shown_in(item) for item in value] if isinstance(value, (list, tuple)) else value


def _without_secrets(text: str, forms: Iterable[str] = _FORMS) -> tuple[str, set[str]]:
    """Return (text, secrets): a text without secrets, by default those of its addresses, and these.

    :param forms: as _FORMS has them.
    """
    found: set[str] = set()

    def hide(match: re.Match[str]) -> str:
        groups = match.groupdict()
        # A user without a password is a token.
        found.add(groups["secret"] or groups.get("user") or "")
        begin, end = match.span("hidden" if "hidden" in groups else "secret")
        begin, end = begin - match.start(), end - match.start()
        return f"{match.group()[:begin]}{_HIDDEN}{match.group()[end:]}"

    for form in forms:
        text = _compiled(form).sub(hide, text)
    return text, found - {"", _HIDDEN}


@functools.cache
def _compiled(form: str) -> re.Pattern[str]:
    """Return the pattern of a form: a host that has nothing to tell needs none of them."""
    return re.compile(form, re.IGNORECASE)


def bare(text: str) -> str:
    """Return a text with its URLs as they are without user and password."""
    return _USER_INFO.sub("", text)


def has_password(text: str) -> bool:
    """Say whether a URL in the text carries a secret."""
    return bool(_without_secrets(text)[1])


def passwords(text: str) -> set[str]:
    """Return the secrets in the addresses of a text: passwords, users without one, and tokens.

    As they are written there, and as they read once they are unquoted.
    """
    found = _without_secrets(text)[1]
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
