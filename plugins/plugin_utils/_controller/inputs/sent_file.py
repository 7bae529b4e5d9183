# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A file of the controller that goes to a host once, where the host says that it lacks it."""

from __future__ import annotations

import os
import typing
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import files

from . import addresses


class File(typing.NamedTuple):
    """A file of the controller.

    :ivar what: the option that names it, or what it is, for messages.
    :ivar path: where it lies on the controller.
    :ivar sha256: the digest it is to have; '' where this project made it itself.
    """

    what: str
    path: str
    sha256: str = ""


def of(option: str, file: str, sha256: str) -> dict[str, File]:
    """Return {path: File} of what an option names, {} for an address or ''."""
    if not file or addresses.is_one(file):
        return {}
    return {file: File(option, file, sha256)}


def refusals(option: str, file: str) -> list[Refusal]:
    """Return a Refusal where a file is to be sent that is not there; none for an address or ''.

    :param option: the option that names the file, for the message.
    """
    return [
        Refusal(
            f"{option}: {found.path}",
            "there is no such file on the controller",
            "Name it by its absolute path or relative to the inventory's folder",
        )
        for found in of(option, file, "").values()
        if not os.path.isfile(found.path)
    ]


def run_with(
    sendable: Mapping[str, File],
    run: Callable[[dict[str, str]], dict[str, Any]],
    send: Callable[[str], str],
) -> dict[str, Any]:
    """Run a module, and again with the files that the host lacks; return the module's result.

    A host that has them costs one round trip and no transfer.

    :param sendable: {name: File} of all that may be sent to the host.
    :param run: runs the module with {name: path on the host} of what was sent, and returns its
        result; ``needs`` in it are the names of files that are lacking, and nothing was changed.
    :param send: copies a file of the controller to the host and returns its path there.
    :raises Refusal: what the host asks for may not be sent, or it asks again.
    """
    result = run({})
    needs = _needs(result)
    if not needs:
        return result
    result = run({name: send(_checked(name, sendable)) for name in needs})
    if _needs(result):
        raise Refusal(
            ", ".join(_needs(result)),
            "it went from the host during this run, and nothing was changed: another run is at "
            "work there",
            "Run again",
        )
    return result


def _needs(result: Mapping[str, Any]) -> list[str]:
    needs = [] if result.get("failed") else result.get("needs", [])
    # A host's answer: whatever it is, what may be sent has a name.
    return [str(name) for name in needs] if isinstance(needs, list) else [str(needs)]


def _checked(name: str, sendable: Mapping[str, File]) -> str:
    """Return the path of a file that the host asks for, once it is what it is to be."""
    if name not in sendable:
        raise Refusal(
            f"the host asks for {name}",
            "that is no file that its variables name, and nothing was sent",
            "Look at who else is at work on the host",
        )
    file = sendable[name]
    what = f"{file.what}: {file.path}"
    if not os.path.isfile(file.path):
        raise Refusal(
            what, "there is no such file on the controller any more", "See to it and run again"
        )
    found = files.sha256_of_file(file.path)
    if file.sha256 not in ("", found):
        raise Refusal(
            what,
            f"its sha256 is {found}, wanted is {file.sha256}; nothing was changed",
            "Do not trust the file; correct the digest only after you know why it differs",
        )
    return file.path
