# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What hypervisor a host runs on."""

from __future__ import annotations

import re

_DETECT_VIRT = "/usr/bin/systemd-detect-virt"
_DMI = "/sys/class/dmi/id"

# How the firmware's tables begin, in the files and the order in which systemd looks
# (systemd/systemd@0099e5589762f2ef72d9c69b7e7032138d410979:src/basic/virt.c,
# detect_vm_dmi_vendor).
_DMI_FILES = ("product_name", "sys_vendor", "board_vendor", "bios_vendor", "product_version")
_DMI_NAMES = (
    ("KVM", "kvm"),
    ("OpenStack", "kvm"),
    ("KubeVirt", "kvm"),
    ("Amazon EC2", "amazon"),
    ("QEMU", "qemu"),
    ("VMware", "vmware"),
    ("VMW", "vmware"),
    ("innotek GmbH", "oracle"),
    ("VirtualBox", "oracle"),
    ("Oracle Corporation", "oracle"),
    ("Xen", "xen"),
    ("Bochs", "bochs"),
    ("Parallels", "parallels"),
    ("BHYVE", "bhyve"),
    ("Hyper-V", "microsoft"),
    ("Google Compute Engine", "google"),
)


def detect(tree):
    """Return the hypervisor by the name systemd-detect-virt has for it, '' on bare metal.

    Containers do not count: ``host.own_kernel`` tells those. Without systemd the processor says
    whether there is a hypervisor, since bare-metal hosts of a cloud have its firmware tables
    too, and the tables say which.
    """
    if tree.exists(_DETECT_VIRT):
        return tree.answer("systemd-detect-virt", "--vm").strip()
    flags = re.search(r"^flags\s*:(.*)$", tree.text("/proc/cpuinfo"), re.MULTILINE)
    if not flags or "hypervisor" not in flags.group(1).split():
        return ""
    texts = [tree.text(f"{_DMI}/{name}") for name in _DMI_FILES]
    names = [name for text in texts for begin, name in _DMI_NAMES if text.startswith(begin)]
    return names[0] if names else "vm-other"
