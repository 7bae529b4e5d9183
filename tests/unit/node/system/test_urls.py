"""Addresses with passwords: shown, and given to programs, without them."""

from __future__ import annotations

import netrc

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.system import urls

PLAIN = "https://mirror.example:8443/conda/python-3.11.7-0.conda#00\n"


def test_passwords_of_addresses_go_to_a_netrc_that_python_reads(tmp_path):
    text = PLAIN.replace("://", "://reader:p%40ss:%2Fword@")
    bare, said = urls.to_netrc(f"@EXPLICIT\n{text}{text}")
    assert bare == f"@EXPLICIT\n{PLAIN}{PLAIN}"
    (tmp_path / "netrc").write_text(said)
    found = netrc.netrc(tmp_path / "netrc").authenticators("mirror.example")
    assert (found[0], found[2]) == ("reader", "p@ss:/word")


def test_addresses_without_a_password_stay_and_need_no_netrc():
    assert urls.to_netrc(PLAIN) == (PLAIN, "")


@pytest.mark.parametrize("user", ["token", "reader:a%20b", "reader:a%22b", "reader:a%5Cb"])
def test_what_a_netrc_cannot_say_stays_in_the_address(user):
    text = PLAIN.replace("://", f"://{user}@")
    assert urls.to_netrc(text) == (text, "")


def test_a_second_user_of_a_host_stays_in_the_address():
    first, second = (PLAIN.replace("://", f"://{user}:word@") for user in ("one", "two"))
    bare, said = urls.to_netrc(first + second)
    assert bare == PLAIN + second
    assert said == "machine mirror.example login one password word\n"
