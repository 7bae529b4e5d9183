# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is refused of peer memory before anything is changed, since it would not come to its end."""

from __future__ import annotations

from collections.abc import Container

from ..kernel import headers, secure_boot
from ..rdma import peer_route
from ..refusal import Refusal
from . import nv_peer_mem
from .case import Case, had
from .observe import Kernel, Seen, modules_of
from .target import Target

_NAME = nv_peer_mem.NAME


def refuse_in_use(target: Target, seen: Seen) -> None:
    """Refuse where somebody uses a module that has to give way.

    :raises Refusal: somebody does.
    """
    for name in peer_route.others(target.route):
        if name in seen.facts["peer_memory"]["in_use"]:
            raise Refusal(f"unload {name}", "it is in use", "End who uses RDMA here, and run again")


def refuse(case: Case, consent: Container[str]) -> None:
    """Refuse what would not come to its end.

    :param consent: names of gpunode_consent.
    :raises Refusal: something would not.
    """
    foreign = [way.foreign for way in case.ways.values()]
    for path in [*filter(case.seen.packaged.__contains__, case.unowned), *filter(None, foreign)]:
        raise Refusal(
            path,
            "it belongs to a package that gpunode has not installed, and is not wanted so",
            "Remove the package nvidia-peer-memory or nvidia_peer_memory and what goes with it",
        )
    found = case.seen.facts["secure_boot"]
    if peer_route.cannot_sign(case.target.route, case.delivery, found):
        raise Refusal(*peer_route.NO_SIGNED_PACKAGE)
    if case.unfit:
        secure_boot.refuse_unenrolled_key(found, consent)
    if case.target.is_built:
        _refuse_build(case)
    elif case.target.route in peer_route.MODULES:
        _refuse_drivers_own(case)


def _seen_kernels(case: Case) -> list[Kernel]:
    """Return the kernels for which all is there that a module is to fit."""
    kernels = case.seen.kernels
    return [kernel for kernel in kernels if kernel.row["release"] not in case.target.foretold]


def _refuse_build(case: Case) -> None:
    row = case.target.tags[0]
    kernels = _seen_kernels(case)
    folders = {had(kernel.ofed): kernel.has_client_ex for kernel in kernels}
    nv_peer_mem.refuse_tag(row["tag"], row["needs_client_ex"], folders)
    for kernel in kernels:
        release = kernel.row["release"]
        if not kernel.row["headers"] and release in case.unfit:
            raise Refusal(
                f"nv_peer_mem for kernel {release}",
                "the kernel has no headers to build it with",
                f"Install {headers.package(release, case.seen.facts['pkg_mgr'])}, or remove that "
                "kernel",
            )
        rows = modules_of(case.seen.facts, _NAME, release)
        paths = [row["path"] for row in rows if case.way_of(row) in (case.way, None)]
        paths = list(dict.fromkeys([*paths, *case.way.places(release)]))
        if len(paths) > 1:
            raise Refusal(
                f"nv_peer_mem for kernel {release}",
                f"it would be there twice: {' and '.join(paths)}",
                f"Remove the one that {case.way.name} has not put there, and run again",
            )


def _refuse_drivers_own(case: Case) -> None:
    """Refuse a module that the driver did not bring, or that would not load.

    A run that brings the driver builds it again where it was built with another RDMA stack.
    """
    for kernel in _seen_kernels(case):
        release = kernel.row["release"]
        rows = modules_of(case.seen.facts, case.target.route, release)
        if not rows:
            raise Refusal(
                f"{case.target.route} for kernel {release}",
                "the driver that is there has not brought it",
                "Install a driver of branch 470 or later with it",
            )
        if not case.target.basis.brings_driver:
            had(kernel.misfits[rows[0]["path"]])
