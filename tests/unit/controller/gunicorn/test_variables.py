"""Which variables an application may have, and which of them are secrets that all can read."""

from __future__ import annotations

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.gunicorn import variables

WHAT = "environment_variables of application web"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgres://shop:geheim@db/shop"),
        ("REDIS_URL", "redis://:geheim@cache:6379/0"),
        ("INDEX", "https://geheim@pypi.example/simple"),
        ("HOOK", "https://chat.example/x?token=geheim"),
        ("https_proxy", "jane:geheim@proxy.example:3128"),
        ("GUNICORN_CMD_ARGS", "--env=BROKER=amqp://shop:geheim@mq/"),
        ("PGPASSWORD", "geheim"),
        ("DB_PASS", "geheim"),
        ("SECRET_KEY", "geheim"),
        ("AWS_SECRET_ACCESS_KEY", "geheim"),
        ("sentry_auth_token", "geheim"),
        ("OPENAI_API_KEY", "geheim"),
        ("SSL_KEY_PASSPHRASE", "geheim"),
    ],
)
def test_a_secret_that_anyone_on_the_host_can_read_is_named_without_it(name, value):
    (says,) = variables.exposed({name: value})
    assert says.startswith(f"{name} in environment_variables ")
    assert "gunicorn_app_secrets" in says
    assert "geheim" not in says


@pytest.mark.parametrize(
    "value",
    [
        "postgres://db/shop",
        "http://proxy.example:3128",
        "a@b",
        "jane@example.org",
        "",
        "5:30 @ noon",
    ],
)
def test_a_variable_without_a_secret_is_not_told(value):
    assert variables.exposed({"A": value}) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DB_PASSWORD_FILE", "geheim"),
        ("DB_PASSWORD", "/run/secrets/db"),
        ("SECRET_KEY", ""),
        ("TOKEN_URL", "https://login.example/token"),
        ("MAX_TOKENS", "4096"),
        ("AWS_ACCESS_KEY_ID", "AKIA"),
        ("COMPASS", "north"),
        ("PUBLIC_KEY", "ssh-ed25519 AAAA"),
    ],
)
def test_a_variable_that_only_leads_to_a_secret_is_not_told(name, value):
    assert variables.exposed({name: value}) == []


@pytest.mark.parametrize(
    "value", ["x" * 131_000, "a\tb\nc", "e\u0301\u00a0\U0001f600", "\u0085\u2028", ""]
)
def test_every_other_value_of_a_variable_is_taken(value):
    variables.check({"A": value}, WHAT)


BAD = {
    "variable that is none": ({"A B": "x"}, "A B"),
    "variable of the unit": ({"PATH": "/x"}, "PATH"),
    "variable that is a number": ({"PORT": 1}, "in quotes"),
    "variable with a NUL": ({"A": "x\0"}, r"U\+0000"),
    "variable of Windows": ({"A": "x\r\ny"}, r"U\+000D"),
    "variable with colours": ({"A": "\x1b[1mx"}, r"U\+001B"),
    "variable that no program can have": ({"A": "ä" * 65_540}, "131082 bytes"),
    "variable with a DEL": ({"A": "x\x7f"}, r"U\+007F"),
    "variable that is no UTF-8": ({"A": "\udce9"}, r"U\+DCE9"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_variable_that_no_unit_can_have_is_refused_with_a_remedy(case):
    given, said = BAD[case]
    with pytest.raises(Refusal, match=said) as refusal:
        variables.check(given, WHAT)
    assert refusal.value.what.endswith(WHAT)
    assert refusal.value.remedy
