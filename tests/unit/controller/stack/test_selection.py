"""What is wanted of a host's GPU stack: a named one, and what is said otherwise."""

from __future__ import annotations

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.stack import (
    selection,
    stack_catalog,
)

KNOWN = stack_catalog.of_project()
DIGEST = "0123456789abcdef" * 4


def resolve(**options):
    return selection.resolve(options, KNOWN)


def test_nothing_is_wanted_where_nothing_is_said():
    assert resolve() == selection.NOTHING


@pytest.mark.parametrize("name", KNOWN.stacks)
def test_each_stack_of_the_catalog_says_all_that_a_plan_needs(name):
    wanted = resolve(stack=name)
    assert wanted["name"] == name
    assert wanted["driver"]["branch"] in KNOWN.branches
    assert wanted["driver"]["method"] in ("package", "runfile")
    assert bool(wanted["driver"]["version"]) == (wanted["driver"]["method"] == "runfile")
    assert wanted["peer_memory"]["route"]


def test_the_name_of_a_stack_is_all_it_takes_where_packages_do_the_job():
    driver = resolve(stack="r580")["driver"]
    assert (driver["branch"], driver["method"], driver["modules"]) == ("580", "package", "auto")


@pytest.mark.parametrize(("slip", "meant"), [("r58O", "r580"), ("grid16", "grid-16"), ("", None)])
def test_a_misspelt_stack_is_refused_with_the_nearest_name(slip, meant):
    if not slip:
        assert resolve(stack=slip) == selection.NOTHING
        return
    with pytest.raises(Refusal) as refused:
        resolve(stack=slip)
    assert refused.value.rule == "unknown-stack"
    assert refused.value.remedy == f"Did you mean {meant}?"


def test_a_file_makes_the_driver_a_runfile_and_brings_its_digest():
    wanted = resolve(
        stack="r580", driver_file=f"/srv/NVIDIA-Linux-x86_64-580.65.06.run#sha256={DIGEST}"
    )
    assert wanted["driver"] == {
        "branch": "580",
        "version": "580.65.06",
        "flavour": "tesla",
        "method": "runfile",
        "modules": "auto",
        "repository": "",
        "file": "/srv/NVIDIA-Linux-x86_64-580.65.06.run",
        "sha256": DIGEST,
    }


@pytest.mark.parametrize("ending", ["", "#sha256=abc", f"#md5={DIGEST}", f"#sha256={DIGEST}0"])
def test_a_file_without_a_whole_digest_is_refused(ending):
    with pytest.raises(Refusal, match="nothing is installed unchecked"):
        resolve(stack="grid-16", driver_file=f"/srv/driver.run{ending}")


def test_the_name_of_the_file_says_which_version_it_is():
    file = f"/srv/NVIDIA-Linux-x86_64-535.161.08-grid.run#sha256={DIGEST}"
    assert resolve(stack="grid-16", driver_file=file)["driver"]["version"] == "535.161.08"
    renamed = f"/srv/driver.run#sha256={DIGEST}"
    assert resolve(driver_version="535.1", driver_file=renamed)["driver"]["version"] == "535.1"
    with pytest.raises(Refusal, match="gpunode_driver_version"):
        resolve(stack="r580", driver_file=renamed)


def test_another_version_than_the_stacks_is_of_its_own_branch():
    assert resolve(stack="r580", driver_version="535.161.08")["driver"]["branch"] == "535"


def test_of_packages_the_branch_alone_is_wanted():
    assert resolve(stack="r580", driver_version="535.161.08")["driver"]["version"] == ""


def test_a_version_without_a_stack_is_a_runfile():
    wanted = resolve(driver_version="535.161.08")
    assert (wanted["driver"]["method"], wanted["peer_memory"]) == ("runfile", None)


@pytest.mark.parametrize(
    "half", [{"driver_modules": "open"}, {"ofed_version": "24.10-1.1.4.0"}, {"ofed_kind": "doca"}]
)
def test_half_of_a_wish_is_refused(half):
    with pytest.raises(Refusal, match="Say gpunode_"):
        resolve(**half)


def test_a_runfile_of_a_branch_that_names_no_version_is_refused():
    with pytest.raises(Refusal, match="gpunode_driver_version"):
        resolve(stack="r580", driver_method="runfile")


def test_the_inbox_stack_has_no_version():
    assert resolve(ofed_kind="inbox")["ofed"] == {
        "kind": "inbox",
        "version": "",
        "file": "",
        "sha256": "",
    }


def test_the_vgpu_release_of_a_guest_follows_from_its_driver():
    assert resolve(stack="grid-16")["vgpu"] == {"release": "16", "host": "", "license": ""}
    assert resolve(stack="r535")["vgpu"] is None


def test_consent_is_nothing_where_it_is_not_given():
    assert resolve(stack="r580")["consent"] == []
    assert resolve(stack="r580", consent=["reboot"])["consent"] == ["reboot"]
