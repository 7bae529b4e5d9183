"""Where the packages of channels lie, as conda's configuration says."""

from __future__ import annotations

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.conda import channels


@pytest.mark.parametrize(
    ("named", "options", "addresses"),
    [
        (["conda-forge"], {}, ["https://conda.anaconda.org/conda-forge/"]),
        (["conda-forge/label/rc"], {}, ["https://conda.anaconda.org/conda-forge/label/rc/"]),
        (
            ["conda-forge"],
            {"channel_alias": "https://reader:word@mirror.example/conda/"},
            ["https://mirror.example/conda/conda-forge/"],
        ),
        (
            ["own", "file:///srv/channel/"],
            {"custom_channels": {"own": "https://own.example"}},
            ["https://own.example/own/", "file:///srv/channel/"],
        ),
        (
            ["defaults"],
            {},
            ["https://repo.anaconda.com/pkgs/main/", "https://repo.anaconda.com/pkgs/r/"],
        ),
        (
            ["defaults"],
            {"default_channels": ["https://mirror.example/main", "extra"]},
            ["https://mirror.example/main/", "https://conda.anaconda.org/extra/"],
        ),
    ],
)
def test_a_channel_lies_where_conda_looks_for_it(named, options, addresses):
    assert channels.addresses(named, options) == addresses


@pytest.mark.parametrize("value", [True, 5, 1.5, None, ["https://h"], {"a": "b"}])
def test_an_address_that_is_no_text_is_refused_by_its_name(value):
    with pytest.raises(Refusal, match="own of miniforge_custom_channels: its value is no text"):
        channels.addresses(["own"], {"custom_channels": {"own": value}})
