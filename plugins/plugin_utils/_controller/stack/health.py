# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What tells that GPUs, NVSwitches or the fabric between them are not well, and what it means.

Each of it is told. Where a change of the driver would hide it, that change is refused; where such
a change may be the cure, it is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape

from .case import Case


class Cure(NamedTuple):
    """What is to be done about something that is not well: in words, and as the action it is."""

    words: str
    action: str


_RESET = Cure("reset it or reboot the host", "reset_gpu")
_REBOOT = Cure("reboot the host", "reboot")
_REPLACE = Cure("have it replaced", "replace")
_UNKNOWN = Cure("", "call_vendor")
# NVML API Reference, nvmlDeviceGpuRecoveryAction_t, as nvidia-smi has it; so does an Xid 154.
_NOTHING = "None"
# The driver and nvidia-smi name one by several words, "Reboot", "Node Reboot Required" and "OS
# Reboot", with a number before them or without.
_FOR_ACTION = (
    ("reboot", _REBOOT),
    ("drain", Cure(f"let what computes on it end, and {_RESET.words}", _RESET.action)),
)
_CHANGED_TO = re.compile(r"recovery action changed from .* to (?:0x\w+ )?\(?([^()]*[^() ])")
# The firmware, or the kernel, left a GPU without addresses.
_NO_ADDRESSES = re.compile(r"BAR\d+ is 0M")
_GIVE_ADDRESSES = Cure(
    'have the firmware give its memory addresses ("above 4G decoding"), or boot with pci=realloc',
    _REBOOT.action,
)
_NONFATAL = re.compile(r"\bnon-?fatal\b", re.I)
# Of an answer that is none: nvidia-smi stopped at the first GPU that it could not speak to.
_LOST = re.compile(
    r"GPU is lost|fallen off the bus|requires? (?:a )?(?:reset|restart)|reset (?:is )?required"
    r"|Unable to determine the device handle",
    re.I,
)


#: What a finding is about: an Xid of the driver's, a GPU that fell off the bus, one that does not
#: start, one that is not listed or gives no values or waits for something, its memory, caches or
#: rows, the fabric, an NVSwitch.
KINDS = (
    *("xid", "bus", "start", "listed", "values", "recovery", "memory", "caches", "rows"),
    *("fabric", "switch"),
)


class Finding(NamedTuple):
    """Something that is not well.

    kind: one of KINDS; says: what, with the address; cure: what is to be done, without words where
    that is not known; hidden: whether a change of the driver would hide it.
    """

    kind: str
    says: str
    cure: Cure
    hidden: bool

    @property
    def remedy(self) -> str:
        """What is to be done about it, '' where that is not known."""
        return self.cure.words

    @property
    def of_fabric(self) -> bool:
        """Whether a Fabric Manager may cure it."""
        return self.kind == "fabric"

    @property
    def sentence(self) -> str:
        """What is not well, and what to do about it."""
        return f"{self.says}: {self.remedy}" if self.remedy else self.says


def findings(case: Case) -> list[Finding]:
    """Return all that is not well with what a host has for itself."""
    return [
        *_of_kernel_log(case),
        *_of_switches(case),
        *_of_answer(case),
        *_unlisted(case),
    ]


def unknown_xids(case: Case) -> list[str]:
    """Return a sentence for each Xid of which the catalog does not know what it asks for."""
    return [
        f"{row['address']}: {row['says']}: what to do about Xid {row['xid']} is not in the catalog"
        for row in case.facts["gpu_faults"]
        if row["xid"] and row["xid"] not in case.known.xids
    ]


def unfinished_fabric(case: Case) -> list[str]:
    """Return a sentence for each state of GPUs whose NVLinks were not made ready, and might be."""
    manager = case.facts["fabric_manager"]
    if case.facts["nvswitches"] and not manager["active"]:
        # That it does not run is told by itself.
        return []
    waiting: dict[str, list[str]] = {}
    for gpu in case.facts["nvidia_smi"]["gpus"]:
        if gpu["fabric_state"] not in ("", "Completed"):
            waiting.setdefault(gpu["fabric_state"], []).append(gpu["address"])
    return [
        f"{', '.join(addresses)}: the fabric is not completed ({state}), and CUDA answers with "
        "error 802 until it is: see the log of nvidia-fabricmanager.service; where that was "
        "started anew while the GPUs were at work, reset them or reboot the host"
        for state, addresses in waiting.items()
    ]


def _of_kernel_log(case: Case) -> Iterator[Finding]:
    asked_for = {
        row["address"]: found[1]
        for row in case.facts["gpu_faults"]
        if row["xid"] == 154 and (found := _CHANGED_TO.search(row["says"]))
    }
    for row in case.facts["gpu_faults"]:
        says = f"{row['address']}: {row['says']}"
        # What a GPU was reset for is past.
        is_over = asked_for.get(row["address"]) == _NOTHING
        known = case.known.xids.get(row["xid"])
        if row["xid"] == 154:
            action = asked_for.get(row["address"], "")
            if action != _NOTHING:
                yield Finding("xid", says, _for_action(action), True)
        elif "fallen off the bus" in row["says"]:
            yield Finding("bus", says, _REBOOT, True)
        elif not row["xid"]:
            # The driver may be the wrong one for the GPU.
            is_without = _NO_ADDRESSES.search(row["says"])
            yield Finding("start", says, _GIVE_ADDRESSES if is_without else _UNKNOWN, False)
        elif known and known["is_fault"]:
            may_cure = known.get("driver_may_cure", False)
            remedy = known["remedy"] + ("; another driver may cure it" if may_cure else "")
            is_harmless = may_cure or is_over or bool(_NONFATAL.search(row["says"]))
            yield Finding("xid", says, Cure(remedy, known["does"]), not is_harmless)


def _of_switches(case: Case) -> Iterator[Finding]:
    for row in case.facts["switch_faults"]:
        cure = _REBOOT if row["fatal"] else _UNKNOWN
        says = f"NVSwitch {row['address']}: {row['says']}"
        yield Finding("switch", says, cure, row["fatal"])


def _of_answer(case: Case) -> Iterator[Finding]:
    answer = case.facts["nvidia_smi"]
    if not answer["answered"] and _LOST.search(answer["says"]):
        yield Finding("values", f"nvidia-smi says {answer['says']}", _RESET, True)
    for gpu in answer["gpus"]:
        at = gpu["address"] or "a GPU"
        # Later drivers have a word for whether anything is to be done about them.
        if gpu["ecc_uncorrected"] and not gpu["recovery_action"]:
            number = gpu["ecc_uncorrected"]
            says = f"{at}: {number} error{'s' * (number > 1)} of its memory could not be corrected"
            yield Finding("memory", f"{says} since the driver was loaded", _RESET, False)
        if gpu["remapping_failed"]:
            says = f"{at}: its memory has no rows left to replace broken ones"
            yield Finding("rows", says, _REPLACE, True)
        if gpu["sram_exceeded"]:
            says = f"{at}: its caches had more errors than the vendor accepts of a GPU"
            yield Finding("caches", says, _REPLACE, True)
        if gpu["complaints"]:
            says = f"{at}: nvidia-smi has no values of it but {', '.join(gpu['complaints'])}"
            # At times one value alone cannot be read, which is no fault of the GPU.
            is_lost = not gpu["name"] or any(map(_LOST.search, gpu["complaints"]))
            yield Finding("values", says, _RESET, is_lost)
        if gpu["recovery_action"] not in ("", _NOTHING):
            says = f"{at}: nvidia-smi says that it waits for {gpu['recovery_action']}"
            yield Finding("recovery", says, _for_action(gpu["recovery_action"]), True)
        yield from _of_fabric(at, gpu)


def _of_fabric(at: str, gpu: facts_shape.SmiGpu) -> Iterator[Finding]:
    if gpu["fabric_health"] not in ("", "Healthy"):
        yield Finding("fabric", f"{at}: its fabric is {gpu['fabric_health']}", _RESET, True)
    if gpu["fabric_state"] == "Completed" and gpu["fabric_status"] not in ("", "Success"):
        says = f"{at}: its fabric ended with {gpu['fabric_status']}"
        yield Finding("fabric", says, _RESET, True)


def _unlisted(case: Case) -> Iterator[Finding]:
    """Yield what is on the bus and missing in an answer.

    Another one of its architecture that is listed shows that the driver is not the reason.
    """
    answer = case.facts["nvidia_smi"]
    if not answer["answered"]:
        return
    listed = {gpu["address"] for gpu in answer["gpus"]}
    in_kernel = list(case.driver_there.in_kernel)
    missing = [
        gpu
        for gpu in case.host.own_gpus
        if gpu["address"] not in listed and gpu["driver"] not in in_kernel
    ]
    at_work = {gpu["architecture"] for gpu in case.host.own_gpus if gpu["address"] in listed}
    for gpu in missing:
        says = f"{gpu['address']}: it is on the PCI bus, and nvidia-smi does not list it"
        yield Finding("listed", says, _REBOOT, gpu["architecture"] in at_work)


def _for_action(action: str) -> Cure:
    words = action.lower()
    return next((cure for word, cure in _FOR_ACTION if word in words), _RESET)
