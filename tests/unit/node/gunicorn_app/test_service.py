"""An application's names, places and secrets on a host."""

from __future__ import annotations

from web_app import APP, PYTHON

from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app import service


def test_plain_python_has_a_service_alone():
    assert service.units_of(APP) == ["web.socket", "web.service"]
    assert service.units_of(PYTHON) == ["web.service"]


def test_secrets_are_quoted_for_systemd_and_carry_their_mark():
    text = service.secrets_text({"B": 'a"b\\c$d`e', "A": "two\nlines"}, "s1")
    assert text == 'A="two\nlines"\nB="a\\"b\\\\c\\$d\\`e"\nGPUNODE_SECRETS="s1"\n'
    assert service.secrets_text({}, "") == ""
