"""Which peer memory module is loaded at boot, from hosts where others were asked for."""

from __future__ import annotations

import pytest
from trees import planted

from ansible_collections.gpunode.stack.plugins.module_utils._node.peer_memory import boot
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import text_files

ROUTES = ["nv_peer_mem", "nvidia_peermem", "dmabuf", "none"]


def wanted(tmp_path, files, route, is_legacy=False):
    found = boot.wanted_files(boot.observe(planted(tmp_path, files)), route, is_legacy, "")
    return {path: file.text for path, file in found.items()}


@pytest.mark.parametrize("route", ROUTES)
def test_the_route_s_module_alone_is_loaded(tmp_path, route):
    found = wanted(tmp_path, {}, route)
    lines = (found[boot.LOAD] or "").splitlines()[1:]
    assert lines == ([route] if route in ("nv_peer_mem", "nvidia_peermem") else [])
    assert found[boot.PARAMETERS] is None


@pytest.mark.parametrize("route", ROUTES)
def test_nvidia_peermem_alone_is_told_of_an_old_stack(tmp_path, route):
    text = wanted(tmp_path, {}, route, is_legacy=True)[boot.PARAMETERS]
    assert ("peerdirect_support=1" in (text or "")) == (route == "nvidia_peermem")


@pytest.mark.parametrize(
    ("files", "changed"),
    [
        ({"/etc/modules-load.d/a.conf": "nvidia-peermem\n"},
         {"/etc/modules-load.d/a.conf": None}),
        ({"/etc/modules-load.d/a.conf": "# x\nloop\nnvidia_peermem\n"},
         {"/etc/modules-load.d/a.conf": "# x\nloop\n"}),
        ({"/etc/modules": "# of boot\nnvidia_peermem\n"}, {"/etc/modules": "# of boot\n"}),
        ({"/usr/lib/modules-load.d/a.conf": "ib_umad\nnvidia_peermem\n"},
         {"/etc/modules-load.d/a.conf": "ib_umad\n"}),
        ({"/usr/lib/modules-load.d/a.conf": "", "/etc/modules-load.d/a.conf": "nvidia_peermem\n"},
         {"/etc/modules-load.d/a.conf": boot._MARK}),
        ({"/etc/modules-load.d/a.conf": "nv_peer_mem\n#nvidia_peermem\n"}, {}),
        ({"/etc/modules-load.d/a.conf": "loop\n"}, {}),
    ],
)  # fmt: skip
def test_whoever_asked_for_the_other_module_is_overruled(tmp_path, files, changed):
    found = wanted(tmp_path, files, "nv_peer_mem")
    del found[boot.LOAD], found[boot.PARAMETERS]
    assert found == changed


@pytest.mark.parametrize("route", ["dmabuf", "none"])
def test_without_a_module_neither_is_loaded(tmp_path, route):
    files = {"/etc/modules-load.d/a.conf": "nv_peer_mem\nnvidia_peermem\n"}
    assert wanted(tmp_path, files, route)["/etc/modules-load.d/a.conf"] is None


def test_what_the_module_was_built_for_is_noted_where_it_is_loaded(tmp_path):
    seen = boot.observe(planted(tmp_path, {}))
    built_for = "driver 550.54.15 open by runfile, RDMA stack mlnx_ofed 5.8-1.1.2.1"
    for noted in (built_for, ""):
        text = boot.wanted_files(seen, "nv_peer_mem", False, noted)[boot.LOAD].text
        assert text.endswith("\nnv_peer_mem\n")
        assert boot.noted({boot.LOAD: text_files.OnDisk(text)}) == noted
    assert boot.noted({boot.LOAD: text_files.NOTHING}) == ""
