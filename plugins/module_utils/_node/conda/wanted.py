# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wanted of one conda environment: what the controller resolves, and the node builds."""

from __future__ import annotations

from typing import TypedDict

from .lock_file import Package


class Dist(TypedDict):
    """A Python distribution that pip is to install.

    :ivar name: as PEP 503 compares it.
    :ivar version: the one that is pinned.
    :ivar line: the requirement with its hashes, for pip.
    """

    name: str
    version: str
    line: str


class Content(TypedDict):
    """What a build of an environment is to hold.

    :ivar prefix: its folder.
    :ivar lock: the packages, in the order of the lock.
    :ivar dists: the distributions besides, in the order of their names.
    """

    prefix: str
    lock: list[Package]
    dists: list[Dist]


class Named(TypedDict):
    """An environment that is to be in place, whatever it holds.

    :ivar name: what it is called.
    :ivar prefix: the folder of the build that is wanted.
    :ivar link: the path of the link that is to lead there.
    :ivar imports: the Python modules that it is to be able to import.
    """

    name: str
    prefix: str
    link: str
    imports: list[str]


class Environment(Named):
    """An environment of which it is known what it is to hold: a Content.

    :ivar platform: the one its lock is for, see lock_file.platform(); None where the lock is that
        of a build which the host keeps.
    :ivar lock: as of Content.
    :ivar dists: as of Content.
    """

    platform: str | None
    lock: list[Package]
    dists: list[Dist]


class KeptBuild(Named):
    """An environment of which a build is named that the host keeps, and knows what it holds."""

    platform: None
    lock: None
    dists: None
