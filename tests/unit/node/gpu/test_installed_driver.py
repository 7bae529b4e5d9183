"""The NVIDIA driver as loaded and on disk, from small trees and recorded answers."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trees import looked_at, planted

from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import installed_driver
from ansible_collections.gpunode.stack.plugins.module_utils._node.system.root import Root

K1, K2 = "6.1.0-40-amd64", "6.1.0-42-amd64"
PROPRIETARY = (
    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.161.08  Sat Feb 24 03:53:05 UTC 2024\n"
    "GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)\n"
)
OPEN = (
    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  "
    "(dvs-builder@U22-I3-B17-02-5)  Tue Sep 23 09:55:41 UTC 2025\n"
)
LOADED = "nvidia_uvm 1 0 - Live 0x0 (POE)\nnvidia 56823808 10 nvidia_uvm, Live 0x0 (POE)\n"


@pytest.mark.parametrize(
    ("text", "version", "is_open"),
    [(PROPRIETARY, "535.161.08", False), (OPEN, "580.95.05", True)],
)
def test_the_loaded_module_tells_its_version_and_flavour(text, version, is_open):
    files = {"/proc/driver/nvidia/version": text, "/proc/modules": LOADED}
    assert looked_at(installed_driver.loaded, files) == {"version": version, "open": is_open}


@pytest.mark.parametrize(("taint", "is_open"), [("POE\n", False), ("OE\n", True), ("", False)])
@pytest.mark.parametrize(
    "text", ["", "NVRM version: NVIDIA UNIX Open Kernel Module\n", b"\x00\xff"]
)
def test_sysfs_tells_of_a_loaded_module_whose_own_file_does_not(text, taint, is_open):
    files = {
        "/proc/driver/nvidia/version": text,
        "/proc/modules": LOADED,
        "/sys/module/nvidia/version": "550.90.07\n",
        "/sys/module/nvidia/taint": taint,
    }
    assert looked_at(installed_driver.loaded, files) == {"version": "550.90.07", "open": is_open}


def test_no_module_is_loaded_where_the_kernel_lists_none():
    files = {"/proc/modules": "nvidiafb 1 0 - Live 0x0\n"}
    assert looked_at(installed_driver.loaded, files) == {"version": "", "open": False}


def described(path, **fields):
    """Return what modinfo of kmod 30 prints of a module, with a field of several lines."""
    lines = [f"filename:       {path}", "alias:          char-major-195-*"]
    lines += [f"{key + ':':16}{value}" for key, value in fields.items()]
    lines += [
        "sig_hashalgo:   sha256",
        "signature:      7B:CC:F4:85:76:40:0E:9F:72:4C:BB:66:A9:60:EA:5A:9F:74:A5:F1:",
        "\t\t8F:8F:2A:F1:49:8E:FC:27:56:9B:CE:6E:C9:26:AE:E0:36:04:75:3F",
        "parm:           NVreg_RegistryDwords:charp",
        "parm:           version:none of the module's own (int)",
    ]
    return "\n".join(lines) + "\n"


def surveyed(tmp_path, files, printed="", links=None):
    planted(tmp_path, dict.fromkeys(files, ""), links)
    asked = []

    def run(argv, **_options):
        asked.append(argv)
        # The status of modinfo is that of the last file.
        return subprocess.CompletedProcess(argv, 1, printed.encode(), b"modinfo: ERROR: ...")

    return installed_driver.modules(Root(str(tmp_path), run)), asked


def test_one_call_describes_the_modules_of_all_kernels(tmp_path):
    paths = [
        f"/lib/modules/{K1}/updates/dkms/nvidia.ko.xz",
        f"/lib/modules/{K2}/updates/dkms/nvidia-peermem.ko",
    ]
    printed = described(
        f"{tmp_path}{paths[0]}",
        version="535.161.08",
        license="NVIDIA",
        depends="",
        signer="DKMS module signing key",
    ) + described(
        f"{tmp_path}{paths[1]}",
        version="580.95.05",
        license="Dual MIT/GPL",
        depends="nvidia,ib_core",
    )
    rows, asked = surveyed(tmp_path, paths, printed)
    assert asked == [["modinfo", *(f"{tmp_path}{path}" for path in paths)]]
    assert rows == [
        {
            "kernel": K1,
            "name": "nvidia",
            "path": paths[0],
            "version": "535.161.08",
            "open": False,
            "depends": [],
            "signer": "DKMS module signing key",
        },
        {
            "kernel": K2,
            "name": "nvidia_peermem",
            "path": paths[1],
            "version": "580.95.05",
            "open": True,
            "depends": ["nvidia", "ib_core"],
            "signer": "",
        },
    ]


def test_a_module_that_modinfo_cannot_read_keeps_what_its_path_tells(tmp_path):
    broken, sound = (f"/lib/modules/{kernel}/extra/nvidia.ko" for kernel in (K1, K2))
    printed = f"filename:       {tmp_path}{broken}\n" + described(
        f"{tmp_path}{sound}", version="535.161.08"
    )
    rows, _asked = surveyed(tmp_path, [broken, sound], printed)
    assert [(row["kernel"], row["version"]) for row in rows] == [(K1, ""), (K2, "535.161.08")]


def test_what_is_said_of_another_file_counts_for_none(tmp_path):
    path = f"/lib/modules/{K1}/extra/nvidia.ko"
    printed = described(f"{tmp_path}{path}", version="535.161.08")
    rows, _asked = surveyed(tmp_path, [path], printed + described("/other.ko", version="1.2"))
    assert [row["version"] for row in rows] == ["535.161.08"]


def test_modules_are_found_wherever_installers_put_them(tmp_path):
    wanted = [
        "extra/nv_peer_mem.ko",
        "extra/nvidia-drm.ko.gz",
        "kernel/drivers/video/nvidia-uvm.ko",
        "kernel/nvidia-535srv/nvidia.ko.zst",
        "updates/dkms/nvidia-modeset.ko.xz",
    ]
    others = [
        "kernel/drivers/video/fbdev/nvidia/nvidiafb.ko",
        "kernel/drivers/platform/x86/nvidia-wmi-ec-backlight.ko",
        "kernel/drivers/gpu/drm/nouveau/nouveau.ko",
        "updates/dkms/nvidia.ko.bak",
    ]
    rows, _asked = surveyed(tmp_path, [f"/lib/modules/{K1}/{name}" for name in wanted + others])
    assert [row["path"] for row in rows] == [f"/lib/modules/{K1}/{name}" for name in wanted]


def test_a_linked_module_counts_for_its_kernel_and_a_dangling_one_does_not(tmp_path):
    real = f"/lib/modules/{K1}/extra/nvidia.ko.xz"
    links = {
        f"/lib/modules/{K2}/weak-updates/nvidia.ko.xz": real,
        f"/lib/modules/{K2}/weak-updates/nvidia-uvm.ko.xz": "/lib/modules/gone/nvidia-uvm.ko.xz",
        f"/lib/modules/{K2}/build": f"/lib/modules/{K1}",
    }
    printed = described(f"{tmp_path}{real}", version="535.161.08")
    rows, _asked = surveyed(tmp_path, [real], printed, links)
    assert [(row["kernel"], row["version"]) for row in rows] == [
        (K1, "535.161.08"),
        (K2, "535.161.08"),
    ]


def test_modinfo_is_not_asked_where_there_is_no_module(tmp_path):
    assert surveyed(tmp_path, [f"/lib/modules/{K1}/kernel/fs/ext4.ko"]) == ([], [])


def test_libraries_are_told_by_their_files_and_not_by_links():
    folder = "/usr/lib/x86_64-linux-gnu"
    files = {
        f"{folder}/libcuda.so.550.107.02": "",
        f"{folder}/nvidia/current/libnvidia-ml.so.550.90.07": "",
        "/usr/lib64/libcuda.so.1.1": "",
        f"{folder}/libnvidia-mlx.so.1.2": "",
    }
    links = {
        f"{folder}/libcuda.so.1": "libcuda.so.550.107.02",
        f"{folder}/libcuda.so.9.9": "libcuda.so.550.107.02",
    }
    versions = ["1.1", "550.90.07", "550.107.02"]
    assert looked_at(installed_driver.libraries, files, links) == versions


def test_all_libraries_of_a_version_are_found_and_none_of_another():
    folder = "/usr/lib/x86_64-linux-gnu"
    names = ["libcuda.so.535.161.08", "libnvidia-ptxjitcompiler.so.535.161.08"]
    others = ["libcuda.so.535.161.081", "libcuda.so.535.183.01", "libm.so.6"]
    files = {f"{folder}/{name}": "" for name in [*names, *others]}
    links = {f"{folder}/libnvoptix.so.535.161.08": "/elsewhere"}
    found = looked_at(lambda tree: installed_driver.libraries_of(tree, "535.161.08"), files, links)
    assert sorted(found) == [f"{folder}/{name}" for name in names]


@pytest.mark.parametrize(
    ("first", "version"),
    [
        ("1.0-53516108 (535.161.08)", "535.161.08"),
        ("1.0-4403301 (440.33.01)", "440.33.01"),
        ("something else", ""),
    ],
)
def test_a_runfile_is_told_by_the_list_of_what_it_installed(first, version):
    log = f"{first}\nNVIDIA Accelerated Graphics Driver for Linux-x86_64 (535.161.08)\n1: /x\n"
    assert looked_at(installed_driver.runfile, {"/var/lib/nvidia/log": log}) == version
    assert looked_at(installed_driver.runfile) == ""


def test_nothing_is_found_on_a_host_without_anything():
    assert looked_at(installed_driver.survey) == {
        "loaded": {"version": "", "open": False},
        "modules": [],
        "dkms": [],
        "libraries": [],
        "runfile": "",
        "kept": [],
    }


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=200))
def test_rubbish_in_any_file_and_answer_is_no_error(rubbish):
    files = dict.fromkeys(
        [
            "/proc/driver/nvidia/version",
            "/proc/modules",
            "/sys/module/nvidia/version",
            "/var/lib/nvidia/log",
            "/var/lib/dkms/nvidia",
            f"/lib/modules/{K1}/updates/nvidia.ko",
        ],
        rubbish,
    )
    facts = looked_at(installed_driver.survey, files, answers={"modinfo": b"filename:" + rubbish})
    assert [row["name"] for row in facts["modules"]] == ["nvidia"]
