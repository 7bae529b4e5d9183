# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Packages of nv_peer_mem, one for each kernel, built by the way that its sources have for it.

What is said of them holds for Mellanox/nv_peer_memory 1.1-0 (4ed7715) and 1.3-0 (a15f0f6),
build_module.sh and nvidia_peer_memory.spec.
"""

from __future__ import annotations

import os
import re
import shutil
from typing import Any

from ..component.bring import Node
from ..facts_shape import Kernel
from ..kernel import build_failure, kernels
from ..refusal import Refusal
from ..system import commands, confinement, own_paths
from ..system.commands import Execute
from . import nv_peer_mem
from .delivery import Hold

PACKAGE = "nvidia_peer_memory"
#: Begins the DISTURL of what was built here.
ORIGIN = "gpunode:"
WORK_DIR = os.path.join(own_paths.CACHE_DIR, "peer_memory", "rpm")
# Debian's RPM knows of none of its packages, so nothing that is needed is there to it. The scripts
# run modprobe --remove, which takes modules along that nobody uses then, the driver too, and
# depmod for the running kernel alone: both is done here, when it is time.
AS_IT_IS = ("--nodeps", "--noscripts")
AGAIN = ("--replacepkgs", "--oldpackage", *AS_IT_IS)
# Debian's rpm keeps its database in the home of whoever calls it.
_ENVIRONMENT = {"HOME": "/root", "LC_ALL": "C.UTF-8"}
# An upgrade makes room in what was delivered so before, and stumbles over files of anybody else.
_TRY = ("rpm", "--upgrade", "--test", *AGAIN)
# It makes a source package where this file is not to be seen, and puts it into /tmp.
_PACK = """
mount --bind "$2" /tmp
[ ! -e /etc/debian_version ] || mount --bind /dev/null /etc/debian_version
cd "$1"
exec ./build_module.sh
"""
# With it rpmbuild says that one of its scripts failed, whatever that said itself.
_NO_REASON = re.compile(r"^.*Bad exit status.*\n?", re.MULTILINE)


def module_of(release: str) -> str:
    """Return where a package puts the module for a kernel: Makefile, install."""
    return f"{kernels.MODULES}/{release}/extra/{nv_peer_mem.NAME}.ko"


def name_of(tag: str, release: str) -> str:
    """Return what the package for a kernel is called, with its version and release."""
    return f"{PACKAGE}-{tag.partition('-')[0]}-{_release_of(tag, release)}"


def _release_of(tag: str, release: str) -> str:
    """Return the Release of the package for a kernel, so that each kernel has its own.

    No '-' may be in it, nor some other characters (rpm, build/parsePreamble.c).
    """
    number = tag.partition("-")[2]
    return f"{number}.{re.sub(r'[^A-Za-z0-9.]', '_', release)}"


def run(
    what: str,
    argv: list[str],
    execute: Execute,
    variables: dict[str, str] | None = None,
) -> Any:
    """Run a command on packages, with some more variables; return its CompletedProcess."""
    environment = {**_ENVIRONMENT, **(variables or {})}
    return commands.run_long(what, argv, environment, execute, "/usr and /var")


def ended(what: str, argv: list[str], execute: Execute) -> None:
    """Run a command that has to succeed.

    :raises Refusal: it does not.
    """
    done = run(what, argv, execute)
    if done.returncode:
        words = commands.last_words(done, done.stderr or done.stdout)
        raise Refusal(what, f"{argv[0]}: {words}", "Mend that and run again")


class RpmBuild:
    """The building of packages, in a folder that is nobody else's.

    :param order: what is to be built.
    :param node: where.
    """

    def __init__(self, order: nv_peer_mem.Order, node: Node) -> None:
        self._order = order
        self._tree = node.tree
        self._execute = node.execute

    def make(self, kernels_: list[Kernel], hold: Hold) -> None:
        """Build the packages of some kernels, beside what is there, and install nothing.

        :param kernels_: rows of kernels.survey.
        :raises Refusal: one cannot be built, would not load, or could not be installed.
        """
        self._clear()
        try:
            self._pack()
            for kernel in kernels_:
                self._build(kernel, hold)
        except Exception:
            # Whatever it was, what is half built serves nobody; the error goes on.
            self._clear()
            raise

    def built(self, release: str) -> str:
        """Return the path of the package that was built for a kernel."""
        return self._only(f"build {PACKAGE} for kernel {release}", ".rpm", release, "topdir/RPMS")

    def _work(self, *names: str) -> str:
        """Return where a part of the work lies, for this process and for commands."""
        return self._tree.path(os.path.join(WORK_DIR, *names))

    def _clear(self) -> None:
        # What cannot go is found where it would be built again, which says why.
        shutil.rmtree(self._work(), ignore_errors=True)

    def _pack(self) -> None:
        """Make the source package of the patched sources."""
        what = f"pack {PACKAGE} {self._order.tag}"
        os.makedirs(self._work("packed"), mode=0o755)
        sources = self._work("sources")
        self._order.unpack(sources)
        for name in self._order.patches:
            patch = ["patch", "--strip=1", "--fuzz=0", f"--directory={sources}"]
            ended(what, [*patch, f"--input={sources}/patches/{name}"], self._execute)
        pack = ["unshare", "--mount", "sh", "-ec", _PACK, "sh", sources, self._work("packed")]
        ended(what, pack, self._execute)

    def _build(self, kernel: Kernel, hold: Hold) -> None:
        """Build the package of a kernel, hold its module against all, and try to install it."""
        release = kernel["release"]
        what = f"build {PACKAGE} {self._order.tag} for kernel {release}"
        self._rebuild(what, kernel)
        root = self._work(release, "root")
        os.makedirs(root, mode=0o755)
        built = self.built(release)
        ended(what, ["rpm", "--install", *AS_IT_IS, f"--root={root}", built], self._execute)
        hold(f"{WORK_DIR}/{release}/root{module_of(release)}", release)
        ended(what, [*_TRY, built], self._execute)

    def _rebuild(self, what: str, kernel: Kernel) -> None:
        """Make the package for a kernel of the source package."""
        release = kernel["release"]
        inputs = next(row for row in self._order.inputs if row.release == release)
        defined = {
            "_topdir": self._work(release, "topdir"),
            "KVERSION": release,
            "_release": _release_of(self._order.tag, release),
            "disturl": f"{ORIGIN}{self._order.made_from}",
            # Links that would be left behind when the package goes.
            "_build_id_links": "none",
        }
        argv = ["rpmbuild", "--rebuild", "--nodeps"]
        for name, value in defined.items():
            argv.append(f"--define={name} {value}")
        source = self._only(what, ".src.rpm", "packed")
        # As if they had been said to make, which the spec calls without.
        variables = {"MAKEFLAGS": nv_peer_mem.make_variables(inputs)}
        # Sources that were named may lie anywhere.
        argv = confinement.confined([*argv, source], ["/tmp"])
        done = run(what, argv, self._execute, variables)
        if done.returncode:
            text = _NO_REASON.sub("", done.stdout + done.stderr)
            log = f"rpmbuild-{PACKAGE}-{self._order.tag}-{release}.log"
            raise build_failure.failure(
                self._tree, log, text, kernel, what, done, "Mend what it names"
            )

    def _only(self, what: str, end: str, *folder: str) -> str:
        """Return the path of the one package in a folder, or below it."""
        found = [
            os.path.join(place, name)
            for place, _folders, names in os.walk(self._work(*folder))
            for name in names
            if name.startswith(PACKAGE) and name.endswith(end)
        ]
        if len(found) != 1:
            raise Refusal(
                what,
                f"{len(found)} packages came of it in place of one",
                "Name another archive in peer_memory_archives",
            )
        return found[0]
