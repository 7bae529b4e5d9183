"""When openibd is the way by which RDMA modules come into memory, for the plan and the node."""

from __future__ import annotations

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape
from ansible_collections.gpunode.stack.plugins.module_utils._node.rdma import openibd_restart

RESTART, REBOOT = openibd_restart.CONSENT, "reboot"


@pytest.fixture
def facts():
    """A host with a kernel of its own, whose connection comes over Ethernet of another adapter."""
    found = facts_shape.empty(facts_shape.Facts)
    found["own_kernel"] = True
    found["rdma_stack"]["loaded"] = True
    found["rdma_devices"] = [{"name": "mlx5_0", "interfaces": ["ib0"]}]
    found["management"]["lower"] = ["eno1"]
    return found


@pytest.mark.parametrize("kind", ["mlnx_ofed", "doca"])
@pytest.mark.parametrize("consent", [[], [RESTART], [REBOOT, RESTART]])
def test_a_vendors_stack_has_it_unless_the_reboot_alone_was_consented_to(facts, kind, consent):
    assert openibd_restart.is_the_way(kind, facts, consent)
    assert not openibd_restart.is_the_way(kind, facts, [REBOOT])


def test_the_distributions_own_stack_has_no_openibd(facts):
    assert not openibd_restart.is_the_way("inbox", facts, [RESTART])


@pytest.mark.parametrize(
    "changes",
    [
        {"own_kernel": False},
        {"management": {"lower": ["bond0", "ib0"], "drivers": {}}},
        {"management": {"lower": ["ens1"], "drivers": {"ens1": "mlx5_core"}}},
        {"secure_boot": {**facts_shape.empty(facts_shape.Facts)["secure_boot"], "enabled": True}},
    ],
    ids=["an image", "below a bond", "Ethernet of the adapter", "a key that is not enrolled"],
)
def test_no_consent_makes_it_the_way_where_rdma_or_the_connection_would_be_gone(facts, changes):
    for consent in ([], [RESTART], [REBOOT, RESTART]):
        assert not openibd_restart.is_the_way("doca", {**facts, **changes}, consent)


def row(running):
    return {"release": "6.1.0-56-amd64", "running": running}


@pytest.mark.parametrize(
    ("others", "lacking", "is_in_dkms", "is_so"),
    [
        (False, [], True, False),
        (True, [], True, True),
        (False, [row(True)], True, True),
        # DKMS builds them beside those of the kernel that runs; an installer brings all anew.
        (False, [row(False)], True, False),
        (False, [row(False)], False, True),
    ],
)
def test_modules_that_are_loaded_are_others_once_others_are_there_for_the_kernel_that_runs(
    facts, others, lacking, is_in_dkms, is_so
):
    assert openibd_restart.exchanges_loaded(facts, others, lacking, is_in_dkms) is is_so
    facts["rdma_stack"]["loaded"] = False
    assert not openibd_restart.exchanges_loaded(facts, others, lacking, is_in_dkms)
