# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The kernel modules of the driver, by DKMS: built for every kernel first, and then installed.

A tree of DKMS is known by its name and version: nvidia/580.95.05 of a .run and of NVIDIA's
repository, nvidia-current/535.261.03 of Debian; its version is that of the modules. What is said
of DKMS holds for dell/dkms v3.0.10 and v3.2.2, dkms.in. It has no lock, and the builds of one
version share a folder.
"""

from __future__ import annotations

import collections
import contextlib
import os
import re
import shutil
import time

from ..gpu import installed_driver
from ..kernel import build_failure
from ..rdma import symbols
from ..refusal import Refusal
from ..system import commands, disk, files, folders, own_paths

DKMS = "/var/lib/dkms"
#: What a .run calls its tree.
OF_RUNFILE = "nvidia"
SOURCES = "/usr/src"
ASIDE = os.path.join(own_paths.STATE_DIR, "nvidia_driver", "aside")
WAIT_S = 600

_POLL_S = 2
# Ends the name of a copy that is not whole.
_PART = ".part"
_NAMED = re.compile(
    r"""^\s*(BUILT|DEST)_MODULE_NAME(?:\[([0-9]+)\])?=["']?([^"'\s]*)""", re.MULTILINE
)
_ENVIRONMENT = {"LC_ALL": "C.UTF-8"}

# The modules that are wanted: the name and version of their tree; is_open, whether they are the
# open ones; signed, whether they have to be, as Secure Boot demands; rdma, whether nvidia_peermem
# has to be linked to the RDMA core that is there, as it is when that was there first.
Modules = collections.namedtuple("Modules", "name version is_open signed rdma")


def lacking(tree, driver, wanted, kernels):
    """Return those kernels that have not the wanted modules in place, in order.

    The files have the last word: DKMS calls a module installed that it would not put in the
    place of a newer one (v3.0.10, do_install).

    :param tree: the host.
    :param driver: what installed_driver.survey returned.
    :param wanted: the Modules.
    :param kernels: releases.
    """
    installed = {
        row["kernel"]
        for row in driver["dkms"]
        if (row["name"], row["version"], row["state"]) == (*wanted[:2], "installed")
    }
    return [
        kernel
        for kernel in kernels
        if kernel not in installed or not _is_there(tree, _rows_of(driver, kernel), wanted)
    ]


def replaced(tree, driver, wanted, kernels):
    """Return those kernels that have modules in place which are others than the wanted ones.

    :param tree: the host.
    :param driver: what installed_driver.survey returned.
    """
    return [
        kernel
        for kernel in kernels
        for rows in [_rows_of(driver, kernel)]
        if any(row["name"] == "nvidia" for row in rows) and not _is_there(tree, rows, wanted)
    ]


def records(wanted):
    """Return the paths without which DKMS builds nothing for a kernel that comes later."""
    return [f"{_folder(*wanted[:2])}/source/dkms.conf"]


def others(tree, wanted):
    """Return [(name, version)] of the driver's further trees and sources, to be removed.

    DKMS builds the greatest of several versions for the next kernel (autoinstall), be it one
    that was left behind. A tree is the driver's where it has its nvidia module. The uninstaller
    of a .run removes a tree, and leaves the sources that it did not bring.
    """
    trees = {
        (name, version)
        for name in tree.names(DKMS)
        for version in tree.names(f"{DKMS}/{name}")
        if "nvidia" in _modules_of(tree, name, version)
    }
    sources = {
        tuple(name.rsplit("-", 1))
        for name in tree.names(SOURCES)
        if folders.is_ours(tree.path(f"{SOURCES}/{name}"))
    }
    return sorted((trees | sources) - {wanted[:2]})


def add(tree, wanted, folder, modules):
    """Put unpacked sources where DKMS takes them from, whole or not at all.

    :param tree: the host.
    :param wanted: the Modules.
    :param folder: the kernel or kernel-open of an unpacked .run, which stays.
    :param modules: the names of its modules, as its manifest has them.
    :raises Refusal: there is no room.
    """
    place = tree.path(_sources(*wanted[:2]))
    what = f"add the sources of {wanted.name} {wanted.version}"
    with disk.watched(what, place), folders.replacing(place) as new:
        folders.make(new)
        shutil.copytree(folder, new, symlinks=True, dirs_exist_ok=True)
        path = os.path.join(new, "dkms.conf")
        with open(path, encoding="utf-8") as handle:
            text = dkms_conf(handle.read(), wanted.version, modules, os.cpu_count() or 1)
        files.write_text(path, text, owner=None, group=None)


def dkms_conf(template, version, modules, jobs):
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
def undone_on_failure(tree, name, version):
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


def build(tree, wanted, kernels, execute):
    """Build the wanted modules for some kernels, and install none.

    What is built whole already is left; what a killed build left half is removed.

    :param tree: the host.
    :param wanted: the Modules; their sources lie in /usr/src.
    :param kernels: rows of kernels.survey.
    :param execute: runs (argv, environment) and returns a CompletedProcess with text.
    :raises Refusal: they cannot be built; it names the kernel and quotes the compiler.
    """
    name, version = wanted[:2]
    if kernels and not tree.exists(f"{_sources(name, version)}/dkms.conf"):
        raise Refusal(
            f"build the modules of {name} {version}",
            f"{_sources(name, version)} holds no sources for DKMS",
            "Install what brings them again, and run again",
        )
    for kernel in kernels:
        release = kernel["release"]
        if is_built(tree, wanted, release):
            continue
        what = f"build the modules of {name} {version} for kernel {release}"
        done = build_for(release, wanted[:2], what, tree, execute)
        if done.returncode or not is_built(tree, wanted, release):
            raise not_built(
                tree, wanted[:2], kernel, what, done, "Choose a driver that builds for this kernel"
            )


def install(tree, wanted, kernels, execute):
    """Install the wanted modules for those kernels that lack them, whatever is there now.

    They are built where they are not. An older version takes the place of a newer one.

    :param kernels: rows of kernels.survey.
    :raises Refusal: they cannot be installed.
    """
    releases = [kernel["release"] for kernel in kernels]
    left = lacking(tree, installed_driver.survey(tree), wanted, releases)
    build(tree, wanted, [row for row in kernels if row["release"] in left], execute)
    for release in left:
        what = f"install the modules of {wanted.name} {wanted.version} for kernel {release}"
        install_for(release, wanted[:2], what, tree, execute)
    forget_before(*wanted[:2], tree)


def build_for(release, which, what, tree, execute):
    """Have DKMS build a tree for one kernel, from the beginning; return its CompletedProcess.

    :param release: the kernel's.
    :param which: (name, version) of the tree.
    :param what: what is done, for the messages.
    """
    for half in (release, "build"):
        # Of a build that was killed. Where it cannot go, DKMS says why.
        shutil.rmtree(tree.path(f"{_folder(*which)}/{half}"), ignore_errors=True)
    _mend(tree, *which)
    return run(what, ["build", *_which(*which), "-k", release], tree, execute)


def install_for(release, which, what, tree, execute):
    """Have DKMS put in place what it built of a tree for one kernel; see :func:`build_for`.

    :raises Refusal: it cannot.
    """
    # --force: else it leaves a newer module where it is, and v3.0.10 ends with 0.
    done = run(what, ["install", "--force", *_which(*which), "-k", release], tree, execute)
    if done.returncode:
        words = commands.last_words(done, done.stderr or done.stdout)
        raise Refusal(what, words, "Mend that and run again")


def forget_before(name, version, tree):
    """Remove what DKMS keeps beside a tree that is in place; where some stays, no harm is done now.

    That is what one that was killed after its last build did not come to, and what had been put in
    place without DKMS, which would come back when the tree is removed.
    """
    for left in (f"{_folder(name, version)}/build", f"{DKMS}/{name}/original_module"):
        shutil.rmtree(tree.path(left), ignore_errors=True)


def prove(tree, wanted, kernels):
    """Hold every kernel to having the wanted modules, and to loading them rather than others.

    :param kernels: releases.
    :raises Refusal: it names each kernel and what is wrong there.
    """
    driver = installed_driver.survey(tree)
    wrong = [
        f"kernel {kernel} has them not in place"
        for kernel in lacking(tree, driver, wanted, kernels)
    ]
    # Debian's is called nvidia-current, and what asks for nvidia is led there by modprobe.d.
    called = {row["kernel"]: _file_name(row) for row in driver["modules"] if _is_main(row, wanted)}
    # A kernel of which there are only headers has none.
    for kernel in filter(lambda name: tree.exists(f"/lib/modules/{name}/modules.dep"), kernels):
        name = called.get(kernel, "nvidia")
        loads = tree.answer("modinfo", "-k", kernel, "-F", "version", name).strip()
        if loads != wanted.version:
            wrong.append(f"kernel {kernel} would load {loads or 'none'}")
    placed = {
        row["path"]: row["kernel"]
        for row in driver["modules"]
        if row["kernel"] in kernels and row["version"] == wanted.version
    }
    for path, fields in installed_driver.described(tree, list(placed)).items():
        built_for = fields.get("vermagic", "").partition(" ")[0]
        if built_for != placed[path]:
            wrong.append(f"{path} is for {built_for or 'no kernel that it names'}")
    if wrong:
        what = f"the modules of {wanted.name} {wanted.version}"
        raise Refusal(what, "; ".join(wrong), "Look at `dkms status`, and run again")


def remove(tree, name, version, execute):
    """Remove a tree from DKMS and its modules from every kernel, however broken the tree is.

    Sources go along where :func:`add` put them; those of a package are the package's.

    :raises Refusal: they are still there.
    """
    what = f"remove the modules of {name} {version}"
    folder = _folder(name, version)
    if tree.exists(folder):
        _mend(tree, name, version)
        done = run(what, ["remove", *_which(name, version), "--all"], tree, execute)
        left = [
            row["kernel"]
            for row in installed_driver.dkms(tree)
            if (row["name"], row["version"], row["state"]) == (name, version, "installed")
        ]
        if left:
            words = commands.last_words(done, done.stderr or done.stdout)
            raise Refusal(what, f"{', '.join(left)}: {words}", "Mend that and run again")
        shutil.rmtree(tree.path(folder), ignore_errors=True)
        folders.remove_if_empty(tree.path(os.path.dirname(folder)))
    sources = tree.path(_sources(name, version))
    if folders.is_ours(sources):
        shutil.rmtree(sources)


def is_built(tree, wanted, release):
    """Say whether DKMS has the wanted modules for a kernel, all of them and each one whole.

    A build that was killed while it put them down looks like one that ended (v3.0.10,
    actual_build). Whether they are linked and signed as wanted is told here as well, since both
    are decided by the build.
    """
    files_found = built_files(tree, *wanted[:2], release)
    told = installed_driver.described(tree, list(files_found.values()))
    rows = []
    text = tree.text(f"{_folder(*wanted[:2])}/source/dkms.conf")
    for file, name in module_files(text, wanted.name).items():
        fields = told.get(files_found.get(file), {})
        if not fields.get("vermagic", "").startswith(f"{release} "):
            return False
        where = {"path": files_found[file], "kernel": release}
        rows.append({"name": name, **where, **installed_driver.module_facts(fields)})
    return _is_there(tree, rows, wanted)


def module_files(text, name):
    """Return {file, without its end: name of the module} of what a dkms.conf builds.

    Debian's are called nvidia-current-uvm.ko and the like.

    :param text: of the dkms.conf, which is a shell script.
    :param name: of the tree.
    """
    named = {"BUILT": {}, "DEST": {}}
    for kind, number, module in _NAMED.findall(text):
        named[kind][number or "0"] = re.sub(r"\$\{?PACKAGE_NAME\}?", name, module)
    return {
        named["DEST"].get(number, module): module.replace("-", "_")
        for number, module in named["BUILT"].items()
    }


def built_files(tree, name, version, release):
    """Return {file, without its end: path} of what DKMS has built for a kernel."""
    top = f"{_folder(name, version)}/{release}"
    return {
        file.partition(".ko")[0]: f"{top}/{architecture}/module/{file}"
        for architecture in tree.names(top)
        for file in tree.names(f"{top}/{architecture}/module")
        if ".ko" in file
    }


def _modules_of(tree, name, version):
    """Return the names of a tree's modules, and of one without sources those of its files."""
    folder = _folder(name, version)
    told = module_files(tree.text(f"{folder}/source/dkms.conf"), name).values()
    return set(told) or {
        file for kernel in tree.names(folder) for file in built_files(tree, name, version, kernel)
    }


def _rows_of(driver, kernel):
    return [row for row in driver["modules"] if row["kernel"] == kernel]


def _is_main(row, wanted):
    return row["name"] == "nvidia" and row["version"] == wanted.version


def _file_name(row):
    return os.path.basename(row["path"]).partition(".")[0]


def _is_there(tree, rows, wanted):
    """Say whether the modules of one kernel are those wanted.

    Some of the proprietary driver's modules have a free licence: nvidia speaks for all.
    """
    rows = [row for row in rows if row["version"] == wanted.version]
    return (
        any(row["name"] == "nvidia" and wanted.is_open in (None, row["open"]) for row in rows)
        and not (wanted.signed and any(not row["signer"] for row in rows))
        and not (wanted.rdma and any(_registers_nowhere(tree, row) for row in rows))
    )


def _registers_nowhere(tree, row):
    """Say whether a module is nvidia_peermem, and not linked to the RDMA core that is there."""
    return row["name"] == "nvidia_peermem" and (
        "ib_core" not in row["depends"] or symbols.is_outdated(tree, row["path"], row["kernel"])
    )


def _folder(name, version):
    return f"{DKMS}/{name}/{version}"


def _sources(name, version):
    return f"{SOURCES}/{name}-{version}"


def _which(name, version):
    return "-m", name, "-v", version


def _mend(tree, name, version):
    """Give a tree that leads to no sources some, for DKMS will not even remove it without.

    Sources that have vanished are made up, enough of them to remove the modules by.
    """
    folder, source = _folder(name, version), _sources(name, version)
    if not tree.exists(folder) or tree.exists(f"{folder}/source/dkms.conf"):
        return
    if not tree.exists(f"{source}/dkms.conf"):
        modules = _modules_of(tree, name, version)
        folders.make(tree.path(source))
        head = f'PACKAGE_NAME="{name}"\nPACKAGE_VERSION="{version}"\n__DKMS_MODULES'
        text = dkms_conf(head, version, sorted(modules), 1)
        files.write_text(tree.path(f"{source}/dkms.conf"), text, owner=None, group=None)
    files.point_link(os.path.join(tree.path(folder), "source"), source)


def run(what, arguments, tree, execute):
    """Run dkms, once that of somebody else has ended; return its CompletedProcess."""
    _wait_for_others(what, tree)
    return commands.run(what, ["dkms", *arguments], _ENVIRONMENT, execute, "/var")


def _wait_for_others(what, tree):
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


def _is_dkms(tree, pid):
    """Say whether a process is dkms, which is a script: its shell comes first."""
    words = tree.data(f"/proc/{pid}/cmdline").split(b"\0")
    return b"dkms" in [os.path.basename(word) for word in words[:2]]


def _places(tree, name, version):
    """Return (name of its copy, place) of what building changes."""
    return [
        ("sources", tree.path(_sources(name, version))),
        ("tree", tree.path(_folder(name, version))),
    ]


def _put_back(tree, name, version):
    aside = os.path.join(tree.path(ASIDE), f"{name}-{version}")
    for copy, place in _places(tree, name, version):
        _copy_over(os.path.join(aside, copy), place)
    folders.remove_if_empty(os.path.dirname(tree.path(_folder(name, version))))
    _discard(aside)


def _copy_over(source, target):
    """Make a folder like another one, gone where that one is not there."""
    shutil.rmtree(target, ignore_errors=True)
    if os.path.isdir(source):
        shutil.copytree(source, target, symlinks=True)


def _discard(aside):
    """Remove a copy; a run that is killed in between leaves it marked as a part of one."""
    os.rename(aside, aside + _PART)
    shutil.rmtree(aside + _PART)


def not_built(tree, which, kernel, what, done, remedy):
    """Return the Refusal that says why a build failed; the log, which goes with the tree, is kept.

    :param which: (name, version) of the tree.
    :param kernel: the row of kernels.survey.
    :param what: what was done, for the message.
    :param done: how dkms ended.
    :param remedy: what to do where no compiler is lacking.
    """
    name, version = which
    text = tree.text(f"{_folder(name, version)}/build/make.log")
    # dkms 3.0.10 ends with 0 where what it built could not be copied.
    if disk.is_full(text + done.stdout + done.stderr):
        return disk.full(what, DKMS)
    log = f"make-{name}-{version}-{kernel['release']}.log"
    return build_failure.failure(tree, log, text, kernel, what, done, remedy)
