# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The archive of a bundle of MLNX_OFED: where it comes from, and whether the host has it."""

from __future__ import annotations

import os
import shutil
from functools import cached_property
from typing import NamedTuple

from ..component.bring import Node
from ..facts_shape import Surveyed
from ..rdma import ofed_release
from ..refusal import Refusal
from ..system import download, files, own_paths
from . import note
from .wanted import Present

_WORK_DIR = os.path.join(own_paths.CACHE_DIR, "mlnx_ofed")


class Source(NamedTuple):
    """Where an archive comes from.

    :ivar place: its address, or its path on the controller.
    :ivar sha256: its digest.
    """

    place: str
    sha256: str


def source(wanted: Present, facts: Surveyed) -> Source:
    """Return the Source of the wanted bundle.

    :param wanted: the wanted state.
    :param facts: the general facts.
    :raises Refusal: none is known whose digest is.
    """
    if wanted["file"]:
        return Source(wanted["file"], wanted["sha256"])
    url, digest = ofed_release.bundle(wanted["release"], facts)
    if not digest:
        raise Refusal(
            f"MLNX_OFED {wanted['version']}",
            f"of {url or 'its bundle'} no sha256 is known that it could be checked against",
            "Say gpunode_ofed_file: FILE#sha256=DIGEST",
        )
    return Source(url, digest)


class Archive:
    """The archive of a bundle, on its way to the host.

    :param found: its Source.
    :param version: of the bundle.
    :param node: the bring.Node.
    """

    def __init__(self, found: Source, version: str, node: Node) -> None:
        self._source = found
        self._version = version
        self._node = node
        self._path = os.path.join(_WORK_DIR, f"{found.sha256}.tgz")

    @cached_property
    def _at_hand(self) -> str:
        """The path where it lay on the host when that was first asked, '' where it did not."""
        for path in (self._path, note.kept(self._node.tree, self._version)):
            is_there = path and os.path.isfile(path)
            if is_there and files.sha256_of_file(path) == self._source.sha256:
                return path
        return ""

    def needs(self) -> list[str]:
        """Return the name of the controller's file that the host lacks, in a list."""
        place = self._source.place
        comes = self._at_hand or "://" in place or place in self._node.sent
        return [] if comes else [place]

    def fetched(self) -> str:
        """Return its path on the host, where it is now.

        :raises Refusal: it cannot be had, or has another digest.
        """
        if not self._at_hand:
            place, digest = self._source
            sent = self._node.sent.get(place)
            download.fetch(f"file://{sent}" if sent else place, self._path, digest)
        return self._at_hand or self._path


def discard() -> None:
    """Remove what was fetched: it is fetched and proven again where it is needed again."""
    shutil.rmtree(_WORK_DIR, ignore_errors=True)
