"""From options to what is wanted of peer memory."""

from __future__ import annotations

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import wanted_state
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.components import (
    peer_memory,
)
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.components.registry import (
    COMPONENTS,
)

DIGEST = "0123456789abcdef" * 4


def site(**variables):
    return wanted_state.Site(variables, "/inventory")


def state(**variables):
    route = {"gpunode_peer_memory_route": "nv_peer_mem"}
    return site(**{**route, **variables}).wanted("peer_memory")


def tags(found):
    return {row["tag"]: row for row in found["tags"]}


def test_nothing_is_wanted_where_nothing_is_said():
    assert not peer_memory.is_wanted(site())
    assert site().wanted("peer_memory") == {"state": "unsaid"}


def test_a_stack_brings_its_route():
    found = site(gpunode_stack="r535")
    assert peer_memory.is_wanted(found)
    assert found.wanted("peer_memory")["route"] == "auto"
    order = [name for name in COMPONENTS if name in ("nvidia_driver", "peer_memory")]
    assert order == ["nvidia_driver", "peer_memory"]


def test_no_route_is_an_absence():
    found = state(gpunode_peer_memory_route="none")
    assert (found["state"], peer_memory.absent(found)) == ("absent", [peer_memory.NAME])
    assert peer_memory.present(state()) == [peer_memory.NAME]


def test_without_a_driver_there_is_no_route():
    found = site(gpunode_stack="r535", nvidia_driver_state="absent")
    assert found.wanted("peer_memory")["state"] == "absent"


def test_an_archive_starts_at_the_inventory_and_has_its_digest():
    said = {"1.1-0": f"files/a.tar.gz#sha256={DIGEST}", "1.3-0": f"https://x/b#sha256={DIGEST}"}
    found = tags(state(peer_memory_archives=said))
    assert (found["1.1-0"]["file"], found["1.1-0"]["sha256"]) == (
        "/inventory/files/a.tar.gz",
        DIGEST,
    )
    assert found["1.3-0"]["file"] == "https://x/b"
    assert found["1.3-0"]["needs_client_ex"]
    assert not found["1.1-0"]["needs_client_ex"]


def test_an_archive_without_a_digest_is_none():
    assert {row["file"] for row in state()["tags"]} == {""}


@pytest.mark.parametrize(
    ("tag", "archives", "refused"),
    [
        ("", (), "1.3-0"),
        ("", ("1.1-0",), ""),
        ("1.1-0", ("1.1-0",), ""),
        ("1.3-0", ("1.1-0",), "1.3-0"),
        ("9", ("1.1-0",), "9"),
    ],
)
def test_without_an_archive_the_plan_refuses(tag, archives, refused):
    said = dict.fromkeys(archives, f"a#sha256={DIGEST}")
    found = state(gpunode_peer_memory_tag=tag, peer_memory_archives=said)
    refusals = peer_memory.refusals(found, {})
    assert [row.what for row in refusals] == ([f"nv_peer_mem {refused}"] if refused else [])
    assert all("Say peer_memory_archives" in row.remedy for row in refusals)


def test_other_routes_need_no_archive():
    for route in ("auto", "none", "dmabuf", "nvidia_peermem"):
        assert peer_memory.refusals(state(gpunode_peer_memory_route=route), {}) == []


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"peer_memory_archives": {"1.1-0": "a.tar.gz"}}, "does not end in #sha256="),
        ({"peer_memory_archives": {"9": f"a#sha256={DIGEST}"}}, "no such tag"),
        ({"peer_memory_driver_module": "nvidia.ko"}, "no absolute path"),
        ({"peer_memory_driver_source": "kernel"}, "no absolute path"),
    ],
)
def test_what_cannot_be_is_refused_by_name(said, says):
    with pytest.raises(Refusal, match=says) as caught:
        state(**said)
    assert caught.value.what.startswith(next(iter(said)))


def test_another_patch_is_another_wish(tmp_path, monkeypatch):
    wish = state()
    monkeypatch.setattr(peer_memory, "_PATCHES", tmp_path)
    for name, text in reversed(wish["patches"].items()):
        (tmp_path / name).write_text(text)
    assert state() == wish
    assert list(state()["patches"]) == sorted(wish["patches"])
    (tmp_path / name).write_text(f"{text}\n")
    assert state() != wish


def test_the_driver_that_the_same_run_brings_is_known():
    file = f"/NVIDIA-Linux-x86_64-535.161.08-grid.run#sha256={DIGEST}"
    assert state(gpunode_driver_file=file, gpunode_driver_flavour="grid")["nvidia_driver"] == {
        **{"version": "535.161.08", "branch": "535", "method": "runfile", "modules": "auto"},
        **{"guest": True, "offered": ["proprietary", "open"], "leaves_headerless": False},
    }
    found = state(
        gpunode_driver_version="550.54.15",
        gpunode_driver_method="package",
        nvidia_driver_kernels_without_headers="report",
    )["nvidia_driver"]
    assert (found["version"], found["branch"]) == ("", "550")
    assert found["leaves_headerless"]


def test_where_no_driver_is_wanted_the_same_run_brings_none():
    assert state()["nvidia_driver"] == {}
    said = {"gpunode_driver_version": "550.54.15", "nvidia_driver_state": "absent"}
    assert state(**said)["nvidia_driver"] == {}


def test_the_rdma_stack_that_the_same_run_brings_is_known():
    found = state(gpunode_ofed_kind="doca", gpunode_ofed_version="25.10")["rdma_stack"]
    assert (found["kind"], found["version"], found["release"]) == ("doca", "25.10", "3.2")
    assert (state()["rdma_stack"]["kind"], state()["rdma_stack"]["version"]) == ("", "")


def test_what_decides_what_is_loaded_when_it_is_its_turn_is_told_beside_the_wanted_state():
    said = {"gpunode_consent": ["stop_gpu_clients"], "gpunode_drain": ["web.service"]}
    told = peer_memory.arguments(state(**said), site(**said))
    assert told == {"consent": ["stop_gpu_clients"], "drain": ["web.service"]}
    assert state(**said) == state()
