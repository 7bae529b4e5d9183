# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Looking at a host with what it has kept of an earlier look, which is nearly all.

An ordinary module travels whole each time, with what it imports of ansible-core, and each host
compiles it anew. Here the host keeps it compiled, and names travel (see _node/kept_code.py).
"""

from __future__ import annotations

import base64
import functools
import json
import pathlib
import shlex
from collections.abc import Callable, Mapping
from typing import Any

from ansible import constants
from ansible.utils.display import Display

from ansible_collections.gpunode.stack.plugins.module_utils._node import (
    facts_shape,
    kept_code,
    urls,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import own_paths

from ..inputs import node_code

_display = Display()
_FOLDER = f"{own_paths.CACHE_DIR}/code"
_USUAL_PYTHON = "/usr/bin/python3"
_MODULE, _FUNCTION = "facts.look", "facts"
# It neither reads variables and folders of whoever it runs for, nor what a site has put into
# Python's start: root's Python takes nothing from the folder it stands in.
_PYTHON_OPTIONS = "-I -S -"


class Unanswered(Exception):
    """The host said something else than an answer: an ordinary module has to look, and tell."""


def node_info(
    action: Any, arguments: Mapping[str, Any], task_vars: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what the module node_info answers on a host, by itself where there is no quicker way.

    :param action: the ActionBase that works for the host.
    """
    said = constants.config.get_config_value("INTERPRETER_PYTHON", variables=task_vars)
    python = str(action._templar.template(said))
    if python.startswith("auto"):
        # Where that is another's, it says nothing, and the module has it discovered.
        python = _USUAL_PYTHON

    def feed(text: str) -> str:
        words = (action._compute_environment_string(), command(python))
        line = " ".join(filter(None, words))
        done = action._low_level_execute_command(line, in_data=text.encode())
        return str(done["stdout"])

    if _can_be_fed(action._connection):
        try:
            return {"gpunode_facts": look(arguments, feed)}
        except Unanswered as why:
            _display.vv(urls.shown(f"gpunode: {why}; node_info looks as an ordinary module"))
    found: dict[str, Any] = action._execute_module(
        "gpunode.stack.node_info", module_args=dict(arguments), task_vars=task_vars
    )
    return found


def _can_be_fed(connection: Any) -> bool:
    """Say whether commands of a connection can be given a program, and nobody said otherwise.

    Pipelining, which is just that, is off unless somebody turns it on, for the sake of hosts whose
    sudo asks for a terminal; those say so, and nothing is lost.
    """
    if not connection.has_pipelining or (connection.become and not connection.become.pipelining):
        return False
    try:
        is_on, origin = connection.get_option_and_origin("pipelining")
    except KeyError:
        # Some connections know of no such setting.
        return bool(connection.is_pipelining_enabled())
    return bool(is_on) or origin == "default"


def command(python: str) -> str:
    """Return the command that is fed :func:`program`."""
    return f"{shlex.quote(python)} {_PYTHON_OPTIONS}"


@functools.cache
def _runner() -> str:
    return pathlib.Path(kept_code.__file__).read_text(encoding="utf-8")


def prepare() -> None:
    """Make now what is the same for all hosts, for those who work on one each to have it."""
    _runner()
    node_code.archive_of(_MODULE)
    # The types of all facts, read from what is written.
    facts_shape.called(facts_shape.Facts)


def look(arguments: Mapping[str, Any], feed: Callable[[str], str]) -> dict[str, Any]:
    """Return what node_info would answer on a host.

    :param arguments: those of node_info.
    :param feed: runs :func:`command` there, given its program; returns what it prints.
    :raises Unanswered: that was no answer; a sentence says what it was.
    """
    answer = _answer(feed(program(arguments)))
    if "lacks" in answer:
        answer = _answer(feed(program(arguments, with_code=True)))
    if "answer" not in answer:
        raise Unanswered("the host kept lacking what it was sent")
    return answer["answer"]


def program(arguments: Mapping[str, Any], with_code: bool = False) -> str:
    """Return the program that looks at a host.

    :param with_code: send the code along, which the host then keeps.
    """
    archive = node_code.archive_of(_MODULE)
    order = {
        "folder": _FOLDER,
        "digest": archive.digest,
        "code": base64.b64encode(archive.content).decode() if with_code else None,
        "module": archive.module,
        "function": _FUNCTION,
        "arguments": arguments,
    }
    return f"{_runner()}\n\nmain({json.dumps(order)!r})\n"


def _answer(printed: str) -> dict[str, Any]:
    """Return the answer among the lines that a host printed; others may say what they like."""
    for line in reversed(printed.splitlines()):
        if line.startswith("{"):
            try:
                found = json.loads(line)
            except (ValueError, RecursionError):
                break
            if isinstance(found, dict):
                return found
    raise Unanswered("it printed no answer")
