# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Running conda: always with --json, and its errors as sentences."""

from __future__ import annotations

import json
import os

from ansible_collections.gpunode.stack.plugins.module_utils import commands, urls
from ansible_collections.gpunode.stack.plugins.module_utils.refusal import Refusal

_SHOWN = 3

# CONDA_SOLVER: a lock is not solved, and the classic solver is part of conda itself.
# CONDA_REGISTER_ENVS: nothing is written into root's home.
_ENVIRONMENT = {
    "CONDA_NUMBER_CHANNEL_NOTICES": "0",
    "CONDA_REGISTER_ENVS": "false",
    "CONDA_SOLVER": "classic",
    "LC_ALL": "C.UTF-8",
}


def cache_of(base):
    """Return the folder of a conda installation's package cache."""
    return os.path.join(base, "pkgs")


def run(base, arguments, execute, prefix=None):
    """Run the conda of an installation and return its answer: a dict, {} where it says nothing.

    :param base: the prefix conda is installed in.
    :param arguments: what follows ``conda``; --prefix, --json and --quiet are added.
    :param prefix: the environment to work on, where it is another one than the base.
    :param execute: runs (argv, environment) and returns a CompletedProcess with text.
    :raises Refusal: there is no conda, or it failed, with its own reason.
    """
    what = f"conda {arguments[0]} in {prefix or base}"
    conda = os.path.join(base, "bin", "conda")
    if not os.path.isfile(conda):
        raise Refusal(
            what,
            f"there is no {conda}",
            "Run the miniforge role first, or correct miniforge_prefix",
        )
    place = ["--prefix", prefix] if prefix else []
    result = commands.run(
        what,
        [conda, *arguments, *place, "--json", "--quiet"],
        dict(_ENVIRONMENT, CONDA_PKGS_DIRS=cache_of(base)),
        execute,
        f"{prefix or base} or of {cache_of(base)}",
    )
    if result.returncode:
        raise Refusal(what, _reason(result), "Mend that and run again")
    return _answer(result.stdout)


def _answer(text):
    try:
        answer = json.loads(text)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _reason(result):
    """Return why conda failed: from its JSON, or the end of stderr where it died before that."""
    answer = _answer(result.stdout)
    if not answer:
        return commands.last_words(result, result.stderr)
    reasons = list(dict.fromkeys(_sentence(error) for error in answer.get("errors", [answer])))
    more = f" (and {len(reasons) - _SHOWN} more)" if len(reasons) > _SHOWN else ""
    return urls.shown("; ".join(reasons[:_SHOWN])) + more


def _sentence(error):
    name = error.get("exception_name", "error")
    if name == "ChecksumMismatchError":
        kind = error["checksum_type"]
        return (
            f"{error['url']} has {kind} {error['actual_checksum']}, "
            f"the lock says {error['expected_checksum']}"
        )
    message = str(error.get("message") or error.get("error") or "no message").strip()
    return f"{name}: {message.splitlines()[0]}"
