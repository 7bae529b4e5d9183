# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which modules the kernel takes: Secure Boot, and the key that DKMS signs modules with."""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Container

from ..facts_shape import SecureBoot
from ..refusal import Refusal
from ..system import os_release
from ..system.root import Root
from . import kernel_log

_EFI = "/sys/firmware/efi"
_FRAMEWORK = "/etc/dkms/framework.conf"
#: What can be done all the same about modules that would not load.
OR_BUILD = "or build them all the same with gpunode_consent: [unenrolled_key]"
#: What to do where the firmware knows a key, and the kernel does not take it for modules.
NOT_TRUSTED = (
    "Run mokutil --trust-mok, reboot, and confirm it at the console, or boot a kernel that takes "
    "the keys of firmware and shim for modules"
)
_DEFAULT_KEY = "/var/lib/dkms/mok.pub"
# Set by module.sig_enforce=1, and built in by CONFIG_MODULE_SIG_FORCE (the Linux kernel's
# kernel/module/signing.c); and what is locked down, the word in brackets (security/lockdown).
_ENFORCE = "/sys/module/module/parameters/sig_enforce"
_LOCKDOWN = "/sys/kernel/security/lockdown"
# proc_keys_show in security/keys/proc.c; of a certificate the description ends with its subject
# key identifier (crypto/asymmetric_keys/x509_public_key.c).
_KEYS = "/proc/keys"
_ASYMMETRIC = " asymmetri "
# id-ce-subjectKeyIdentifier, 2.5.29.14, RFC 5280, as DER has it.
_IDENTIFIER = bytes.fromhex("0603551d0e")
_OCTET_STRING = 4
# RFC 7468 (5).
_PEM_BEGIN, _PEM_END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
# kernel/module/signing.c, certs/system_keyring.c and security/lockdown/lockdown.c, as whole lines:
# others have names in them that users choose. Some kernels have their own thread before a message.
_REJECTED = (
    r"^(\[[^\]]*\]|\s)*(Loading of [a-z ]+ is rejected"
    r"|PKCS#7 signature not signed with a trusted key"
    r"|Lockdown: [^:]+: unsigned module loading is restricted; see man kernel_lockdown\.7)$"
)
# EFI_GLOBAL_VARIABLE, EFI_IMAGE_SECURITY_DATABASE_GUID and shim's own, SHIM_LOCK_GUID
# (rhboot/shim@72fd4b70e7562d25234204249462da97080ef56f:lib/guid.c).
_GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
_SECURITY_DATABASE = "d719b2cb-3d3a-4596-a3bc-dad00e67656f"
_SHIM = "605dab50-e046-4300-abb6-3dd810dd8b23"
# EFI_CERT_X509_GUID, a5c059a1-94e4-4aa7-87b5-ab155c2bf072, as it lies in memory.
_X509 = bytes.fromhex("a159c0a5e494a74a87b5ab155c2bf072")
# EFI_SIGNATURE_LIST: type, size of the list, of the header that follows, and of each signature.
_LIST = struct.Struct("<16sIII")
# Before the data of a signature stands the GUID of its owner.
_OWNER_SIZE = 16


def survey(tree: Root) -> SecureBoot:
    """Return what docs/facts.md has of secure_boot.

    Secure Boot that shim was told not to enforce is not enabled: the kernel then takes it for
    disabled, too (torvalds/linux@85f9a2d51e72f558c9bbf94cd1ae7c73f80034de:
    drivers/firmware/efi/libstub/secureboot.c).
    """
    setup_mode = _is_set(_variable(tree, "SetupMode", _GLOBAL))
    enforced = not any(_is_set(value) for value in _of_shim(tree, "MokSBStateRT"))
    key = _key(tree)
    certificate = _der(tree.data(key)) if key else b""
    found: SecureBoot = {
        "efi": tree.exists(_EFI),
        "enabled": _is_set(_variable(tree, "SecureBoot", _GLOBAL)) and not setup_mode and enforced,
        "setup_mode": setup_mode,
        "enforced": _is_enforced(tree),
        "key": key,
        "key_enrolled": certificate in _enrolled(tree) if key else False,
        "key_in_kernel": _in_kernel(tree, certificate),
        "rejected": "",
    }
    if needs_signature(found):
        found["rejected"] = (kernel_log.lines(tree, _REJECTED) or [""])[-1].strip()
    return found


def needs_signature(found: SecureBoot) -> bool:
    """Say whether modules have to be signed.

    :param found: what :func:`survey` returned.
    """
    return bool(found["enabled"] or found["enforced"])


def lacks_key(found: SecureBoot) -> bool:
    """Say whether modules would not load that are built here.

    :param found: what :func:`survey` returned.
    """
    has_key = {"yes": True, "no": False}.get(found["key_in_kernel"], found["key_enrolled"])
    return needs_signature(found) and not has_key


def why_kept_out(found: SecureBoot) -> tuple[str, str, str]:
    """Return (what, because, remedy) of that modules would not load that are built here.

    :param found: what :func:`survey` returned, of a host that :func:`lacks_key`.
    """
    what = "Secure Boot" if found["enabled"] else "signatures of modules"
    because = "modules that are built here would not load: "
    key = found["key"]
    if found["key_enrolled"]:
        return (
            what,
            f"{because}the key {key} is enrolled, and the kernel has not taken it over",
            NOT_TRUSTED,
        )
    if found["efi"] or found["enabled"]:
        return (
            what,
            because
            + (f"the key {key} is not enrolled" if key else "this host has no key to sign with"),
            f"Run mokutil --import {key or _DEFAULT_KEY}, reboot, and confirm it at the console",
        )
    return (
        what,
        f"{because}the kernel takes signed ones alone (module.sig_enforce or lockdown), and "
        "without EFI no key but its own",
        "Boot it without module.sig_enforce and lockdown",
    )


def refuse_unenrolled_key(found: SecureBoot, consent: Container[str]) -> None:
    """Refuse to build modules that the firmware would not let load.

    :param found: what :func:`survey` returned.
    :param consent: names of gpunode_consent.
    :raises Refusal: it would not, and nobody consented to that.
    """
    if lacks_key(found) and "unenrolled_key" not in consent:
        what, because, remedy = why_kept_out(found)
        raise Refusal(what, because, f"{remedy}; {OR_BUILD}")


def certificates(data: bytes) -> set[bytes]:
    """Return the X.509 certificates (DER) in a sequence of EFI_SIGNATURE_LIST.

    UEFI Specification 2.10, chapter 32, "Signature Database". What follows a broken list is
    not read, since nothing tells where it begins.
    """
    found = set()
    position = 0
    while position + _LIST.size <= len(data):
        kind, size, header_size, entry_size = _LIST.unpack_from(data, position)
        end = position + size
        if size < _LIST.size or end > len(data) or entry_size <= _OWNER_SIZE:
            break
        if kind == _X509:
            first = position + _LIST.size + header_size
            for start in range(first, end - entry_size + 1, entry_size):
                found.add(data[start + _OWNER_SIZE : start + entry_size])
        position = end
    return found


def _is_enforced(tree: Root) -> bool:
    """Say whether the kernel itself takes signed modules alone."""
    locked = re.search(r"\[(\w+)\]", tree.text(_LOCKDOWN))
    return tree.text(_ENFORCE) == "Y" or bool(locked and locked.group(1) != "none")


def _in_kernel(tree: Root, certificate: bytes) -> str:
    """Return whether the kernel has a certificate among its keys: 'yes', 'no'; '' for unknown.

    That it has one does not say that it takes it for modules.
    """
    keys = [line for line in tree.lines(_KEYS) if _ASYMMETRIC in line]
    identifier = _identifier(certificate)
    if not keys or not identifier:
        return ""
    return "yes" if any(f": {identifier}:" in line for line in keys) else "no"


def _identifier(certificate: bytes) -> str:
    """Return the subject key identifier of a certificate (DER), '' where it has none."""
    start = certificate.find(_IDENTIFIER)
    value = certificate[start + len(_IDENTIFIER) :] if start >= 0 else b""
    # One octet string in another, each with its length.
    is_whole = len(value) > 4 and value[0] == value[2] == _OCTET_STRING
    return value[4 : 4 + value[3]].hex() if is_whole else ""


def _enrolled(tree: Root) -> set[bytes]:
    """Return the certificates that shim and the firmware know."""
    database = _variable(tree, "db", _SECURITY_DATABASE)
    return set().union(*map(certificates, [database, *_of_shim(tree, "MokListRT")]))


def _variable(tree: Root, name: str, vendor: str) -> bytes:
    """Return the value of an EFI variable, b'' where there is none.

    In efivarfs four bytes of attributes stand before it (Linux kernel,
    Documentation/filesystems/efivarfs.rst).
    """
    return tree.data(f"{_EFI}/efivars/{name}-{vendor}")[4:]


def _of_shim(tree: Root, name: str) -> list[bytes]:
    """Return the values of one of shim's variables: from its table, and each part in efivarfs.

    What the firmware has no room for in one variable, shim divides into NAME, NAME1, NAME2 and
    so on (rhboot/shim@72fd4b70e7562d25234204249462da97080ef56f:mok.c, mirror_mok_db); the
    kernel shows the table whole (torvalds/linux@2b90e7ace79774a3540ce569e000388f8d22c9e0:
    drivers/firmware/efi/mokvar-table.c).
    """
    parts = [
        match.group(1)
        for match in (
            re.fullmatch(rf"({name}[0-9]*)-{_SHIM}", found)
            for found in tree.names(f"{_EFI}/efivars")
        )
        if match
    ]
    table = tree.data(f"{_EFI}/mok-variables/{name}")
    return [table, *(_variable(tree, part, _SHIM) for part in parts)]


def _is_set(value: bytes) -> bool:
    return value[:1] == b"\1"


def _key(tree: Root) -> str:
    """Return the path of the certificate of the key DKMS signs with, '' where it is not there.

    dell/dkms@793fdab5eba9d6b6e9295b18e44a23824e7da44f:dkms.in, prepare_mok, distro_version
    and read_framework_conf: Ubuntu's is shim's own unless a key is configured. A path that
    has $kernelver in it names no certificate of the host's.
    """
    configured = _framework(tree)
    if _is_ubuntu(tree) and not configured.get("mok_signing_key"):
        path = "/var/lib/shim-signed/mok/MOK.der"
    else:
        path = configured.get("mok_certificate") or _DEFAULT_KEY
    return path if tree.data(path) else ""


def _framework(tree: Root) -> dict[str, str]:
    """Return what the configuration of DKMS says of its keys, the last word winning."""
    folder = f"{_FRAMEWORK}.d"
    files = [f"{folder}/{name}" for name in tree.names(folder) if name.endswith(".conf")]
    settings = {}
    for path in [_FRAMEWORK, *files]:
        for line in tree.lines(path):
            match = re.fullmatch(r"\s*(mok_\w+)=([\"']?)(.*?)\2\s*(?:#.*)?", line)
            if match:
                settings[match.group(1)] = match.group(3)
    return settings


def _is_ubuntu(tree: Root) -> bool:
    """Say whether the host is Ubuntu, or like it."""
    return "ubuntu" in os_release.lineage(os_release.read(tree))


def _der(certificate: bytes) -> bytes:
    """Return a certificate as DER; the kernel's sign-file, which DKMS runs, takes PEM as well."""
    lines = certificate.strip().splitlines()
    if not (lines and lines[0] == _PEM_BEGIN and lines[-1] == _PEM_END):
        return certificate
    try:
        return base64.b64decode(b"".join(lines[1:-1]), validate=True)
    except ValueError:
        return certificate
