# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""DKMS: modules built and installed for a kernel, and trees removed, whatever state they are in.

A tree is known by its name and version. What is said of DKMS holds for dell/dkms v3.0.10 and
v3.2.2, dkms.in. It has no lock, and the builds of one version share a folder.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator
from typing import Callable

from ..facts_shape import Kernel
from ..packages import stack_packages
from ..refusal import Refusal
from ..system import commands, confinement, disk, files, folders, own_paths
from ..system.commands import Execute
from ..system.root import Root
from . import build_failure, dkms_status

#: Where DKMS takes sources from.
SOURCES = "/usr/src"
# In the folder of the component that had it first: what a killed run left is looked for there.
ASIDE = os.path.join(own_paths.STATE_DIR, "nvidia_driver", "aside")
WAIT_S = 600
_POLL_S = 2
# Ends the name of a copy that is not whole.
_PART = ".part"
_NAMED = re.compile(
    r"""^\s*(BUILT|DEST)_MODULE_NAME(?:\[([0-9]+)\])?=["']?([^"'\s]*)""", re.MULTILINE
)
_ENVIRONMENT = {"LC_ALL": "C.UTF-8"}


# Below what is else read alone. /var/lib/dkms is not.
_BUILDS_IN = ("/usr/src", "/lib/modules", "/etc/alternatives")


def dkms_conf(template: str, version: str, modules: Iterable[str], jobs: int) -> str:
    """Return the dkms.conf that the installer would make of a .run's template.

    NVIDIA/nvidia-installer@590.48.01:files.c, process_dkms_conf.

    :param modules: the names of the modules.
    :param jobs: how many compilers may run at once.
    """
    listed = "".join(
        f'BUILT_MODULE_NAME[{number}]="{module}"\n'
        f'DEST_MODULE_LOCATION[{number}]="/kernel/drivers/video"\n'
        for number, module in enumerate(modules)
    )
    for token, value in (
        ("__VERSION_STRING", version),
        ("__DKMS_MODULES", listed),
        ("__JOBS", str(jobs)),
        ("__EXCLUDE_MODULES", ""),
        ("will be generated", "was generated"),
    ):
        template = template.replace(token, value)
    return template


@contextlib.contextmanager
def undone_on_failure(tree: Root, name: str, version: str) -> Iterator[None]:
    """Leave DKMS and the sources of one version as they were, should the block fail.

    What is installed is not touched by building. A tree of the same version may be there, with
    the other type of modules or of a package: it is copied aside for so long. A run that was
    killed in between left its copy, and what that shows is what was there before.
    """
    mark = f"{name}-{version}"
    aside = os.path.join(tree.path(ASIDE), mark)
    for left in tree.names(ASIDE):
        if left.endswith(_PART):
            shutil.rmtree(tree.path(f"{ASIDE}/{left}"))
        elif left != mark:
            _put_back(tree, *left.rsplit("-", 1))
    if not os.path.isdir(aside):
        with disk.watched(f"keep {name} {version} as it is", aside):
            os.makedirs(aside + _PART, mode=0o700)
            for copy, place in _places(tree, name, version):
                _copy_over(place, os.path.join(aside + _PART, copy))
        os.rename(aside + _PART, aside)
    try:
        yield
    except Exception:
        _put_back(tree, name, version)
        raise
    _discard(aside)


def build_for(
    release: str, which: tuple[str, str], what: str, tree: Root, execute: Execute
) -> subprocess.CompletedProcess[str]:
    """Have DKMS build a tree for one kernel, from the beginning; return its CompletedProcess.

    :param release: the kernel's.
    :param which: (name, version) of the tree.
    :param what: what is done, for the messages.
    """
    for half in (release, "build"):
        # Of a build that was killed. Where it cannot go, DKMS says why.
        shutil.rmtree(tree.path(f"{folder_of(*which)}/{half}"), ignore_errors=True)
    _mend(tree, *which)
    return run(what, ["build", *_which(*which), "-k", release], tree, execute)


def install_for(
    release: str, which: tuple[str, str], what: str, tree: Root, execute: Execute
) -> None:
    """Have DKMS put in place what it built of a tree for one kernel; see :func:`build_for`.

    :raises Refusal: it cannot.
    """
    # --force: else it leaves a newer module where it is, and v3.0.10 ends with 0.
    done = run(what, ["install", "--force", *_which(*which), "-k", release], tree, execute)
    if done.returncode:
        words = commands.last_words(done, done.stderr or done.stdout)
        raise Refusal(what, words, "Mend that and run again")


def forget_before(name: str, version: str, tree: Root) -> None:
    """Remove what DKMS keeps beside a tree that is in place; where some stays, no harm is done now.

    That is what one that was killed after its last build did not come to, and what had been put in
    place without DKMS, which would come back when the tree is removed.
    """
    for left in (
        f"{folder_of(name, version)}/build",
        f"{dkms_status.FOLDER}/{name}/original_module",
    ):
        shutil.rmtree(tree.path(left), ignore_errors=True)


def remove(tree: Root, name: str, version: str, execute: Execute) -> None:
    """Remove a tree from DKMS and its modules from every kernel, however broken the tree is.

    Sources go along where folders.make made their folder; those of a package are the package's.

    :raises Refusal: they are still there.
    """
    what = f"remove the modules of {name} {version}"
    folder = folder_of(name, version)
    if tree.exists(folder):
        _mend(tree, name, version)
        done = run(what, ["remove", *_which(name, version), "--all"], tree, execute)
        left = [
            row["kernel"]
            for row in dkms_status.survey(tree)
            if (row["name"], row["version"], row["state"]) == (name, version, "installed")
        ]
        if left:
            words = commands.last_words(done, done.stderr or done.stdout)
            raise Refusal(what, f"{', '.join(left)}: {words}", "Mend that and run again")
        shutil.rmtree(tree.path(folder), ignore_errors=True)
        folders.remove_if_empty(tree.path(os.path.dirname(folder)))
    sources = tree.path(sources_of(name, version))
    if folders.is_ours(sources):
        shutil.rmtree(sources)


def add_packaged(tree: Root, is_asked: Callable[[str], object], execute: Execute) -> None:
    """Have DKMS take trees again whose sources packages have brought.

    rpm runs the scripts of what gives way after those of what comes (rpm 4.18, docs/manual/
    scriptlets): one that removes its tree takes that of its successor along, where both have one
    name and version.

    :param is_asked: says of the name of a tree whether it is asked about.
    :raises Refusal: DKMS does not take one.
    """
    for folder in tree.names(SOURCES):
        name, _dash, version = folder.rpartition("-")
        conf = f"{SOURCES}/{folder}/dkms.conf"
        if not is_asked(name) or tree.exists(folder_of(name, version)) or not tree.exists(conf):
            continue
        if stack_packages.owns(tree, conf):
            what = f"add the sources of {name} {version}"
            done = run(what, ["add", *_which(name, version)], tree, execute)
            if done.returncode:
                words = commands.last_words(done, done.stderr or done.stdout)
                raise Refusal(what, words, "Mend that and run again")


def module_files(text: str, name: str) -> dict[str, str]:
    """Return {file, without its end: name of the module} of what a dkms.conf builds.

    Debian's are called nvidia-current-uvm.ko and the like.

    :param text: of the dkms.conf, which is a shell script.
    :param name: of the tree.
    """
    named: dict[str, dict[str, str]] = {"BUILT": {}, "DEST": {}}
    for kind, number, module in _NAMED.findall(text):
        named[kind][number or "0"] = re.sub(r"\$\{?PACKAGE_NAME\}?", name, module)
    return {
        named["DEST"].get(number, module): module.replace("-", "_")
        for number, module in named["BUILT"].items()
    }


def built_files(tree: Root, name: str, version: str, release: str) -> dict[str, str]:
    """Return {file, without its end: path} of what DKMS has built for a kernel."""
    top = f"{folder_of(name, version)}/{release}"
    return {
        file.partition(".ko")[0]: f"{top}/{architecture}/module/{file}"
        for architecture in tree.names(top)
        for file in tree.names(f"{top}/{architecture}/module")
        if ".ko" in file
    }


def modules_of(tree: Root, name: str, version: str) -> set[str]:
    """Return the names of a tree's modules, and of one without sources those of its files."""
    folder = folder_of(name, version)
    told = module_files(tree.text(f"{folder}/source/dkms.conf"), name).values()
    return set(told) or {
        file for kernel in tree.names(folder) for file in built_files(tree, name, version, kernel)
    }


def folder_of(name: str, version: str) -> str:
    """Return where DKMS has a tree."""
    return f"{dkms_status.FOLDER}/{name}/{version}"


def sources_of(name: str, version: str) -> str:
    """Return where DKMS takes the sources of a tree from."""
    return f"{SOURCES}/{name}-{version}"


def _which(name: str, version: str) -> tuple[str, str, str, str]:
    return "-m", name, "-v", version


def _mend(tree: Root, name: str, version: str) -> None:
    """Give a tree that leads to no sources some, for DKMS will not even remove it without.

    Sources that have vanished are made up, enough of them to remove the modules by.
    """
    folder, source = folder_of(name, version), sources_of(name, version)
    if not tree.exists(folder) or tree.exists(f"{folder}/source/dkms.conf"):
        return
    if not tree.exists(f"{source}/dkms.conf"):
        modules = modules_of(tree, name, version)
        folders.make(tree.path(source))
        head = f'PACKAGE_NAME="{name}"\nPACKAGE_VERSION="{version}"\n__DKMS_MODULES'
        text = dkms_conf(head, version, sorted(modules), 1)
        files.write_text(tree.path(f"{source}/dkms.conf"), text, None, None, mode=0o644)
    files.point_link(os.path.join(tree.path(folder), "source"), source)


def run(
    what: str, arguments: Iterable[str], tree: Root, execute: Execute
) -> subprocess.CompletedProcess[str]:
    """Run dkms, once that of somebody else has ended; return its CompletedProcess.

    What it builds is code from elsewhere, and is confined; what it installs reaches initramfs and
    links of the kernel's, in ways that each distribution has of its own. So that keeps the system
    and the network: what makes an initramfs looks at what the host boots over.
    """
    _wait_for_others(what, tree)
    argv = ["dkms", *arguments]
    # Sources that were named may lie anywhere.
    argv = (
        confinement.confined(argv, ["/tmp"], writable=_BUILDS_IN)
        if argv[1] == "build"
        else confinement.confined(argv, ["/tmp"], network=True, installs=True)
    )
    return commands.run_long(what, argv, _ENVIRONMENT, execute, "/var")


def _wait_for_others(what: str, tree: Root) -> None:
    """Wait for a DKMS of somebody else, such as of a package that is being installed."""
    deadline = time.monotonic() + WAIT_S
    while True:
        at_work = [pid for pid in tree.names("/proc") if pid.isdigit() and _is_dkms(tree, pid)]
        if not at_work:
            return
        if time.monotonic() >= deadline:
            raise Refusal(
                what,
                f"process {at_work[0]} runs dkms, and still did after {WAIT_S} s",
                "Wait for it to end, or end it, and run again",
            )
        time.sleep(_POLL_S)


def _is_dkms(tree: Root, pid: str) -> bool:
    """Say whether a process is dkms, which is a script: its shell comes first."""
    words = tree.data(f"/proc/{pid}/cmdline").split(b"\0")
    return b"dkms" in [os.path.basename(word) for word in words[:2]]


def _places(tree: Root, name: str, version: str) -> list[tuple[str, str]]:
    """Return (name of its copy, place) of what building changes."""
    return [
        ("sources", tree.path(sources_of(name, version))),
        ("tree", tree.path(folder_of(name, version))),
    ]


def _put_back(tree: Root, name: str, version: str) -> None:
    aside = os.path.join(tree.path(ASIDE), f"{name}-{version}")
    for copy, place in _places(tree, name, version):
        _copy_over(os.path.join(aside, copy), place)
    folders.remove_if_empty(os.path.dirname(tree.path(folder_of(name, version))))
    _discard(aside)


def _copy_over(source: str, target: str) -> None:
    """Make a folder like another one, gone where that one is not there."""
    shutil.rmtree(target, ignore_errors=True)
    if os.path.isdir(source):
        shutil.copytree(source, target, symlinks=True)


def _discard(aside: str) -> None:
    """Remove a copy; a run that is killed in between leaves it marked as a part of one."""
    os.rename(aside, aside + _PART)
    shutil.rmtree(aside + _PART)


def not_built(
    tree: Root,
    which: tuple[str, str],
    kernel: Kernel,
    what: str,
    done: subprocess.CompletedProcess[str],
    remedy: str,
) -> Refusal:
    """Return the Refusal that says why a build failed; the log, which goes with the tree, is kept.

    :param which: (name, version) of the tree.
    :param kernel: the row of kernels.survey.
    :param what: what was done, for the message.
    :param done: how dkms ended.
    :param remedy: what to do where no compiler is lacking.
    """
    name, version = which
    text = tree.text(f"{folder_of(name, version)}/build/make.log")
    # dkms 3.0.10 ends with 0 where what it built could not be copied.
    if disk.is_full(text + done.stdout + done.stderr):
        return disk.full(what, dkms_status.FOLDER)
    log = f"make-{name}-{version}-{kernel['release']}.log"
    return build_failure.failure(tree, log, text, kernel, what, done, remedy)
