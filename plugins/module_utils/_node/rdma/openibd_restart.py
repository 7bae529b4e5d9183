# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the plan and the node decide alike about openibd: whether it brings modules into memory.

Restarting it takes down every interface of an RDMA device.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ..facts_shape import Kernel, Surveyed
from ..kernel import secure_boot
from ..system import management_interface

#: Consented to by this name in gpunode_consent.
CONSENT = "restart_openibd"


def is_the_way(kind: str, facts: Surveyed, consent: Collection[str]) -> bool:
    """Say whether RDMA modules that are loaded give way by openibd; else by a reboot.

    Consent to it is not asked for here, for the plan says what it waits for: who restarts it does
    so with :data:`CONSENT` alone.

    :param kind: of the RDMA stack that will be there; the distribution's own has no openibd.
    :param facts: those of docs/facts.md.
    :param consent: names of gpunode_consent; who names the reboot alone prefers it.
    """
    prefers_reboot = "reboot" in consent and CONSENT not in consent
    # Modules that the firmware would keep out do not come: there would be no RDMA at all.
    lacks_key = secure_boot.lacks_key(facts["secure_boot"])
    may = facts["own_kernel"] and not under_connection(facts) and not lacks_key
    return bool(may and kind != "inbox" and not prefers_reboot)


def starts(facts: Surveyed) -> bool:
    """Say whether openibd is to be started: all is there, and no driver has an adapter.

    So it is after a restart of which the second half failed. What is down is nobody's connection,
    and nothing is interrupted.

    :param facts: those of docs/facts.md.
    """
    found = facts["rdma_stack"]
    is_there = found["kind"] != "inbox" and facts["kernel"] in found["kernels"]
    may = facts["own_kernel"] and not secure_boot.lacks_key(facts["secure_boot"])
    return bool(may and is_there and found["idle"] and not found["loaded"])


def under_connection(facts: Surveyed) -> list[str]:
    """Return the interfaces of RDMA devices that carry the connection to the host; [] for none.

    :param facts: those of docs/facts.md.
    """
    return management_interface.runs_over(facts["management"], facts["rdma_devices"])


def exchanges_loaded(
    facts: Surveyed, others: bool, lacking: Iterable[Kernel], is_in_dkms: bool
) -> bool:
    """Say whether the modules that are loaded are others once the RDMA stack is as wanted.

    Those that are built for another kernel than the running one leave it as it is.

    :param facts: those of docs/facts.md.
    :param others: whether packages come, be it anew, or other modules lie on disk already.
    :param lacking: the rows of the kernels that get modules of the stack that is there.
    :param is_in_dkms: whether DKMS builds them for those alone; an installer brings all anew.
    """
    builds = any(row["running"] or not is_in_dkms for row in lacking)
    return bool(facts["rdma_stack"]["loaded"] and (others or builds))
