"""The stand-in of a machine with GPUs: what it shows is what the facts and people see of one."""

from __future__ import annotations

import pytest

from standins.machine import VERSION, Machine, gpu, nvswitch
from system import playbooks

pytestmark = [pytest.mark.lab, pytest.mark.slow]

NODE = "node1"
OTHER = "550.90.07"
VGPU = "NVIDIA Virtual Compute Server"
FACTS = "tests/system/preflight/facts.yml"


@pytest.fixture(scope="module")
def machine(lab):
    made = Machine(
        lab,
        NODE,
        gpus=[gpu(name="GRID A100D-20C", mode="VGPU", licensed_product=VGPU)],
        nvswitches=[nvswitch()],
    )
    made.install()
    yield made
    lab.fresh(NODE)


@pytest.fixture
def facts(machine, tmp_path):
    """Return what the facts say now."""

    def look():
        run = playbooks.run(FACTS, log=tmp_path / "ssh")
        assert run.status == 0, run.text
        return next(
            result["gpunode_facts"]
            for _task, result in run.results(NODE)
            if "gpunode_facts" in result
        )

    return look


def test_without_a_driver_it_is_a_host_with_a_kernel_and_gpus(machine, facts):
    seen = facts()
    (kernel,) = [row for row in seen["kernels"] if row["running"]]
    (found,) = seen["gpus"]
    (switch,) = seen["nvswitches"]
    assert seen["own_kernel"] is True
    assert (kernel["release"], kernel["headers"]) == (seen["kernel"], True)
    assert (found["address"], found["driver"], found["architecture"]) == (
        "0000:3b:00.0",
        "",
        "ampere",
    )
    assert switch["address"] == "0000:b7:00.0"
    assert seen["driver"]["loaded"] == {"version": "", "open": False}
    assert seen["secure_boot"]["efi"] is False
    assert machine.says("systemctl is-system-running") == "running"


def test_a_module_that_dkms_installed_is_loaded_by_the_next_boot(machine, facts):
    machine.module(VERSION)
    machine.userspace(VERSION)
    assert machine.loaded() == []
    machine.reboot()
    assert machine.loaded() == ["nvidia"]
    seen = facts()
    assert seen["driver"]["loaded"] == {"version": VERSION, "open": True}
    assert seen["gpus"][0]["driver"] == "nvidia"
    assert seen["nvidia_smi"]["driver_version"] == VERSION
    assert seen["nvidia_smi"]["gpus"][0]["license"] == "Unlicensed (Unrestricted)"
    assert "nvidia" in machine.says("lsmod")


def test_another_module_is_loaded_once_the_first_is_gone(machine, facts):
    machine.module(OTHER)
    assert facts()["driver"]["loaded"]["version"] == VERSION
    machine.says("modprobe -r nvidia")
    assert facts()["driver"]["loaded"]["version"] == ""
    machine.says("modprobe nvidia")
    assert facts()["driver"]["loaded"]["version"] == OTHER


def test_libraries_of_another_version_are_a_mismatch(machine, facts):
    assert machine.tried("nvidia-smi").returncode == 18
    smi = facts()["nvidia_smi"]
    assert (smi["answered"], smi["says"]) == (
        False,
        "Failed to initialize NVML: Driver/library version mismatch"
        " / NVML library version: 535.161",
    )
    machine.userspace(OTHER)
    assert facts()["nvidia_smi"]["answered"] is True


def test_a_client_is_seen_and_keeps_the_driver_from_going(machine, facts):
    machine.client("train.service")
    (client,) = facts()["gpu_clients"]
    assert (client["unit"], client["devices"]) == ("train.service", ["/dev/nvidia0"])
    refused = machine.tried("modprobe -r nvidia")
    assert (refused.returncode, refused.stderr.strip()) == (
        1,
        "modprobe: FATAL: Module nvidia is in use.",
    )
    refused = machine.tried("rmmod nvidia")
    assert refused.stderr.strip() == "rmmod: ERROR: Module nvidia is in use"
    machine.says("systemctl stop train.service && rmmod nvidia")
    assert machine.loaded() == []
    assert machine.tried("nvidia-smi").returncode == 9
    machine.says("modprobe nvidia")


def test_the_persistence_daemon_keeps_the_devices_open(machine):
    machine.userspace(OTHER, programs=["nvidia-persistenced"])
    machine.says("systemctl start nvidia-persistenced")
    assert machine.tried("rmmod nvidia").returncode == 1
    machine.says("systemctl stop nvidia-persistenced && rmmod nvidia")
    assert machine.tried("systemctl start nvidia-persistenced").returncode == 1
    log = machine.says("journalctl --boot --unit=nvidia-persistenced --output=cat")
    assert "Failed to query NVIDIA devices." in log
    machine.says("modprobe nvidia")


def test_fabric_manager_runs_with_its_own_version_alone(machine, facts):
    machine.userspace(VERSION, programs=["nv-fabricmanager"])
    assert machine.tried("systemctl start nvidia-fabricmanager").returncode == 1
    log = machine.says("journalctl --boot --unit=nvidia-fabricmanager --output=cat")
    assert f"interface version {VERSION} don't match with driver version {OTHER}" in log
    machine.userspace(OTHER, programs=["nv-fabricmanager", "nvidia-smi"])
    machine.says("systemctl start nvidia-fabricmanager")
    assert facts()["fabric_manager"] == {"version": OTHER, "active": True, "enabled": False}
    machine.says("systemctl stop nvidia-fabricmanager")


@pytest.mark.parametrize(
    ("answer", "license", "says"),
    [
        ("licensed", "Licensed (Expiry: 2030-1-2 3:4:5 GMT)", "License acquired successfully"),
        ("no_seats", "Unlicensed (Unrestricted)", "Valid GRID license not found"),
    ],
)
def test_a_license_is_what_the_server_gives(machine, facts, answer, license, says):
    machine.userspace(OTHER, programs=["nvidia-gridd", "nvidia-smi"])
    machine.license_server(answer)
    machine.put("/etc/nvidia/gridd.conf", "FeatureType=1\n")
    machine.put("/etc/nvidia/ClientConfigToken/client_configuration_token_1.tok", "e30.e30.c2ln\n")
    machine.says("systemctl restart nvidia-gridd && sleep 1.5")
    seen = facts()
    assert seen["nvidia_smi"]["gpus"][0]["license"] == license
    assert seen["licensing"]["says"].startswith(says)
    machine.says("systemctl stop nvidia-gridd")
    assert facts()["nvidia_smi"]["gpus"][0]["license"] == "Unlicensed (Unrestricted)"


def test_a_module_for_another_kernel_is_not_taken(machine):
    machine.says("rmmod nvidia")
    other = machine.says("ls -d /usr/src/linux-headers-*cloud-amd64")
    machine.says(
        f"cp -r /usr/src/nvidia-{OTHER} /tmp/other && make -C {other} M=/tmp/other modules",
        timeout_s=120,
    )
    refused = machine.tried("insmod /tmp/other/nvidia.ko")
    assert (refused.returncode, refused.stderr.strip()) == (
        1,
        "insmod: ERROR: could not insert module /tmp/other/nvidia.ko: Invalid module format",
    )


def test_an_in_kernel_driver_that_boots_with_the_kernel_holds_the_gpu_until_it_is_blacklisted(
    machine, facts
):
    top = "/lib/modules/$(uname -r)"
    machine.says(
        "sed s/nvidia/nouveau/ /tmp/other/Makefile >/tmp/Makefile && mkdir -p /tmp/in-kernel"
        " && cp /tmp/Makefile /tmp/in-kernel && cp /tmp/other/nvidia.c /tmp/in-kernel/nouveau.c"
        f" && make -C {top}/build M=/tmp/in-kernel modules && mkdir -p {top}/kernel"
        f" && cp /tmp/in-kernel/nouveau.ko {top}/kernel && depmod",
        timeout_s=120,
    )
    machine.reboot()
    assert machine.loaded() == ["nouveau"]
    assert facts()["gpus"][0]["driver"] == "nouveau"
    refused = machine.tried("modprobe nvidia")
    assert refused.stderr.strip() == ("modprobe: ERROR: could not insert 'nvidia': No such device")
    machine.put("/etc/modprobe.d/in-kernel.conf", "blacklist nouveau\n")
    machine.reboot()
    assert machine.loaded() == ["nvidia"]


def test_secure_boot_takes_signed_modules_of_enrolled_keys_alone(machine, facts):
    key = "/var/lib/dkms/mok.pub"
    machine.has(secure_boot={"enabled": True, "enrolled": []})
    seen = facts()["secure_boot"]
    assert (seen["enabled"], seen["key_enrolled"]) == (True, False)
    refused = machine.tried("modprobe nvidia")
    assert refused.stderr.strip() == (
        "modprobe: ERROR: could not insert 'nvidia': Key was rejected by service"
    )
    machine.has(secure_boot={"enabled": True, "enrolled": [key]})
    assert facts()["secure_boot"]["key_enrolled"] is True
    assert machine.loaded() == ["nvidia"]


def test_without_a_gpu_there_is_nothing_to_load_a_driver_for(machine):
    machine.has(gpus=[])
    assert machine.loaded() == []
    refused = machine.tried("modprobe nvidia")
    assert refused.stderr.strip().endswith("No such device")
    assert "NVRM: No NVIDIA GPU found." in machine.says("cat /run/machine/log")
