# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What nvidia-smi says of the GPUs of a host whose driver is loaded."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

from ..kernel import kernels
from ..system.root import Ended, Root

_PATIENCE_S = 10
_SAYS_LIMIT = 500
_END = "</nvidia_smi_log>"
# Values of NVML's virtualization mode that a guest can have.
_MODES = {"none": "none", "pass-through": "passthrough", "vgpu": "vgpu"}
# The later name first; before vGPU software 11 the product was called GRID.
_LICENSED = ("vgpu_software_licensed_product", "grid_licensed_product")
_ADDRESS = re.compile(r"([0-9A-Fa-f]{4,8}):([0-9A-Fa-f]{2}):([0-9A-Fa-f]{2}\.[0-9A-Fa-f])")


def survey(tree: Root) -> dict[str, Any]:
    """Return {asked, answered, says, driver_version, cuda_version, gpus}; see docs/facts.md.

    A driver that does not answer, and an answer that is none, are facts like any other.
    """
    facts = {
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
        words = f"an answer that cannot be read: {error}"
        return {**facts, "says": words if "<?xml" in ended.output else _words(ended)}
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
    entities that are made of one another can fill any memory.
    """
    if "<!ENTITY" in output:
        raise ElementTree.ParseError("it declares entities")
    document, end, _warnings = output[max(output.find("<?xml"), 0) :].partition(_END)
    log = ElementTree.fromstring(document.strip() + end)
    if log.tag != "nvidia_smi_log":
        raise ElementTree.ParseError(f"it is of the type {log.tag}")
    return log


def _words(ended: Ended) -> str:
    """Return what was printed instead of an answer, or why nothing was, on one line."""
    lines = [line.strip() for line in f"{ended.output}\n{ended.errors}".splitlines()]
    said = " / ".join(line for line in lines if line)
    return (said or f"nothing, and ended with status {ended.status}")[:_SAYS_LIMIT]


def _gpu(gpu: ElementTree.Element) -> dict[str, Any]:
    mode = _text(gpu, "gpu_virtualization_mode/virtualization_mode").lower()
    licenses = [_text(gpu, f"{product}/license_status") for product in _LICENSED]
    return {
        "address": _address(gpu.get("id", "")),
        "name": _text(gpu, "product_name"),
        "mode": _MODES.get(mode, ""),
        "license": next(filter(None, licenses), ""),
        "ecc_uncorrected": _ecc_uncorrected(gpu),
        # Pages until Volta, and rows of memory since Ampere, wait for the next reset.
        "retirement_pending": "Yes"
        in (
            _text(gpu, "retired_pages/pending_retirement"),
            _text(gpu, "retired_pages/pending_blacklist"),
            _text(gpu, "remapped_rows/remapped_row_pending"),
        ),
        "remapping_failed": _text(gpu, "remapped_rows/remapped_row_failure") == "Yes",
        "fabric_state": _text(gpu, "fabric/state"),
    }


def _text(element: ElementTree.Element, path: str) -> str:
    """Return the text at a path, '' where there is none or it says that there is none."""
    text = (element.findtext(path) or "").strip()
    return "" if text == "N/A" else text


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
