"""The one way this project says no: without the secrets of what it quotes."""

from __future__ import annotations

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal

ADDRESSES = (
    "https://bot:HUNTER@h/simple",
    "https://jane@acme.example:HUNTER@h/",
    "https://conda.anaconda.org/t/HUNTER/acme",
    "https://pypi.fury.io/HUNTER/acme/",
    "git+https://HUNTER@github.com/acme/app@v1",
)


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("part", ["what", "because", "remedy"])
def test_no_part_of_a_refusal_holds_the_secret_of_an_address(address, part):
    said = dict({"what": "a", "because": "b", "remedy": "c"}, **{part: f"line 3: {address}"})
    refusal = Refusal(**said)
    assert "HUNTER" not in f"{refusal} {refusal.as_dict()} {vars(refusal)} {refusal.args}"
    assert "line 3: " in getattr(refusal, part)
