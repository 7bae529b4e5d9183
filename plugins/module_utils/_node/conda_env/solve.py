# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Solving the spec of an environment, by building it for a while."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

from .. import urls
from ..conda import cli, path_state, pip, prefixes
from ..refusal import Refusal
from ..system import own_paths, unfinished_folder
from ..system.commands import Execute
from . import remains

_KEPT = ("name", "version", "build", "url", "md5", "sha256")


def solve(
    order: Mapping[str, Any],
    execute: Execute,
    state_dir: str = own_paths.STATE_DIR,
    cache_dir: str = remains.PACKAGES_DIR,
) -> dict[str, Any]:
    """Return {packages, dists} that a spec is solved into, and leave nothing on the host.

    :param order: an order of plugin_utils/_controller/components/conda_env.py.
    :param execute: runs (argv, environment) and returns a CompletedProcess with text.
    :param state_dir: where the notes on unfinished builds lie.
    :param cache_dir: where conda's packages are put for a while, where they are not to be kept.
    :raises Refusal: it cannot be solved, or something else lies where it would be built.
    """
    node, spec = order["node"], order["spec"]
    what = f"environment {order['name']}"
    prefix = node["prefix"]
    if prefixes.verdict(path_state.of(prefix, state_dir)) not in ("free", "unfinished"):
        raise prefixes.foreign(what, prefix, "conda_env_dir")
    os.makedirs(os.path.dirname(prefix), mode=0o755, exist_ok=True)
    with unfinished_folder.building(prefix, state_dir), _cache(node, cache_dir, state_dir) as cache:
        try:
            wishes = (spec["channels"], spec["packages"])
            cli.solve(node["conda"], prefix, *wishes, execute, cache)
            records = prefixes.conda_records(prefix)
            packages = [_package(records[name]) for name in sorted(records)]
            dists = _dists(what, node, spec["pip"], records, execute) if spec["pip"] else []
        except Refusal as refusal:
            raise Refusal(f"{what}: {refusal.what}", refusal.because, refusal.remedy) from refusal
        _check(what, packages)
        shutil.rmtree(prefix)
    return {"packages": packages, "dists": dists}


@contextlib.contextmanager
def _cache(node: Mapping[str, Any], cache_dir: str, state_dir: str) -> Iterator[str]:
    """Give the folder that conda fetches packages to.

    conda writes the passwords of its channels into that, readable by all; where there are any it
    is one that root alone can enter, and does not stay.
    """
    if not node["has_passwords"]:
        yield cli.cache_of(node["conda"])
        return
    os.makedirs(os.path.dirname(cache_dir), mode=0o755, exist_ok=True)
    with unfinished_folder.building(cache_dir, state_dir):
        os.mkdir(cache_dir, 0o700)
        yield cache_dir
        shutil.rmtree(cache_dir)


def _dists(
    what: str,
    node: Mapping[str, Any],
    wishes: Sequence[str],
    records: Container[str],
    execute: Execute,
) -> list[dict[str, str]]:
    pip.refuse_without_python(
        records,
        f"pip requirement {', '.join(wishes)}",
        "pip is to find it, and the packages bring",
        "the packages",
    )
    return pip.resolve(node["prefix"], wishes, node["pip_config"], execute)


def _package(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a lock says of a conda package; never a password."""
    return {**{key: record[key] for key in _KEPT}, "url": urls.bare(record["url"] or "")}


def _check(what: str, packages: Sequence[Mapping[str, Any]]) -> None:
    """Raise a Refusal where a lock could not name what conda put there."""
    bare = [
        package["name"]
        for package in packages
        if not package["url"] or not (package["sha256"] or package["md5"])
    ]
    if bare or not packages:
        raise Refusal(
            what,
            f"conda has no address and digest of {', '.join(bare) or 'any package'}",
            "Use channels whose index names both",
        )
