# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""nv_peer_mem as RPMs, one for each kernel, by the way that its sources have for it.

What is said of them holds for Mellanox/nv_peer_memory 1.1-0 (4ed7715) and 1.3-0 (a15f0f6),
build_module.sh and nvidia_peer_memory.spec. Who built a package stands in itself: its DISTURL is
the digest of what it was made from, so that nothing else has to remember it.
"""

from __future__ import annotations

import collections
import functools
import os
import re
import shutil
from functools import cached_property

from ..kernel import build_failure, kernels
from ..refusal import Refusal
from ..system import commands, folders, own_paths
from . import nv_peer_mem

PACKAGE = "nvidia_peer_memory"
_WORK_DIR = os.path.join(own_paths.CACHE_DIR, "peer_memory", "rpm")
# Debian's rpm keeps its database in the home of whoever calls it.
_ENVIRONMENT = {"HOME": "/root", "LC_ALL": "C.UTF-8"}
_TOLD = "[%{=VERSION}-%{=RELEASE}\t%{=DISTURL}\t%{FILENAMES}\n]"
_QUERY = ("env", "HOME=/root", "rpm", "--query", "--queryformat", _TOLD, PACKAGE)
# Debian's RPM knows of none of its packages, so nothing that is needed is there to it. The scripts
# run modprobe --remove, which takes modules along that nobody uses then, the driver too, and
# depmod for the running kernel alone: both is done here, when it is time.
_AS_IT_IS = ("--nodeps", "--noscripts")
_AGAIN = ("--replacepkgs", "--oldpackage", *_AS_IT_IS)
# Beside those of other kernels, of which an upgrade would be the end, and over an older one of the
# same kernel, which goes once this is in place.
_PUT = ("rpm", "--install", "--replacefiles", *_AGAIN)
# An upgrade makes room in what was delivered so before, and stumbles over files of anybody else.
_TRY = ("rpm", "--upgrade", "--test", *_AGAIN)
_ORIGIN = "gpunode:"
_SETTINGS = "/etc/infiniband"
# It makes a source package where this file is not to be seen, and puts it into /tmp.
_PACK = """
mount --bind "$2" /tmp
[ ! -e /etc/debian_version ] || mount --bind /dev/null /etc/debian_version
cd "$1"
exec ./build_module.sh
"""
# With it rpmbuild says that one of its scripts failed, whatever that said itself.
_NO_REASON = re.compile(r"^.*Bad exit status.*\n?", re.MULTILINE)

# One that is installed: its name with version and release, its DISTURL, and its files and folders.
_Package = collections.namedtuple("_Package", "name origin paths")


class ByRpm:
    """One way to deliver nv_peer_mem; see peer_memory/converge.py for the order of what it does.

    :param order: the nv_peer_mem.Order, None where it is not to be there in this way.
    :param host: the bring.Host.
    :param facts: of the host.
    """

    name = "RPM"
    #: Whether an archive is needed to build from: packages are all that stays of it.
    lacks_sources = True

    def __init__(self, order, host, facts):
        self._order = order
        self._host = host
        self._tree = host.tree
        self._facts = facts
        # It has no settings of its own.
        self.files = {}

    @property
    def packages(self):
        """The names of the packages that it works with."""
        itself = "rpm" if self._facts["pkg_mgr"] == "apt" else "rpm-build"
        return [itself, "gcc", "make", "patch", "binutils"]

    def has(self, release):
        """Say whether the module of a kernel is there by it, and from the wanted sources."""
        return any(package.origin == self._origin for package in self._of(release))

    def has_put(self, row):
        """Say whether a module on disk came by it."""
        return any(row["path"] in package.paths for package in self._there)

    def places(self, release):
        """Return the paths where it puts a module for a kernel, beside one of others."""
        return [_module(release)]

    def foreign(self):
        """Return a path of a package of that name which is another one's, '' for none."""
        others = (row for row in self._there if not row.origin.startswith(_ORIGIN))
        return next((path for package in others for path in package.paths), "")

    def build(self, kernels_, hold):
        """Build the packages of some kernels, beside what is there, and install nothing.

        :param kernels_: rows of kernels.survey.
        :param hold: refuses a module that would not load, by its (path, release).
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

    def install(self, releases):
        """Put the packages in place that were built.

        :raises Refusal: they cannot be.
        """
        built = [self._built(release) for release in releases]
        self._ended(f"install {PACKAGE}", [*_PUT, *built])
        names = [self._name(release) for release in releases]
        before = {package.name for release in releases for package in self._of(release)}
        for name in sorted(before.difference(names)):
            self._erase(name)
        self._list_modules(releases)

    def removing(self):
        """Return what removes that which came by it and is not to be there; see :meth:`foreign`."""
        return [
            (f"remove the package {package.name}", functools.partial(self._remove, package))
            for package in self._there
            if not self._is_kept(package)
        ]

    def manifest(self):
        """Return the entries of what is there by it, beside modules and files."""
        return []

    @cached_property
    def _there(self):
        """The _Packages that are installed."""
        found = collections.defaultdict(list)
        for line in self._tree.answer(*_QUERY).splitlines():
            version, origin, path = line.split("\t")
            found[f"{PACKAGE}-{version}", origin].append(path)
        return [_Package(*which, paths) for which, paths in found.items()]

    def _of(self, release):
        """Return the packages that have a module for a kernel."""
        return [package for package in self._there if _module(release) in package.paths]

    def _is_kept(self, package):
        """Say whether a package is wanted, or gives way when the wanted one is installed.

        A run that was killed right then leaves both.
        """
        releases = self._order.releases if self._order else []
        return any(
            package.origin == self._origin or not self.has(release)
            for release in releases
            if package in self._of(release)
        )

    @property
    def _origin(self):
        return f"{_ORIGIN}{self._order.made_from}"

    def _release(self, release):
        """Return the Release of the package for a kernel, so that each kernel has its own.

        No '-' may be in it, nor some other characters (rpm, build/parsePreamble.c).
        """
        number = self._order.tag.partition("-")[2]
        return f"{number}.{re.sub(r'[^A-Za-z0-9.]', '_', release)}"

    def _name(self, release):
        return f"{PACKAGE}-{self._order.tag.partition('-')[0]}-{self._release(release)}"

    def _work(self, *names):
        """Return where a part of the work lies, for this process and for commands."""
        return self._tree.path(os.path.join(_WORK_DIR, *names))

    def _clear(self):
        # What cannot go is found where it would be built again, which says why.
        shutil.rmtree(self._work(), ignore_errors=True)

    def _pack(self):
        """Make the source package of the patched sources."""
        what = f"pack {PACKAGE} {self._order.tag}"
        os.makedirs(self._work("packed"), mode=0o755)
        sources = self._work("sources")
        self._order.unpack(sources)
        for name in self._order.patches:
            patch = ["patch", "--strip=1", "--fuzz=0", f"--directory={sources}"]
            self._ended(what, [*patch, f"--input={sources}/patches/{name}"])
        pack = ["unshare", "--mount", "sh", "-ec", _PACK, "sh", sources, self._work("packed")]
        self._ended(what, pack)

    def _build(self, kernel, hold):
        """Build the package of a kernel, hold its module against all, and try to install it."""
        release = kernel["release"]
        what = f"build {PACKAGE} {self._order.tag} for kernel {release}"
        self._rebuild(what, kernel)
        root = self._work(release, "root")
        os.makedirs(root, mode=0o755)
        built = self._built(release)
        self._ended(what, ["rpm", "--install", *_AS_IT_IS, f"--root={root}", built])
        hold(f"{_WORK_DIR}/{release}/root{_module(release)}", release)
        self._ended(what, [*_TRY, built])

    def _rebuild(self, what, kernel):
        """Make the package for a kernel of the source package."""
        release = kernel["release"]
        needs = next(row for row in self._order.needs if row.release == release)
        defined = {
            "_topdir": self._work(release, "topdir"),
            "KVERSION": release,
            "_release": self._release(release),
            "disturl": self._origin,
            # Links that would be left behind when the package goes.
            "_build_id_links": "none",
        }
        argv = ["rpmbuild", "--rebuild", "--nodeps"]
        for name, value in defined.items():
            argv.append(f"--define={name} {value}")
        source = self._only(what, ".src.rpm", "packed")
        # As if they had been said to make, which the spec calls without.
        variables = {"MAKEFLAGS": nv_peer_mem.make_variables(needs)}
        done = self._run(what, [*argv, source], variables)
        if done.returncode:
            text = _NO_REASON.sub("", done.stdout + done.stderr)
            log = f"rpmbuild-{PACKAGE}-{self._order.tag}-{release}.log"
            raise build_failure.failure(
                self._tree, log, text, kernel, what, done, "Mend what it names"
            )

    def _built(self, release):
        """Return the path of the package that was built for a kernel."""
        return self._only(f"build {PACKAGE} for kernel {release}", ".rpm", release, "topdir/RPMS")

    def _only(self, what, end, *folder):
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

    def _remove(self, package):
        self._erase(package.name)
        there = [path.split("/")[3] for path in package.paths if path.endswith(".ko")]
        self._list_modules(filter(self._has_modules, there))
        # A package of RPM has its files, and not the folders on the way to them.
        folders.remove_if_empty(self._tree.path(_SETTINGS))

    def _has_modules(self, release):
        """Say whether the kernel is still there for which a package was."""
        return self._tree.exists(f"{kernels.MODULES}/{release}")

    def _erase(self, name):
        self._ended(f"remove {name}", ["rpm", "--erase", *_AS_IT_IS, name])

    def _list_modules(self, releases):
        for release in releases:
            self._ended(f"list the modules of kernel {release}", ["depmod", release])

    def _run(self, what, argv, variables=None):
        environment = {**_ENVIRONMENT, **(variables or {})}
        return commands.run_long(what, argv, environment, self._host.execute, "/usr and /var")

    def _ended(self, what, argv):
        """Run a command that has to succeed."""
        done = self._run(what, argv)
        if done.returncode:
            words = commands.last_words(done, done.stderr or done.stdout)
            raise Refusal(what, f"{argv[0]}: {words}", "Mend that and run again")


def _module(release):
    """Return where a package puts the module: Makefile, install."""
    return f"{kernels.MODULES}/{release}/extra/{nv_peer_mem.NAME}.ko"
