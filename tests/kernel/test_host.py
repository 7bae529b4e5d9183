"""The kernel host itself, as the lab makes it."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.lab, pytest.mark.slow]

#: The interface of the card with SR-IOV.
CARD = "basename $(dirname $(dirname $(ls -d /sys/class/net/*/device/sriov_numvfs | head -1)))"


def test_it_boots_by_firmware_and_boot_loader_into_a_kernel_of_its_own(shell):
    assert shell.says("test -d /sys/firmware/efi && systemd-detect-virt") == "qemu"
    image, *words = shell.says("cat /proc/cmdline").split()
    assert image == f"BOOT_IMAGE=/boot/vmlinuz-{shell.says('uname -r')}"
    assert "console=ttyS0" in words


def test_its_console_tells_how_it_booted(kernel_host, shell):
    told = kernel_host.console.read_text(encoding="utf-8", errors="replace")
    assert "Multi-User System" in told
    shell.says("echo 'a line from the host' >/dev/console")
    assert "a line from the host" in kernel_host.console.read_text(
        encoding="utf-8", errors="replace"
    )


def test_nothing_on_it_has_failed_and_it_has_nothing_that_a_role_must_bring(shell):
    assert shell.says("systemctl is-system-running") == "running"
    assert shell.tried("command -v pip3 conda git curl wget gcc make dkms").stdout == ""


def test_it_reaches_what_the_machine_reaches(shell):
    shell.says("apt-get update --error-on=any", timeout_s=900)


def test_a_card_has_virtual_functions_when_they_are_asked_for(shell):
    card = shell.says(CARD)
    count = f"/sys/class/net/{card}/device/sriov_numvfs"
    functions = "lspci -n | grep -c ' 8086:10ca '; true"
    assert shell.says(functions) == "0"
    shell.says(f"echo 2 >{count}")
    try:
        assert shell.says(functions) == "2"
    finally:
        shell.says(f"echo 0 >{count}")
