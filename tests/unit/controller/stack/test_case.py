"""What follows from a host and a wish together, where no real combination tells it alone."""

from __future__ import annotations

import combinations
import gpu_hosts
import pytest

from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.stack import (
    plan as stack_plan,
)
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.stack import selection
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.stack.case import Case

DIGEST = "#sha256=" + "0123456789abcdef" * 4


def facts_of(base, **changes):
    return combinations.merged(combinations.facts_of(combinations.BASES[base]), changes)


def case(base, options, **changes):
    wanted = selection.resolve(options, gpu_hosts.KNOWN)
    return Case(wanted, facts_of(base, **changes), gpu_hosts.KNOWN, [], "2026-11")


def plan(base, options, of_archive=False, **changes):
    wanted = selection.resolve(options, gpu_hosts.KNOWN)
    if of_archive:
        wanted["ofed"] = {**wanted["ofed"], "of_archive": True}
    return stack_plan.plan(wanted, facts_of(base, **changes), gpu_hosts.KNOWN, [], "2026-11")


def step(base, options, component, **changes):
    steps = {step["component"]: step for step in plan(base, options, **changes)["steps"]}
    return steps[component]


@pytest.mark.parametrize(
    ("base", "name", "changes", "route"),
    [
        ("debian12-h100-doca", "r580", {}, "dmabuf"),
        ("ubuntu2204-a100-peermem", "r550", {}, "nvidia_peermem"),
        ("el7-v100", "r440-ofed4.3", {}, "nv_peer_mem"),
        # Without an RDMA device, and without anything that could do it, there is none.
        ("debian12-h100-r580", "r580", {}, "none"),
        (
            "ubuntu2204-a100-peermem",
            "r550",
            {"rdma_stack": {"kind": "inbox", "version": ""}, "peer_memory": {"headers": False}},
            "none",
        ),
    ],
)
def test_auto_takes_the_best_route_that_the_host_can_do(base, name, changes, route):
    options = {"stack": name, "peer_memory_route": "auto"}
    assert case(base, options, **changes).peers.route == route


@pytest.mark.parametrize(
    ("version", "tag"), [("4.3-1.0.1.0", "1.1-0"), ("5.8-1.0.1.1", "1.3-0"), ("99", "1.3-0")]
)
def test_the_newest_tag_that_fits_the_rdma_stack_is_taken(version, tag):
    options = {
        "peer_memory_route": "nv_peer_mem",
        "ofed_kind": "mlnx_ofed",
        "ofed_version": version,
    }
    assert case("el7-v100", options).peers.tag == tag


def test_a_grid_guest_gets_open_modules_where_its_gpus_can_in_a_guest():
    options = {"stack": "grid-19"}
    turing = case("debian12-vgpu", options)
    ada = {"address": "0000:06:00.0", "device": "27b8", "driver": "", "architecture": "ada"}
    newer = case("debian12-vgpu", options, gpus=[ada])
    assert turing.driver_to_be.module_type == "proprietary"
    assert newer.driver_to_be.module_type == "open"


def test_the_bundle_of_a_distribution_comes_with_its_digest_where_one_is_published():
    options = {"ofed_kind": "mlnx_ofed", "ofed_version": "4.9-6.0.6.0"}
    ubuntu = {"distribution": "Ubuntu", "distribution_version": "20.04"}
    file, digest = case("ubuntu2204-t4", options, **ubuntu).rdma.file
    assert file.endswith("/MLNX_OFED_LINUX-4.9-6.0.6.0-ubuntu20.04-x86_64.tgz")
    assert len(digest) == 64
    assert case("el7-v100", options).rdma.file[0].endswith("-rhel7.3-x86_64.tgz")
    assert case("el7-v100", options).rdma.file[1] == ""
    # A version that is not in the catalog has no address either.
    unknown = {**options, "ofed_version": "4.9-9.9.9.9"}
    assert case("el7-v100", unknown).rdma.file == ("", "")


def test_the_line_to_add_names_what_google_publishes_for_machines_of_its_own():
    (refusal,) = plan("debian12-vgpu", {"stack": "grid-19"})["refusals"]
    assert "NVIDIA-Linux-x86_64-580.159.03-grid.run#sha256=ITS_DIGEST" in refusal.remedy
    assert "on a machine of Google's https://storage.googleapis.com/" in refusal.remedy


def test_a_driver_that_everybody_may_fetch_needs_no_line():
    options = {"stack": "r535", "driver_version": "535.261.03", "driver_method": "runfile"}
    assert plan("debian12-h100", options)["refusals"] == []


@pytest.mark.parametrize(
    ("base", "options", "component", "interrupts"),
    [
        ("debian12-h100-r580", {"stack": "r595"}, "nvidia_driver", ["work on the GPUs"]),
        ("debian12-h100-r580", {"stack": "r595"}, "reboot", ["everything on the host"]),
        ("debian12-h100", {"stack": "r580"}, "nvidia_driver", []),
        (
            "debian12-h100-doca",
            {"ofed_kind": "doca", "ofed_version": "25.10"},
            "mlnx_ofed",
            ["RDMA traffic"],
        ),
    ],
)
def test_a_step_says_whose_work_it_interrupts(base, options, component, interrupts):
    assert step(base, options, component)["interrupts"] == interrupts


def test_whoever_consents_to_a_reboot_alone_has_no_openibd_restarted():
    options = {"ofed_kind": "doca", "ofed_version": "25.10", "consent": ["reboot"]}
    found = step("debian12-h100-doca", options, "mlnx_ofed")
    assert (found["interrupts"], found["consent"]) == ([], [])
    assert step("debian12-h100-doca", options, "reboot")["consent"] == ["reboot"]
    both = {**options, "consent": ["reboot", "restart_openibd"]}
    assert step("debian12-h100-doca", both, "mlnx_ofed")["consent"] == ["restart_openibd"]


def test_whoever_wants_the_rdma_stack_alone_is_not_rebooted_for_the_driver():
    options = {"ofed_kind": "doca", "ofed_version": "24.10-1.1.4.0"}
    changes = {"driver": {"loaded": {"version": "580.82.07"}}}
    assert plan("debian12-h100-doca", options, **changes)["steps"] == []
    assert step("debian12-h100-doca", {"stack": "r580"}, "reboot", **changes)["rules"]


@pytest.mark.parametrize(("version", "rules"), [("25.10", []), ("26.01", [["other-version"]])])
def test_doca_whose_version_nothing_tells_is_that_of_its_release(version, rules):
    row = {"name": "doca-ofed", "version": "3.2.1-044000"}
    changes = {"rdma_stack": {"version": ""}, "packages": [row]}
    found = plan("debian12-h100-doca", {"ofed_kind": "doca", "ofed_version": version}, **changes)
    assert [row["rules"] for row in found["steps"] if row["component"] == "mlnx_ofed"] == rules


DOCA = {"ofed_kind": "doca", "ofed_version": "24.10-1.1.4.0"}


def told(base, options, **changes):
    """Return {component: (rules, consents)} of a plan."""
    steps = plan(base, options, **changes)["steps"]
    return {step["component"]: (step["rules"], step["consent"]) for step in steps}


RESTART = {"mlnx_ofed": (["other-loaded"], ["restart_openibd"])}
REBOOT = {"reboot": (["reboot-pending"], ["reboot"])}


@pytest.mark.parametrize(
    ("consent", "steps"),
    [
        ([], REBOOT),
        (["reboot"], REBOOT),
        (["restart_openibd"], RESTART),
        (["reboot", "restart_openibd"], RESTART),
    ],
)
def test_stale_rdma_modules_are_exchanged_by_what_was_consented_to(consent, steps):
    options = {**DOCA, "consent": consent}
    assert told("debian12-h100-doca", options, rdma_stack={"stale": True}) == steps


def test_without_openibd_a_reboot_exchanges_rdma_modules_whatever_was_consented_to():
    options = {**DOCA, "consent": ["restart_openibd"]}
    changes = {"rdma_stack": {"stale": True}, "of_archive": True}
    assert told("debian12-h100-doca", options, **changes) == REBOOT
    idle = {"rdma_stack": {"loaded": False, "idle": ["0000:01:00.0"]}}
    assert told("debian12-h100-doca", options, **idle)["mlnx_ofed"] == (["not-loaded"], [])
    assert told("debian12-h100-doca", options, **idle, of_archive=True) == {}


def test_the_rdma_modules_of_a_host_whose_rdma_stack_is_not_ours_may_be_stale():
    changes = {"rdma_stack": {"stale": True}}
    assert told("debian12-h100-doca", {"stack": "r580"}, **changes) == {}


def test_whoever_restarts_openibd_for_another_version_has_stale_modules_exchanged_with_it():
    changes = {"rdma_stack": {"stale": True, "version": "24.10-0.7.0.0"}}
    found = told("debian12-h100-doca", DOCA, **changes)
    assert found == {"mlnx_ofed": (["other-version"], ["restart_openibd"])}


def test_an_image_has_modules_for_its_kernels_and_nothing_to_exchange():
    changes = {"own_kernel": False, "rdma_stack": {"kernels": [], "loaded": False}}
    found = told("debian12-h100-doca", DOCA, **changes)
    assert found == {"mlnx_ofed": (["kernel-without-module"], [])}


def test_an_rdma_stack_of_another_version_is_not_said_to_lack_modules():
    changes = {"rdma_stack": {"kernels": [], "version": "24.10-0.7.0.0"}}
    assert step("debian12-h100-doca", DOCA, "mlnx_ofed", **changes)["rules"] == ["other-version"]


@pytest.mark.parametrize(
    ("trees", "consent"), [(["mlnx-ofed-kernel"], []), ([], ["restart_openibd"])]
)
def test_the_bundle_that_brings_modules_for_another_kernel_brings_the_others_anew(trees, consent):
    rows = facts_of("el7-v100-r440")["kernels"]
    later = {**rows[0], "release": "3.10.0-1160.el7.x86_64", "running": False, "next": True}
    options = {
        "ofed_kind": "mlnx_ofed",
        "ofed_version": "4.3-1.0.1.0",
        "ofed_file": f"/srv/MLNX_OFED_LINUX-4.3-1.0.1.0-rhel7.3-x86_64.tgz{DIGEST}",
    }
    changes = {
        "kernels": [later, {**rows[0], "next": False}],
        "driver": {"dkms": [{"name": name} for name in trees]},
    }
    found = told("el7-v100-r440", options, **changes)
    assert found == {"mlnx_ofed": (["kernel-without-module"], consent)}


def test_peer_memory_is_not_loaded_into_stale_rdma_modules_before_the_reboot():
    options = {
        "stack": "r550",
        "ofed_kind": "mlnx_ofed",
        "ofed_version": "24.10-1.1.4.0",
        "peer_memory_route": "nvidia_peermem",
    }
    changes = {"rdma_stack": {"stale": True}, "peer_memory": {"loaded": [], "clients": []}}
    assert told("ubuntu2204-a100-peermem", options, **changes) == REBOOT


def test_units_that_were_stopped_for_the_driver_do_not_wait_for_a_reboot_of_the_rdma_stack():
    options = {**DOCA, "stack": "r580"}
    changes = {"rdma_stack": {"stale": True}, "drained": ["train.service"]}
    found = told("debian12-h100-doca", options, **changes)
    assert found == {**REBOOT, "nvidia_driver": (["clients-stopped"], [])}


def test_a_kernel_without_headers_is_told_to_whoever_wants_a_vendors_rdma_stack_alone():
    rows = facts_of("debian12-h100-doca")["kernels"]
    changes = {"kernels": [{**rows[0], "headers": False}], "rdma_stack": {"kernels": []}}
    found = plan("debian12-h100-doca", DOCA, **changes)
    assert ([notice["rule"] for notice in found["notices"]], found["steps"]) == (["no-headers"], [])
    own = plan("debian12-h100-doca", {"ofed_kind": "inbox"}, **changes)
    assert "no-headers" not in {notice["rule"] for notice in own["notices"]}


def test_what_is_known_not_to_build_is_not_said_to_be_unknown():
    found = plan("debian12-v100", {"stack": "r440-ofed4.3"})
    assert "kernel-too-new" in {refusal.rule for refusal in found["refusals"]}
    assert "unknown-kernel" not in {notice["rule"] for notice in found["notices"]}


def test_a_guest_whose_hosts_are_not_known_is_not_refused_for_its_age():
    options = {
        "stack": "grid-10",
        "driver_file": f"/srv/NVIDIA-Linux-x86_64-440.56-grid.run{DIGEST}",
        "vgpu_host": "450.80",
    }
    changes = {"rdma_devices": [], "virtualization": "kvm"}
    assert plan("el7-v100", options, **changes)["refusals"] == []


def test_a_kernel_that_is_too_old_is_answered_with_the_newest_branch_for_it():
    options = {"stack": "r580", "driver_file": f"/NVIDIA-Linux-x86_64-580.65.06.run{DIGEST}"}
    (refusal,) = [r for r in plan("el7-v100", options)["refusals"] if r.rule == "kernel-too-old"]
    assert refusal.remedy.endswith(": 550 or older")


def test_open_modules_are_refused_to_a_guest_whose_gpu_they_do_not_drive_there():
    file = f"/srv/NVIDIA-Linux-x86_64-580.159.03-grid.run{DIGEST}"
    options = {"stack": "grid-19", "driver_modules": "open", "driver_file": file}
    (refusal,) = plan("debian12-vgpu", options)["refusals"]
    assert (refusal.rule, "Turing" in refusal.because) == ("open-modules-unsupported", True)
    ada = {"address": "0000:06:00.0", "device": "27b8", "driver": "", "architecture": "ada"}
    assert plan("debian12-vgpu", options, gpus=[ada])["refusals"] == []


def test_a_driver_that_a_container_brought_counts_for_the_cuda_of_environments():
    changes = {"driver": {"modules": [], "libraries": [], "runfile": ""}, "packages": []}
    host = Case(
        selection.NOTHING, facts_of("el7-v100-r440", **changes), gpu_hosts.KNOWN, [], "2026-11"
    )
    driver = host.driver_to_be
    assert (host.driver_there.installed, driver.version, driver.branch) == ("", "440.33.01", "440")


def test_the_driver_is_for_the_kernels_that_run_or_will_and_in_an_image_for_all():
    rows = [
        {"release": "6.1.0-40-amd64", "running": True, "next": False, "headers": True},
        {"release": "6.1.0-41-amd64", "running": False, "next": True, "headers": True},
        {"release": "6.1.0-37-amd64", "running": False, "next": False, "headers": True},
        {"release": "5.10.0-1-amd64", "running": False, "next": False, "headers": False},
    ]
    found = case("debian12-h100", {"stack": "r580"}, kernels=rows)
    assert [row["release"] for row in found.host.targets] == ["6.1.0-40-amd64", "6.1.0-41-amd64"]
    image = case("debian12-h100", {"stack": "r580"}, kernels=rows[2:])
    assert [row["release"] for row in image.host.targets] == ["6.1.0-37-amd64"]


@pytest.mark.parametrize(("policy", "due"), [("refuse", ["6.9.0"]), ("report", [])])
def test_a_kernel_that_nothing_can_be_built_for_is_due_unless_it_was_said_to_be_none(policy, due):
    rows = facts_of("debian12-h100-r580")["kernels"]
    arrived = {**rows[0], "release": "6.9.0", "running": False, "next": True, "headers": False}
    kernels = [arrived, *({**row, "next": False} for row in rows)]
    wanted = selection.resolve({"stack": "r580"}, gpu_hosts.KNOWN)
    wanted["driver"]["kernels_without_headers"] = policy
    facts = facts_of("debian12-h100-r580", kernels=kernels)
    found = stack_plan.plan(wanted, facts, gpu_hosts.KNOWN, [], "2026-11")
    named = [why for row in found["steps"] for why in row["why"] if "has no nvidia module" in why]
    assert [why.split()[1] for why in named] == due
    assert any("kernel 6.9.0 has no headers" in row["says"] for row in found["notices"])


OTHER_LOADED = {"driver": {"loaded": {"version": "580.95.05"}}}
EXCHANGE = {"stack": "r580", "consent": ["stop_gpu_clients"]}


@pytest.mark.parametrize(
    ("options", "changes", "steps"),
    [
        (EXCHANGE, {}, {"nvidia_driver": ["other-loaded"]}),
        ({"stack": "r580"}, {}, {"reboot": ["reboot-pending"]}),
        # Of a kernel that is gone from the disk nothing can be loaded any more.
        (EXCHANGE, {"kernel": "6.1.0-30-amd64"}, {"reboot": ["reboot-pending"]}),
        # The one that is seen in a container is the host's.
        (EXCHANGE, {"own_kernel": False}, {}),
    ],
)
def test_a_loaded_module_is_exchanged_by_the_node_or_by_a_reboot_as_the_node_decides(
    options, changes, steps
):
    found = plan("debian12-h100-r580", options, **OTHER_LOADED, **changes)
    assert {row["component"]: row["rules"] for row in found["steps"]} == steps


def test_another_driver_reaches_a_kernel_that_is_gone_from_the_disk_by_no_exchange():
    options = {"stack": "r535", "driver_modules": "open", "consent": ["stop_gpu_clients"]}
    rules = {
        kernel: {row["component"] for row in plan("debian12-h100-r580", options, **gone)["steps"]}
        for kernel, gone in (("there", {}), ("gone", {"kernel": "6.1.0-30-amd64"}))
    }
    assert ("reboot" in rules["there"], "reboot" in rules["gone"]) == (False, True)


def test_auto_keeps_a_kind_that_all_kernels_have_as_the_node_does():
    base = facts_of("debian12-t4-r535")
    (kernel,) = base["kernels"]
    (module,) = [row for row in base["driver"]["modules"] if row["name"] == "nvidia"]
    older = {**kernel, "release": "6.1.0-9-amd64", "running": False, "next": False}
    both = [module, {**module, "kernel": older["release"], "open": True}]
    options = {"driver_version": "580.105.08", "driver_file": f"/x.run{DIGEST}"}
    alone = case("debian12-t4-r535", options)
    beside = case("debian12-t4-r535", options, kernels=[kernel, older], driver={"modules": both})
    assert alone.driver_to_be.module_type == "proprietary"
    assert beside.driver_to_be.module_type == "open"
