# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether an environment's Python can import what it is for, and what the host lacks where not.

Importing runs code: each module is imported in a process of its own, as nobody,
in a folder that is removed afterwards, and for a bounded time.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import signal
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, Any, NamedTuple

from ..refusal import Refusal
from ..system import commands
from ..system.commands import Run

# A cold disk and a large framework take their time.
TIMEOUT_S = 300
# What timeout says of its own, see its manual.
_TIMED_OUT, _NOT_RUN = 124, 126
# So much of what an import prints is read.
_LARGEST = 4 << 20
_NOT_LOADED = re.compile(r"([^\s:'\"/]+\.so[.\w]*): cannot open shared object file")
_NOT_FOUND = re.compile(r"^\s*(\S+) => not found$", re.MULTILINE)
# A name that a distribution gives a library for good ends with the number of its interface.
_SONAME = re.compile(r"lib[^/\s]+\.so(?:\.[0-9]+)+")
# How a family finds the package of a library.
_SEARCH = {"Debian": "apt-file search {}", "RedHat": "dnf provides '{}()(64bit)'"}

# Without the end that Python would come to, at which a library may still crash or a thread wait.
_PROGRAM = """
import importlib, json, os, sys
answer = {}
try:
    importlib.import_module(sys.argv[1])
except BaseException as error:
    answer = {"type": type(error).__name__, "text": "", "path": None}
    seen = []
    while error is not None and error not in seen:
        seen.append(error)
        answer["text"] += "%s\\n" % error
        answer["path"] = answer["path"] or getattr(error, "path", None)
        error = error.__cause__ or error.__context__
os.write(1, ("\\n%s\\n" % json.dumps(answer)).encode())
os._exit(0)
"""


class Failure(NamedTuple):
    """A module that cannot be imported.

    :ivar reason: a sentence that says why; None where shared libraries are missing.
    :ivar libraries: their sonames.
    :ivar wanting: the file that wants them.
    """

    module: str
    reason: str | None
    libraries: list[str]
    wanting: str | None


class _Ended(NamedTuple):
    status: int
    stdout: str
    stderr: str


def check(
    prefix: str,
    modules: Iterable[str],
    run: Run = commands.run,
    timeout_s: float = TIMEOUT_S,
    account: str | None = "nobody",
) -> list[Failure]:
    """Return a Failure for each module that the Python of a prefix cannot import.

    :param prefix: the conda environment.
    :param modules: names of modules.
    :param run: what runs commands.
    :param account: the user to import as; None for the own one.
    """
    found = []
    with tempfile.TemporaryDirectory(prefix="gpunode-") as home:
        identity = _identity(account, home)
        for module in modules:
            failure = _attempt(prefix, module, home, identity, run, timeout_s)
            found += [failure] if failure else []
    return found


def _identity(account: str | None, home: str) -> dict[str, Any]:
    """Return the subprocess options for running as an account, which is given ``home``."""
    if account is None:
        return {}
    user = pwd.getpwnam(account)
    os.chown(home, user.pw_uid, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _attempt(
    prefix: str, module: str, home: str, identity: Mapping[str, Any], run: Run, timeout_s: float
) -> Failure | None:
    def execute(*argv: str) -> _Ended:
        # In files: the end of a pipe does not come before that of all who have it open, and what
        # an import leaves running has.
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            done = run(
                # It ends what the import started as well.
                ["timeout", "--kill-after=10", str(timeout_s), *argv],
                cwd=home,
                env={
                    "HOME": home,
                    "LC_ALL": "C.UTF-8",
                    "PATH": f"{prefix}/bin:/usr/bin:/bin",
                    "TMPDIR": home,
                },
                stdout=out,
                stderr=err,
                timeout=timeout_s + 30,
                **identity,
            )
            return _Ended(done.returncode, _text_of(out), _text_of(err))

    python = os.path.join(prefix, "bin", "python")
    done = execute(python, "-I", "-B", "-c", _PROGRAM, module)
    answer = _answer(done.stdout) if done.status == 0 else None
    if answer == {}:
        return None
    text, wanting = (answer["text"], answer["path"]) if answer else (done.stderr, python)
    first = _NOT_LOADED.search(text)
    if first is None:
        return Failure(module, _reason(done, answer, timeout_s), [], None)
    # The loader stops at the first one; ldd goes on.
    told = execute("ldd", wanting).stdout if wanting else ""
    libraries = list(dict.fromkeys([first.group(1), *_NOT_FOUND.findall(told)]))
    return Failure(module, None, libraries, wanting)


def _text_of(file: IO[bytes]) -> str:
    """Return the end of what was printed: the answer is its last line, and an error as well."""
    file.seek(max(0, file.seek(0, os.SEEK_END) - _LARGEST))
    return file.read(_LARGEST).decode(errors="replace")


def _answer(stdout: str) -> dict[str, Any] | None:
    lines = stdout.strip().splitlines()
    try:
        return json.loads(lines[-1])
    except (IndexError, ValueError):
        return None


def _reason(done: _Ended, answer: Mapping[str, Any] | None, timeout_s: float) -> str:
    if answer:
        return f"{answer['type']}: {answer['text'].strip().partition(chr(10))[0]}"
    if done.status == _TIMED_OUT:
        return f"it did not end within {timeout_s} s"
    if done.status == _NOT_RUN:
        return "not everyone may run this Python: a folder above it is closed to others"
    number = -done.status if done.status < 0 else done.status - 128
    # A program may end by itself with a status that is none of a signal's.
    if number in tuple(signal.Signals):
        return f"it crashed with {signal.Signals(number).name}"
    last = done.stderr.strip().rpartition("\n")[2]
    return last or f"it ended with status {done.status} and said nothing"


def catalog_keys(facts: Mapping[str, Any]) -> tuple[str, str]:
    """Return the keys under which a host's packages stand in the catalog, the nearest one first.

    :param facts: the general facts of the host.
    """
    return facts["distribution_release"], facts["os_family"]


def is_library(name: str) -> bool:
    """Say whether a name is that of a shared library, its soname: 'libGL.so.1'."""
    return bool(_SONAME.fullmatch(name))


def packages(
    names: Iterable[str], catalog: Iterable[Mapping[str, Any]], keys: Sequence[str]
) -> list[str]:
    """Return the packages of a host's distribution by their names there, each once.

    :param names: of packages, or of shared libraries that the catalog has a package for.
    :param catalog: as for :func:`refusal`, and so are ``keys``.
    """
    holders = {row["soname"]: _holder(row, keys)[0] for row in catalog}
    named = [holders.get(name) or name if is_library(name) else name for name in names]
    return list(dict.fromkeys(named))


def without_package(
    names: Iterable[str], catalog: Iterable[Mapping[str, Any]], keys: Sequence[str]
) -> list[Refusal]:
    """Return a Refusal for each shared library that no package is known to hold.

    The parameters are those of :func:`packages`.
    """
    holders = {row["soname"]: _holder(row, keys) for row in catalog}
    found = []
    for name in filter(is_library, names):
        package, other = holders.get(name, (None, None))
        if package:
            continue
        found.append(
            Refusal(
                f"conda_env_system_packages: {name}",
                f"{other} brings it" if other else f"no package of {keys[-1]} is known to hold it",
                "Leave it out"
                if other
                else f"Find its package with `{_search(name, keys)}`, and name that instead",
            )
        )
    return found


def refusal(
    failures: Mapping[str, Sequence[Failure]],
    catalog: Iterable[Mapping[str, Any]],
    keys: Sequence[str],
    listed: Iterable[str],
) -> Refusal:
    """Return the Refusal that says all that is missing, and what to write down for it.

    :param failures: {environment: [Failure]}, no list empty.
    :param catalog: rows of the catalog's shared libraries: what holds a soname.
    :param keys: see :func:`catalog_keys`.
    :param listed: the system packages that are asked for already.
    """
    holders = {row["soname"]: _holder(row, keys) for row in catalog}
    every = [failure for found in failures.values() for failure in found]
    told = [
        f"{environment}: {_told(failure, holders)}"
        for environment, found in failures.items()
        for failure in found
    ]
    sonames = list(dict.fromkeys(soname for failure in every for soname in failure.libraries))
    remedies = _remedies(sonames, holders, listed, keys)
    if any(failure.reason for failure in every):
        remedies.append("Correct the lock and the requirements, or imports")
    return Refusal("imports of environments", "; ".join(told), ". ".join(remedies))


def _holder(row: Mapping[str, Any], keys: Sequence[str]) -> tuple[str | None, str | None]:
    """Return (package, what else brings it) for a row of the catalog; one of them is None."""
    packages = row.get("packages", {})
    return next((packages[key] for key in keys if key in packages), None), row.get("brought_by")


def _told(failure: Failure, holders: Mapping[str, tuple[str | None, str | None]]) -> str:
    if failure.reason:
        return f"{failure.module}: {failure.reason}"
    libraries = [_named(soname, *holders.get(soname, (None, None))) for soname in failure.libraries]
    wanting = f", wanted by {failure.wanting}" if failure.wanting else ""
    return f"{failure.module} lacks {' and '.join(libraries)}{wanting}"


def _named(soname: str, package: str | None, other: str | None) -> str:
    holder = f"package {package}" if package else other
    return f"{soname} ({holder})" if holder else soname


def _remedies(
    sonames: Sequence[str],
    holders: Mapping[str, tuple[str | None, str | None]],
    listed: Iterable[str],
    keys: Sequence[str],
) -> list[str]:
    """Return a sentence for each kind of thing that is to be done about missing libraries."""
    found = [(soname, *holders.get(soname, (None, None))) for soname in sonames]
    packages = dict.fromkeys(package for _soname, package, _other in found if package)
    others = dict.fromkeys(other for _soname, _package, other in found if other)
    unknown = [soname for soname, package, other in found if not (package or other)]
    sentences = []
    if packages:
        wanted = ", ".join(dict.fromkeys([*listed, *packages]))
        sentences.append(f"Say `conda_env_system_packages: [{wanted}]` and run again")
    sentences += [f"Install {other} on the host and run again" for other in others]
    sentences += [
        f"Find the package of {soname} with `{_search(soname, keys)}`, "
        "and add it to conda_env_system_packages"
        for soname in unknown
    ]
    return sentences


def _search(soname: str, keys: Sequence[str]) -> str:
    return _SEARCH.get(keys[-1], _SEARCH["Debian"]).format(soname)
