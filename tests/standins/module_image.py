"""A module of the distribution's as another build of it: the same code, by another name."""

from __future__ import annotations

import lzma
import re
import struct

#: elf(5), a note of GNU with a build id of 20 bytes: lengths, type, name.
_BUILD_ID = re.compile(re.escape(struct.pack("<III", 4, 20, 3) + b"GNU\0") + b"(.{20})", re.DOTALL)
#: linux v6.12, include/linux/module_signature.h: what a signature ends with, its length first.
_SIGNED = b"~Module signature appended~\n"
_SIGNATURE = struct.Struct(">8xI")
#: linux v6.12, scripts/Makefile.modinst: what the kernel itself can unpack.
_PACKED = {
    "format": lzma.FORMAT_XZ,
    "check": lzma.CHECK_CRC32,
    "filters": [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 21}],
}


def rebuilt(packed):
    """Return a module, packed by xz, with another build id and without its signature.

    A signature that does not fit keeps a module out, whoever asks for signed ones or not.
    """
    image = _unsigned(lzma.decompress(packed))
    (match,) = _BUILD_ID.finditer(image)
    other = bytes(byte ^ 0xFF for byte in match.group(1))
    return lzma.compress(image[: match.start(1)] + other + image[match.end(1) :], **_PACKED)


def _unsigned(image):
    if not image.endswith(_SIGNED):
        return image
    end = len(image) - len(_SIGNED) - _SIGNATURE.size
    (length,) = _SIGNATURE.unpack_from(image, end)
    return image[: end - length]
