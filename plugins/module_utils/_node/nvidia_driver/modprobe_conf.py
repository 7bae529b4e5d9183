# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What keeps the kernel's own drivers away from NVIDIA GPUs, and the driver's parameters."""

from __future__ import annotations

import os

from ..facts_shape import InKernelDrivers
from ..gpu import in_kernel_drivers
from ..system import text_files
from ..system.root import Root

MODPROBE = "/etc/modprobe.d/gpunode-nvidia.conf"
_MARK = "# Written by gpunode; what is changed here by hand is lost.\n"
# The kernel's own drivers and what stands on them; nova is two modules whose names changed while
# it grew (torvalds/linux, drivers/gpu/nova-core/Makefile and drivers/gpu/drm/nova/Makefile).
_CONFLICTING = ("nouveau", "nova_core", "nova_drm", "nova")
# A hook of initramfs-tools runs when all modules were copied and before they are indexed
# (initramfs-tools 0.142, mkinitramfs). Blacklisting alone leaves the module in the image, where
# another one that is loaded early may bring it along.
_HOOK = "/etc/initramfs-tools/hooks/gpunode-nvidia"
_HOOK_NAMES = " -o ".join("-name " + name.replace("_", "[-_]") + ".ko\\*" for name in _CONFLICTING)
_HOOK_TEXT = f"""#!/bin/sh
{_MARK}[ "$1" = prereqs ] && exit 0
find "$DESTDIR" {_HOOK_NAMES} | xargs --no-run-if-empty rm
"""
# dracut.conf(5): the names of modules that are left out.
_DRACUT = "/etc/dracut.conf.d/gpunode-nvidia.conf"
_DRACUT_TEXT = _MARK + 'omit_drivers+=" ' + " ".join(_CONFLICTING) + ' "\n'
PATHS = (MODPROBE, _HOOK, _DRACUT)


def wanted_files(tree: Root, parameters: dict[str, str]) -> dict[str, text_files.TextFile]:
    """Return {path: text_files.TextFile} of the files that are to be there.

    :param parameters: {name: value} of the module nvidia.
    """
    texts = {
        MODPROBE: (modprobe_text(parameters), 0o644),
        _HOOK: (_HOOK_TEXT, 0o755),
        _DRACUT: (_DRACUT_TEXT, 0o644),
    }
    makers = (_HOOK, _DRACUT)
    return {
        path: text_files.of(text, mode=mode)
        for path, (text, mode) in texts.items()
        if path not in makers or tree.exists(os.path.dirname(path))
    }


def modprobe_text(parameters: dict[str, str]) -> str:
    """Return the text of the file for modprobe.d(5)."""
    lines = [f"blacklist {name}" for name in _CONFLICTING]
    # Without this one a nouveau that is loaded all the same takes the GPU.
    lines.append("options nouveau modeset=0")
    if parameters:
        said = " ".join(f"{name}={value}" for name, value in parameters.items())
        lines.append(f"options nvidia {said}")
    return _MARK + "".join(f"{line}\n" for line in lines)


def held(found: InKernelDrivers) -> list[str]:
    """Return the releases of the kernels whose initramfs holds one of in_kernel_drivers.survey."""
    rows = in_kernel_drivers.by_name(found).values()
    return sorted({release for row in rows for release in row["initramfs"]})
