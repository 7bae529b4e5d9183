"""Which modules of the driver would stay loaded when all its clients had ended."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trees import looked_at

from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import clients, held_modules

# As `cat /proc/modules` shows a headless server whose driver nobody uses.
IDLE = """\
nvidia_uvm 1490944 0 - Live 0x0 (POE)
nvidia_drm 135168 0 - Live 0x0 (POE)
nvidia_modeset 1306624 1 nvidia_drm, Live 0x0 (POE)
nvidia 56823808 2 nvidia_uvm,nvidia_modeset, Live 0x0 (POE)
"""
DISPLAYS = {
    "/sys/class/drm/card0/device/driver": "../../../bus/pci/drivers/ast",
    "/sys/class/drm/card1/device/driver": "../../../bus/pci/drivers/nvidia",
    "/sys/class/drm/renderD128/device/driver": "../../../bus/pci/drivers/nvidia",
}


def found(modules, opened=None):
    """Return the words about a host; opened is {(pid, process): [path]}."""
    files, links = {"/proc/modules": modules}, dict(DISPLAYS)
    for (pid, process), paths in (opened or {}).items():
        files[f"/proc/{pid}/comm"] = f"{process}\n"
        files[f"/proc/{pid}/cgroup"] = f"0::/system.slice/{process}.service\n"
        links.update({f"/proc/{pid}/fd/{at}": path for at, path in enumerate(paths)})

    def look(tree):
        return held_modules.survey(tree, clients.clients(tree))

    return list(map(held_modules.described, looked_at(look, files, links)))


def counted(name, number, above="-"):
    """Return IDLE with other users of a module."""
    lines = [line.split(" ") for line in IDLE.splitlines()]
    return "".join(
        " ".join([*line[:2], str(number), above, *line[4:]] if line[0] == name else line) + "\n"
        for line in lines
    )


def test_modules_that_only_each_other_use_are_held_by_nobody():
    assert found(IDLE) == []


def test_a_display_that_is_open_holds_its_module_and_is_named():
    opened = {
        (700, "systemd-logind"): ["/dev/dri/card0", "/dev/dri/card1", "/dev/input/event3"],
        (800, "other"): ["/dev/dri/card0"],
    }
    assert found(counted("nvidia_drm", 2), opened) == [
        "nvidia_drm is in use: systemd-logind (pid 700) of systemd-logind.service has "
        "/dev/dri/card1 open"
    ]


def test_a_console_holds_it_and_is_no_process():
    (says,) = found(counted("nvidia_drm", 1))
    assert says.startswith("nvidia_drm is in use, and neither a module nor a process")


def test_a_display_that_is_open_is_not_blamed_for_another_module():
    opened = {(700, "systemd-logind"): ["/dev/dri/card1"]}
    (says,) = found(counted("nvidia", 3, "nvidia_uvm,nvidia_modeset,"), opened)
    assert says.startswith("nvidia is in use, and neither a module nor a process")


ROW = {"name": "nvidia_drm", "permanent": False, "above": [], "clients": []}
LOGIND, XORG = (
    {"pid": 700, "process": name, "unit": f"{name}.service", "devices": ["/dev/dri/card1"]}
    for name in ("systemd-logind", "xorg")
)


@pytest.mark.parametrize(
    ("changes", "goes"),
    [
        ({"clients": [XORG]}, True),
        ({"clients": [XORG, LOGIND]}, False),
        ({}, False),
        ({"clients": [XORG], "permanent": True}, False),
        ({"clients": [XORG], "above": ["gdrdrv"]}, False),
    ],
)
def test_a_module_is_free_once_all_with_a_display_open_are_stopped(changes, goes):
    assert held_modules.goes_with({**ROW, **changes}, ["xorg.service"]) is goes


@pytest.mark.parametrize(
    ("name", "number", "above", "device"),
    [
        ("nvidia", 5, "nvidia_uvm,nvidia_modeset,", "/dev/nvidia0"),
        ("nvidia", 3, "nvidia_uvm,nvidia_modeset,", "/dev/nvidia-nvswitch0"),
        ("nvidia_uvm", 4, "-", "/dev/nvidia-uvm"),
        ("nvidia_modeset", 2, "nvidia_drm,", "/dev/nvidia-modeset"),
    ],
)
def test_what_a_client_has_open_goes_when_it_ends(name, number, above, device):
    modules = counted(name, number, above)
    assert found(modules, {(500, "python3"): [device]}) == []
    # A descriptor that is on its way through a socket, or a process that is not seen.
    (says,) = found(modules)
    assert says.startswith(f"{name} is in use")


def test_a_client_of_one_module_does_not_account_for_another():
    (says,) = found(counted("nvidia_uvm", 1), {(500, "python3"): ["/dev/nvidia0"]})
    assert says.startswith("nvidia_uvm is in use")


def test_memory_that_is_registered_goes_with_whoever_computes():
    modules = "nvidia_peermem 1 1 - Live 0x0\n" + counted(
        "nvidia", 3, "nvidia_uvm,nvidia_modeset,nvidia_peermem,"
    )
    assert found(modules, {(500, "python3"): ["/dev/nvidia0"]}) == []
    (says,) = found(modules)
    assert says.startswith("nvidia_peermem is in use")


def test_modules_of_others_are_named():
    modules = counted("nvidia", 4, "nvidia_uvm,nvidia_modeset,nvidia_fs,gdrdrv,")
    assert found(modules) == ["gdrdrv, nvidia_fs stands on nvidia"]


@pytest.mark.parametrize("counts", ["2 nvidia_uvm,nvidia_modeset,[permanent],", "- -", "-1 -"])
def test_what_the_kernel_never_unloads_is_told(counts):
    number, above = counts.split(" ")
    assert found(counted("nvidia", number, above)) == [
        "the kernel does not unload nvidia before a reboot"
    ]


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=200), st.sampled_from([b"", b"nvidia_drm 1 ", b"nvidia 1 - "]))
def test_rubbish_is_no_error(rubbish, before):
    looked_at(
        lambda tree: held_modules.survey(tree, clients.clients(tree)),
        {"/proc/modules": before + rubbish},
        DISPLAYS,
    )
