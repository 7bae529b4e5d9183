"""What an operator is told of GPU stacks on real nodes, before anything is touched."""

from __future__ import annotations

import json

import pytest

from system import playbooks

pytestmark = [pytest.mark.lab, pytest.mark.executes("facts", "debian13")]

DIGEST = "0123456789abcdef" * 4
GRID = "NVIDIA-Linux-x86_64-535.161.08-grid.run"


@pytest.fixture
def plan(lab, tmp_path):
    """Run the plan of all nodes with some variables; return the Run and plan.json, if any."""

    def run(**variables):
        written = tmp_path / "plan.json"
        said = playbooks.run(
            "playbooks/plan.yml",
            *("-e", json.dumps({"preflight_json": str(written), **variables})),
            log=tmp_path / "ssh",
        )
        # Ansible itself refuses what the role cannot be told, before anything is planned.
        return said, json.loads(written.read_text()) if written.exists() else None

    return run


def steps_of(document, name):
    stack = document["hosts"][name]["stack"]
    return {step["component"]: step for step in stack["steps"]}


def test_a_stack_from_packages_needs_nothing_but_its_name(plan):
    said, document = plan(gpunode_stack="r535")
    assert said.status == 0, said.messages()
    step = steps_of(document, "node1")["nvidia_driver"]
    assert (step["rules"], step["to"]) == (["not-installed"], "535 proprietary")
    assert "no driver is installed" in said.messages()
    assert "note: no NVIDIA GPU is to be seen on this host" in said.messages()
    assert document["hosts"]["node1"]["components"]["nvidia_driver"]["due"] is True


def test_each_release_of_the_distribution_is_judged_by_its_own_packages(plan):
    said, document = plan(gpunode_stack="r470")
    assert said.status != 0
    hosts = document["hosts"]
    assert document["status"] == "refused"
    assert hosts["node1"]["refusals"] == []
    (refusal,) = hosts["node2"]["refusals"]
    assert (refusal["rule"], "Debian 13" in refusal["because"]) == ("no-package", True)


def test_a_plan_of_a_gpu_stack_costs_each_host_one_round_trip(plan, lab):
    said, _document = plan(gpunode_stack="r535")
    assert sorted(said.round_trips) == sorted(node.address for node in lab.nodes)


def test_a_misspelt_stack_is_refused_with_the_nearest_name(plan):
    said, document = plan(gpunode_stack="r53S")
    assert said.status != 0
    assert "Did you mean r535?" in said.messages()
    assert document["status"] == "refused"


def test_the_line_that_a_refusal_prints_is_the_one_that_was_missing(plan, tmp_path):
    said, _document = plan(gpunode_stack="grid-16", gpunode_driver_version="535.161.08")
    assert said.status != 0
    assert "Add the line gpunode_driver_file: " in said.messages()
    file = f"{tmp_path / GRID}#sha256={DIGEST}"
    said, _document = plan(gpunode_stack="grid-16", gpunode_driver_file=file)
    assert "there is no such file on the controller" in said.messages()
    (tmp_path / GRID).touch()
    said, document = plan(gpunode_stack="grid-16", gpunode_driver_file=file)
    assert said.status == 0, said.messages()
    steps = steps_of(document, "node1")
    # A node without a kernel of its own holds no licence.
    assert list(steps) == ["nvidia_driver"]
    assert steps["nvidia_driver"]["to"] == "535.161.08 proprietary"


def test_an_unknown_consent_is_refused_with_those_there_are(plan):
    said, _document = plan(gpunode_stack="r535", gpunode_consent=["everything"])
    assert said.status != 0
    assert "stop_gpu_clients" in said.messages()


def test_a_misspelt_option_is_refused_with_the_nearest_name(plan):
    said, _document = plan(gpunode_stack="r535", gpunode_driver_modlues="open")
    assert said.status != 0
    assert "Did you mean gpunode_driver_modules?" in said.messages()


def test_the_rdma_stack_can_be_wanted_without_any_driver(plan):
    said, document = plan(gpunode_ofed_kind="doca", gpunode_ofed_version="25.10")
    (step,) = steps_of(document, "node1").values()
    assert (step["component"], step["to"]) == ("mlnx_ofed", "doca 25.10")
    assert document["hosts"]["node1"]["status"] == "changes"
    # Of Debian 13 there are no packages yet.
    assert document["hosts"]["node2"]["status"] == "refused"
    assert "it is not known where its packages are for Debian 13" in said.messages()
