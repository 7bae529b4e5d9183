# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the plan and the node decide alike about a vendor's RDMA stack.

The bundle of MLNX_OFED, the kernels that have modules, and whether DOCA-OFED is the wanted one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ..facts_shape import Distribution, DkmsTree, GpuHost, Kernel, RdmaStackKind
from ..packages import versions
from ..system import distribution

#: The package that brings all of DOCA-OFED from NVIDIA's repository.
PROFILE = "doca-ofed"
# What Ubuntu's own archive has in its place, named after the series: packages.ubuntu.com, sources
# doca-ofed-26.01-dkms and doca-ofed-3.4-dkms of resolute. The tree of DKMS has the same name:
# Azure/azhpc-images, components/install_doca.sh, finds it in /usr/src.
_BY_CANONICAL = re.compile(r"doca-ofed-[0-9]+\.[0-9]+-dkms")
# The trees of DKMS with the RDMA core: on Debian's family, and on Enterprise Linux (the .rpm files
# of DOCA 3.2.1, mlnx-ofa_kernel-dkms: a log of `dkms status`, and what others there wait for).
_CORE_TREES = ("mlnx-ofed-kernel", "mlnx-ofa_kernel")


def has_core(name: str) -> bool:
    """Say whether a tree of DKMS has the RDMA core, by its name."""
    return name in _CORE_TREES or bool(_BY_CANONICAL.fullmatch(name))


def profile(packages: Mapping[str, str]) -> str:
    """Return the version of the package that brings DOCA-OFED, '' where there is none.

    :param packages: {name: version}.
    """
    names = [name for name in packages if name == PROFILE or _BY_CANONICAL.fullmatch(name)]
    return packages[names[0]] if names else ""


def is_in_dkms(rows: Iterable[DkmsTree]) -> bool:
    """Say whether DKMS has the RDMA core, and builds it for any kernel.

    Other modules of the stack may be DKMS's where those of the core came built.

    :param rows: of all trees of DKMS, see dkms_status.survey.
    """
    return any(has_core(row["name"]) for row in rows)


def kernels(rows: list[Kernel], is_in_dkms: bool) -> list[Kernel]:
    """Return the rows of the kernels that are to have modules of a vendor's stack.

    DKMS builds them for all; without it the installer brings them for the first one alone.

    :param rows: what kernels.served returned.
    :param is_in_dkms: whether DKMS has the stack's modules.
    """
    return rows if is_in_dkms else first(rows)


def first(rows: list[Kernel]) -> list[Kernel]:
    """Return the row of the kernel that boots next, else that runs, else of the newest, in a list.

    :param rows: what kernels.served returned.
    """
    named = [row for key in ("next", "running") for row in rows if row[key]]
    return (named or rows)[:1]


def is_there(wanted: RdmaStackKind, release: str, facts: GpuHost) -> bool:
    """Say whether a vendor's RDMA stack is wanted, and there in the version that is wanted.

    :param wanted: which one.
    :param release: see :func:`is_doca`.
    :param facts: those of gpu_host.survey.
    """
    found = facts["rdma_stack"]
    if not found["kind"] == wanted["kind"] != "inbox":
        return False
    if wanted["kind"] == "mlnx_ofed":
        return bool(found["version"] == wanted["version"])
    packages = {row["name"]: row["version"] for row in facts["packages"]}
    return is_doca(wanted["version"], release, found["version"], profile(packages))


def is_doca(version: str, release: str, told: str, profile: str) -> bool:
    """Say whether DOCA-OFED is of the wanted version.

    :param version: what is wanted: a series ('25.10') or a build of one ('25.10-1.7.1').
    :param release: the series of DOCA that has it ('3.2'), '' where that is not known.
    :param told: as ofed_info or the package of the modules has it, '' where neither tells.
    :param profile: what :func:`profile` returned; it tells no build.
    """
    if told:
        return version in (told, versions.ofed_series(told))
    is_series = version == versions.ofed_series(version)
    return bool(release) and is_series and versions.series(profile) == release


def bundle(row: Mapping[str, Any] | None, facts: Distribution) -> tuple[str, str]:
    """Return (address, sha256) of the bundle for a distribution; '' for what nobody publishes.

    :param row: the catalog's row of the release, None where it has none.
    :param facts: the general facts.
    """
    if not row or "url" not in row:
        return "", ""
    url = row["url"].format(distribution=distribution.mellanox_name(facts))
    digests = {file["url"]: file["sha256"] for file in row.get("files", [])}
    return url, digests.get(url, "")
