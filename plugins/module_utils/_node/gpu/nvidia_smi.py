# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What nvidia-smi says of the GPUs of a host whose driver is loaded."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree

from ..facts_shape import NvidiaSmi, SmiGpu
from ..kernel import kernels
from ..system.root import Ended, Root

_PATIENCE_S = 10
_SAYS_LIMIT = 500
_BEGIN, _END = "<nvidia_smi_log", "</nvidia_smi_log>"
# What XML 1.0 has no place for ("Characters"), and what stands for it here.
_NO_CHARACTER = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_REPLACEMENT = "\ufffd"
_GPU = "<gpu id="
# All of a GPU from where its processes begin to where they end for the last time.
_PROCESSES = re.compile(r"<processes>.*</processes>", re.S)
_ATTACHED = re.compile(r"<attached_gpus>(\d{1,4})</attached_gpus>")
# An element that ends on the line on which it ends its text, as each that has a value does.
_VALUE = re.compile(r"(<(\w+)>)(?!\s*$)(.*?)(</\2>[ \t]*$)", re.M | re.S)
_BARE = re.compile(r"&(?!(?:amp|lt|gt|quot|apos);)|[<>]")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
# Values of NVML's virtualization mode that a guest can have.
_MODES = {"none": "none", "pass-through": "passthrough", "vgpu": "vgpu"}
# The later name first; before vGPU software 11 the product was called GRID.
_LICENSED = ("vgpu_software_licensed_product", "grid_licensed_product")
# Of the parts of the fabric's health.
_NOTHING_WRONG = ("", "N/A", "None", "False", "No", "Full", "Not Supported")
# nvmlErrorString's words for what a GPU that works answers to no question (NVML API Reference,
# "Device Enums", nvmlReturn_t; some by pynvml's names), and nvidia-smi's own.
_COMPLAINT = re.compile(
    r"GPU is lost|(?:GPU )?requires? (?:a )?(?:reset|restart)|(?:GPU )?reset (?:is )?required"
    r"|Unknown Error|Insufficient External Power|Timeout|Interrupt Request Issue|ERR!?"
    r"|Corrupted infoROM|infoROM is corrupted|GPU access blocked by the operating system",
    re.I,
)
# What a GPU waits for, by drivers before R565, which have no word for it: (element, that word).
_WAITS_FOR = (("reset_required", "Reset"), ("drain_and_reset_recommended", "Drain and Reset"))
_ADDRESS = re.compile(r"([0-9A-Fa-f]{4,8}):([0-9A-Fa-f]{2}):([0-9A-Fa-f]{2}\.[0-9A-Fa-f])")


def survey(tree: Root) -> NvidiaSmi:
    """Return {asked, answered, says, driver_version, cuda_version, gpus}; see docs/facts.md.

    A driver that does not answer, and an answer that is none, are facts like any other.
    """
    facts: NvidiaSmi = {
        "asked": "nvidia" in kernels.loaded_modules(tree),
        "answered": False,
        "says": "",
        "driver_version": "",
        "cuda_version": "",
        "gpus": [],
    }
    if not facts["asked"]:
        return facts
    ended = tree.ended("nvidia-smi", "-q", "-x", patience_s=_PATIENCE_S)
    try:
        log = _parsed(ended.output)
    except ElementTree.ParseError as error:
        return {
            **facts,
            "says": _unread(ended, error) if "<?xml" in ended.output else _words(ended),
        }
    return {
        **facts,
        "answered": True,
        "driver_version": _text(log, "driver_version"),
        "cuda_version": _text(log, "cuda_version"),
        "gpus": [_gpu(gpu) for gpu in log.findall("gpu")],
    }


def _parsed(output: str) -> ElementTree.Element:
    """Return the log element of an answer; warnings may stand around it.

    The real answer names a document type and declares nothing: one that does is refused, since
    entities that are made of one another can fill any memory. In it stand names of processes as
    whoever started them chose, which nvidia-smi does not escape, and of which nothing is needed.
    """
    if "<!ENTITY" in output.partition(_BEGIN)[0]:
        raise ElementTree.ParseError("it declares entities")
    document = output[max(output.find("<?xml"), 0) :]
    document = document[: document.rfind(_END) + len(_END)] if _END in document else document
    document = _without_processes(_NO_CHARACTER.sub(_REPLACEMENT, document.strip()))
    try:
        log = ElementTree.fromstring(document)
    except ElementTree.ParseError:
        log = ElementTree.fromstring(_VALUE.sub(_escaped, document))
    if log.tag != "nvidia_smi_log":
        raise ElementTree.ParseError(f"it is of the type {log.tag}")
    return log


def _without_processes(document: str) -> str:
    """Return an answer without what it says of processes.

    :raises ElementTree.ParseError: it has more GPUs than it says: one is a process's name.
    """
    head, *gpus = document.split(_GPU)
    attached = _ATTACHED.search(head)
    if attached and len(gpus) > int(attached[1]):
        raise ElementTree.ParseError(f"it has {len(gpus)} GPUs where {attached[1]} are attached")
    return _GPU.join([head, *(_PROCESSES.sub("", gpu) for gpu in gpus)])


def _escaped(value: re.Match[str]) -> str:
    """Return an element whose text is escaped where it could not be read as it stands."""
    try:
        ElementTree.fromstring(value.group())
    except ElementTree.ParseError:
        text = _BARE.sub(lambda bare: _ENTITIES[bare.group()], value.group(3))
        return f"{value.group(1)}{text}{value.group(4)}"
    return value.group()


def _words(ended: Ended) -> str:
    """Return what was printed instead of an answer, or why nothing was, on one line."""
    lines = [line.strip() for line in f"{ended.output}\n{ended.errors}".splitlines()]
    said = " / ".join(line for line in lines if line)
    return (said or f"nothing, and ended with status {ended.status}")[:_SAYS_LIMIT]


def _unread(ended: Ended, error: ElementTree.ParseError) -> str:
    """Return why an answer cannot be read, with the words that it broke off with.

    They come last; of what is before, some is as users chose.
    """
    last = ended.output.strip().rpartition("\n")[2].strip()
    words = [f"an answer that cannot be read: {error}", last if "<" not in last else ""]
    return ": ".join(filter(None, words))[:_SAYS_LIMIT]


def _gpu(gpu: ElementTree.Element) -> SmiGpu:
    mode = _text(gpu, "gpu_virtualization_mode/virtualization_mode").lower()
    licenses = [_text(gpu, f"{product}/license_status") for product in _LICENSED]
    return {
        "address": _address(gpu.get("id", "")),
        "name": _text(gpu, "product_name"),
        "mode": _MODES.get(mode, ""),
        "license": next(filter(None, licenses), ""),
        "ecc_uncorrected": _ecc_uncorrected(gpu),
        # Pages until Volta, rows of memory since Ampere, and lately more wait for the next reset.
        "retirement_pending": "Yes"
        in (
            _text(gpu, "retired_pages/pending_retirement"),
            _text(gpu, "retired_pages/pending_blacklist"),
            _text(gpu, "remapped_rows/remapped_row_pending"),
            _text(gpu, "ecc_errors/channel_repair_pending"),
            _text(gpu, "ecc_errors/tpc_repair_pending"),
        ),
        "remapping_failed": _text(gpu, "remapped_rows/remapped_row_failure") == "Yes",
        "sram_exceeded": _text(gpu, "ecc_errors/aggregate/sram_threshold_exceeded") == "Yes",
        "fabric_state": _text(gpu, "fabric/state"),
        "fabric_status": _text(gpu, "fabric/status"),
        "fabric_health": _fabric_health(gpu),
        "recovery_action": _recovery_action(gpu),
        "complaints": sorted(set(_complaints(gpu))),
    }


def _recovery_action(gpu: ElementTree.Element) -> str:
    """Return what the GPU waits for in nvidia-smi's words, '' where the driver knows of none."""
    asked = [word for tag, word in _WAITS_FOR if _text(gpu, f"gpu_reset_status/{tag}") == "Yes"]
    return _text(gpu, "gpu_recovery_action") or next(iter(asked), "")


def _fabric_health(gpu: ElementTree.Element) -> str:
    """Return how the fabric is as a whole, and what is wrong with it; '' where that is not told.

    The summary is there since R580, before it each thing that can be wrong alone.
    """
    health = gpu.find("fabric/health")
    if health is None:
        return ""
    parts = [(part.tag, (part.text or "").strip()) for part in health if part.tag != "summary"]
    wrong = [f"{tag} {value}" for tag, value in parts if value not in _NOTHING_WRONG]
    whole = _text(health, "summary") or _text(health, ".")
    return ", ".join([whole or "Unhealthy", *wrong]) if wrong else whole


def _complaints(gpu: ElementTree.Element) -> Iterator[str]:
    """Yield what stands in place of values where the GPU gives none."""
    of_processes = {id(item) for found in gpu.iter("processes") for item in found.iter()}
    for item in gpu.iter():
        text = _complaint((item.text or "").strip())
        if text and id(item) not in of_processes:
            yield text


def _complaint(text: str) -> str:
    """Return the words that stand in place of a value, '' for a value."""
    words = text.strip("[].")
    return words if _COMPLAINT.fullmatch(words) else ""


def _text(element: ElementTree.Element, path: str) -> str:
    """Return the text at a path, '' where there is none or it says why there is none."""
    text = (element.findtext(path) or "").strip()
    return "" if text == "N/A" or _complaint(text) else text


def _address(text: str) -> str:
    """Return a PCI address as sysfs writes it: nvidia-smi gives the domain eight digits."""
    match = _ADDRESS.fullmatch(text)
    if not match:
        return ""
    domain, bus, device = match.groups()
    return f"{int(domain, 16):04x}:{bus}:{device}".lower()


def _ecc_uncorrected(gpu: ElementTree.Element) -> int:
    """Return how many errors the GPU could not correct since the driver was loaded.

    The count of its whole life does not tell a sick GPU from one that was mended by a reset.
    Until Volta there is a total of double-bit errors; since then one count for each kind of
    memory, and lately for each kind of check.
    """
    counts = [gpu.findtext("ecc_errors/volatile/double_bit/total")]
    volatile = gpu.find("ecc_errors/volatile")
    if volatile is not None:
        counts += [item.text for item in volatile if "_uncorrectable" in item.tag]
    return sum(
        int(count) for count in counts if count and re.fullmatch(r"\s*[0-9]{1,18}\s*", count)
    )
