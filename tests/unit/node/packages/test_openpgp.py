"""Fingerprints of keys, held against those that gpg tells of real ones."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpgp_key import FINGERPRINT, KEY

from ansible_collections.gpunode.stack.plugins.module_utils._node.packages import openpgp


def armored(data):
    body = base64.b64encode(data).decode()
    return f"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n{body}\n-----END PGP PUBLIC KEY BLOCK-----\n"


def body_of(key):
    lines = key.splitlines()
    return base64.b64decode("".join(lines[2:-2]))


def test_the_fingerprint_is_the_one_that_gpg_tells():
    assert openpgp.fingerprints(KEY) == [FINGERPRINT]


def test_each_key_of_a_file_is_told():
    assert openpgp.fingerprints(KEY + KEY) == [FINGERPRINT] * 2
    assert openpgp.fingerprints(armored(body_of(KEY) * 2)) == [FINGERPRINT] * 2


def test_a_key_in_packets_of_the_new_format_is_the_same():
    data = body_of(KEY)
    length = data[1]
    assert data[0] == 0x98, "a public key of the old format, its length in one octet"
    assert openpgp.fingerprints(armored(bytes([0xC6]) + data[1 : 2 + length])) == [FINGERPRINT]


def test_headers_of_the_armor_and_line_ends_of_other_systems_change_nothing():
    other = KEY.replace("BLOCK-----\n\n", "BLOCK-----\nVersion: GnuPG v2.0.22\n\n")
    assert openpgp.fingerprints(other.replace("\n", "\r\n")) == [FINGERPRINT]


@pytest.mark.parametrize(
    "text",
    ["", "<html>404</html>", KEY[: len(KEY) // 2], armored(body_of(KEY)[:30]), armored(b"\x98")],
)
def test_what_is_no_whole_key_has_none(text):
    assert openpgp.fingerprints(text) == []


def test_keys_without_armor_get_one_that_gpg_would_have_given_them():
    without_checksum = "".join(line for line in KEY.splitlines(True) if line[0] != "=")
    assert openpgp.armored(body_of(KEY)) == without_checksum
    assert openpgp.armored(KEY.encode()) == KEY
    assert openpgp.armored(b"") == ""


@given(st.binary(max_size=200))
def test_rubbish_is_no_error(data):
    assert isinstance(openpgp.fingerprints(armored(data)), list)
