"""The route of peer memory: what keeps each one from working, and the best that does."""

from __future__ import annotations

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape
from ansible_collections.gpunode.stack.plugins.module_utils._node.rdma import peer_route

BRANCHES = {"580": ["dmabuf", "nvidia_peermem"], "450": ["nv_peer_mem"]}
ROWS = {"volta": {"open_modules": "never"}, "hopper": {"open_modules": "possible"}}
OPEN = peer_route.Driver("580", "580.95.05", is_open=True)
OLD = peer_route.Driver("450", "450.248.02", is_open=False)
TAGS = [{"tag": "1.3-0", "needs_client_ex": True}, {"tag": "1.1-0", "needs_client_ex": False}]


def gpu(architecture, driver="nvidia"):
    return {"architecture": architecture, "driver": driver}


def can(
    driver=OPEN, stack="doca", there="doca", kernel="6.1.0-9", headers=False, gpus=(), archive=False
):
    facts = {
        "rdma_stack": {"kind": there},
        "peer_memory": {"headers": headers},
        "gpus": [gpu("hopper"), *gpus],
    }
    return peer_route.abilities(facts, stack, archive, driver, [kernel], BRANCHES, ROWS)


@pytest.mark.parametrize(
    ("found", "route"),
    [
        (can(), "dmabuf"),
        (can(kernel="5.4.0"), "nvidia_peermem"),
        (can(driver=OPEN._replace(is_open=False)), "nvidia_peermem"),
        (can(gpus=[gpu("volta")]), "nvidia_peermem"),
        # A GPU that a guest has is not the host's to think of.
        (can(gpus=[gpu("volta", "vfio-pci")]), "dmabuf"),
        (can(driver=OLD), "nv_peer_mem"),
        (can(driver=OLD, stack="inbox"), "none"),
        (can(driver=OLD, stack="inbox", there="inbox"), "none"),
        # Some kernels of Ubuntu take clients themselves.
        (can(driver=OLD, stack="inbox", there="inbox", headers=True), "nv_peer_mem"),
        # Ubuntu's archive has DOCA-OFED without symbols, which somebody may have laid there.
        (can(archive=True), "dmabuf"),
        (can(archive=True, kernel="5.4.0"), "none"),
        (can(archive=True, kernel="5.4.0", headers=True), "nvidia_peermem"),
        (can(driver=OPEN._replace(is_open=False), archive=True), "none"),
        # Those of a stack that goes are no more.
        (can(driver=OLD, stack="inbox", there="mlnx_ofed", headers=True), "none"),
    ],
)
def test_the_best_route_that_works_is_taken(found, route):
    assert peer_route.chosen("auto", True, found) == route
    assert peer_route.chosen("auto", False, found) == "none"
    assert peer_route.chosen("nv_peer_mem", False, found) == "nv_peer_mem"


@pytest.mark.parametrize(
    ("said", "has_client_ex", "tags"),
    [("", True, ["1.3-0", "1.1-0"]), ("", False, ["1.1-0"]), ("1.3-0", False, ["1.3-0"])],
)
def test_of_tags_those_are_taken_that_build_unless_one_is_said(said, has_client_ex, tags):
    assert [row["tag"] for row in peer_route.fitting(said, TAGS, has_client_ex)] == tags


@pytest.mark.parametrize("route", peer_route.ROUTES)
def test_only_what_is_built_here_has_to_be_let_in_by_the_firmware(route):
    found = {**facts_shape.empty(facts_shape.Facts)["secure_boot"], "enabled": True}
    is_built = route == "nv_peer_mem"
    assert peer_route.is_kept_out(route, found) is is_built
    assert peer_route.cannot_sign(route, "rpm", found) is is_built
    assert not peer_route.cannot_sign(route, "dkms", found)
    assert not peer_route.is_kept_out(route, {**found, "key_enrolled": True})
    assert not peer_route.cannot_sign(route, "rpm", {**found, "enabled": False})


@pytest.mark.parametrize("route", [*peer_route.ROUTES, "none"])
def test_one_module_at_most_is_not_among_the_others(route):
    assert set(peer_route.MODULES) - set(peer_route.others(route)) == {route} & set(
        peer_route.MODULES
    )


@pytest.mark.parametrize(
    ("name", "version", "is_foreign"),
    [
        ("nvidia_peer_memory", "1.1-0", True),
        ("nvidia_peer_memory", "1.3-1.el9", True),
        ("nvidia_peer_memory", "1.3-1.el9_6", True),
        ("nvidia_peer_memory", "1.3-0.5.14.0_570.12.1.el9_6.x86_64", False),
        ("nvidia_peer_memory", "1.1-0.6.1.0_56_cloud_amd64", False),
        ("nvidia_peer_memory", "1.1-0.6.12_own", False),
        ("nvidia-peer-memory", "1.1-0", True),
        ("nvidia-peer-memory-dkms", "1.2-0", True),
        ("nvidia-persistenced", "1", False),
    ],
)
def test_a_package_of_nv_peer_mem_is_ours_by_the_kernel_in_its_release(name, version, is_foreign):
    rows = [{"name": name, "version": version}]
    assert peer_route.foreign_packages(rows) == ([name] if is_foreign else [])
