"""Another build of a module: what tells it apart, and that nothing else is changed."""

from __future__ import annotations

import lzma
import struct

import pytest

from standins import module_image

NOTE = struct.pack("<III", 4, 20, 3) + b"GNU\0"
BUILD_ID = bytes(range(20))
# As readelf -n shows it of a module: another note may come first.
OTHER_NOTE = struct.pack("<III", 6, 1, 0x100) + b"Linux\0\0\0\0\0\0\0"
CODE = b"\x7fELF" + b"code" * 100
IMAGE = CODE + OTHER_NOTE + NOTE + BUILD_ID + b"more code ~Module signature appended~\n and more"


def signed(image, signature):
    told = struct.pack(">8xI", len(signature))
    return image + signature + told + b"~Module signature appended~\n"


@pytest.mark.parametrize("signature", [None, b"", b"pkcs7" * 50])
def test_it_has_another_build_id_the_same_code_and_no_signature(signature):
    image = IMAGE if signature is None else signed(IMAGE, signature)
    packed = module_image.rebuilt(lzma.compress(image))
    found = lzma.decompress(packed)
    before, after = IMAGE.split(BUILD_ID)
    assert found.startswith(before)
    assert found.endswith(after)
    assert len(found) == len(IMAGE)
    assert found != IMAGE


def test_it_is_packed_as_the_kernel_can_unpack_it():
    # The .xz File Format 1.2.0, 2.1.1.2: the second byte of the flags names the check.
    assert module_image.rebuilt(lzma.compress(IMAGE))[7] == lzma.CHECK_CRC32


def test_one_without_a_build_id_is_no_module_that_this_can_do():
    with pytest.raises(ValueError, match="unpack"):
        module_image.rebuilt(lzma.compress(CODE))
