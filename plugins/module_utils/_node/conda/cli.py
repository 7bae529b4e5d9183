# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Running conda: always with --json, and its errors as sentences."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .. import urls
from ..refusal import Refusal
from ..system import commands, confinement
from ..system.commands import Execute
from . import prefixes

_SHOWN = 3
_LINES = 12

# CONDA_REGISTER_ENVS: nothing is written into root's home.
_ENVIRONMENT = {
    "CONDA_NUMBER_CHANNEL_NOTICES": "0",
    "CONDA_REGISTER_ENVS": "false",
    "LC_ALL": "C.UTF-8",
}
_SAY_VERSION = "import conda.cli.main, conda; print(conda.__version__)"
# A lock is not solved, and the classic solver is part of conda itself.
_NOT_SOLVING = {"CONDA_SOLVER": "classic"}

# What conda 24 calls PackagesNotFoundError, 26 calls PackagesNotFoundInChannelsError; each solver
# puts its own name before UnsatisfiableError.
_REMEDIES = (
    (
        re.compile("PackagesNotFound"),
        "Correct its name or version, or add the channel that has it",
    ),
    (re.compile("Unsatisfiable"), "Ask for less exact versions of the packages named"),
    (
        re.compile("InvalidMatchSpec|InvalidVersionSpec"),
        "Write it as name=version or name>=version",
    ),
    (
        re.compile("CondaHTTPError|CondaSSLError|ProxyError|UnavailableInvalidChannel"),
        "Correct the channel, or the mirror, proxy and CA bundle of miniforge on the way to it",
    ),
)
_ANY_REMEDY = "Mend that and run again"
# How conda dies where it cannot put its error into JSON.
_DEATH = re.compile(r"^conda\.(?:\w+\.)*(\w+): (.+)$", re.MULTILINE)


def cache_of(base: str) -> str:
    """Return the folder of a conda installation's package cache."""
    return os.path.join(base, "pkgs")


def solve(
    base: str,
    prefix: str,
    channels: Iterable[str],
    packages: Iterable[str],
    execute: Execute,
    cache: str,
) -> None:
    """Create an environment of what conda's own solver finds for a spec, from these channels alone.

    :param prefix: where; nothing may be there.
    :param cache: the folder that packages are fetched to.
    :raises Refusal: there is no solution, or it could not be fetched; see :func:`run`.
    """
    sources = [argument for channel in channels for argument in ("--channel", channel)]
    arguments = ["create", "--yes", "--no-default-packages", "--override-channels", *sources]
    run(base, [*arguments, *packages], execute, prefix, {"CONDA_PKGS_DIRS": cache})


def version_without_settings(base: str, execute: Execute) -> str | None:
    """Return the version of an installation's conda, None where it cannot be started.

    No settings of conda are read, which `conda info` does even for that: broken ones, or ones that
    name certificates which are gone, keep it from answering.

    :param base: the prefix conda is installed in.
    """
    conda, python = (os.path.join(base, "bin", name) for name in ("conda", "python"))
    if not (os.path.isfile(conda) and os.path.isfile(python)):
        return None
    what = f"import conda in {base}"
    refuse_unsafe(what, base)
    argv = confinement.confined([python, "-I", "-c", _SAY_VERSION], [])
    result = commands.run_long(what, argv, _ENVIRONMENT, execute, base)
    return None if result.returncode else result.stdout.strip()


def run(
    base: str,
    arguments: Sequence[str],
    execute: Execute,
    prefix: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Run the conda of an installation and return its answer: a dict, {} where it says nothing.

    :param base: the prefix conda is installed in.
    :param arguments: what follows ``conda``; --prefix, --json and --quiet are added.
    :param prefix: the environment to work on, where it is another one than the base.
    :param environment: settings of this command; without it those for commands that solve nothing.
    :raises Refusal: there is no conda, or it failed, with its own reason.
    """
    what = f"conda {arguments[0]} in {prefix or base}"
    conda = _program(what, base)
    place = ["--prefix", prefix] if prefix else []
    settings = {
        **_ENVIRONMENT,
        "CONDA_PKGS_DIRS": cache_of(base),
        **(_NOT_SOLVING if environment is None else environment),
    }
    result = commands.run_long(
        what,
        confinement.confined(
            [conda, *arguments, *place, "--json", "--quiet"],
            [settings["CONDA_PKGS_DIRS"]],
            network=arguments[0] != "info" and "--offline" not in arguments,
            # Its channels, and the addresses of a lock.
            told_by=[os.path.join(base, ".condarc"), *filter(os.path.isabs, arguments)],
        ),
        settings,
        execute,
        f"{prefix or base} or of {cache_of(base)}",
    )
    if result.returncode:
        raise _refusal(what, result)
    return _answer(result.stdout)


def _program(what: str, base: str) -> str:
    """Return the path of an installation's conda, once it is known to be there and root's."""
    conda = os.path.join(base, "bin", "conda")
    if not os.path.isfile(conda):
        raise Refusal(
            what,
            f"there is no {conda}",
            "Run the miniforge role first, or correct miniforge_prefix",
        )
    refuse_unsafe(what, base)
    return conda


def refuse_unsafe(what: str, base: str) -> None:
    """Refuse to run anything of an installation that somebody else than root could change.

    Where nothing is installed yet, to have it where somebody else could be first.

    :param what: what is to be done with it.
    :param base: the prefix conda is installed in, or is to be.
    :raises Refusal: somebody could.
    """
    # Those are written anew by whoever keeps the installation.
    settings = [os.path.join(base, name) for name in (".condarc", "pip.conf")]
    prefixes.refuse_unsafe(what, base, "miniforge_prefix", settings)


def _answer(text: str) -> dict[str, Any]:
    try:
        answer = json.loads(text)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _refusal(what: str, result: subprocess.CompletedProcess[str]) -> Refusal:
    """Return why conda failed: from its JSON, or from stderr where it died before that."""
    errors = _errors(result)
    if not errors:
        return Refusal(what, commands.last_words(result, result.stderr), _ANY_REMEDY)
    reasons = list(dict.fromkeys(_sentence(error) for error in errors))
    more = f" (and {len(reasons) - _SHOWN} more)" if len(reasons) > _SHOWN else ""
    name = errors[0].get("exception_name", "")
    remedies = [remedy for kind, remedy in _REMEDIES if kind.search(name)]
    return Refusal(
        what, urls.shown("; ".join(reasons[:_SHOWN])) + more, (remedies or [_ANY_REMEDY])[0]
    )


def _errors(result: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    answer = _answer(result.stdout)
    if answer:
        return answer.get("errors", [answer])
    deaths = _DEATH.findall(result.stderr)
    return [{"exception_name": name, "message": words} for name, words in deaths[-1:]]


def _sentence(error: Mapping[str, Any]) -> str:
    name = error.get("exception_name", "error")
    if name == "ChecksumMismatchError":
        kind = error["checksum_type"]
        return (
            f"{error['url']} has {kind} {error['actual_checksum']}, "
            f"the lock says {error['expected_checksum']}"
        )
    if name.startswith("PackagesNotFound"):
        return f"no channel has {', '.join(error['packages'])}"
    lines = [line.strip() for line in _message(error).splitlines() if line.strip()]
    if name.endswith("UnsatisfiableError"):
        return f"{name}: {' / '.join(lines[:_LINES])}"
    return f"{name}: {lines[0]}"


def _message(error: Mapping[str, Any]) -> str:
    return str(error.get("message") or error.get("error") or "").strip() or "no message"
