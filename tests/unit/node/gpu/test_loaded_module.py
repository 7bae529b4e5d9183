"""Whether the driver's loaded module is exchanged in memory, as plan and node decide it alike."""

from __future__ import annotations

import copy

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import loaded_module
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.stack import case

KERNEL = {"release": "6.1", "running": True, "next": True, "headers": True}
GPU = {"address": "0000:3b:00.0", "driver": "nvidia", "architecture": "ampere"}
MODULE = {"kernel": "6.1", "name": "nvidia", "version": "535.161.08", "open": False}
CLIENT = {"pid": 7, "process": "python3", "unit": "serve.service", "devices": ["/dev/nvidia0"]}
DAEMON = {**CLIENT, "process": "nvidia-persiste", "unit": "nvidia-persistenced.service"}
ASKED = ("stop_gpu_clients",)


def facts(**changes):
    found = {
        **copy.deepcopy(case.EMPTY),
        "own_kernel": True,
        "kernel": "6.1",
        "kernels": [KERNEL],
        "gpus": [GPU],
        **changes,
    }
    found["driver"]["loaded"] = {"version": "535.161.08", "open": False}
    return found


def on_disk(*modules):
    return {**copy.deepcopy(case.EMPTY["driver"]), "modules": list(modules)}


SECURE = {**case.EMPTY["secure_boot"], "enabled": True}
BARE = {**KERNEL, "headers": False}


@pytest.mark.parametrize(
    ("is_loadable", "changes"),
    [
        (True, {}),
        (False, {"own_kernel": False}),
        (False, {"gpus": []}),
        (False, {"gpus": [{**GPU, "driver": "vfio-pci"}]}),
        (False, {"secure_boot": SECURE}),
        (False, {"kernels": []}),
        (False, {"kernels": [BARE]}),
        (False, {"kernels": [BARE], "driver": on_disk({**MODULE, "name": "nvidia_uvm"})}),
        (False, {"kernels": [BARE], "driver": on_disk({**MODULE, "kernel": "6.2"})}),
        (True, {"kernels": [BARE], "driver": on_disk(MODULE)}),
        # The kernel that runs is gone from the disk, and its modules lie there still.
        (False, {"kernels": [{**KERNEL, "release": "6.2"}], "driver": on_disk(MODULE)}),
    ],
)
def test_a_module_can_be_loaded_where_the_kernel_that_runs_will_have_one_and_take_it(
    is_loadable, changes
):
    assert loaded_module.is_loadable(facts(**changes)) is is_loadable
    assert loaded_module.may_exchange(facts(**changes), ASKED) is is_loadable


def test_it_is_exchanged_with_consent_and_where_no_reboot_was_consented_to():
    assert loaded_module.may_exchange(facts(), ["stop_gpu_clients", "change_method"])
    assert not loaded_module.may_exchange(facts(), [])
    assert not loaded_module.may_exchange(facts(), ["stop_gpu_clients", "reboot"])


def test_where_none_is_loaded_none_is_exchanged():
    found = facts()
    found["driver"]["loaded"]["version"] = ""
    assert not loaded_module.may_exchange(found, ASKED)


def test_it_is_exchanged_once_all_who_work_on_the_gpus_are_stopped():
    found = facts(gpu_clients=[CLIENT, DAEMON, {**CLIENT, "pid": 8, "unit": "user.slice"}])
    assert loaded_module.still_at_work(found, ["user.slice"]) == [CLIENT]
    assert not loaded_module.is_exchanged(found, ASKED, ["user.slice"])
    assert loaded_module.is_exchanged(found, ASKED, ["user.slice", "serve.service"])


def test_it_is_exchanged_once_nothing_else_holds_it():
    display = {**CLIENT, "unit": "xorg.service", "devices": ["/dev/dri/card1"]}
    held = {"name": "nvidia_drm", "permanent": False, "above": [], "clients": [display]}
    found = facts(held_modules=[held])
    assert loaded_module.what_holds(found, ["other.service"]).startswith("nvidia_drm is in use: ")
    assert not loaded_module.is_exchanged(found, ASKED, ["other.service"])
    assert loaded_module.what_holds(found, ["xorg.service"]) == ""
    assert loaded_module.is_exchanged(found, ASKED, ["xorg.service"])
    found = facts(held_modules=[held, {**held, "name": "nvidia", "above": ["gdrdrv"]}])
    assert loaded_module.what_holds(found, ["xorg.service"]) == "gdrdrv stands on nvidia"
    assert not loaded_module.is_exchanged(found, ASKED, ["xorg.service"])


def test_the_wanted_one_is_known_by_its_version_and_kind():
    assert loaded_module.is_loaded(facts(), "535.161.08", is_open=False)
    assert not loaded_module.is_loaded(facts(), "535.161.08", is_open=True)
    assert not loaded_module.is_loaded(facts(), "535", is_open=False)
