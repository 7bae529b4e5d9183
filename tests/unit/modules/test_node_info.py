"""The one look at a host that a plan takes."""

from __future__ import annotations

import json
import os

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.gpunode.stack.plugins.module_utils._node.facts import look
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.modules import kept_info, node_info


def asked(module, capsys, **arguments):
    """Return what a module answers to a user who is not root."""
    with patch_module_args(arguments), pytest.raises(SystemExit):
        module.main()
    return json.loads(capsys.readouterr().out)


@pytest.fixture(autouse=True)
def _somebody(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)


def test_a_host_is_not_looked_at_without_root(capsys, monkeypatch):
    monkeypatch.setattr(look.host, "general", lambda *_asked: pytest.fail("it was looked at"))
    answer = asked(node_info, capsys)
    assert (answer["is_root"], answer["changed"]) == (False, False)
    assert "gpunode_facts" not in answer


def test_what_else_is_refused_is_not_told_as_a_lack_of_root(capsys, monkeypatch):
    def refuse(**_asked):
        raise Refusal("systemctl", "it printed more than 256 MiB", "See")

    monkeypatch.setattr(look, "facts", refuse)
    answer = asked(node_info, capsys)
    assert answer["failed"]
    assert answer["msg"].startswith("systemctl: it printed more")
    assert "is_root" not in answer


def test_an_image_can_be_looked_at_by_anybody(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(look, "facts", lambda **_asked: {"kernel": "6.1"})
    answer = asked(node_info, capsys, root=str(tmp_path))
    assert answer["gpunode_facts"] == {"kernel": "6.1"}


def test_what_a_host_keeps_is_not_listed_without_root(capsys):
    assert asked(kept_info, capsys)["msg"].startswith("needs root: ")
