"""What a build of nv_peer_mem takes from a host, from small trees laid out as hosts are."""

from __future__ import annotations

import lzma
import subprocess

import elf
import pytest
from trees import planted

from ansible_collections.gpunode.stack.plugins.module_utils._node.peer_memory import nv_peer_mem
from ansible_collections.gpunode.stack.plugins.module_utils._node.rdma import symbols
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system.root import Root
from standins import peer_sources

K = "6.1.0-56-amd64"
VERSION = "450.248.02"
DKMS_MODULE = f"/lib/modules/{K}/updates/dkms/nvidia.ko"
DRIVER = elf.module(info=[("version", VERSION), ("vermagic", f"{K} SMP ")])
SYMVERS = "0x95d78b19\tib_register_peer_memory_client\tdrivers/infiniband/core/ib_core\tEXPORT\t\n"
OFED = "/usr/src/ofa_kernel/default"
NOTHING = {"module": "", "source": ""}


def ofed(folder=OFED):
    return {f"{folder}/include/rdma/peer_mem.h": "", f"{folder}/Module.symvers": SYMVERS}


def header(folder):
    return {f"{folder}/nvidia/nv-p2p.h": ""}


def row(path=DKMS_MODULE, name="nvidia", kernel=K):
    return {"kernel": kernel, "name": name, "path": path, "version": VERSION}


def inputs(tmp_path, files, modules=(), **said):
    return nv_peer_mem.build_inputs(planted(tmp_path, files), K, modules, {**NOTHING, **said})


def test_what_dkms_and_ofed_put_in_place_is_found(tmp_path):
    files = {DKMS_MODULE: DRIVER, **header(f"/usr/src/nvidia-{VERSION}"), **ofed()}
    found = inputs(tmp_path, files, [row()])
    assert found == (K, DKMS_MODULE, f"/usr/src/nvidia-{VERSION}", OFED)
    assert "case" not in nv_peer_mem.conf(["a.patch"], ["nvidia"], [found])


def test_a_driver_container_is_found(tmp_path):
    root = "/run/nvidia/driver"
    module = f"{root}/lib/modules/{K}/kernel/drivers/video/nvidia.ko.xz"
    source = f"{root}/usr/src/nvidia-{VERSION}"
    files = {module: lzma.compress(DRIVER), **header(f"{source}/kernel-open"), **ofed()}
    found = inputs(tmp_path, files)
    assert (found.module, found.source) == (module, f"{source}/kernel-open")
    says = nv_peer_mem.conf(["a.patch"], [], [found])
    assert f'{K}) MAKE="$MAKE NV_MODULE={module} nv_sources={source}/kernel-open" ;;' in says


def test_what_is_said_has_the_first_word(tmp_path):
    module, source = "/var/k8s/nvidia/drivers/nvidia.ko", "/opt/NVIDIA-Linux"
    files = {module: DRIVER, DKMS_MODULE: DRIVER, **header(f"{source}/kernel"), **ofed()}
    found = inputs(tmp_path, files, [row()], module=module, source=source)
    assert (found.module, found.source) == (module, f"{source}/kernel")


@pytest.mark.parametrize(
    "folder",
    [
        f"/usr/src/nvidia-tesla-450-{VERSION}",
        f"/usr/src/nvidia-current-{VERSION}",
        f"/var/lib/dkms/nvidia/{VERSION}/source",
        f"/usr/src/nvidia-{VERSION}/kernel",
    ],
)
def test_sources_are_found_by_whatever_name(tmp_path, folder):
    files = {DKMS_MODULE: DRIVER, **header(folder), **ofed()}
    assert inputs(tmp_path, files, [row()]).source == folder


def test_the_sources_of_another_driver_are_none(tmp_path):
    files = {DKMS_MODULE: DRIVER, **header("/usr/src/nvidia-535.161.08"), **ofed()}
    with pytest.raises(Refusal, match=rf"nv-p2p.h of driver {VERSION} is in none of") as caught:
        inputs(tmp_path, files, [row()])
    assert "peer_memory_driver_source" in caught.value.remedy


@pytest.mark.parametrize(
    ("said", "names"), [("", "nvidia.ko, is not there: /lib"), ("/a/nvidia.ko", "/a/nvidia.ko")]
)
def test_a_driver_that_is_nowhere_is_named(tmp_path, said, names):
    with pytest.raises(Refusal, match=names) as caught:
        inputs(tmp_path, ofed(), [row(kernel="6.1.0-1-amd64")], module=said)
    assert "peer_memory_driver_module" in caught.value.remedy


@pytest.mark.parametrize("has_client_ex", [True, False])
def test_a_tag_that_does_not_build_with_the_rdma_stack_is_refused(tmp_path, has_client_ex):
    peer_sources.ofed(tmp_path / OFED.lstrip("/"), has_client_ex)
    folders = {OFED: symbols.has_client_ex(planted(tmp_path), OFED)}
    nv_peer_mem.refuse_tag("1.1-0", False, folders)
    if has_client_ex:
        nv_peer_mem.refuse_tag("1.3-0", True, folders)
    else:
        with pytest.raises(Refusal, match="has no struct peer_memory_client_ex") as caught:
            nv_peer_mem.refuse_tag("1.3-0", True, folders)
        assert caught.value.remedy == "Say gpunode_peer_memory_tag: 1.1-0"


def test_dkms_applies_the_patches_and_waits_for_what_it_has(tmp_path):
    rows = [
        nv_peer_mem.BuildInputs(K, "/a/nvidia.ko", "/b", "/usr/src/ofa_kernel/x86_64/" + K),
        nv_peer_mem.BuildInputs(
            "6.1.0-9-amd64",
            "/lib/modules/6.1.0-9-amd64/nvidia.ko.xz",
            f"/usr/src/nvidia-{VERSION}",
            OFED,
        ),
    ]
    path = tmp_path / "conf"
    text = nv_peer_mem.conf(["1.patch", "2.patch"], ["nvidia", "mlnx-ofed-kernel"], rows)
    path.write_text(text, encoding="ascii")
    script = 'kernel_source_dir=/k; . "$1"; echo "${PATCH[*]}|${BUILD_DEPENDS[*]}|$MAKE"'

    def sourced(kernel):
        argv = ["bash", "-c", f"kernelver={kernel}; {script}", "-", str(path)]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()

    head, _bar, make = sourced(K).rpartition("|")
    assert head == "1.patch 2.patch|nvidia mlnx-ofed-kernel"
    assert make == (
        f"make all KVER={K} KDIR=/k NV_MODULE=/a/nvidia.ko nv_sources=/b "
        f"OFA_KERNEL=/usr/src/ofa_kernel/x86_64/{K}"
    )
    for other in ("6.1.0-9-amd64", "6.1.0-99-amd64"):
        assert sourced(other).endswith(f"|make all KVER={other} KDIR=/k")


def test_what_the_sources_wait_for_is_waited_for_no_more():
    assert 'BUILD_DEPENDS[0]=""\n' in nv_peer_mem.conf([], [], [])


@pytest.mark.parametrize("path", ["/a b/nvidia.ko", "/$(x)/nvidia.ko", '/"/nvidia.ko', "/a;b"])
def test_a_path_that_would_be_taken_apart_is_refused(path):
    rows = [nv_peer_mem.BuildInputs(K, path, "/b", OFED)]
    with pytest.raises(Refusal, match="a path that make is told"):
        nv_peer_mem.conf([], [], rows)


def test_sources_that_others_could_change_become_no_part_of_the_kernel(tmp_path):
    module, source = "/var/own/nvidia.ko", "/var/own"
    files = {module: DRIVER, **header(f"{source}/kernel"), **ofed()}
    said = {"module": module, "source": source}
    inputs(tmp_path, files, **said)
    (tmp_path / "var" / "own" / "kernel").chmod(0o777)
    with pytest.raises(Refusal, match="kernel is written by all") as caught:
        nv_peer_mem.build_inputs(Root(str(tmp_path)), K, [], said)
    assert "peer_memory_driver_source" in caught.value.remedy
