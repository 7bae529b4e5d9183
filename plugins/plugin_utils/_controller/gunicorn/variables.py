# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The environment variables of an application, and those among them that are secrets."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from ansible_collections.gpunode.stack.plugins.module_utils._node import urls
from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app import service
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import systemd

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# systemd's env_value_is_valid() (src/basic/env-util.c): valid UTF-8, and of control characters
# none but tabs and newlines.
_STRANGE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
# execve(2), MAX_ARG_STRLEN, but for the NUL behind it.
_LONGEST = (1 << 17) - 1
# How variables with secrets are called.
_SECRET = re.compile(
    r"(?:PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|(?:API|ACCESS|SECRET|PRIVATE|ENCRYPTION)_?KEY)$"
    r"|_(?:PASS|PWD)$",
    re.IGNORECASE,
)
_OURS = ("PATH", systemd.UNIT_MARK, service.SECRETS_MARK)
# Slow on purpose: digests of secrets are kept, and a weak secret must not be found by trying.
_STRETCH = 100_000


def check(variables: object, what: str) -> None:
    """Refuse variables that a unit cannot have.

    :raises Refusal: the first of them that it cannot.
    """
    if not isinstance(variables, dict):
        raise Refusal(what, "it is not variables with their values", "Write them as NAME: value")
    for key, value in variables.items():
        if not _NAME.fullmatch(key) or key in _OURS:
            raise Refusal(
                f"{key} in {what}",
                "it is no name of a variable, or one that the unit sets itself",
                "Rename it",
            )
        if not isinstance(value, str):
            raise Refusal(f"{key} in {what}", "its value is not a text", "Put the value in quotes")
        length = len(f"{key}={value}".encode(errors="surrogatepass"))
        if length > _LONGEST:
            raise Refusal(
                f"{key} in {what}",
                f"it has {length} bytes with its name, and no program is started with more than "
                f"{_LONGEST}",
                "Put it into a file, and name that",
            )
        strange = _STRANGE.search(value)
        if strange:
            raise Refusal(
                f"{key} in {what}",
                f"its value has the character U+{ord(strange.group()):04X} in it, which systemd "
                "takes in no variable",
                "Remove it (an editor of Windows ends lines with U+000D), or give it in base64",
            )


def exposed(variables: Mapping[str, str]) -> list[str]:
    """Return a sentence for each variable with a secret, which anyone on the host can read.

    It may be none, such as the user alone of an address, or a word that is no secret here: so it is
    told and not refused.
    """
    found = {
        name: "has what may be a password or token in an address"
        if urls.has_password(value)
        else "is called like a secret"
        for name, value in variables.items()
        if urls.has_password(value) or _is_called_secret(name, value)
    }
    return [
        f"{name} in environment_variables {why}, and anyone on the host can read it: say it in "
        "gunicorn_app_secrets"
        for name, why in found.items()
    ]


def _is_called_secret(name: str, value: str) -> bool:
    # A path is where a secret lies, and none itself.
    return bool(_SECRET.search(name)) and bool(value) and not value.startswith("/")


def digest(secrets: Mapping[str, str], name: str) -> str:
    """Return what tells these secrets from others without telling them; '' for none.

    :param name: that of the application, with which two do not have the same one.
    """
    if not secrets:
        return ""
    text = "\0".join(f"{key}={value}" for key, value in sorted(secrets.items()))
    return hashlib.pbkdf2_hmac("sha256", text.encode(), name.encode(), _STRETCH).hex()
