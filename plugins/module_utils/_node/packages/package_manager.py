# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Packages of the host's distribution: which are there, and installing those that are not.

No transaction is begun that was not simulated first. One that would touch a
kernel image or remove anything is refused by name.
"""

from __future__ import annotations

import contextlib
import functools
import glob
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Callable, NamedTuple, Union

from .. import steps
from ..refusal import Refusal
from ..system import build_log, commands, named_logs
from ..system.commands import Execute, Run
from ..system.root import Root
from . import apt_transaction, database, repositories, rpm_version
from .stack_packages import RPM_FORMAT

#: What a package may be called. At its end '-' would mean to apt that it is to go.
NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9+._-]*[A-Za-z0-9+])?")
#: Package managers, as node_info names them, whose hosts can be given packages.
MANAGERS = ("apt", "dnf")
LOCK_WAIT_S = 600
_POLL_S = 2
_UNMET = re.compile(r" : (?:Pre)?Depends: | : Conflicts: | : Breaks: ")
_ASK_S = 60
# dnf fetches what it does not know yet of a repository that it is asked about.
_FETCH_S = 300
# Managers work on the host that they run on.
_HOST = Root()
# So much of what a manager says is quoted at the most.
_QUOTED = 8
_REMEDY = "Mend that and run again"
# What an attempt may fail for, and the command after which it is worth another one.
Cures = Sequence[tuple["re.Pattern[str]", list[str]]]


class Transaction(NamedTuple):
    """The names of the packages that a transaction would put in place or take away."""

    installed: list[str]
    removed: list[str]


# NEEDRESTART_SUSPEND: on Ubuntu a library is reason enough to restart the services that use it.
_ENVIRONMENT = {
    "DEBIAN_FRONTEND": "noninteractive",
    "LC_ALL": "C.UTF-8",
    "NEEDRESTART_SUSPEND": "1",
}


# rpm holds a lock of fcntl(2) on its database for as long as a transaction lasts (rpm 4.18,
# lib/rpmlock.c). A path that is not there is a host without packages.
_WAITING = """\
import fcntl, os
path = "/var/lib/rpm/.rpm.lock"
if os.path.exists(path):
    with open(path, "r+") as handle:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
"""
_UNPACKING = 'rpm2cpio "$1" | cpio --quiet -idm --no-absolute-filenames -D "$2"'


class Apt:
    """Debian and its family.

    :cvar installed: see :func:`database.by_dpkg`.
    """

    installed = staticmethod(database.by_dpkg)

    # Ubuntu's linux-modules-nvidia-* bring modules of the driver for kernels that are there, and
    # linux-modules-doca-ofed-* those of DOCA-OFED.
    kernel = re.compile(
        r"(?:linux-(?:signed-)?image|linux-modules(?!-(?:nvidia|doca-ofed)-)|(?:pve|proxmox)-kernel)(?:-.+)?"
    )
    locked = re.compile(r"Could not get lock .*|.* lock was locked by another process.*")
    _configuring = ("dpkg", "--force-confdef", "--force-confold", "--configure")
    _cures = (
        (
            re.compile(
                r"Unable to locate package|Failed to fetch|has no installation candidate"
                r"|Version '.*' for '.*' was not found|but it is not installable"
            ),
            ["apt-get", "--quiet", "update"],
        ),
        (
            re.compile(r"dpkg was interrupted"),
            [*_configuring, "-a"],
        ),
        # What a killed dpkg left can be configured by it before apt asks for that: dpkg then ends
        # (dpkg 1.21, src/main/configure.c, deferred_configure()), and leaves the rest. By another
        # word for the same, dpkg(1), so that either is tried once.
        (
            re.compile(r"package \S+ is already installed and configured"),
            [*_configuring, "--pending"],
        ),
    )
    # A dpkg that was killed as it unpacked leaves a package that apt does nothing beside, whatever
    # it is asked for, where no source has that very version (apt-pkg/algorithms.cc,
    # pkgApplyStatus); where one has, apt may configure it all the same, which dpkg refuses (1.21,
    # src/main/configure.c). dpkg(1), "reinst-required": it cannot be removed unless forced.
    _torn = re.compile(
        r"(?:The|processing) package (\S+?)(?::\S+)? "
        r"(?:needs to be reinstalled, but I can't find an archive"
        r"|\(--configure\):\s+package is in a very bad inconsistent state)"
    )
    _dropping = ("dpkg", "--force-depends", "--force-remove-reinstreq", "--remove")
    # Without Pattern-Only a misspelt name with a '.' in it is a pattern that many packages match.
    _command = (
        *("apt-get", "--quiet", "--yes", "--no-install-recommends"),
        *("-o", "APT::Cmd::Pattern-Only=true"),
        *("-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold"),
    )
    installing = ("install",)
    reinstalling = ("--reinstall", *installing)
    #: Whether that brings what is there alone.
    reinstalls_alone = False
    fetching_only = "--download-only"
    removing = ("purge",)
    #: It takes the lock and does nothing; what it finds broken is for others to mend.
    waiting = (*_command, *installing, "--no-remove")
    _KEEPING = ("--no-remove",)
    _errors = re.compile(r"(?:E:|Error[:!]|ERROR:|dpkg: error).*|.*(?:" + _UNMET.pattern + ").*")

    def cures(self, words: str, may_go: Callable[[str], object]) -> list[list[str]]:
        """Return the commands after which what failed with such words is worth another attempt.

        :param may_go: says of the name of a package whether it may be removed.
        """
        torn = [name for name in self._torn.findall(words) if may_go(name)]
        return _signified(self._cures, words) + [[*self._dropping, name] for name in torn]

    def remedy(self, words: str) -> str:
        """Return what is to be done by hand where a transaction failed with such words."""
        torn = self._torn.search(words)
        by_hand = " ".join([*self._dropping, torn.group(1)]) if torn else ""
        return f"Run `{by_hand}` on the host, and run again" if torn else _REMEDY

    def errors(self, lines: Sequence[str]) -> list[str]:
        """Return those lines of an output that tell what went wrong.

        dpkg names a package and says why on the line that follows.
        """
        return [
            line
            for before, line in zip(["", *lines], lines)
            if self._errors.fullmatch(line) or re.fullmatch(r"dpkg: error processing .*:", before)
        ]

    def offered(self, tree: Root, names: Sequence[str]) -> dict[str, list[str]]:
        """Return {name: [version]} of what the host is offered, the newest first.

        :param tree: the host.
        """
        return repositories.offered(tree, names)

    def stopped(self, tree: Root, names: Sequence[str]) -> dict[str, list[str]]:
        """Return {name: [version]} of what the archive offers and gives to no host any more."""
        return repositories.stopped(tree, names)

    def offered_by(self, tree: Root, files: repositories.Files) -> dict[str, list[str]]:
        """Return {name: [version]} of all that a component's source has, the newest first.

        :param tree: the host.
        """
        return repositories.offered_by(tree, files)

    def available(self, tree: Root, names: Sequence[str]) -> set[str]:
        """Return those of some names that the host is offered; they may have versions in them."""
        return set(self.offered(tree, names))

    def exactly(self, name: str, version: str) -> str:
        """Return what asks for a package in one version and no other."""
        return f"{name}={version}"

    @contextlib.contextmanager
    def exchanging(
        self, records: Iterable[str], folder: str, _are_at_hand: bool
    ) -> Iterator[tuple[str, ...]]:
        """Yield the options by which exact versions take the place of any others.

        :param records: what pins.record returns, under which they come.
        :param folder: where what is fetched is put and kept; it is there.
        :param _are_at_hand: whether all archives that it takes lie on the host.
        """
        with apt_transaction.under(records, folder) as own:
            yield own

    def preferring(self, _files: repositories.Files) -> tuple[str, ...]:
        """Return the options by which what others need comes from a component's source.

        None for apt: what :meth:`exchanging` is given says so of each package.
        """
        return ()

    def leaving(self, names: Iterable[str]) -> list[str]:
        """Return what asks for packages to go in the transaction that others come in."""
        return [f"{name}-" for name in names]

    def left_over(self, _names: Iterable[str]) -> list[str]:
        """Return those of what was to go that a transaction has to remove by itself: none."""
        return []

    def archives(self, folder: str, _run: Run = commands.run) -> dict[str, tuple[str, str]]:
        """Return {name: (version, path)} of the archives of packages in a folder."""
        found = {}
        for path in sorted(glob.glob(os.path.join(folder, "*_*_*.deb"))):
            name, version = _of_deb(path)
            found[name] = (version, path)
        return found

    def downloading(self, folder: str, names: Sequence[str]) -> list[str]:
        """Return the command that puts archives of packages into a folder."""
        return ["env", f"--chdir={folder}", "apt-get", "--quiet", "download", *names]

    def unpacking(self, archive: str, folder: str) -> list[str]:
        """Return the command that puts the files of an archive into an existing folder."""
        return ["dpkg-deb", "--extract", archive, folder]

    def transaction(self, verb: Sequence[str], names: Sequence[str], removes: bool) -> list[str]:
        """Return the command that installs or removes packages.

        :param verb: ``installing`` or ``removing``, with options of the manager's.
        :param removes: whether it is foreseen that packages go.
        """
        return [*self._command, *verb, *([] if removes else self._KEEPING), *_asked_of_apt(names)]

    def simulation(self, verb: Sequence[str], names: Sequence[str]) -> list[str]:
        """Return the command that tells what a transaction would do, and changes nothing."""
        return [*self._command, *verb, "--simulate", *_asked_of_apt(names)]

    def foreseen(self, answer: subprocess.CompletedProcess[str]) -> Transaction | None:
        """Return the Transaction that a simulation told of; None where it failed."""
        if answer.returncode:
            return None
        steps = [line.split()[:2] for line in answer.stdout.splitlines()]
        return Transaction(
            [step[1] for step in steps if step[:1] == ["Inst"]],
            [step[1] for step in steps if step[:1] in (["Remv"], ["Purg"])],
        )


class Dnf:
    """Enterprise Linux 8 and later, by dnf 4.

    :cvar installed: see :func:`database.by_rpm`.
    """

    installed = staticmethod(database.by_rpm)
    kernel = re.compile(r"kernel(?:-rt|-64k|-uek|-debug)*(?:-core|-modules(?:-.+)?)?")
    # dnf/lock.py; rpm, lib/rpmts.c and lib/rpmlock.c; _WAITING.
    locked = re.compile(
        r".* already locked by .*|.*can't create transaction lock.*|BlockingIOError.*"
    )
    _cures = (
        (
            re.compile(r"No match for argument|Unable to find a match|Failed to download"),
            ["dnf", "--quiet", "--setopt=exit_on_lock=True", "makecache", "--refresh"],
        ),
    )
    # exit_on_lock: it waits without end and without a word otherwise.
    _command = ("dnf", "--setopt=exit_on_lock=True", "--setopt=install_weak_deps=False")
    installing = ("install",)
    reinstalling = ("reinstall",)
    reinstalls_alone = True
    #: No command of dnf's takes the lock of a transaction and does nothing: rpm's own is tried.
    waiting = (sys.executable, "-I", "-c", _WAITING)
    # Our own pins are passed. An older version or another kind of modules may come, and what is in
    # its way goes. dnf.conf(5), destdir and keepcache: archives are fetched once, into our folder.
    _EXCHANGING = ("--disableplugin=versionlock", "--allowerasing", "--setopt=keepcache=True")
    # dnf/cli/output.py and rpm on a script that fails; dnf/cli/main.py on what ends a run.
    _of_scripts = re.compile(r"error: .*|Error in .*")
    _MARK = "Error:"
    fetching_only = "--downloadonly"
    # What others brought along is left to them.
    removing = ("remove", "--setopt=clean_requirements_on_remove=False")

    def cures(self, words: str, _may_go: Callable[[str], object]) -> list[list[str]]:
        """Return the commands after which another attempt is worth it; see :class:`Apt`."""
        return _signified(self._cures, words)

    def remedy(self, _words: str) -> str:
        """Return what is to be done by hand where a transaction failed."""
        return _REMEDY

    def errors(self, lines: Sequence[str]) -> list[str]:
        """Return those lines of an output that tell what went wrong; see :class:`Apt`.

        dnf says of a conflict "Error:" alone, the problems below it, and last what to try.
        """
        said = [line for line in lines if not line.startswith("(try to")]
        at = next((at for at, line in enumerate(said) if line.startswith(self._MARK)), len(said))
        told = [line for line in said[:at] if self._of_scripts.fullmatch(line)]
        return [*told, *(line for line in said[at:] if line != self._MARK)]

    def offered(self, tree: Root, names: Sequence[str]) -> dict[str, list[str]]:
        """Return {name: [version]} of what the host is offered; see :class:`Apt`."""
        return self._offers(tree, names) if names else {}

    def offered_by(self, tree: Root, files: repositories.Files) -> dict[str, list[str]]:
        """Return {name: [version]} of all that a component's source has; see :class:`Apt`."""
        return self._offers(tree, [f"--repo={repositories.name_of(files)}"])

    def _offers(self, tree: Root, asked: Sequence[str]) -> dict[str, list[str]]:
        """Return {name: [version]} of packages on offer, the newest first.

        :param asked: names of packages, or options by which all that is known is asked for.
        """
        found: dict[str, list[str]] = {}
        for line in self._told("%{name}\t%{evr}", tree, asked):
            name, tab, version = line.partition("\t")
            if tab and version not in found.setdefault(name, []):
                found[name].append(version)
        for offers in found.values():
            offers.sort(key=rpm_version.key, reverse=True)
        return found

    def stopped(self, _tree: Root, _names: Sequence[str]) -> dict[str, list[str]]:
        """Return what the archive gives to no host any more: nothing that dnf would know of."""
        return {}

    def available(self, tree: Root, names: Sequence[str]) -> set[str]:
        """Return those of some names that the host is offered; see :class:`Apt`."""
        form = "%{name}-%{version}-%{release}.%{arch}"
        return set(names).intersection(self._told(form, tree, names) if names else ())

    def _told(self, form: str, tree: Root, asked: Sequence[str]) -> list[str]:
        """Return what is said of each package on offer, in lines of a form of its own."""
        query = ("dnf", "--quiet", "--disableplugin=versionlock", "repoquery", "--qf", form)
        return tree.answer(*query, *asked, patience_s=_FETCH_S).splitlines()

    def exactly(self, name: str, version: str) -> str:
        """Return what asks for a package in one version and no other."""
        return f"{name}-{version}"

    @contextlib.contextmanager
    def exchanging(
        self, _records: Iterable[str], folder: str, are_at_hand: bool
    ) -> Iterator[tuple[str, ...]]:
        """Yield the options by which exact versions take the place of others; see :class:`Apt`."""
        # A repository that is away is none of the matter where nothing is taken from it.
        alone = ("--setopt=*.skip_if_unavailable=True",) if are_at_hand else ()
        yield (*self._EXCHANGING, f"--setopt=destdir={folder}", *alone)

    def preferring(self, files: repositories.Files) -> tuple[str, ...]:
        """Return the options by which what others need comes from a source; see :class:`Apt`.

        dnf.conf(5), priority: of what several have, that with the lowest is taken.
        """
        return (f"--setopt={repositories.name_of(files)}.priority=1",)

    def leaving(self, _names: Iterable[str]) -> list[str]:
        """Return nothing: what is in the way goes, see :meth:`left_over`."""
        return []

    def left_over(self, names: Iterable[str]) -> list[str]:
        """Return those of what was to go that a transaction has to remove by itself: all."""
        return [*names]

    def archives(self, folder: str, run: Run = commands.run) -> dict[str, tuple[str, str]]:
        """Return {name: (version, path)} of the archives of packages in a folder.

        Their names say nothing of an epoch.
        """
        found = {}
        for path in sorted(glob.glob(os.path.join(folder, "*.rpm"))):
            argv = ["rpm", "--query", "--package", "--nosignature", "--qf", RPM_FORMAT, path]
            answer = run(argv, capture_output=True, text=True, timeout=_ASK_S)
            name, tab, version = answer.stdout.strip().partition("\t")
            if tab:
                found[name] = (version, path)
        return found

    def downloading(self, folder: str, names: Sequence[str]) -> list[str]:
        """Return the command that puts archives of packages into a folder."""
        own = ("--disableplugin=versionlock", f"--destdir={folder}")
        return [*self._command, "download", *own, *names]

    def unpacking(self, archive: str, folder: str) -> list[str]:
        """Return the command that puts the files of an archive into an existing folder."""
        return ["bash", "-o", "pipefail", "-c", _UNPACKING, "unpack", archive, folder]

    def transaction(self, verb: Sequence[str], names: Sequence[str], _removes: bool) -> list[str]:
        """Return the command that installs or removes packages; see :class:`Apt`."""
        return [*self._command, *verb, "--assumeyes", *names]

    def simulation(self, verb: Sequence[str], names: Sequence[str]) -> list[str]:
        """Return the command that tells what a transaction would do, and changes nothing."""
        return [*self._command, *verb, "--assumeno", *names]

    def foreseen(self, answer: subprocess.CompletedProcess[str]) -> Transaction | None:
        """Return the Transaction that a simulation told of; None where it failed.

        The table is that of dnf 4, dnf/cli/output.py, list_transaction().
        """
        if answer.returncode and "Operation aborted" not in answer.stdout + answer.stderr:
            return None
        installed: list[str] = []
        removed: list[str] = []
        goes = False
        for line in answer.stdout.partition("Transaction Summary")[0].splitlines():
            heading = re.fullmatch(r"(\w+ing)\b.*:", line)
            replaced = re.fullmatch(r" +replacing +(\S+)\.\S+ \S+", line)
            package = re.match(r" (\S+)", line)
            if heading:
                goes = heading.group(1) == "Removing"
            elif replaced:
                removed.append(replaced.group(1))
            elif package:
                (removed if goes else installed).append(package.group(1))
        # The line above the first heading names the columns.
        return Transaction([name for name in installed if name != "Package"], removed)


# How a host's packages are managed.
Manager = Union[Apt, Dnf]


def check(names: Sequence[str], execute: Execute, manager: Manager | None = None) -> None:
    """Raise a Refusal where installing packages would do harm, as far as can be told now.

    A package that is not known yet, or lists that are not there, are none: see :func:`install`.
    """
    what = _installation_of(names)
    manager = manager or required(what)
    judge(what, manager.installing, names, manager, execute)


def install(
    names: Sequence[str], execute: Execute, run: Run = commands.run, manager: Manager | None = None
) -> None:
    """Install packages that are missing; see :func:`check` for what is refused.

    Lists that are stale are fetched anew, and what a killed run left half-configured is brought
    to its end. A lock that another one holds is waited for.

    :raises Refusal: it would do harm, it failed, or the lock was still held.
    """
    what = _installation_of(names)
    manager = manager or required(what)
    transact(what, manager.installing, names, manager, execute)
    left = database.missing(names, run, manager.installed)
    if left:
        raise Refusal(
            _installation_of(left),
            "it was installed, and the host does not know it by that name",
            "Name what this distribution calls it",
        )


def installing_missing(lacking: Sequence[str], execute: Execute, run: Run) -> list[steps.Step]:
    """Return the steps.Step that installs what :func:`missing` returned; [] for none."""
    install_them = functools.partial(install, lacking, execute, run)
    return [steps.Step(_installation_of(lacking), install_them)] if lacking else []


def transact(
    what: str,
    verb: Sequence[str],
    names: Sequence[str],
    manager: Manager,
    execute: Execute,
    may_go: Callable[[str], object] = lambda _name: False,
) -> None:
    """Run a transaction to its end, once it was simulated and does no harm.

    :param what: what it does, for the messages.
    :param verb: the manager's ``installing`` or ``removing``, with options of the manager's.
    :param may_go: says of the name of a package whether it may be removed.
    :raises Refusal: it would do harm, it failed, or the lock was still held.
    """
    tried, told = [], []
    while True:
        answer = managed(what, manager.simulation(verb, names), manager, execute)
        foreseen = manager.foreseen(answer)
        _judge(what, manager, foreseen, may_go)
        if foreseen:
            argv = manager.transaction(verb, names, bool(foreseen.removed))
            answer = managed(what, argv, manager, execute)
            if answer.returncode == 0:
                return
        words = answer.stdout + answer.stderr
        cure = next((cure for cure in manager.cures(words, may_go) if cure not in tried), None)
        if cure is None:
            told.append(reason(answer, manager))
            raise Refusal(what, " / ".join(told), manager.remedy(words))
        tried.append(cure)
        cured = managed(what, cure, manager, execute)
        told += [reason(cured, manager)] if cured.returncode else []


def judge(
    what: str,
    verb: Sequence[str],
    names: Sequence[str],
    manager: Manager,
    execute: Execute,
    may_go: Callable[[str], object] = lambda _name: False,
) -> None:
    """Raise a Refusal where a transaction would do harm, as far as can be told now.

    The parameters are those of :func:`transact`.
    """
    answer = managed(what, manager.simulation(verb, names), manager, execute)
    _judge(what, manager, manager.foreseen(answer), may_go)


def _asked_of_apt(names: Sequence[str]) -> list[str]:
    """Return what apt is told of packages, some of them by the paths of their archives.

    Told of archives alone it does nothing on a host with broken dependencies, be they there to
    mend them: DoInstall in apt-private/private-install.cc counts names, which is what AllowBroken
    of CheckDeps goes by.
    """
    if not names or not all(os.path.isabs(name) for name in names):
        return [*names]
    name, version = _of_deb(names[0])
    return [*names, f"{name}={version}"]


def _of_deb(path: str) -> tuple[str, str]:
    """Return (name, version) of a package whose archive lies there, as apt names it."""
    name, version, _architecture = os.path.basename(path).split("_", 2)
    return name, version.replace("%3a", ":")


def _signified(cures: Cures, words: str) -> list[list[str]]:
    return [argv for sign, argv in cures if sign.search(words)]


def managers_own() -> Manager | None:
    """Return the manager of this host's packages, None where it is none that is known here."""
    asked = database.own()
    return next((kind() for kind in (Apt, Dnf) if kind.installed is asked), None)


def named(name: str) -> Manager:
    """Return the manager that node_info names: one of MANAGERS."""
    return Dnf() if name == "dnf" else Apt()


def required(what: str) -> Manager:
    """Return the manager of this host's packages.

    :raises Refusal: it has none that is known here.
    """
    manager = managers_own()
    if manager is None:
        raise Refusal(
            what,
            "the host has neither apt-get nor dnf",
            "Install what is needed there by hand and leave it out of the list",
        )
    return manager


def managed(
    what: str, argv: Sequence[str], manager: Manager, execute: Execute
) -> subprocess.CompletedProcess[str]:
    """Return what a command of the package manager says, once no other one holds its lock.

    :raises Refusal: the lock was still held after LOCK_WAIT_S.
    """
    deadline = time.monotonic() + LOCK_WAIT_S
    while True:
        answer = commands.run_long(what, argv, _ENVIRONMENT, execute, "/usr and /var")
        held = manager.locked.search(answer.stdout + answer.stderr) if answer.returncode else None
        if not held:
            return answer
        if time.monotonic() >= deadline:
            raise Refusal(
                what,
                f"another one was still at work after {LOCK_WAIT_S} s: {held.group(0)}",
                "Wait for it to end, and run again",
            )
        time.sleep(_POLL_S)


def wait_for_others(what: str, execute: Execute) -> None:
    """Wait until no other package manager holds the lock, as far as this host has one.

    :param what: what is to be done then, for the message.
    :raises Refusal: the lock was still held after LOCK_WAIT_S.
    """
    manager = managers_own()
    if manager:
        managed(what, manager.waiting, manager, execute)


def _judge(
    what: str,
    manager: Manager,
    foreseen: Transaction | None,
    may_go: Callable[[str], object] = lambda _name: False,
) -> None:
    """Raise a Refusal where a Transaction does more than to add packages and other versions."""
    if foreseen is None:
        return
    kernels = [
        name for name in (*foreseen.installed, *foreseen.removed) if manager.kernel.fullmatch(name)
    ]
    others = [name for name in foreseen.removed if not may_go(name)]
    for because, touched in (
        ("it would touch the kernel of the host", kernels),
        ("it would remove what others may need", others),
    ):
        if touched:
            raise Refusal(
                what,
                f"{because}: {', '.join(touched)}",
                "Do that by hand where it is meant, and run again",
            )


def _installation_of(names: Sequence[str]) -> str:
    return f"install {', '.join(names)}"


def reason(answer: subprocess.CompletedProcess[str], manager: Manager) -> str:
    """Return what the manager, or a script of a package, calls an error.

    Where it names the log of a build, such as DKMS does, that says why with its path.
    """
    # What dpkg and a package's scripts say comes by a terminal of apt's own, on its output.
    words = answer.stdout + answer.stderr
    errors = manager.errors(commands.lines_of(words))[:_QUOTED]
    of_builds = build_log.told(named_logs.followed(words, _HOST))
    told = " / ".join([*errors, *filter(None, [of_builds])])
    return told or commands.last_words(answer, answer.stderr or answer.stdout)
