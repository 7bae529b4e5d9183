# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Running the pip of a conda environment: only what is pinned by a hash, and never a question."""

from __future__ import annotations

import configparser
import itertools
import json
import os
import subprocess
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

from .. import urls
from ..refusal import Refusal
from ..system import commands, confinement
from ..system.commands import Execute
from . import prefixes

_WARNING = ("WARNING:", "DEPRECATION:")
_WARNINGS = 5
# As variables, since a pip of old Python versions does not know all of these as options.
_ENVIRONMENT = {
    "LC_ALL": "C.UTF-8",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_INPUT": "1",
    "PIP_RETRIES": "2",
    "PIP_ROOT_USER_ACTION": "ignore",
    "PYTHONNOUSERSITE": "1",
}


def install(
    prefix: str, requirements: str, config: str, execute: Execute, again: bool = False
) -> None:
    """Install what a requirements file names into a prefix; every line of it carries hashes.

    :param prefix: the conda environment.
    :param requirements: path of the file.
    :param config: path of the pip.conf to read besides the host's own.
    :param again: put these files in place anew and leave their dependencies alone.
    :raises Refusal: pip failed, with its own reason.
    """
    repair = ["--no-deps", "--force-reinstall"] if again else []
    _run(prefix, ["install", "--require-hashes", *repair, "-r", requirements], config, execute)


def refuse_without_python(names: Container[str], what: str, why: str, where: str) -> None:
    """Refuse what pip is to do in an environment whose packages do not bring it and its Python.

    :param names: those of the packages.
    :param what: what asks for pip, for the message.
    :param why: what lacks them, up to its verb, such as 'the lock has'.
    :param where: where they are to be added.
    """
    lacking = [name for name in ("python", "pip") if name not in names]
    if lacking:
        raise Refusal(
            what, f"{why} no {' and no '.join(lacking)}", f"Add {' and '.join(lacking)} to {where}"
        )


def uninstall(prefix: str, names: Iterable[str], config: str, execute: Execute) -> None:
    """Remove Python distributions from a prefix; see :func:`install`."""
    _run(prefix, ["uninstall", "--yes", *names], config, execute)


def resolve(
    prefix: str, wishes: Iterable[str], config: str, execute: Execute
) -> list[dict[str, str]]:
    """Return what pip would install for these requirements, as its report says; change nothing.

    :param wishes: requirements such as 'flask>=3'; what the prefix has already counts.
    :returns: dicts with ``name`` (as PEP 503 compares it), ``version`` and ``sha256``.
    :raises Refusal: pip failed, or found something without a sha256.
    """
    arguments = ["install", "--dry-run", "--quiet", "--report", "-", *wishes]
    report = json.loads(_run(prefix, arguments, config, execute))
    return [_resolved(item) for item in report["install"]]


def _resolved(item: Mapping[str, Any]) -> dict[str, str]:
    metadata, source = item["metadata"], item["download_info"]
    sha256 = source.get("archive_info", {}).get("hashes", {}).get("sha256")
    if not sha256:
        raise Refusal(
            f"{metadata['name']} {metadata['version']}",
            f"the index gives no sha256 for {urls.shown(source['url'])}",
            "Use an index that does, or another version",
        )
    name = prefixes.normalise(metadata["name"])
    return {"name": name, "version": metadata["version"], "sha256": sha256}


def _run(prefix: str, arguments: Sequence[str], config: str, execute: Execute) -> str:
    """Run pip and return what it printed."""
    what = f"pip {arguments[0]} in {prefix}"
    prefixes.refuse_unsafe(what, prefix, "conda_env_dir")
    result = commands.run_long(
        what,
        confinement.confined(
            [os.path.join(prefix, "bin", "python"), "-m", "pip", *arguments],
            [config],
            network=arguments[0] != "uninstall",
            told_by=[config],
        ),
        # Beside the configuration, so that it goes when that goes, and root's home stays clean.
        dict(
            _ENVIRONMENT,
            PIP_CACHE_DIR=os.path.join(os.path.dirname(config), "pip-cache"),
            PIP_CONFIG_FILE=config,
        ),
        execute,
        prefix,
    )
    if result.returncode:
        raise Refusal(what, f"{_reason(result)} [{_index(config)}]", "Mend that and run again")
    return result.stdout


def _reason(result: subprocess.CompletedProcess[str]) -> str:
    """Return pip's own errors after its warnings, which often have the cause, each once.

    Of its complaints about a broken connection the last one: each try has its own.
    """
    lines = list(dict.fromkeys(commands.lines_of(result.stderr)))
    warnings = [line for line in lines if line.startswith(_WARNING)]
    broken = [line for line in warnings if "connection broken" in line]
    others = [line for line in warnings if line not in broken]
    told = others[:_WARNINGS] + broken[-1:]
    if len(others) > _WARNINGS:
        told.append(f"({len(others) - _WARNINGS} more warnings)")
    errors = itertools.dropwhile(lambda line: not line.lower().startswith("error:"), lines)
    told += [line for line in errors if line not in warnings]
    return " / ".join(told) or commands.last_words(result, result.stderr)


def _index(config: str) -> str:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(config)
    index = parser.get("global", "index-url", fallback=None)
    return (
        f"index {urls.shown(index)}" if index else "the index of the host's own pip configuration"
    )
