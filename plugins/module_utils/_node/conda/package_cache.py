# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""conda's package cache: archives proven by the sha256 of a lock before conda may link them.

conda 24 cannot read a sha256 in a lock, so the digest is checked here, for
all versions alike. An archive and the folder conda unpacked from it stand and
fall together.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Mapping
from typing import Any

from .. import urls
from ..refusal import Refusal
from ..system import files


def drop_unproven(packages: Iterable[Mapping[str, Any]], cache: str) -> None:
    """Remove what the cache holds of these packages but cannot show the right archive for.

    :param packages: packages of a lock; only those with a sha256 matter.
    :param cache: the package cache's folder.
    """
    for package in _with_sha256(packages):
        if _found_sha256(package, cache) != package["sha256"]:
            _drop(package, cache)


def check(packages: Iterable[Mapping[str, Any]], cache: str) -> None:
    """Raise a Refusal where the cache lacks the archive a lock names; another one is removed."""
    for package in _with_sha256(packages):
        found = _found_sha256(package, cache)
        if found != package["sha256"]:
            _drop(package, cache)
            raise Refusal(
                f"download {urls.shown(package['url'])}",
                f"its sha256 is {found or 'unknown, it did not arrive'}, "
                f"the lock says {package['sha256']}; it was removed from {cache}",
                "Do not trust it; correct lock or mirror only after you know why they differ",
            )


def present(packages: Iterable[Mapping[str, Any]], cache: str) -> list[Mapping[str, Any]]:
    """Return those packages whose archive lies in the cache."""
    return [package for package in packages if os.path.isfile(_archive(package, cache))]


def _with_sha256(packages: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [package for package in packages if "sha256" in package]


def _archive(package: Mapping[str, Any], cache: str) -> str:
    return os.path.join(cache, package["url"].rsplit("/", 1)[1])


def _found_sha256(package: Mapping[str, Any], cache: str) -> str | None:
    try:
        return files.sha256_of_file(_archive(package, cache))
    except FileNotFoundError:
        return None


def _drop(package: Mapping[str, Any], cache: str) -> None:
    shutil.rmtree(
        os.path.join(cache, "-".join(package[key] for key in ("name", "version", "build"))),
        ignore_errors=True,
    )
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_archive(package, cache))
