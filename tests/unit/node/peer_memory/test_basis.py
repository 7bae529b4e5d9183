"""What peer memory stands on: whether a run brings another RDMA stack before it."""

from __future__ import annotations

import copy

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.peer_memory import basis
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import wanted_state
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.stack import case

ARCHIVE = {
    "gpunode_ofed_kind": "doca",
    "gpunode_ofed_version": "26.01",
    "mlnx_ofed_repository": "ubuntu",
    "gpunode_peer_memory_route": "dmabuf",
}


@pytest.mark.parametrize(
    ("said", "headers", "comes"),
    [
        (ARCHIVE, False, False),
        (ARCHIVE, True, False),
        ({**ARCHIVE, "gpunode_ofed_version": "26.04"}, False, True),
        # That of NVIDIA's repository leaves symbols: without them it is put in place anew.
        ({**ARCHIVE, "mlnx_ofed_repository": "doca"}, False, True),
        ({**ARCHIVE, "mlnx_ofed_repository": "doca"}, True, False),
    ],
)
def test_a_stack_that_is_there_does_not_come_with_symbols_or_where_it_has_none(
    said, headers, comes
):
    facts = copy.deepcopy(case.EMPTY)
    facts["rdma_stack"].update(kind="doca", version="26.01")
    facts["peer_memory"].update(headers=headers)
    wanted = wanted_state.Site(said, "/").wanted("peer_memory")
    assert basis.to_be(wanted, facts, []).stack_comes is comes
