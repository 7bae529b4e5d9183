"""The order in which a driver is exchanged, and what becomes of a host where that fails."""

from __future__ import annotations

import copy
import subprocess

import pytest
from noted_method import Method
from trees import planted

from ansible_collections.gpunode.stack.plugins.module_utils._node.component import bring
from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import (
    clients,
    cuda_allocation,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.nvidia_driver import (
    converge as driver_converge,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.nvidia_driver import (
    drain as driver_drain,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.nvidia_driver import (
    observe,
    services,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import (
    own_paths,
    systemd,
    text_files,
)
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.stack import case

WANTED = {
    "state": "present",
    "file": "",
    "method": "runfile",
    "modules": "proprietary",
    "architectures": {},
    "offered": ["proprietary"],
    "guest": True,
    "branch": "535",
    "version": "535.183.01",
    "parameters": {},
    "persistence": False,
    "kernels_without_headers": "refuse",
}
KERNEL = {"release": "6.1", "running": True, "next": True, "headers": True}
GPU = {"address": "0000:3b:00.0", "driver": "nvidia", "architecture": "ampere"}
MODULE = {"kernel": "6.1", "name": "nvidia", "version": "535.161.08", "open": False}
CLIENT = {"pid": 7, "process": "python3", "unit": "serve.service", "devices": ["/dev/nvidia0"]}


class Host:
    """A host with a GPU, and what is done to it."""

    def __init__(self, folder, monkeypatch, **facts):
        self.done = []
        self.method = Method(self.done)
        monkeypatch.setitem(observe._METHODS, "runfile", lambda *_: self.method)
        monkeypatch.setattr(text_files, "put", lambda path, _file: self.done.append(path))
        monkeypatch.setattr(text_files, "stale", lambda wanted: [next(iter(wanted))])
        monkeypatch.setattr(own_paths, "STATE_DIR", str(folder / "state"))
        for name in ("drain", "restore", "reload_modules"):
            monkeypatch.setattr(driver_drain, name, self._noted(name))
        monkeypatch.setattr(
            driver_drain, "survey", lambda units, _run: {"triggers": [], "services": list(units)}
        )
        self.surveys = 0
        self.facts = {
            **copy.deepcopy(case.EMPTY),
            "own_kernel": True,
            "kernel": "6.1",
            "kernels": [dict(KERNEL)],
            "gpus": [dict(GPU)],
            **facts,
        }
        for row in self.facts["in_kernel_drivers"].values():
            row["blacklisted"] = True
        self.tree = planted(folder / "root", {"/proc/modules": ""})

    def _noted(self, name):
        def act(*_arguments):
            self.done.append(name)
            return [] if name == "restore" else ""

        return act

    def load(self, version="535.161.08"):
        self.facts["driver"]["loaded"] = {"version": version, "open": False}

    def run(self, argv, **_options):
        return subprocess.CompletedProcess(argv, 0, "", "")

    def survey(self):
        self.surveys += 1
        return self.facts

    def converge(self, *consent, drain=(), check_mode=False, **wanted):
        host = bring.Node(self.tree, self.survey, None, self.run)
        asked = {
            "wanted": {**WANTED, **wanted},
            "consent": list(consent),
            "drain": list(drain),
        }
        return driver_converge.converge(host, asked, check_mode)


@pytest.fixture
def host(tmp_path, monkeypatch):
    return Host(tmp_path, monkeypatch)


SETTING = "/etc/modprobe.d/gpunode-nvidia.conf"


def test_nouveau_is_kept_away_once_the_modules_are_built_and_before_the_exchange(host):
    host.converge()
    assert host.done == [
        "prepare",
        "build",
        SETTING,
        "exchange",
        "finish",
        "reload_modules",
        "prove",
    ]


def test_check_mode_says_what_the_run_does_and_does_nothing(host):
    predicted = host.converge(check_mode=True)
    assert host.done == []
    assert predicted.changes == host.converge().changes


def test_a_build_that_fails_leaves_all_as_it_was(host):
    host.load()
    host.method.fails = ("build", Refusal("build", "stdarg.h", "Choose another"))
    with pytest.raises(Refusal, match="stdarg"):
        host.converge("stop_gpu_clients", drain=["serve.service"])
    assert host.done == ["prepare"]


def test_an_exchange_that_fails_brings_back_driver_and_clients_and_says_so(host):
    host.load()
    host.method.fails = ("exchange", Refusal("install", "no room", "Free some"))
    with pytest.raises(Refusal, match=r"no room. Driver 535.161.08 is back. Free some"):
        host.converge("stop_gpu_clients", drain=["serve.service"])
    assert host.done[-4:] == ["drain", SETTING, "go back", "restore"]


def test_a_full_disk_in_the_exchange_brings_the_driver_back_too(host):
    host.method.fails = ("exchange", OSError(28, "No space left on device"))
    with pytest.raises(OSError, match="No space"):
        host.converge()
    assert host.done[-2:] == ["go back", "restore"]


def test_the_first_failure_is_told_where_going_back_fails_as_well(host):
    host.method.fails = ("exchange", Refusal("install", "no room", "Free some"))

    def fail():
        raise Refusal("go back", "it is gone", "Fetch it")

    host.method.going_back = fail
    with pytest.raises(Refusal, match=r"no room. The driver before could not .* it is gone"):
        host.converge()


def test_clients_that_cannot_be_stopped_leave_the_driver_untouched(host, monkeypatch):
    host.load()

    def refuse(*_arguments):
        raise Refusal("stop", "pid 7", "End it")

    monkeypatch.setattr(driver_drain, "drain", refuse)
    with pytest.raises(Refusal, match="pid 7"):
        host.converge("stop_gpu_clients", drain=["serve.service"])
    assert "exchange" not in host.done
    assert "go back" not in host.done


def test_a_loaded_module_stays_without_consent_and_nobody_is_stopped(host):
    host.load()
    host.converge(drain=["serve.service"])
    assert {"drain", "reload_modules", "restore"}.isdisjoint(host.done)


def test_with_consent_the_module_is_exchanged_in_memory_and_all_run_again(host):
    host.load()
    done = host.converge("stop_gpu_clients", drain=["serve.service"])
    order = [
        word for word in host.done if word in ("drain", "exchange", "reload_modules", "restore")
    ]
    assert order == ["drain", "exchange", "reload_modules", "restore"]
    assert "stop serve.service, nvidia-persistenced.service" in done.changes[3]


def test_with_consent_to_a_reboot_too_they_stay_stopped_until_then(host):
    host.load()
    host.facts["gpu_clients"] = [CLIENT]
    host.converge("stop_gpu_clients", "reboot", drain=["serve.service"])
    assert "drain" in host.done
    assert {"reload_modules", "restore"}.isdisjoint(host.done)


def test_a_gpu_in_use_is_refused_with_the_process_before_anything_is_done(host):
    host.load()
    host.facts["gpu_clients"] = [CLIENT]
    with pytest.raises(Refusal, match=clients.described(CLIENT).split()[0]):
        host.converge("reboot", drain=["serve.service"])
    assert host.done == []


def test_what_an_earlier_run_stopped_runs_again_once_its_driver_does(host):
    host.load("535.183.01")
    host.method.exchanges = host.method.builds = False
    host.facts["drained"] = ["serve.service"]
    host.converge()
    assert "restore" in host.done


def test_what_waits_for_a_reboot_is_not_started_before(host):
    host.load("535.161.08")
    host.method.exchanges = host.method.builds = False
    host.facts["drained"] = ["serve.service"]
    host.converge()
    assert "restore" not in host.done


def test_another_method_is_refused_without_consent(host):
    host.method.changes_method = True
    with pytest.raises(Refusal, match=r"by packages. Consent with gpunode_consent: \[change_met"):
        host.converge()
    host.converge("change_method")
    assert "exchange" in host.done


def test_under_secure_boot_nothing_is_built_for_a_key_that_is_not_enrolled(host):
    host.facts["secure_boot"].update(enabled=True, key="/var/lib/dkms/mok.pub")
    with pytest.raises(Refusal, match=r"mokutil --import /var/lib/dkms/mok.pub"):
        host.converge()
    host.converge("unenrolled_key")
    assert "reload_modules" not in host.done
    host.facts["secure_boot"]["key_enrolled"] = True
    host.converge()
    assert "reload_modules" in host.done


def test_a_kernel_without_headers_is_refused_unless_they_can_be_had_or_it_was_said(host):
    host.facts["kernels"] = [{**KERNEL, "headers": False}]
    with pytest.raises(Refusal, match=r"kernel 6.1"):
        host.converge()
    host.method.offered = ("6.1",)
    host.converge()
    host.method.offered = ()
    host.converge(kernels_without_headers="report")


def test_a_kernel_without_headers_that_has_the_module_is_no_reason_to_refuse(host):
    host.facts["kernels"] = [{**KERNEL, "headers": False}]
    host.facts["driver"]["modules"] = [{**MODULE, "version": "535.183.01"}]
    host.converge()


def test_an_unused_in_kernel_driver_is_unloaded_and_one_in_use_waits_for_a_reboot(host, tmp_path):
    unloaded = []
    host.facts["in_kernel_drivers"]["nouveau"]["loaded"] = True
    host.tree = planted(tmp_path / "used", {"/proc/modules": "nouveau 1 3 - Live 0x0\n"})
    assert "unload nouveau" not in host.converge(check_mode=True).changes
    host.tree = planted(tmp_path / "free", {"/proc/modules": "nouveau 1 0 - Live 0x0\n"})
    unloaded = host.converge(check_mode=True).changes
    assert unloaded[-2:] == ["unload nouveau", "load the module"]


def test_an_in_kernel_driver_that_would_come_back_fails_the_proof(host):
    host.facts["in_kernel_drivers"]["nouveau"]["blacklisted"] = False
    with pytest.raises(Refusal, match="loaded again at the next boot"):
        host.converge()


def test_a_driver_that_is_loaded_and_computes_nothing_fails_the_proof(host, monkeypatch):
    monkeypatch.setattr(cuda_allocation, "obstacle", lambda _run: "cuInit says CUDA error 999")
    host.load("535.183.01")
    host.method.exchanges = False
    with pytest.raises(Refusal, match="cuInit says CUDA error 999"):
        host.converge(guest=False)
    # A guest computes once it has a licence.
    host.converge()


def test_a_host_that_is_as_wanted_is_proven_before_it_is_adopted(host, monkeypatch):
    monkeypatch.setattr(text_files, "stale", lambda _wanted: [])
    host.method.exchanges = host.method.builds = False
    monkeypatch.setattr(host.method, "preparing", list)
    monkeypatch.setattr(host.method, "building", list)
    monkeypatch.setattr(host.method, "finishing", list)
    host.load("535.183.01")
    done = host.converge()
    assert (done.changes, host.done) == ([], ["prove"])


def test_a_run_looks_at_the_host_before_and_after_and_a_prediction_looks_once(host, monkeypatch):
    host.facts["in_kernel_drivers"]["nouveau"]["initramfs"] = []
    host.load()
    host.converge("stop_gpu_clients", drain=["serve.service"], check_mode=True)
    assert host.surveys == 1
    host.converge("stop_gpu_clients", drain=["serve.service"])
    assert host.surveys == 1 + 2
    monkeypatch.setattr(text_files, "stale", lambda _wanted: [])
    host.method.exchanges = host.method.builds = False
    for phase in ("preparing", "building", "finishing"):
        monkeypatch.setattr(host.method, phase, list)
    host.load("535.183.01")
    assert host.converge().changes == []
    assert host.surveys == 1 + 2 + 2


def test_a_file_that_the_controller_has_is_asked_for_before_anything_is_done(host, monkeypatch):
    monkeypatch.setattr(host.method, "needs", lambda: ["/srv/driver.run"])
    assert (host.converge().needs, host.done, host.surveys) == (["/srv/driver.run"], [], 1)
    assert host.converge(check_mode=True).needs == []


def test_a_run_file_gets_a_unit_of_ours_for_its_daemon_and_packages_have_theirs(host, monkeypatch):
    asked = []
    monkeypatch.setattr(
        services,
        "wanted_files",
        lambda *said: asked.append(said) or {},
    )
    monkeypatch.setitem(observe._METHODS, "package", lambda *_: host.method)
    host.converge(persistence=True, check_mode=True)
    host.converge(check_mode=True)
    host.facts.update(distribution="Ubuntu", distribution_version="24.04")
    packages = {"repository": "ubuntu", "packages": {"proprietary": ["driver"]}}
    says = {"packages": {"Ubuntu 24.04": packages}, "method": "package", "persistence": True}
    for row in ({}, {"persistenced_command": "daemon"}):
        host.converge(repositories={"ubuntu": row}, check_mode=True, **says)
    assert asked == [
        (True, True, ""),
        (False, True, ""),
        (True, False, ""),
        (True, False, "daemon"),
    ]


def daemon(host, monkeypatch, state):
    """Return the entry of the daemon in the manifest, systemd saying this of it."""
    said = {"ActiveState": state, "UnitFileState": "enabled"} if state else {}
    monkeypatch.setattr(systemd, "show", lambda names, *_: {name: said for name in names if said})
    monkeypatch.setattr(systemd, "tell", lambda *_words, **_options: None)
    (entry,) = [row for row in host.converge(persistence=True).manifest if row["kind"] == "unit"]
    return entry["active"]


def test_daemons_are_to_run_with_their_own_driver_and_to_stay_as_they_are_until_a_reboot(
    host, monkeypatch
):
    host.load("535.183.01")
    host.method.exchanges = False
    assert daemon(host, monkeypatch, "inactive") == "active"
    host.load("535.161.08")
    assert daemon(host, monkeypatch, "inactive") == "inactive"


def test_of_daemons_that_systemd_says_nothing_of_the_state_is_not_looked_at(host, monkeypatch):
    host.load("535.161.08")
    host.method.exchanges = False
    assert daemon(host, monkeypatch, "") is None


def test_no_module_is_exchanged_where_none_is_loaded(host):
    done = host.converge("stop_gpu_clients", drain=["serve.service"])
    assert "exchange the loaded module" not in done.changes
    assert "drain" not in host.done


def test_a_host_without_its_own_kernel_or_a_gpu_loads_nothing(host):
    host.facts["own_kernel"] = False
    assert "load the module" not in host.converge(check_mode=True).changes
    host.facts.update(own_kernel=True, gpus=[])
    assert "load the module" not in host.converge(check_mode=True).changes
