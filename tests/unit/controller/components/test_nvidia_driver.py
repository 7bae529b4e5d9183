"""What is wanted of the driver: from variables to the wanted state."""

from __future__ import annotations

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import wanted_state
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.components import (
    nvidia_driver,
    registry,
)
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.plan import planner

DIGEST = "0123456789abcdef" * 4
RUN = f"NVIDIA-Linux-x86_64-535.161.08.run#sha256={DIGEST}"


def site(**variables):
    return wanted_state.Site(variables, "/inventory")


def state(**variables):
    return site(**variables).wanted("nvidia_driver")


def test_a_host_of_which_no_stack_is_wanted_has_no_driver_component():
    assert not nvidia_driver.is_wanted(site())
    assert nvidia_driver.is_wanted(site(gpunode_stack="r535"))
    assert nvidia_driver.is_wanted(site(nvidia_driver_state="absent"))


def test_where_nothing_was_said_nothing_is_touched():
    assert state() == {"state": "unsaid"}
    assert nvidia_driver.present(state()) == nvidia_driver.absent(state()) == []


def test_the_driver_goes_before_what_runs_on_it_and_after_what_it_is_built_with():
    assert list(registry.COMPONENTS)[:2] == ["mlnx_ofed", "nvidia_driver"]


def test_the_driver_is_looked_at_again_where_the_rdma_stack_it_is_built_with_changes():
    receipts = {"nvidia_driver": {"digest": "d", "drift": [], "names": []}}
    digests = {"mlnx_ofed": "d", "nvidia_driver": "d"}
    plan = planner.plan(digests, receipts, [], registry.STANDS_ON)
    assert planner.due(plan) == ["mlnx_ofed", "nvidia_driver"]


def test_a_driver_that_is_to_go_is_no_part_of_the_stack():
    both = site(gpunode_stack="grid-16", nvidia_driver_state="absent")
    assert (both.stack()["driver"], both.stack()["vgpu"]) == (None, None)
    assert both.wanted("nvidia_driver")["state"] == "absent"


def test_how_peer_memory_is_delivered_is_part_of_the_stack():
    said = {"gpunode_stack": "r535", "gpunode_peer_memory_route": "nv_peer_mem"}
    assert site(**said).stack()["peer_memory"]["delivery"] == "dkms"
    by_rpm = site(**said, peer_memory_delivery="rpm")
    assert by_rpm.stack()["peer_memory"]["delivery"] == "rpm"
    assert by_rpm.wanted("peer_memory")["delivery"] == "rpm"


def test_a_file_of_the_controller_is_named_from_the_inventory_on():
    assert state(gpunode_driver_file=f"files/{RUN}")["file"] == (
        "/inventory/files/NVIDIA-Linux-x86_64-535.161.08.run"
    )
    away = state(gpunode_driver_file=f"https://mirror.example/{RUN}")
    assert away["file"] == "https://mirror.example/NVIDIA-Linux-x86_64-535.161.08.run"


def test_packages_are_named_for_every_distribution_that_has_the_branch():
    packages = state(gpunode_stack="r535")["packages"]
    assert packages["Debian 12"]["packages"]["proprietary"][0] == "nvidia-kernel-dkms"
    assert packages["Debian 12"]["repository"] == "debian"


def test_a_repository_that_was_chosen_is_the_one_the_packages_come_from():
    chosen = state(gpunode_stack="r535", gpunode_driver_repository="debian-backports")
    assert {row["repository"] for row in chosen["packages"].values()} == {"debian-backports"}


def test_a_parameter_is_said_as_modprobe_takes_it():
    given = {"NVreg_EnableGpuFirmware": 0, "NVreg_Other": True, "NVreg_Text": "a=b"}
    assert state(gpunode_stack="r535", nvidia_driver_parameters=given)["parameters"] == {
        "NVreg_EnableGpuFirmware": "0",
        "NVreg_Other": "1",
        "NVreg_Text": "a=b",
    }


@pytest.mark.parametrize("name", ["NVreg A", "a\nb", "a;b"])
def test_what_can_be_no_parameter_is_refused(name):
    with pytest.raises(Refusal, match="nvidia_driver_parameters"):
        state(gpunode_stack="r535", nvidia_driver_parameters={name: 1})


@pytest.mark.parametrize("value", ["a\nb", "a b", '"', None, [1]])
def test_what_modprobe_would_read_as_more_is_refused(value):
    with pytest.raises(Refusal, match="nvidia_driver_parameters"):
        state(gpunode_stack="r535", nvidia_driver_parameters={"NVreg_A": value})


def test_a_mirror_may_be_signed_with_a_key_of_its_own():
    key = "0" * 40
    rows = state(gpunode_stack="r535", nvidia_driver_repository_key=key)["repositories"]
    assert {part["fingerprint"] for part in rows["cuda"]["distributions"]} == {key}
    assert "distributions" not in rows["debian"]
    with pytest.raises(Refusal, match="nvidia_driver_repository_key: 0x0"):
        state(gpunode_stack="r535", nvidia_driver_repository_key="0x0")


def test_what_is_no_address_is_refused():
    with pytest.raises(Refusal, match="no http, https or file address"):
        state(gpunode_stack="r535", nvidia_driver_repository_url="mirror.example")


def test_a_unit_that_can_be_none_is_refused_before_any_is_stopped():
    with pytest.raises(Refusal, match="gpunode_drain: ob_cuda"):
        site(gpunode_stack="r535", gpunode_drain=["ob_cuda"]).stack()


def test_a_file_that_is_not_on_the_controller_is_refused_unless_it_did_its_work():
    asked = state(gpunode_driver_file=f"/nowhere/{RUN}")
    (refusal,) = nvidia_driver.refusals(asked, {"driver": {"runfile": ""}})
    assert "/nowhere/" in refusal.what
    assert nvidia_driver.refusals(asked, {"driver": {"runfile": "535.161.08"}}) == []


def test_a_line_for_people_names_what_is_there():
    assert nvidia_driver.summary({"state": "absent"}) == [{"says": "no NVIDIA driver"}]
    assert nvidia_driver.summary(state(gpunode_driver_file=f"/srv/{RUN}")) == [
        {"says": "NVIDIA driver 535.161.08", "version": "535.161.08"}
    ]
