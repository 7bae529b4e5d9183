"""The wanted state of DOCA-OFED from a repository of the tests.

The catalog knows the vendor's key, with which nothing can be signed here: the wanted state is
handed over with another one in it, to the play PLAY.
"""

from __future__ import annotations

import json

from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import wanted_state

PLAY = "tests/system/mlnx_ofed/role.yml"


def arguments(node, url, series, signed, **variables):
    """Return the arguments by which PLAY brings a node to a series of a repository.

    :param node: its name.
    :param url: of the repository.
    :param series: what gpunode_ofed_version is to say.
    :param signed: what each distribution of the repository is to say of its key.
    """
    said = {
        "gpunode_ofed_kind": "doca",
        "gpunode_ofed_version": series,
        "mlnx_ofed_repository_url": url,
        **variables,
    }
    state = wanted_state.Site(said, "/").wanted("mlnx_ofed")
    parts = [{**part, **signed} for part in state["repository"].get("distributions", [])]
    state = {**state, "repository": {**state["repository"], "distributions": parts}}
    return "--limit", node, "-e", json.dumps({"state": state})
