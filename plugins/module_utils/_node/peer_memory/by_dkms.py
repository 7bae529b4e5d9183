# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""nv_peer_mem by DKMS, which also builds it for kernels that come later."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
from collections.abc import Iterator
from typing import Any, NamedTuple

from ..facts_shape import DkmsTree, Kernel, Module, Surveyed
from ..kernel import dkms
from ..packages import stack_packages
from ..rdma import ofed_release
from ..records import manifest
from ..steps import Step
from ..system import folders, text_files
from ..system.commands import Execute
from ..system.root import Root
from . import nv_peer_mem, sources
from .delivery import Delivery, Hold

_NAME = nv_peer_mem.NAME
# What DKMS calls it: the sources themselves, and Debian's packages of 1.1-0.
_DKMS_TREES = (_NAME, "nvidia-peer-memory")


class InDkms(NamedTuple):
    """What DKMS has.

    :ivar rows: rows of dkms_status.survey, of whatever it belongs to.
    :ivar made_from: {version: what the sources of nv_peer_mem were made from that lie there}.
    :ivar packaged: the paths of sources of nv_peer_mem that a package has placed.
    """

    rows: list[DkmsTree]
    made_from: dict[str, str]
    packaged: list[str]

    @property
    def own(self) -> list[DkmsTree]:
        """The rows of nv_peer_mem."""
        return [row for row in self.rows if row["name"] in _DKMS_TREES]


class ByDkms(Delivery[InDkms]):
    """nv_peer_mem as a tree of DKMS."""

    name = "DKMS"

    @staticmethod
    def packages(manager: str) -> list[str]:
        """Return DKMS, which is called so by all."""
        return ["dkms"]

    @staticmethod
    def observe(tree: Root, facts: Surveyed) -> InDkms:
        """Return what DKMS has of nv_peer_mem, and whose its sources are."""
        rows = facts["driver"]["dkms"]
        found = InDkms(rows, {}, [])
        for name in tree.names(dkms.SOURCES):
            if name.startswith(f"{_NAME}-"):
                version = name[len(_NAME) + 1 :]
                found.made_from[version] = sources.noted(tree.path(dkms.sources_of(_NAME, version)))
        for which in _dkms_trees(found):
            path = _code_of(*which)
            if tree.exists(path) and stack_packages.owns(tree, path):
                found.packaged.append(path)
        return found

    @property
    def lacks_sources(self) -> bool:
        """Whether the sources there are others, or were changed."""
        return self.there.made_from.get(self._which[1]) != self.order.made_from

    @property
    def foreign(self) -> str:
        """The path of sources that go and belong to a package, '' for none."""
        paths = [_code_of(*which) for which in self._unwanted]
        return next((path for path in paths if path in self.there.packaged), "")

    @property
    def files(self) -> dict[str, text_files.TextFile]:
        """{path: TextFile} of what it is told beside the sources' own settings."""
        if not self.order.tag:
            return {nv_peer_mem.CONF: text_files.of(None)}
        awaited = {row["name"] for row in self.there.rows if _is_waited_for(row, self.order.driver)}
        patches = list(self.order.patches)
        text = nv_peer_mem.conf(patches, sorted(awaited), self.order.inputs)
        return {nv_peer_mem.CONF: text_files.of(text)}

    def has(self, release: str) -> bool:
        """Say whether it has installed the module of a kernel, from the wanted sources."""
        wanted = (*self._which, release, "installed")
        rows = [
            (row["name"], row["version"], row["kernel"], row["state"]) for row in self.there.own
        ]
        return not self.lacks_sources and wanted in rows

    def has_put(self, row: Module) -> bool:
        """Say whether a module is for a kernel that DKMS knows of; it tells no more."""
        return row["kernel"] in {known["kernel"] for known in self.there.own}

    def places(self, release: str) -> list[str]:
        """Return none: DKMS makes room."""
        return []

    def build(self, kernels: list[Kernel], hold: Hold) -> None:
        """Build the modules of some kernels; the module in place is that of before."""
        tree, folder = self.node.tree, self.node.tree.path(dkms.sources_of(*self._which))
        with _conf_put_back(), dkms.undone_on_failure(tree, *self._which):
            if self.lacks_sources:
                with folders.replacing(folder) as new:
                    self.order.unpack(new)
                    sources.note(self.order.made_from, new)
            text_files.put_all(self.files)
            for kernel in kernels:
                hold(self._build_for(kernel), kernel["release"])

    def install(self, releases: list[str]) -> None:
        """Have DKMS put in place what it built."""
        for release in releases:
            what = f"install nv_peer_mem {self.order.tag} for kernel {release}"
            dkms.install_for(release, self._which, what, self.node.tree, self.node.execute)
        dkms.forget_before(*self._which, self.node.tree)

    def removing(self) -> list[Step]:
        """Return what removes the trees that are not to be there."""
        remove = functools.partial(_remove, self.node.tree, self.node.execute)
        return [
            Step(f"remove {name} {version} from DKMS", functools.partial(remove, name, version))
            for name, version in self._unwanted
        ]

    def manifest(self) -> list[dict[str, Any]]:
        """Return the entry of the sources."""
        return [manifest.tree(dkms.sources_of(*self._which))]

    @property
    def _which(self) -> tuple[str, str]:
        """(name, version) in DKMS, where the version is the tag without its release."""
        return _NAME, self.order.tag.partition("-")[0]

    @property
    def _unwanted(self) -> list[tuple[str, str]]:
        """[(name, version)] of the trees of DKMS that are not to be there."""
        return [which for which in _dkms_trees(self.there) if which != self._which]

    def _build_for(self, kernel: Kernel) -> str:
        """Build the module of one kernel, and return its path."""
        release, tree = kernel["release"], self.node.tree
        what = f"build nv_peer_mem {self.order.tag} for kernel {release}"
        done = dkms.build_for(release, self._which, what, tree, self.node.execute)
        path = dkms.built_files(tree, *self._which, release).get(_NAME, "")
        if done.returncode or not path:
            raise dkms.not_built(tree, self._which, kernel, what, done, "Mend what it names")
        return path


def _dkms_trees(there: InDkms) -> list[tuple[str, str]]:
    """Return [(name, version)] of the trees of nv_peer_mem."""
    return sorted({(row["name"], row["version"]) for row in there.own})


def _code_of(name: str, version: str) -> str:
    return f"{dkms.sources_of(name, version)}/nv_peer_mem.c"


def _is_waited_for(row: DkmsTree, driver: str) -> bool:
    """Say whether a tree of DKMS has to be built first: of the RDMA stack, and the driver."""
    is_driver = row["name"].startswith("nvidia") and row["version"] == driver
    return ofed_release.has_core(row["name"]) or is_driver


@contextlib.contextmanager
def _conf_put_back() -> Iterator[None]:
    before = text_files.found(nv_peer_mem.CONF)
    try:
        yield
    except Exception:
        # Whatever it was, DKMS of later kernels goes by this file; the error goes on.
        text_files.put(nv_peer_mem.CONF, before)
        raise


def _remove(tree: Root, execute: Execute, name: str, version: str) -> None:
    dkms.remove(tree, name, version, execute)
    folder = tree.path(dkms.sources_of(name, version))
    if os.path.exists(os.path.join(folder, sources.NOTE)):
        shutil.rmtree(folder)
