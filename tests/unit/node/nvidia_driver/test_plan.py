"""What is done about a driver follows from what was seen, and from nothing else."""

from __future__ import annotations

import copy

import pytest
from noted_method import Method

from ansible_collections.gpunode.stack.plugins.module_utils._node.component import bring
from ansible_collections.gpunode.stack.plugins.module_utils._node.nvidia_driver import (
    method,
    modprobe_conf,
    plan,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.nvidia_driver.observe import Seen
from ansible_collections.gpunode.stack.plugins.module_utils._node.nvidia_driver.target import Target
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import text_files
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.stack import case

WANTED = {
    "modules": "proprietary",
    "architectures": {},
    "offered": [],
    "guest": True,
    "branch": "535",
    "parameters": {},
    "persistence": True,
    "kernels_without_headers": "refuse",
}
KERNEL = {"release": "6.1", "running": True, "next": True, "headers": True}
GPU = {"address": "0000:3b:00.0", "driver": "nvidia", "architecture": "ampere"}
CLIENT = {"pid": 7, "process": "python3", "unit": "serve.service", "devices": ["/dev/nvidia0"]}
STOPPED = {"triggers": [], "services": ["serve.service"]}
NOTHING = {"triggers": [], "services": []}
RUNS = {"ActiveState": "active", "UnitFileState": "enabled"}
# Nothing can be asked of it.
NODE = bring.Node(None, None, None, None)


def seen(in_the_way=None, stale=None, units=None, unused=(), wanted=None, loaded="", **facts):
    found = {
        **copy.deepcopy(case.EMPTY),
        "own_kernel": True,
        "kernel": "6.1",
        "kernels": [KERNEL],
        "gpus": [GPU],
        **facts,
    }
    found["driver"]["loaded"] = {"version": loaded, "open": False}
    return Seen(
        target=Target({**WANTED, **(wanted or {})}, found),
        method=Method([]),
        files={path: text_files.of("new\n") for path in stale or ()},
        stale=stale or {},
        units=units or {},
        in_the_way=in_the_way or NOTHING,
        unused=list(unused),
    )


def changes(found, *consent):
    return plan.plan(found, consent, NODE).changes


def test_a_fresh_host_gets_the_driver_and_its_daemon_in_this_order():
    stale = {modprobe_conf.MODPROBE: text_files.of(None)}
    assert changes(seen(stale=stale)) == [
        "prepare",
        "build",
        f"write {modprobe_conf.MODPROBE}",
        "exchange",
        "finish",
        "load the module",
        "enable nvidia-persistenced.service",
        "start nvidia-persistenced.service",
    ]


def test_a_daemon_of_packages_that_give_way_is_enabled_and_started_again():
    found = seen(units={"nvidia-persistenced.service": RUNS})
    assert "enable nvidia-persistenced.service" not in changes(found)
    found.method.changes_method = True
    assert changes(found, "change_method")[-2:] == [
        "enable nvidia-persistenced.service",
        "start nvidia-persistenced.service",
    ]


def test_a_loaded_module_is_exchanged_between_a_stop_and_a_start_of_who_is_in_the_way():
    found = seen(STOPPED, units={"nvidia-persistenced.service": RUNS}, loaded="535.161.08")
    assert changes(found, "stop_gpu_clients") == [
        "prepare",
        "build",
        "stop serve.service for the time of the change",
        "exchange",
        "finish",
        "exchange the loaded module",
        "start again what was stopped for the driver",
    ]


@pytest.mark.parametrize(
    ("loaded", "consent", "outlook"),
    [
        # reloads, can load, will run
        ("", (), (False, True, True)),
        ("535.161.08", (), (False, True, False)),
        ("535.161.08", ("stop_gpu_clients",), (True, True, True)),
        ("535.161.08", ("stop_gpu_clients", "reboot"), (False, True, False)),
        ("535.183.01", ("stop_gpu_clients",), (False, True, True)),
    ],
)
def test_what_is_loaded_in_the_end_follows_from_what_is_loaded_and_from_consent(
    loaded, consent, outlook
):
    assert plan.outlook(seen(loaded=loaded), consent) == outlook


def test_a_driver_of_the_kernels_own_that_is_in_use_keeps_the_module_out_until_a_reboot():
    drivers = copy.deepcopy(case.EMPTY["in_kernel_drivers"])
    drivers["nouveau"]["loaded"] = True
    assert plan.outlook(seen(in_kernel_drivers=drivers), ()).will_run is False
    assert plan.outlook(seen(in_kernel_drivers=drivers, unused=["nouveau"]), ()).will_run is True


SWITCHES = {
    "nvswitches": [{"address": "0000:05:00.0", "device": "22a3", "driver": "nvidia-nvswitch"}],
    "fabric_manager": {"version": "535.183.01", "active": False, "enabled": True},
    "gpu_clients": [CLIENT],
}


def resting(in_the_way=None, **facts):
    """Return a host whose driver is as wanted."""
    units = {"nvidia-persistenced.service": RUNS}
    found = seen(in_the_way, units=units, loaded="535.183.01", **facts)
    return found._replace(method=AsWanted([]))


class AsWanted(Method):
    exchanges = False


def test_a_fabric_manager_is_not_started_while_somebody_computes():
    with pytest.raises(Refusal, match="python3"):
        plan.refuse(resting(**SWITCHES), ())


def test_a_fabric_manager_is_started_between_a_stop_and_a_start_of_who_computes():
    found = resting(STOPPED, **SWITCHES)
    plan.refuse(found, ("stop_gpu_clients",))
    assert [name for name in changes(found, "stop_gpu_clients") if " " in name] == [
        "stop serve.service for the time of the change",
        "enable nvidia-fabricmanager.service",
        "start nvidia-fabricmanager.service",
        "start again what was stopped for the driver",
    ]


@pytest.mark.parametrize(
    "other",
    [
        {"gpu_clients": []},
        {"nvswitches": []},
        {"fabric_manager": {"version": "535.183.01", "active": True, "enabled": False}},
    ],
)
def test_a_fabric_manager_disturbs_nobody_where_nobody_computes_or_it_is_not_started(other):
    plan.refuse(resting(**{**SWITCHES, **other}), ())


def test_parameters_of_a_module_that_stays_loaded_are_said_to_hold_later():
    stale = {modprobe_conf.MODPROBE: text_files.of(None)}
    asked = {"wanted": {"parameters": {"NVreg_A": "1"}}, "stale": stale}
    later = "whose parameters hold from the next loading of the module on"
    assert later in changes(seen(loaded="535.161.08", **asked))[2]
    assert later not in changes(seen(**asked))[2]


def test_what_changes_in_a_file_is_told_from_what_was_seen_of_it():
    found = seen(stale={modprobe_conf.MODPROBE: text_files.of("old\n")})
    (row,) = plan.diff(found)
    assert (row["before"], row["after"]) == ("old\n", "new\n")


HELD = {"name": "nvidia", "permanent": False, "above": ["gdrdrv"], "clients": []}


def test_nobody_is_stopped_for_a_module_that_would_stay_loaded():
    idle = seen(STOPPED, held_modules=[HELD], loaded="535.161.08")
    plan.refuse(idle, ["stop_gpu_clients"])
    assert changes(idle, "stop_gpu_clients") == changes(idle)
    at_work = seen(STOPPED, held_modules=[HELD], gpu_clients=[CLIENT], loaded="535.161.08")
    with pytest.raises(Refusal, match="gdrdrv stands on nvidia") as caught:
        plan.refuse(at_work, ["stop_gpu_clients"])
    assert "gpunode_consent: [stop_gpu_clients, reboot]" in caught.value.remedy
    plan.refuse(at_work, ["stop_gpu_clients", "reboot"])


def test_a_unit_that_is_stopped_along_is_no_reason_to_refuse_and_one_that_is_not_is():
    found = seen(STOPPED, gpu_clients=[CLIENT], loaded="535.161.08")
    plan.refuse(found, ["stop_gpu_clients"])
    with pytest.raises(Refusal, match="would still when the units of gpunode_drain"):
        plan.refuse(found._replace(in_the_way=NOTHING), ["stop_gpu_clients"])
    with pytest.raises(Refusal, match="name their units in gpunode_drain"):
        plan.refuse(found, [])


def made(kind):
    return kind()


def test_a_method_has_all_the_parts_of_one_or_cannot_be_made():
    parts = {name for name in vars(method.Method) if not name.startswith("_")}
    assert parts == method.Method.__abstractmethods__
    with pytest.raises(TypeError, match="needs"):
        made(type("Half", (method.Method,), dict.fromkeys(parts - {"needs"})))
