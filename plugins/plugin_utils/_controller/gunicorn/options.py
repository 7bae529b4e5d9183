# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What people wrote of one application: each option by itself, before anything is made of it."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from typing import Any

from ansible_collections.gpunode.stack.plugins.module_utils._node import near_miss
from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app import service
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import listening

from ..inputs import host_folder
from . import sizing

# What needs no quoting anywhere in a unit file.
PATH = re.compile(r"(/[A-Za-z0-9._+@-]+)+")
_URL_PATH = re.compile(r"/[A-Za-z0-9._~/?&=+-]*")
# RFC 9110, 5.6.2.
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_FRAMING = ("connection", "content-length", "expect", "te", "transfer-encoding", "upgrade")
_CREDENTIALS = ("authorization", "cookie", "proxy-authorization")
_MEMORY = re.compile(r"[1-9][0-9]*[KMGT]?")
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,9}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def check(item: Mapping[str, Any], what: str) -> None:
    """Refuse texts that are not written as they have to be.

    :param what: the application, as it is named in a refusal.
    :raises Refusal: the first that is not.
    """
    demand(
        _URL_PATH,
        item["health_path"],
        f"health_path of {what}",
        "it is a plain URL path that begins with '/'",
    )
    if item.get("memory_max"):
        demand(
            _MEMORY,
            item["memory_max"],
            f"memory_max of {what}",
            "it is a number of bytes, or one with K, M, G or T",
        )
    if item.get("sha256"):
        demand(_SHA256, item["sha256"], f"sha256 of {what}", "a sha256 is 64 digits of 0-9 and a-f")


def numbered(item: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Return an item with its workers as a number, once all its numbers can be.

    :raises Refusal: the first that cannot.
    """
    item = dict(item)
    if item.get("workers") is not None:
        item["workers"] = _whole_number(item["workers"], f"workers {item['workers']} of {what}")
    for key in ("workers", "threads", "timeout_s", "start_timeout_s"):
        if item.get(key) is not None and item[key] < 1:
            raise Refusal(f"{key} {item[key]} of {what}", "it is less than 1", "Say 1 or more")
    return item


def check_listen(item: Mapping[str, Any], what: str) -> None:
    """Refuse an address that is none, or that the server cannot have."""
    listen, where = item["listen"], f"listen {item['listen']} of {what}"
    try:
        address, port = listening.parse(listen)
    except ValueError as error:
        raise Refusal(where, str(error), "Write it such as 0.0.0.0:9001") from error
    folder = service.runtime_folder(item["name"])
    is_within = address.startswith(folder + os.sep)
    if is_within and item["server"] == "gunicorn":
        raise Refusal(
            where,
            f"{folder} comes and goes with the service, and the socket is to stay",
            f"Write it such as /run/{item['name']}/http.sock",
        )
    if not port and not is_within and item["server"] == "python":
        raise Refusal(
            where,
            f"the program has to make the socket itself, and may do so in {folder} alone",
            f"Let it listen on {folder}/http.sock",
        )


def check_headers(headers: Mapping[str, Any], what: str) -> None:
    """Refuse a header that would do harm, or that a request cannot have."""
    for name, value in headers.items():
        if not _HEADER.fullmatch(name) or name.lower() in _FRAMING:
            raise Refusal(
                f"{name} in {what}",
                "it is no name of a header, or one that frames the request",
                "Leave it out",
            )
        if name.lower() in _CREDENTIALS:
            raise Refusal(
                f"{name} in {what}",
                "a password or token in it would be shown in logs",
                "Name a health_path that needs no login",
            )
        if not isinstance(value, str) or not (value.isascii() and value.isprintable()):
            raise Refusal(
                f"{name} in {what}", "its value is no text of ASCII", "Put the value in quotes"
            )


def data_folder(option: str, path: str, what: str) -> str:
    """Return the path of a folder that an application reads or writes, normalised."""
    found = host_folder.checked(f"{option} of {what}:", path)
    demand(PATH, found, f"{option} of {what}", "a path is made of letters, digits and '._+@-'")
    return found


def known(name: str, names: Collection[str], what: str, where: str) -> str:
    """Return ``name`` when it is one of ``names``."""
    if name not in names:
        raise Refusal(
            f"{what}: {name}",
            f"there is none of that name in {where}",
            near_miss.remedy(name, names, f"Describe it in {where}"),
        )
    return name


def demand(pattern: re.Pattern[str], value: str, what: str, rule: str) -> None:
    """Refuse a value that is not as its rule says, or that leads upwards."""
    if not pattern.fullmatch(value) or ".." in value.split("/"):
        raise Refusal(f"{what}: '{value}'", rule, "Correct it in gunicorn_app_list")


def _whole_number(said: str, what: str) -> int:
    if not _WHOLE_NUMBER.fullmatch(said):
        raise Refusal(
            what,
            f"it is neither a whole number nor {sizing.AUTO}",
            f"Say how many, or {sizing.AUTO} to have it decided by the host",
        )
    return int(said)
