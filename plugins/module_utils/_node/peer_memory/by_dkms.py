# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""nv_peer_mem by DKMS, which also builds it for kernels that come later."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
from functools import cached_property

from ..kernel import dkms, dkms_status
from ..packages import stack_packages
from ..records import manifest
from ..system import folders, text_files
from . import nv_peer_mem

_NAME = nv_peer_mem.NAME
# What DKMS calls it: the sources themselves, and Debian's packages of 1.1-0.
_TREES = (_NAME, "nvidia-peer-memory")
_OFED_TREE = "mlnx-ofed-kernel"


class ByDkms:
    """One way to deliver nv_peer_mem; see peer_memory/converge.py for the order of what it does.

    :param order: the nv_peer_mem.Order, None where it is not to be there in this way.
    :param host: the bring.Host.
    :param facts: of the host.
    """

    name = "DKMS"

    def __init__(self, order, host, facts):
        self._order = order
        self._host = host
        self._tree = host.tree
        self._rows = [row for row in facts["driver"]["dkms"] if row["name"] in _TREES]
        self._trees = facts["driver"]["dkms"]

    @property
    def packages(self):
        """The names of the packages that it works with."""
        return ["dkms"]

    @cached_property
    def lacks_sources(self):
        """Whether an archive is needed to build from: what lies there is not as wanted."""
        return not nv_peer_mem.is_made_from(self._order.made_from, self._tree.path(self._sources))

    def has(self, release):
        """Say whether the module of a kernel is there by it, and from the wanted sources."""
        wanted = (*self._which, release, "installed")
        rows = [(row["name"], row["version"], row["kernel"], row["state"]) for row in self._rows]
        return not self.lacks_sources and wanted in rows

    def has_put(self, row):
        """Say whether a module on disk came by it, as far as DKMS tells: it knows of kernels."""
        return row["kernel"] in {known["kernel"] for known in self._rows}

    def places(self, _release):
        """Return the paths where it puts a module, beside one of others: none, DKMS makes room."""
        return []

    def foreign(self):
        """Return a path of what goes and belongs to a package, '' for none."""
        paths = [f"{dkms.sources_of(*which)}/nv_peer_mem.c" for which in self._unwanted]
        owned = (p for p in paths if self._tree.exists(p) and stack_packages.owns(self._tree, p))
        return next(owned, "")

    def build(self, kernels, hold):
        """Build the modules of some kernels, beside those that are there, or leave all as it was.

        :param kernels: rows of kernels.survey.
        :param hold: refuses a module that would not load, by its (path, release).
        :raises Refusal: one cannot be built, or would not load.
        """
        with self._conf_put_back(), dkms.undone_on_failure(self._tree, *self._which):
            if self.lacks_sources:
                with folders.replacing(self._tree.path(self._sources)) as new:
                    self._order.unpack(new)
                    nv_peer_mem.note(self._order.made_from, new)
            text_files.put(nv_peer_mem.CONF, self.files[nv_peer_mem.CONF])
            for kernel in kernels:
                hold(self._build_for(kernel), kernel["release"])

    def install(self, releases):
        """Put the modules in place that were built.

        :raises Refusal: DKMS cannot.
        """
        for release in releases:
            what = f"install nv_peer_mem {self._order.tag} for kernel {release}"
            dkms.install_for(release, self._which, what, self._tree, self._host.execute)
        dkms.forget_before(*self._which, self._tree)

    def removing(self):
        """Return what removes that which came by it and is not to be there."""
        return [
            (f"remove {name} {version} from DKMS", functools.partial(self._remove, name, version))
            for name, version in self._unwanted
        ]

    @cached_property
    def files(self):
        """{path: text_files.TextFile} of its settings."""
        if not self._order:
            return {nv_peer_mem.CONF: text_files.of(None)}
        trees = {row["name"] for row in self._trees if self._is_waited_for(row)}
        patches = list(self._order.patches)
        text = nv_peer_mem.conf(patches, sorted(trees), self._order.needs)
        return {nv_peer_mem.CONF: text_files.of(text)}

    def manifest(self):
        """Return the entries of what is there by it, beside modules and files."""
        return [manifest.tree(self._sources)]

    @property
    def _which(self):
        """(name, version) in DKMS, where the version is the tag without its release."""
        return _NAME, self._order.tag.partition("-")[0]

    @property
    def _sources(self):
        return dkms.sources_of(*self._which)

    @cached_property
    def _unwanted(self):
        """[(name, version)] of the trees of DKMS that are not to be there."""
        there = {(row["name"], row["version"]) for row in self._rows}
        return sorted(there - ({self._which} if self._order else set()))

    def _is_waited_for(self, row):
        """Say whether a tree of DKMS has to be built first: of the RDMA stack, and the driver."""
        is_driver = row["name"].startswith("nvidia") and row["version"] == self._order.driver
        return row["name"] == _OFED_TREE or is_driver

    @contextlib.contextmanager
    def _conf_put_back(self):
        before = text_files.found(nv_peer_mem.CONF)
        try:
            yield
        except Exception:
            # Whatever it was, DKMS of later kernels goes by this file; the error goes on.
            text_files.put(nv_peer_mem.CONF, before)
            raise

    def _build_for(self, kernel):
        """Build the module of one kernel, and return its path."""
        release = kernel["release"]
        what = f"build nv_peer_mem {self._order.tag} for kernel {release}"
        execute = self._host.execute
        done = dkms.build_for(release, self._which, what, self._tree, execute)
        path = self._built(release)
        if done.returncode or not path:
            remedy = "Mend what it names"
            raise dkms.not_built(self._tree, self._which, kernel, what, done, remedy)
        return path

    def _built(self, release):
        """Return the path of the module that DKMS built for a kernel, '' for none."""
        top = "/".join((dkms_status.FOLDER, *self._which, release))
        found = [
            f"{top}/{machine}/module/{file}"
            for machine in self._tree.names(top)
            for file in self._tree.names(f"{top}/{machine}/module")
            if file.startswith(f"{_NAME}.ko")
        ]
        return (found or [""])[0]

    def _remove(self, name, version):
        dkms.remove(self._tree, name, version, self._host.execute)
        sources = self._tree.path(dkms.sources_of(name, version))
        if os.path.exists(os.path.join(sources, nv_peer_mem.NOTE)):
            shutil.rmtree(sources)
