"""The driver's modules by DKMS, on a small tree that stands for a host."""

from __future__ import annotations

import errno
import os
import subprocess

import elf
import pytest
from dkms_host import DEBIANS, K1, K2, TEMPLATE, V1, V2, Host, module, row, wanted
from trees import planted

from ansible_collections.gpunode.stack.plugins.module_utils._node.kernel import dkms
from ansible_collections.gpunode.stack.plugins.module_utils._node.nvidia_driver import (
    kernel_modules,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import files, folders


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


def rows(driver, *keys):
    return [tuple(entry[key] for key in keys) for entry in driver]


def test_sources_become_what_the_installer_would_make_of_them(host):
    folder = host.path("/unpacked/kernel")
    folder.mkdir(parents=True)
    (folder / "dkms.conf").write_text(TEMPLATE)
    kernel_modules.add(host.tree, wanted(), str(folder), ["nvidia", "nvidia-uvm"])
    text = host.path(f"/usr/src/nvidia-{V1}/dkms.conf").read_text()
    assert f'PACKAGE_VERSION="{V1}"' in text
    assert 'BUILT_MODULE_NAME[1]="nvidia-uvm"\nDEST_MODULE_LOCATION[1]="/kernel/' in text
    assert "NV_EXCLUDE_BUILD_MODULES=''" in text
    assert "__" not in text
    assert dkms.module_files(text, "nvidia") == {
        "nvidia": "nvidia",
        "nvidia-uvm": "nvidia_uvm",
    }


def test_sources_that_are_there_are_left_and_half_of_some_are_replaced(host):
    host.sources()
    place = host.path(f"/usr/src/nvidia-{V1}")
    before = place.stat().st_ino
    host.sources()
    assert place.stat().st_ino == before
    (place / "nvidia.c").unlink()
    host.write(f"/usr/src/nvidia-{V1}.gpunode-new/half.c", "")
    host.sources()
    assert not (place / "half.c").exists()
    assert (place / "nvidia.c").exists()
    assert [path.name for path in host.path("/usr/src").iterdir()] == [place.name]


def test_modules_are_built_for_every_kernel_and_none_is_installed(host):
    host.sources()
    kernel_modules.build(host.tree, wanted(), [row(K1), row(K2)], host.execute)
    assert rows(host.survey()["dkms"], "kernel", "state") == [(K1, "built"), (K2, "built")]
    assert host.survey()["modules"] == []


def test_a_kernel_is_always_named(host):
    host.put_in_place()
    host.sources(V2)
    kernel_modules.install(host.tree, wanted(V2), [row(K1), row(K2)], host.execute)
    assert [kernel for verb, _version, kernel in host.asked if not kernel] == []


def test_what_is_built_and_installed_is_not_built_again(host):
    host.put_in_place()
    kernel_modules.build(host.tree, wanted(), [row(K1), row(K2)], host.execute)
    kernel_modules.install(host.tree, wanted(), [row(K1), row(K2)], host.execute)
    assert host.asked == []


@pytest.mark.parametrize("versions", [(V1, V2), (V2, V1)])
def test_another_version_takes_the_place_in_every_kernel_in_both_directions(host, versions):
    before, after = versions
    host.put_in_place(before)
    host.sources(after)
    kernel_modules.install(host.tree, wanted(after), [row(K1), row(K2)], host.execute)
    assert rows(host.survey()["modules"], "kernel", "version") == [(K1, after), (K2, after)]
    kernel_modules.prove(host.tree, wanted(after), [K1, K2])


def test_a_module_that_dkms_put_away_for_later_does_not_come_back(host):
    """v3.2.2 keeps a module that it finds without being its own, and restores it at the end."""
    old = f"/var/lib/dkms/nvidia/original_module/{K1}/x86_64/nvidia.ko"
    host.write(old, module(K1, version="440.33.01"))
    host.put_in_place(V1)
    assert not host.path(old).exists()


def test_a_downgrade_that_dkms_only_says_it_made_is_made(host):
    """v3.0.10 without --force: it ends with 0, its link leads to the new one, the file is old."""
    host.put_in_place(V2, [K1])
    host.sources(V1)
    kernel_modules.build(host.tree, wanted(V1), [row(K1)], host.execute)
    link = host.path(f"/var/lib/dkms/nvidia/kernel-{K1}-x86_64")
    link.unlink()
    link.symlink_to(f"{V1}/{K1}/x86_64")
    assert rows(host.survey()["dkms"], "version", "state") == [(V1, "installed"), (V2, "built")]
    assert kernel_modules.lacking(host.tree, host.survey(), wanted(V1), [K1]) == [K1]
    kernel_modules.install(host.tree, wanted(V1), [row(K1)], host.execute)
    assert kernel_modules.lacking(host.tree, host.survey(), wanted(V1), [K1]) == []


@pytest.mark.parametrize("half", ["log", "module"])
def test_a_build_that_was_killed_is_built_anew(host, half):
    """Either folder alone: `dkms build` and `dkms install` end with 3 then, and remove nothing."""
    host.sources()
    host.path(f"/var/lib/dkms/nvidia/{V1}/{K1}/x86_64/{half}").mkdir(parents=True)
    kernel_modules.build(host.tree, wanted(), [row(K1)], host.execute)
    assert kernel_modules.is_built(host.tree, wanted(), K1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        module(K2),
        module(K1, version=V2),
        module(K1).replace("vermagic", "parm"),
    ],
)
def test_a_module_that_is_none_of_this_kernel_and_version_is_built_anew(host, text):
    host.sources()
    kernel_modules.build(host.tree, wanted(), [row(K1)], host.execute)
    host.write(f"/var/lib/dkms/nvidia/{V1}/{K1}/x86_64/module/nvidia.ko", text)
    assert not kernel_modules.is_built(host.tree, wanted(), K1)
    kernel_modules.build(host.tree, wanted(), [row(K1)], host.execute)
    assert kernel_modules.is_built(host.tree, wanted(), K1)


def test_a_module_that_is_missing_among_others_makes_it_half_built(host):
    folder = host.path("/unpacked/kernel")
    folder.mkdir(parents=True)
    (folder / "dkms.conf").write_text(TEMPLATE)
    kernel_modules.add(host.tree, wanted(), str(folder), ["nvidia", "nvidia-uvm"])
    host.execute(["dkms", "build", "-m", "nvidia", "-v", V1, "-k", K1], {})
    assert not kernel_modules.is_built(host.tree, wanted(), K1)
    uvm = module(K1, "nvidia_uvm", license="Dual MIT/GPL")
    host.write(f"/var/lib/dkms/nvidia/{V1}/{K1}/x86_64/module/nvidia-uvm.ko", uvm)
    assert kernel_modules.is_built(host.tree, wanted(), K1)
    assert kernel_modules.is_built(host.tree, wanted(is_open=False), K1)


@pytest.mark.parametrize(
    ("fields", "lacks"),
    [
        ({"is_open": True}, {"license": "Dual MIT/GPL"}),
        ({"signed": True}, {"signer": "DKMS module signing key"}),
    ],
)
def test_modules_of_another_kind_are_built_anew_in_the_same_version(host, fields, lacks):
    host.put_in_place(V1)
    asked = wanted(V1, **fields)
    assert kernel_modules.lacking(host.tree, host.survey(), asked, [K1, K2]) == [K1, K2]
    host.fields = lacks
    kernel_modules.install(host.tree, asked, [row(K1), row(K2)], host.execute)
    assert kernel_modules.lacking(host.tree, host.survey(), asked, [K1, K2]) == []
    kernel_modules.prove(host.tree, asked, [K1, K2])


@pytest.mark.parametrize(
    ("depends", "version", "rdma", "lacks"),
    [
        (["nvidia"], 1, True, [K1]),
        (["nvidia", "ib_core"], 1, True, []),
        (["nvidia", "ib_core"], 2, True, [K1]),
        (["nvidia"], 2, False, []),
    ],
)
def test_peer_memory_that_was_built_without_the_rdma_stack_that_is_there_is_lacking(
    tmp_path, depends, version, rdma, lacks
):
    client, path = "ib_register_peer_memory_client", f"/lib/modules/{K1}/updates/nvidia-peermem.ko"
    symvers = f"0x00000001\t{client}\tib_core\tEXPORT\t\n"
    planted_files = {
        "/usr/src/ofa_kernel/default/include/rdma/peer_mem.h": "",
        "/usr/src/ofa_kernel/default/Module.symvers": symvers,
        path: elf.module(imports=[(client, version)]),
    }
    tree = planted(tmp_path, planted_files)
    module = {"kernel": K1, "version": V1, "open": False, "signer": "", "path": path}
    driver = {
        "dkms": [{"name": "nvidia", "version": V1, "kernel": K1, "state": "installed"}],
        "modules": [
            {**module, "name": "nvidia", "depends": []},
            {**module, "name": "nvidia_peermem", "depends": depends},
        ],
    }
    assert kernel_modules.lacking(tree, driver, wanted(rdma=rdma), [K1]) == lacks


def test_a_compiler_that_is_not_there_is_named(host):
    host.sources()
    host.fails = {K1}
    host.log = "make: gcc-12: No such file or directory\nmake: *** [Makefile:1: x] Error 127\n"
    with pytest.raises(Refusal) as failure:
        kernel_modules.build(host.tree, wanted(), [row(K1, found=False)], host.execute)
    assert "gcc-12: No such file or directory" in failure.value.because
    says = "Install gcc-12, with which the kernel was built, and run again"
    assert failure.value.remedy == says


def test_a_disk_that_a_build_fills_is_named(host):
    host.sources()
    host.fails = {K1}
    host.log = "fatal error: error writing to /tmp/x.s: No space left on device\n"
    with pytest.raises(Refusal, match="file system of /var/lib/dkms is full"):
        kernel_modules.build(host.tree, wanted(), [row(K1)], host.execute)


def test_sources_for_which_there_is_no_room_leave_those_that_are_there(host, monkeypatch):
    host.sources()
    before = files.sha256_of_tree(str(host.path("/usr/src")))

    def full(*_arguments, **_settings):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files, "write_text", full)
    with pytest.raises(Refusal, match=r"file system of .* is full"):
        host.sources()
    assert files.sha256_of_tree(str(host.path("/usr/src"))) == before


def test_a_build_without_sources_is_refused_before_dkms_is_asked(host):
    with pytest.raises(Refusal, match="holds no sources for DKMS"):
        kernel_modules.build(host.tree, wanted(), [row(K1)], host.execute)
    assert host.asked == []


def test_where_no_kernel_has_headers_there_is_nothing_to_build_from(host):
    kernel_modules.install(host.tree, wanted(), [], host.execute)
    assert host.asked == []


def test_a_build_that_ends_well_and_built_nothing_is_none(host):
    host.sources()

    def does_nothing(argv, _environment):
        return subprocess.CompletedProcess(argv, 0, "", "")

    with pytest.raises(Refusal, match="build the modules of nvidia"):
        kernel_modules.build(host.tree, wanted(), [row(K1)], does_nothing)


def test_a_kernel_that_dkms_does_not_install_for_is_named(host):
    host.sources()

    def does_not_install(argv, environment):
        if argv[1] == "install":
            return subprocess.CompletedProcess(argv, 6, "", "Error! Problems with depmod detected.")
        return host.execute(argv, environment)

    with pytest.raises(Refusal, match=f"for kernel {K1}: Error! Problems with depmod"):
        kernel_modules.install(host.tree, wanted(), [row(K1)], does_not_install)


def test_a_compiler_is_not_blamed_where_it_is_there(host):
    host.sources()
    host.fails = {K1}
    with pytest.raises(Refusal) as failure:
        kernel_modules.build(host.tree, wanted(), [row(K1), row(K2)], host.execute)
    assert "gcc-12" not in str(failure.value)
    assert failure.value.remedy.startswith("Choose a driver")


def test_each_kernel_that_is_wrong_is_named_by_the_proof(host):
    host.put_in_place(V1, [K1])
    with pytest.raises(Refusal, match=f"kernel {K2} has them not in place"):
        kernel_modules.prove(host.tree, wanted(), [K1, K2])
    host.write(f"/lib/modules/{K1}/updates/dkms/nvidia.ko", module(K2))
    with pytest.raises(Refusal, match=f"nvidia.ko is for {K2}"):
        kernel_modules.prove(host.tree, wanted(), [K1])


def test_a_module_that_would_be_loaded_in_its_place_is_named_by_the_proof(host, monkeypatch):
    host.put_in_place(V1, [K1])
    monkeypatch.setattr(host, "version_of", lambda _path: V2)
    with pytest.raises(Refusal, match=f"kernel {K1} would load {V2}"):
        kernel_modules.prove(host.tree, wanted(), [K1])


def test_a_kernel_of_which_there_are_only_headers_loads_nothing(host, monkeypatch):
    host.put_in_place(V1, [K1])
    host.path(f"/lib/modules/{K1}/modules.dep").unlink()
    monkeypatch.setattr(host, "version_of", lambda _path: "")
    kernel_modules.prove(host.tree, wanted(), [K1])


def test_further_trees_of_the_driver_are_told_and_no_others(host):
    host.put_in_place(V1)
    host.sources(V2)
    kernel_modules.install(host.tree, wanted(V2), [row(K1), row(K2)], host.execute)
    host.write("/usr/src/nvidia-current-470.1/dkms.conf", DEBIANS)
    host.path("/var/lib/dkms/nvidia-current/470.1").mkdir(parents=True)
    host.path("/var/lib/dkms/nvidia-current/470.1/source").symlink_to(
        "/usr/src/nvidia-current-470.1"
    )
    # GPUDirect Storage, a driver of its own.
    host.write("/usr/src/nvidia-fs-2.17.5/dkms.conf", 'BUILT_MODULE_NAME[0]="nvidia-fs"\n')
    host.path("/var/lib/dkms/nvidia-fs/2.17.5").mkdir(parents=True)
    host.path("/var/lib/dkms/nvidia-fs/2.17.5/source").symlink_to("/usr/src/nvidia-fs-2.17.5")
    # A folder that is ours and no sources: it names no version.
    folders.make(str(host.path("/usr/src/notes")))
    assert kernel_modules.others(host.tree, wanted(V2)) == [
        ("nvidia", V1),
        ("nvidia-current", "470.1"),
    ]
