"""Secure Boot and DKMS's key, with signature lists composed as the UEFI specification has them."""

from __future__ import annotations

import ssl
import struct
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trees import looked_at, planted

from ansible_collections.gpunode.stack.plugins.module_utils._node.kernel import secure_boot

EFIVARS = "/sys/firmware/efi/efivars"
MOK_TABLE = "/sys/firmware/efi/mok-variables"
GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
SHIM = "605dab50-e046-4300-abb6-3dd810dd8b23"
SECURE_BOOT, SETUP_MODE = f"{EFIVARS}/SecureBoot-{GLOBAL}", f"{EFIVARS}/SetupMode-{GLOBAL}"
MOK_LIST, SHIM_STATE = f"{EFIVARS}/MokListRT-{SHIM}", f"{EFIVARS}/MokSBStateRT-{SHIM}"
DB = f"{EFIVARS}/db-d719b2cb-3d3a-4596-a3bc-dad00e67656f"

X509 = uuid.UUID("a5c059a1-94e4-4aa7-87b5-ab155c2bf072")
SHA256 = uuid.UUID("c1c41626-504c-4092-aca9-41f936934328")
ATTRIBUTES = b"\6\0\0\0"
ON = {SECURE_BOOT: ATTRIBUTES + b"\1", SETUP_MODE: ATTRIBUTES + b"\0"}

DEBIAN_KEY, UBUNTU_KEY = "/var/lib/dkms/mok.pub", "/var/lib/shim-signed/mok/MOK.der"
OURS, OTHER = b"\x30\x82\x03\x01 our certificate", b"\x30\x82\x03\x02 of another maker"


def signature_list(*entries, kind=X509, header=b""):
    """Return one EFI_SIGNATURE_LIST; its entries are of one size."""
    (size,) = {len(entry) + 16 for entry in entries}
    body = header + b"".join(uuid.uuid4().bytes_le + entry for entry in entries)
    return kind.bytes_le + struct.pack("<III", 28 + len(body), len(header), size) + body


def variable(*lists):
    return ATTRIBUTES + b"".join(lists)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (ON, (True, True, False)),
        ({**ON, SECURE_BOOT: ATTRIBUTES + b"\0"}, (True, False, False)),
        ({**ON, SETUP_MODE: ATTRIBUTES + b"\1"}, (True, False, True)),
        ({**ON, SHIM_STATE: ATTRIBUTES + b"\1"}, (True, False, False)),
        ({**ON, SHIM_STATE: ATTRIBUTES + b"\0"}, (True, True, False)),
        ({**ON, f"{MOK_TABLE}/MokSBStateRT": b"\1"}, (True, False, False)),
        ({**ON, SECURE_BOOT: b"\1\0\0"}, (True, False, False)),
        ({f"{EFIVARS}/Boot0000-{GLOBAL}": ATTRIBUTES}, (True, False, False)),
        ({}, (False, False, False)),
    ],
    ids=["on", "off", "setup mode", "shim told not to", "shim told to", "shim's table says not to",
         "truncated", "firmware without it", "no EFI"],
)  # fmt: skip
def test_secure_boot_is_enabled_where_firmware_and_shim_enforce_it(tmp_path, files, expected):
    state = secure_boot.survey(planted(tmp_path, files))
    assert (state["efi"], state["enabled"], state["setup_mode"]) == expected


@pytest.mark.parametrize(
    ("files", "key"),
    [
        ({"/etc/os-release": "ID=debian\n"}, DEBIAN_KEY),
        ({"/etc/os-release": 'ID="rhel"\nID_LIKE="fedora"\n'}, DEBIAN_KEY),
        ({}, DEBIAN_KEY),
        ({"/etc/os-release": "NAME=Ubuntu\nID=ubuntu\nID_LIKE=debian\n"}, UBUNTU_KEY),
        ({"/etc/os-release": 'ID=pop\nID_LIKE="ubuntu debian"\n'}, UBUNTU_KEY),
        ({"/etc/dkms/framework.conf": "# mok_certificate=/no\nmok_certificate=/k/a.der # ours\n"},
         "/k/a.der"),
        ({"/etc/dkms/framework.conf": "mok_certificate=/k/a.der\n",
          "/etc/dkms/framework.conf.d/b.conf": 'mok_certificate="/k/b.der"\n'}, "/k/b.der"),
        ({"/etc/os-release": "ID=ubuntu\n",
          "/etc/dkms/framework.conf": "mok_certificate='/k/a.der'\n"}, UBUNTU_KEY),
        ({"/etc/os-release": "ID=ubuntu\n", "/etc/dkms/framework.conf":
          "mok_signing_key=/k/a.key\nmok_certificate=/k/a.der\n"}, "/k/a.der"),
        ({"/etc/dkms/framework.conf": "mok_certificate=/k/$kernelver.der\n"}, ""),
    ],
)  # fmt: skip
def test_the_key_is_the_one_that_dkms_would_sign_with(tmp_path, files, key):
    keys = dict.fromkeys([DEBIAN_KEY, UBUNTU_KEY, "/k/a.der", "/k/b.der"], OURS)
    assert secure_boot.survey(planted(tmp_path, {**keys, **files}))["key"] == key


def test_a_host_whose_dkms_has_made_no_key_yet_has_none(tmp_path):
    files = {**ON, MOK_LIST: variable(signature_list(OTHER))}
    state = secure_boot.survey(planted(tmp_path, files))
    assert (state["key"], state["key_enrolled"]) == ("", False)


@pytest.mark.parametrize(
    ("files", "enrolled"),
    [
        ({MOK_LIST: variable(signature_list(OTHER), signature_list(OURS))}, True),
        ({MOK_LIST: variable(signature_list(OTHER)),
          f"{EFIVARS}/MokListRT1-{SHIM}": variable(signature_list(OURS))}, True),
        ({f"{MOK_TABLE}/MokListRT": signature_list(OTHER) + signature_list(OURS)}, True),
        ({DB: variable(signature_list(OURS))}, True),
        ({MOK_LIST: variable(signature_list(OTHER))}, False),
        ({f"{EFIVARS}/MokListXRT-{SHIM}": variable(signature_list(OURS))}, False),
        ({f"{EFIVARS}/MokNew-{SHIM}": variable(signature_list(OURS))}, False),
        ({}, False),
    ],
    ids=["MokListRT", "a further part of it", "shim's table", "db", "another key", "forbidden",
         "asked for", "nothing"],
)  # fmt: skip
def test_a_key_is_enrolled_where_shim_or_the_firmware_trusts_its_certificate(
    tmp_path, files, enrolled
):
    tree = planted(tmp_path, {**ON, DEBIAN_KEY: OURS, **files})
    assert secure_boot.survey(tree)["key_enrolled"] is enrolled


def test_a_certificate_that_is_kept_as_text_is_the_same_one(tmp_path):
    files = {
        DEBIAN_KEY: ssl.DER_cert_to_PEM_cert(OURS),
        MOK_LIST: variable(signature_list(OURS)),
    }
    assert secure_boot.survey(planted(tmp_path, files))["key_enrolled"] is True


def test_certificates_are_found_in_lists_of_every_form():
    data = (
        signature_list(b"d" * 32, b"e" * 32, kind=SHA256)
        + signature_list(b"first", b"other")
        + signature_list(OURS, header=b"a header")
    )
    assert secure_boot.certificates(data) == {b"first", b"other", OURS}


@pytest.mark.parametrize(
    "broken",
    [
        signature_list(OURS)[:-1],
        signature_list(OURS)[:20],
        X509.bytes_le + struct.pack("<III", 0, 0, 20) + b"x" * 20,
        X509.bytes_le + struct.pack("<III", 48, 0, 0) + b"x" * 20,
        X509.bytes_le + struct.pack("<III", 48, 2**32 - 1, 20) + b"x" * 20,
        X509.bytes_le + struct.pack("<III", 2**32 - 1, 0, 20) + b"x" * 20,
    ],
    ids=["truncated", "half a header", "size 0", "entries of 0", "endless header", "endless list"],
)
def test_of_a_broken_list_what_stands_before_it_is_read(broken):
    assert secure_boot.certificates(signature_list(OTHER) + broken) == {OTHER}


@given(st.binary(max_size=200), st.integers(0, 100))
def test_no_signature_list_is_an_error(data, cut):
    assert secure_boot.certificates(data) is not None
    assert secure_boot.certificates(signature_list(OURS)[:cut] + data) is not None


NAMES = [SECURE_BOOT, SETUP_MODE, SHIM_STATE, MOK_LIST, DB, DEBIAN_KEY, UBUNTU_KEY,
         "/etc/os-release", "/etc/dkms/framework.conf"]  # fmt: skip


@given(st.dictionaries(st.sampled_from(NAMES), st.binary()))
def test_no_content_is_an_error(files):
    state = looked_at(secure_boot.survey, files)
    assert [type(value) for value in state.values()] == [bool] * 4 + [str, bool, str, str]


@given(st.text())
def test_no_path_that_the_configuration_names_is_an_error(path):
    files = {"/etc/dkms/framework.conf": f"mok_certificate={path}\n".encode("utf-8", "replace")}
    assert looked_at(secure_boot.survey, files)["key_enrolled"] is False


KEY_ID = "6ccece7e4c6c0d1f6149f3dd27dfcc5cbb419ea1"
CERTIFICATE = OURS + bytes.fromhex("0603551d0e 0416 0414") + bytes.fromhex(KEY_ID) + b"more"
KEYRING = "1a2b3c4d I------     2 perm 1f0b0000     0     0 keyring   .machine: 1\n"
ASYMMETRIC = (
    "0a1b2c3d I------     1 perm 1f030000     0     0 asymmetri {}: {}: X509.rsa bb419ea1 []\n"
)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        (ASYMMETRIC.format("DKMS module signing key", KEY_ID), "yes"),
        (ASYMMETRIC.format("Debian Secure Boot CA", "00" * 20), "no"),
        (KEYRING, ""),
        ("", ""),
    ],
    ids=["its own", "another", "no certificate", "nothing to be read"],
)
def test_whether_the_kernel_has_the_key_is_told_by_its_identifier(tmp_path, keys, told):
    tree = planted(tmp_path, {**ON, DEBIAN_KEY: CERTIFICATE, "/proc/keys": keys})
    assert secure_boot.survey(tree)["key_in_kernel"] == told


@pytest.mark.parametrize(
    "certificate",
    [OURS, OURS + bytes.fromhex("0603551d0e"), OURS + bytes.fromhex("0603551d0e0416")],
)
def test_of_a_certificate_without_an_identifier_it_is_not_known(tmp_path, certificate):
    keys = ASYMMETRIC.format("DKMS module signing key", KEY_ID)
    tree = planted(tmp_path, {**ON, DEBIAN_KEY: certificate, "/proc/keys": keys})
    assert secure_boot.survey(tree)["key_in_kernel"] == ""


@pytest.mark.parametrize(
    ("files", "enforced"),
    [
        ({"/sys/module/module/parameters/sig_enforce": "Y\n"}, True),
        ({"/sys/module/module/parameters/sig_enforce": "N\n"}, False),
        ({"/sys/kernel/security/lockdown": "none [integrity] confidentiality\n"}, True),
        ({"/sys/kernel/security/lockdown": "none integrity [confidentiality]\n"}, True),
        ({"/sys/kernel/security/lockdown": "[none] integrity confidentiality\n"}, False),
        ({}, False),
    ],
)
def test_a_kernel_that_takes_signed_modules_alone_is_told_without_secure_boot(
    tmp_path, files, enforced
):
    state = secure_boot.survey(planted(tmp_path, files))
    assert (state["enforced"], state["enabled"]) == (enforced, False)


REJECTED = "Loading of module with unavailable key is rejected"
UNSIGNED = "Loading of unsigned module is rejected"
LOCKED = "Lockdown: modprobe: unsigned module loading is restricted; see man kernel_lockdown.7"


@pytest.mark.parametrize(
    ("files", "log", "told"),
    [
        (ON, f"{REJECTED}\nsomething else\n", REJECTED),
        ({"/sys/module/module/parameters/sig_enforce": "Y"}, f"{UNSIGNED}\n", UNSIGNED),
        (ON, f"{LOCKED}\n", LOCKED),
        (ON, f"[   12.345678] [ T812] {REJECTED}\n", f"[   12.345678] [ T812] {REJECTED}"),
        (ON, "Loading of a is[77]: segfault at 0 in b is rejected[400000+1000]\n", ""),
        (ON, f"x[77]: segfault at 0 in {REJECTED}[400000+1000]\n", ""),
        (ON, "nvidia: module verification failed: signature and/or required key missing\n", ""),
        ({}, f"{REJECTED}\n", ""),
    ],
)  # fmt: skip
def test_what_the_kernel_said_of_a_module_that_it_did_not_take_is_told(tmp_path, files, log, told):
    tree = planted(tmp_path, files, answers={"dmesg": log})
    assert secure_boot.survey(tree)["rejected"] == told


@pytest.mark.parametrize(
    ("change", "lacks"),
    [
        ({}, False),
        ({"enabled": True}, True),
        ({"enforced": True}, True),
        ({"enabled": True, "key_enrolled": True}, False),
        ({"enabled": True, "key_enrolled": True, "key_in_kernel": "no"}, True),
        ({"enforced": True, "key_in_kernel": "yes"}, False),
    ],
)
def test_modules_are_kept_out_by_a_key_that_the_kernel_lacks(change, lacks):
    found = {"enabled": False, "enforced": False, "key_enrolled": False, "key_in_kernel": ""}
    assert secure_boot.lacks_key({**found, **change}) == lacks
