"""Archives that are broken, or hold more than anybody would have."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import random
import shutil
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app import release
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import archives

_SUM = slice(148, 156)


def header(name, size=0, kind=tarfile.REGTYPE, **fields):
    """Return a header of GNU tar, with other bytes at some places: {place: bytes}."""
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    block = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    for place, data in fields.items():
        at = int(place.removeprefix("at"))
        block[at : at + len(data)] = data
    return summed(block)


def summed(block):
    """Return a header with the sum that it is to have."""
    block[_SUM] = b" " * 8
    block[_SUM] = b"%06o\0 " % sum(block)
    return bytes(block)


def of_pax(**headers):
    """Return an archive of one file with headers of pax."""
    raw, member = io.BytesIO(), tarfile.TarInfo("file")
    member.pax_headers = {name.replace("_", "."): value for name, value in headers.items()}
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(member)
    return raw.getvalue()


def whole():
    raw, letters = io.BytesIO(), random.Random(1)
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for number in range(20):
            member = tarfile.TarInfo(f"folder/{number}")
            member.size = 700
            tar.addfile(member, io.BytesIO(letters.randbytes(350).hex().encode()))
    return raw.getvalue()


def spoilt(data, at=5000):
    return data[:at] + b"\xff" * 99 + data[at + 99 :]


_END = bytes(1024)
BROKEN = {
    # GNU tar's manual, "PAX Format, Version 0.1".
    "a sparse giant": of_pax(GNU_sparse_map="0,0", GNU_sparse_size=str(8 << 40)),
    "a size beyond all": header("a", at124=b"\x80" + b"\xff" * 11) + _END,
    "a size of base 256": header("a", at124=b"\x80" + b"\0" * 3 + b"\x7f" + b"\0" * 7) + _END,
    "a map that is none": of_pax(GNU_sparse_map="x,y"),
    "a version of sparse that is none": of_pax(GNU_sparse_major="1", GNU_sparse_minor="0"),
    "xz with a broken middle": spoilt(lzma.compress(whole())),
    "gzip with a broken middle": spoilt(gzip.compress(whole()), 3000),
    "gzip that is cut": gzip.compress(whole())[:5000],
    "not an archive": b"x" * 5000,
    "a file in a file": header("a") + header("a/b") + _END,
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_archive_is_refused_and_leaves_nothing(tmp_path, kind):
    (tmp_path / "a.tar").write_bytes(BROKEN[kind])
    with pytest.raises(Refusal) as caught:
        release.unpack(tmp_path / "a.tar", str(tmp_path / "out"))
    assert str(caught.value).startswith(f"archive {tmp_path}/a.tar: it cannot be unpacked: ")
    assert str(caught.value).isprintable()
    assert os.listdir(tmp_path) == ["a.tar"]


def test_an_archive_without_end_names_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "_MOST", 20)
    (tmp_path / "a.tar").write_bytes(whole())
    release.unpack(tmp_path / "a.tar", str(tmp_path / "out"))
    monkeypatch.setattr(archives, "_MOST", 19)
    with pytest.raises(Refusal, match="it holds more than 19 files"):
        release.unpack(tmp_path / "a.tar", str(tmp_path / "more"))


def test_files_that_are_large_together_name_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "_LARGEST", 19 * 700)
    (tmp_path / "a.tar").write_bytes(whole())
    with pytest.raises(Refusal, match="it holds more than 0 GiB"):
        release.unpack(tmp_path / "a.tar", str(tmp_path / "out"))


def test_a_disk_is_not_filled_to_find_out_that_it_has_no_room(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=19 * 700))
    (tmp_path / "a.tar").write_bytes(whole())
    with pytest.raises(OSError, match="No space left on device") as caught:
        release.unpack(tmp_path / "a.tar", str(tmp_path / "out"))
    assert caught.value.filename == str(tmp_path / "out")
    assert os.listdir(tmp_path) == ["a.tar"]


@given(st.integers(0, 511), st.integers(0, 255), st.booleans())
def test_no_byte_of_a_header_ends_in_anything_but_a_refusal(tmp_path_factory, at, value, sums):
    place = tmp_path_factory.mktemp("x")
    head = bytearray(whole())
    head[at] = value
    data = summed(head[:512]) + head[512:] if sums else bytes(head)
    (place / "a.tar").write_bytes(data)
    try:
        release.unpack(place / "a.tar", str(place / "out"))
    except Refusal:
        assert os.listdir(place) == ["a.tar"]
