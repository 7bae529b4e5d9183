# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The NVIDIA driver as a .run: looked into, unpacked, installed without modules, removed, kept.

What the installer does is told by its source, NVIDIA/nvidia-installer; file names below are
those of tag 590.48.01.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from typing import Callable, NamedTuple

from ..gpu import driver_archive, installed_driver
from ..packages import versions
from ..refusal import Refusal
from ..steps import Step
from ..system import commands, confinement, disk, files
from ..system.commands import Execute
from ..system.root import Root

LOG = "/var/log/nvidia-installer.log"
UNINSTALL_LOG = "/var/log/nvidia-uninstall.log"
UNINSTALLER = "/usr/bin/nvidia-uninstall"

_GRIDD = "/usr/bin/nvidia-gridd"
# What the installer notes of what it placed: a link by 0 and a file by 1, with one line more each.
_LIST = "/var/lib/nvidia/log"
_PLACED = re.compile(r"[01]: (/.+)")
_OF_MODULES = ("/lib/modules/", "/usr/lib/modules/", "/usr/src/")
# It is there while the installer is at work: of one that was killed its list does not tell.
_AT_WORK = f"{driver_archive.DIR}/at-work"
# The shell header is some hundred lines long.
_HEADER_BYTES = 64 << 10
_FIELD = re.compile(rb'^(label|targetdir|TARGET_ARCH)="?([^"\n]*)"?$', re.MULTILINE)
_TARGET = re.compile(r"NVIDIA-Linux-[^-]+-([0-9]+(?:\.[0-9]+)+)((?:-[\w.]+)*)")
# A file system with less room than this is full, as far as unpacking goes.
_NO_ROOM = 1 << 20
_QUOTED = 4

# Options are fatal to versions that do not know them (common-utils/nvgetopt.c). Those that came
# after R410, with the first version each: option_table.h, tag by tag.
_ALWAYS = ("--silent", "--no-nouveau-check", "--no-x-check", "--skip-module-unload")
_SINCE = (
    # It kept its old name beside the new one, up to 590 at least.
    ("515.43.04", "--no-kernel-modules", "--no-kernel-module"),
    # It lists the whole initramfs, or makes a new one, unless told not to.
    ("545.23.06", "--no-rebuild-initramfs", None),
)


class Identity(NamedTuple):
    """What a .run says of itself in its header; the flavour is "tesla" or "grid"."""

    version: str
    flavour: str


class Manifest(NamedTuple):
    """What the package's .manifest says; the modules are the names that dkms.conf lists."""

    version: str
    modules: list[str]


def arguments(version: str, log: str = LOG, tmpdir: str = "/tmp") -> list[str]:
    """Return the options that make the installer of a version place all but kernel modules.

    Nothing is asked, and no module is unloaded. nouveau and a running X are no reason for it to
    stop: both have been dealt with before.

    :param version: the version of the driver, and so of its installer.
    :param log: where it logs to.
    :param tmpdir: a folder whose file system lets programs run, which /tmp may not.
    """
    by_version = [old if versions.is_below(version, first) else new for first, new, old in _SINCE]
    options = [*_ALWAYS, *filter(None, by_version)]
    return [*options, f"--log-file-name={log}", f"--tmpdir={tmpdir}"]


def inspect(
    path: str,
    architecture: str,
    execute: Execute,
    version: str | None = None,
    flavour: str | None = None,
) -> Identity:
    """Return the Identity of a .run; nothing of it is run but its own check of its sums.

    :param path: the file.
    :param architecture: that of the host, as `uname -m` has it.
    :param version: the version that is wanted, None for any.
    :param flavour: "tesla" or "grid", None for any.
    :raises Refusal: it is no driver, damaged, for another machine, or not the one wanted.
    """
    fields = _header(path)
    match = _TARGET.fullmatch(fields.get("targetdir", ""))
    if not match or "NVIDIA" not in fields.get("label", ""):
        raise _refused(path, "it is no .run of the NVIDIA driver", "Name the file that is one")
    what = f"check {path}"
    argv = confinement.confined(["sh", path, "--check"], [])
    checked = commands.run_long(what, argv, {}, execute, path)
    if checked.returncode:
        words = commands.last_words(checked, checked.stdout + checked.stderr)
        raise _refused(path, f"it is damaged: {words}", "Fetch it again")
    if fields["TARGET_ARCH"] != architecture:
        raise _refused(
            path, f"it is for {fields['TARGET_ARCH']}, the host is {architecture}", "Name another"
        )
    suffix = match.group(2)
    if suffix.startswith("-vgpu"):
        raise _refused(path, "it is for a host of virtual GPUs", "Name the guest or Tesla driver")
    found = Identity(match.group(1), "grid" if suffix.startswith("-grid") else "tesla")
    for name, asked, given in zip(Identity._fields, (version, flavour), found):
        if asked and asked != given:
            raise _refused(path, f"its {name} is {given}, wanted is {asked}", "Name the other file")
    return found


def extract(path: str, target: str, execute: Execute) -> Manifest:
    """Unpack a .run into a folder, which is there whole or not at all. Return its Manifest.

    What lies there is removed first.

    :raises Refusal: it cannot be unpacked, or there is no room for it.
    """
    what = f"unpack {path}"
    part = f"{target}.part"
    for left in (target, part):
        shutil.rmtree(left, ignore_errors=True)
    folder = os.path.dirname(target)
    os.makedirs(folder, mode=0o755, exist_ok=True)
    # Unpacking asks for a temporary folder that lets programs run, too.
    argv = confinement.confined(
        ["sh", path, "--extract-only", "--target", part, "--tmpdir", folder], []
    )
    done = commands.run_long(what, argv, {}, execute, target)
    if done.returncode:
        words = commands.last_words(done, done.stdout + done.stderr)
        # What tar says is thrown away by the header.
        full = _free(folder) < _NO_ROOM
        shutil.rmtree(part, ignore_errors=True)
        if full:
            raise disk.full(what, target)
        raise _refused(path, f"it cannot be unpacked: {words}", "Mend that and run again")
    os.rename(part, target)
    return manifest(target)


def manifest(folder: str) -> Manifest:
    """Return the Manifest of an unpacked .run: install-from-cwd.c, parse_manifest.

    :raises Refusal: there is none.
    """
    lines = Root(folder).text("/.manifest").splitlines()
    if len(lines) < 4 or not lines[3].split():
        raise Refusal(
            f"the driver in {folder}", "it has no list of its files", "Remove it and run again"
        )
    return Manifest(lines[1].strip(), lines[3].split())


def install(
    folder: str, version: str, execute: Execute, tree: Root | None = None, log: str = LOG
) -> None:
    """Place the programs and libraries of an unpacked .run, and no kernel modules.

    A driver that a .run placed before goes first, together with its DKMS tree, be it of the same
    version. Left to itself, the installer has the uninstaller of that driver do so, which unloads
    the modules as well (backup.c, run_existing_uninstaller and do_uninstall). The installer's
    status is not enough to go by: without questions, a file that it could not place is no reason
    for it to stop (misc.c, continue_after_error). Its log tells, and so do the files.

    :param folder: where :func:`extract` unpacked it.
    :param version: of the driver.
    :param tree: the host as it is afterwards.
    :raises Refusal: not all of it was placed.
    """
    tree = tree or Root()
    what = f"install NVIDIA driver {version}"
    mark = tree.path(_AT_WORK)
    with disk.watched(what, mark):
        driver_archive.make(os.path.dirname(mark))
        with open(mark, "a", encoding="ascii"):
            pass
    uninstall(execute, tree, folder)
    # Errors of an earlier run are not to be taken for this one's.
    with contextlib.suppress(FileNotFoundError):
        os.unlink(tree.path(log))
    # No module and no initramfs is made by it, for which it would have to see more of the host.
    argv = confinement.confined(
        [os.path.join(folder, "nvidia-installer"), *arguments(version, log, folder)],
        [],
        installs=True,
    )
    done = commands.run_long(what, argv, {"LC_ALL": "C.UTF-8"}, execute, "/usr")
    _refuse_unplaced(what, version, done, tree, log)
    os.unlink(mark)


def _refuse_unplaced(
    what: str, version: str, done: subprocess.CompletedProcess[str], tree: Root, log: str
) -> None:
    """Refuse what the installer did where it has not placed the whole driver."""
    errors = _errors(tree, log)
    if disk.is_full("\n".join(errors)):
        raise disk.full(what, "/usr")
    lacking = [] if version in installed_driver.libraries(tree) else ["its libraries are not there"]
    if installed_driver.runfile(tree) != version:
        lacking.append("it is not in the installer's list")
    if done.returncode or errors or lacking:
        told = [commands.last_words(done, done.stderr or done.stdout)] if done.returncode else []
        because = " / ".join((errors or told or lacking)[:_QUOTED])
        raise Refusal(what, f"{because} ({log})", "Mend that and run again")


def uninstall(
    execute: Execute,
    tree: Root | None = None,
    folder: str | None = None,
    log: str = UNINSTALL_LOG,
) -> None:
    """Remove what a .run placed; its modules in DKMS go along. Nothing is unloaded.

    :param folder: of an unpacked .run, whose installer does it where nvidia-uninstall is gone.
    :raises Refusal: something of it is left.
    """
    tree = tree or Root()
    version = installed_driver.runfile(tree)
    if not version:
        return
    what = f"remove NVIDIA driver {version}"
    installer = os.path.join(folder, "nvidia-installer") if folder else tree.path(UNINSTALLER)
    if not os.path.exists(installer):
        raise Refusal(
            what, f"{installer} is gone", f"Install {version} from its .run again, then remove it"
        )
    options = ("--uninstall", "--silent", "--skip-module-unload", f"--log-file-name={log}")
    argv = confinement.confined([installer, *options], [], installs=True)
    done = commands.run_long(what, argv, {"LC_ALL": "C.UTF-8"}, execute, "/var")
    if done.returncode or installed_driver.runfile(tree):
        words = _errors(tree, log) or [commands.last_words(done, done.stderr or done.stdout)]
        raise Refusal(what, f"{' / '.join(words[:_QUOTED])} ({log})", "Mend that and run again")


def removal(version: str, action: Callable[[], object]) -> Step:
    """Return the step that removes what a .run of a version placed."""
    return Step(f"remove NVIDIA driver {version}, which a .run file installed", action)


def deployed(tree: Root) -> list[str]:
    """Return the paths of the programs, libraries and links to them that a .run placed.

    Of modules and their sources DKMS tells. NVIDIA/nvidia-installer@590.48.01:backup.c,
    log_install_file() and log_create_symlink().
    """
    named = [match.group(1) for match in map(_PLACED.fullmatch, tree.lines(_LIST)) if match]
    return [path for path in named if not path.startswith(_OF_MODULES)]


def is_whole(tree: Root, flavour: str) -> bool:
    """Say whether a .run of a flavour has placed all its files, and they are there still.

    One version may be there in both flavours: nvidia-gridd is the guest's alone.
    """
    paths = deployed(tree)
    found = "grid" if _GRIDD in paths else "tesla"
    is_there = all(os.path.lexists(tree.path(path)) for path in (UNINSTALLER, *paths))
    return found == flavour and is_there and not tree.exists(_AT_WORK)


def keep(path: str, identity: Identity, sha256: str, folder: str = driver_archive.DIR) -> None:
    """Keep a copy of the .run that is installed now, and the one before it.

    :param path: the file, which stays.
    :param identity: its Identity.
    :param sha256: its hex digest.
    """
    name = f"{identity.version}-{identity.flavour}.run"
    driver_archive.make(folder)
    copy = os.path.join(folder, name)
    if not os.path.isfile(copy) or files.sha256_of_file(copy) != sha256:
        with (
            disk.watched(f"keep {path}", copy),
            files.opened(path) as source,
            files.replacing(copy, mode=0o600) as handle,
        ):
            shutil.copyfileobj(source, handle)
    driver_archive.note(name, *identity, sha256, folder)


def kept(folder: str = driver_archive.DIR) -> list[dict[str, str]]:
    """Return [{path, version, flavour, sha256}] of each .run kept, the installed one first."""
    return [row for row in driver_archive.rows(folder=folder) if row["sha256"]]


def _header(path: str) -> dict[str, str]:
    """Return what the shell header of a .run sets: {name: value}.

    makeself 1.6.0-nv2, which a driver has in it as makeself.sh.
    """
    try:
        with files.opened(path) as handle:
            head = handle.read(_HEADER_BYTES)
    except OSError as error:
        raise _refused(path, f"it cannot be read: {error.strerror}", "Name one that can") from error
    return {
        match.group(1).decode(): match.group(2).decode("utf-8", "replace")
        for match in _FIELD.finditer(head)
    }


def _refused(path: str, because: str, remedy: str) -> Refusal:
    return Refusal(path, because, remedy)


def _errors(tree: Root, log: str) -> list[str]:
    return [line.partition("ERROR: ")[2] for line in tree.lines(log) if line.startswith("ERROR: ")]


def _free(folder: str) -> int:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize
