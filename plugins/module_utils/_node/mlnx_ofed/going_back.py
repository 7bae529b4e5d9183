# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Back to the RDMA stack that was there, from an exchange that failed half-way."""

from __future__ import annotations

from typing import NoReturn

from ..packages import package_manager, repositories
from ..rdma import rdma_stack
from ..refusal import Refusal
from ..system import text_files
from . import by_bundle, by_distribution, by_repository, note, package_sets
from .method import Method
from .observe import stack


def put_sources_back(method: Method) -> None:
    """Have what tells of a repository as it was when the work began."""
    _put_back(method, repositories.paths(repositories.RDMA))


def go_back(method: Method, error: Refusal | OSError) -> NoReturn:
    """Bring back the stack that was there, and raise.

    :param method: what came to no good end.
    :raises Refusal: that of the error, with what came of the stack.
    :raises OSError: the error, where it is one.
    """
    try:
        # From where what is not kept is offered still.
        put_sources_back(method)
        words = _reinstall(method)
        _put_pins_back(method)
    except (Refusal, OSError) as refusal:
        words = f"The stack before could not be brought back: {refusal}"
    if isinstance(error, Refusal):
        raise Refusal(error.what, error.because, f"{words}. {error.remedy}") from error
    raise error


def _put_pins_back(method: Method) -> None:
    """Have the packages held that were held when the work began, and no others.

    The list of dnf's versions may have come since with dnf's plugin, which fails without one.
    """
    package_sets.free(method.facts["pkg_mgr"])
    there = [path for path in package_sets.PATHS if method.seen.files[path].text is not None]
    _put_back(method, there)


def _put_back(method: Method, paths: list[str] | tuple[str, ...]) -> None:
    before = method.seen.files
    text_files.put_all({path: text_files.as_it_was(before[path]) for path in paths})


def _reinstall(method: Method) -> str:
    """Bring back the stack that was there; return a sentence about what came of it."""
    tree, found, past = method.node.tree, method.found, method.seen.past
    before = method.seen.packages.installed
    noted, now = note.packages(tree), stack(tree)
    is_same = all(now[key] == found[key] for key in ("kind", "version"))
    if is_same and package_sets.installed(tree) == before and not past.was_cut:
        note.end(tree, noted)
        return "Nothing was changed"
    if past.kept and (found["kind"] == "mlnx_ofed" or past.was_cut):
        by_bundle.reinstall(method, past.kept)
        note.end(tree, package_sets.installed(tree))
        return f"MLNX_OFED {past.kept} is back"
    manager = package_manager.named(method.facts["pkg_mgr"])
    was_doca = past.was_cut and note.kept_packages(tree, noted, manager)
    if found["kind"] == "doca" or was_doca:
        # What somebody took away, or left half installed, was no less of it.
        by_repository.reinstall(method, noted if was_doca else {**noted, **before})
        note.end(tree, package_sets.installed(tree))
        return f"{rdma_stack.described(stack(tree))} is back"
    if found["kind"] != "inbox":
        return f"{rdma_stack.described(found)} is not kept on this host, and does not come back"
    by_distribution.reinstall(method, before)
    note.end(tree, {})
    return "The distribution's own stack is back"
