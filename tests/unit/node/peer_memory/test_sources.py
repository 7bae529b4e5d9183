"""The sources of nv_peer_mem: unpacked from the archive of a tag, patched, and known again."""

from __future__ import annotations

import io
import tarfile

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.peer_memory import sources
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from standins import peer_sources


@pytest.mark.parametrize("tag", ["1.1-0", "1.3-0"])
def test_an_archive_is_unpacked_with_its_patches(tmp_path, tag):
    peer_sources.archive(tmp_path / "a.tar.gz", tag)
    folder = tmp_path / "sources"
    sources.unpack(str(tmp_path / "a.tar.gz"), str(folder), tag, {"1.patch": "text\n"})
    assert sources.unpacked_tag(folder) == (tag, tag[:3])
    assert (folder / "patches" / "1.patch").read_text() == "text\n"
    assert (folder / "create_nv.symvers.sh").stat().st_mode & 0o100


def test_the_archive_of_another_tag_is_refused(tmp_path):
    peer_sources.archive(tmp_path / "a.tar.gz", "1.1-0")
    with pytest.raises(Refusal, match=r"it has nv_peer_mem 1\.1-0 in it"):
        sources.unpack(str(tmp_path / "a.tar.gz"), str(tmp_path / "s"), "1.3-0", {})


def test_an_archive_writes_nothing_outside_of_its_folder(tmp_path):
    peer_sources.archive(tmp_path / "a.tar.gz", "1.1-0")
    with tarfile.open(tmp_path / "a.tar.gz") as packed:
        rows = [(row, packed.extractfile(row).read()) for row in packed]
    link = tarfile.TarInfo("nv/link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc"
    with tarfile.open(tmp_path / "b.tar.gz", "w:gz") as packed:
        for name in ("nv/../../out", "nv/../out", "/nv/inside"):
            rows.append((tarfile.TarInfo(name), b""))
        for row, content in [*rows, (link, b"")]:
            packed.addfile(row, io.BytesIO(content))
    folder = tmp_path / "s"
    sources.unpack(str(tmp_path / "b.tar.gz"), str(folder), "1.1-0", {})
    assert {path.name for path in tmp_path.iterdir()} == {"a.tar.gz", "b.tar.gz", "s"}
    assert not (folder / "link").is_symlink()
    assert (folder / "nv" / "inside").is_file()


def test_an_archive_that_is_cut_off_is_refused(tmp_path):
    path = tmp_path / "a.tar.gz"
    peer_sources.archive(path, "1.1-0")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(Refusal, match="it cannot be unpacked: "):
        sources.unpack(str(path), str(tmp_path / "s"), "1.1-0", {})


@pytest.mark.parametrize(
    "name", ["top/" + "d/" * 900 + "x", "top/" + "d/" * 101 + "x", "top/a\0b", "top/" + "n" * 300]
)
def test_an_archive_with_names_that_no_folder_can_have_is_refused_and_leaves_little(tmp_path, name):
    member = tarfile.TarInfo("x")
    member.pax_headers = {"path": name}
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz", format=tarfile.PAX_FORMAT) as packed:
        packed.addfile(member, io.BytesIO())
    with pytest.raises(Refusal, match="it cannot be unpacked: "):
        sources.unpack(str(tmp_path / "a.tar.gz"), str(tmp_path / "out"), "1.1-0", {})
    assert list((tmp_path / "out").rglob("d")) == []


@pytest.mark.parametrize("names", [("top/a", "top/a/b"), ("top/a/b", "top/a"), ("top//", "top//x")])
def test_an_archive_whose_files_lie_in_files_is_refused(tmp_path, names):
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as packed:
        for name in names:
            packed.addfile(tarfile.TarInfo(name))
    with pytest.raises(Refusal, match=r"the archive of nv_peer_mem 1\.1-0"):
        sources.unpack(str(tmp_path / "a.tar.gz"), str(tmp_path / "out"), "1.1-0", {})


def test_sources_are_told_from_others_and_from_changed_ones(tmp_path):
    made_from = sources.made_from("0" * 64, {"1.patch": "text\n"})
    (tmp_path / "Makefile").write_text("all:\n")
    assert sources.noted(tmp_path) != made_from
    sources.note(made_from, tmp_path)
    assert sources.noted(tmp_path) == made_from
    assert sources.noted(tmp_path) != sources.made_from("0" * 64, {})
    (tmp_path / "Makefile").write_text("all: none\n")
    assert sources.noted(tmp_path) != made_from
