# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keys that repositories are signed with, by their fingerprints; no gpg is needed for that.

RFC 4880: armor 6.2, packets 4.2, public keys 5.5, fingerprints 12.2.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator

_ARMOR = re.compile(
    r"-----BEGIN PGP PUBLIC KEY BLOCK-----\n(?:[^\n]+\n)*\n(?P<body>.*?)\n(?:=[^\n]{4}\n)?"
    r"-----END PGP PUBLIC KEY BLOCK-----",
    re.DOTALL,
)
_BLOCK = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n{}\n-----END PGP PUBLIC KEY BLOCK-----\n"
_LINE = 64
_PUBLIC_KEY = 6


def armored(data: bytes) -> str:
    """Return keys in armored text, be they that already; without the checksum, which is optional.

    :param data: the bytes of a file of keys.
    """
    # The first bit of a packet is always set, 4.2.
    if not data or data[0] < 0x80:
        return data.decode("ascii", "replace")
    text = base64.b64encode(data).decode()
    lines = [text[start : start + _LINE] for start in range(0, len(text), _LINE)]
    return _BLOCK.format("\n".join(lines))


def fingerprints(text: str) -> list[str]:
    """Return the fingerprints of the keys in armored text, 40 upper-case hexadecimal digits each.

    Subkeys are their keys' own affair. [] where there is no key, or a part of one.
    """
    found = []
    for armor in _ARMOR.finditer(text.replace("\r\n", "\n")):
        try:
            packets = list(_packets(base64.b64decode(armor.group("body"))))
        except (binascii.Error, IndexError):
            return []
        # The fingerprints of version 4, which the format has be of SHA-1.
        found += [
            hashlib.sha1(b"\x99" + len(body).to_bytes(2, "big") + body).hexdigest().upper()
            for tag, body in packets
            if tag == _PUBLIC_KEY and body[:1] == b"\x04"
        ]
    return found


def _packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (tag, body) of each packet.

    :raises IndexError: the data end before their last packet does.
    """
    while data:
        if data[0] & 0x40:
            tag, (length, rest) = data[0] & 0x3F, _new_length(data[1:])
        else:
            tag, width = (data[0] >> 2) & 0x0F, 1 << (data[0] & 3)
            length, rest = int.from_bytes(data[1 : 1 + width], "big"), data[1 + width :]
        if length > len(rest):
            raise IndexError(tag)
        yield tag, rest[:length]
        data = rest[length:]


def _new_length(data: bytes) -> tuple[int, bytes]:
    """Return (length, what follows it) of a packet in the new format."""
    if data[0] < 192:
        return data[0], data[1:]
    if data[0] < 224:
        return ((data[0] - 192) << 8) + data[1] + 192, data[2:]
    return int.from_bytes(data[1:5], "big"), data[5:]
