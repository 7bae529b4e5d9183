"""Releases: packed the same everywhere, unpacked nowhere but in their folder."""

from __future__ import annotations

import errno
import io
import os
import tarfile
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app import release
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import files


@pytest.fixture
def source(tmp_path):
    """An application's folder with everything that one may hold, and what is left out."""
    folder = tmp_path / "source"
    (folder / "static" / "empty").mkdir(parents=True)
    (folder / "main.py").write_text("app = None\n")
    (folder / "tool.sh").write_text("#!/bin/sh\n")
    (folder / "tool.sh").chmod(0o700)
    (folder / "static" / "logo").write_bytes(bytes(range(256)))
    os.link(folder / "main.py", folder / "twin.py")
    (folder / "index").symlink_to("static/logo")
    for left_out in (".git/HEAD", "__pycache__/main.pyc", "static/old.pyc"):
        path = folder / left_out
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    return folder


def test_a_release_comes_out_as_it_went_in(source, tmp_path):
    release.pack(source, tmp_path / "a.tar.gz")
    release.unpack(tmp_path / "a.tar.gz", tmp_path / "out")
    assert release.digest_of(tmp_path / "out") == release.digest_of(source)
    assert (tmp_path / "out" / "index").readlink().as_posix() == "static/logo"
    assert (tmp_path / "out" / "twin.py").read_text() == "app = None\n"
    assert os.access(tmp_path / "out" / "tool.sh", os.X_OK)


def test_what_belongs_to_no_release_is_left_out(source, tmp_path):
    release.pack(source, tmp_path / "a.tar.gz")
    with tarfile.open(tmp_path / "a.tar.gz") as tar:
        names = tar.getnames()
    assert sorted(names) == [
        "index", "main.py", "static", "static/empty", "static/logo", "tool.sh", "twin.py",
    ]  # fmt: skip


def test_the_archive_depends_on_the_content_alone(source, tmp_path):
    release.pack(source, tmp_path / "one.tar.gz")
    os.utime(source / "main.py", (1, 1))
    os.chown(source / "main.py", 12345, 12345)
    (source / "main.py").chmod(0o600)
    release.pack(source, tmp_path / "two.tar.gz")
    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "two.tar.gz").read_bytes()


def test_a_changed_byte_and_a_changed_execute_bit_are_other_releases(source):
    before = release.digest_of(source)
    (source / "tool.sh").chmod(0o600)
    after_mode = release.digest_of(source)
    (source / "main.py").write_text("app = 1\n")
    assert len({before, after_mode, release.digest_of(source)}) == 3


def test_folders_of_an_unpacked_release_can_be_read_whatever_the_umask(source, tmp_path):
    release.pack(source, tmp_path / "a.tar.gz")
    umask = os.umask(0o077)
    try:
        release.unpack(tmp_path / "a.tar.gz", tmp_path / "out")
    finally:
        os.umask(umask)
    for path in (tmp_path / "out", tmp_path / "out" / "static"):
        assert path.stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "out" / "main.py").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("target", ["/etc/passwd", "../other", "static/../../other"])
def test_a_folder_with_a_link_that_leads_out_cannot_be_shipped(source, target):
    release.check(source)
    (source / "way_out").symlink_to(target)
    with pytest.raises(Refusal, match="way_out"):
        release.check(source)


def test_a_folder_with_a_pipe_in_it_cannot_be_shipped(source):
    os.mkfifo(source / "pipe")
    with pytest.raises(Refusal, match="pipe"):
        release.check(source)


def test_a_folder_that_is_too_deep_cannot_be_shipped(source):
    deep = source / ("d/" * 100)
    deep.mkdir(parents=True)
    (deep / "x").write_text("")
    release.check(source)
    (deep / "d").mkdir()
    (deep / "d" / "x").write_text("")
    with pytest.raises(Refusal, match="lies more than 100 folders deep"):
        release.check(source)


def archive_with(path, *members):
    """Make a tar of (name, type, link target or content)."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, content in members:
            member = tarfile.TarInfo(name)
            member.type = kind
            # As they are, a NUL too, which the header itself cannot hold.
            member.pax_headers = {"path": name}
            if kind == tarfile.SYMTYPE:
                member.pax_headers["linkpath"] = content
            if kind == tarfile.REGTYPE:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content.encode(errors="surrogateescape")))
            else:
                member.linkname = content
                tar.addfile(member)
    return path


HOSTILE = {
    "absolute name": [("/tmp/gpunode-escaped", tarfile.REGTYPE, "x")],
    "name with ..": [("a/../../escaped", tarfile.REGTYPE, "x")],
    "absolute link": [("a", tarfile.SYMTYPE, "/etc")],
    "link to the parent": [("a", tarfile.SYMTYPE, "../escaped")],
    "file through a link": [("a", tarfile.SYMTYPE, "."), ("a/x", tarfile.REGTYPE, "x")],
    "link through links": [("d", tarfile.SYMTYPE, "."), ("d/d/x", tarfile.SYMTYPE, "../..")],
    "hard link": [("a", tarfile.LNKTYPE, "../escaped")],
    "device": [("a", tarfile.CHRTYPE, "")],
    "deep folders": [("d/" * 1500, tarfile.DIRTYPE, "")],
    "deep file": [("d/" * 900 + "x", tarfile.REGTYPE, "x")],
    "deep link": [("d/" * 200 + "x", tarfile.SYMTYPE, "x")],
    "long name": [("n" * 300, tarfile.REGTYPE, "x")],
    "NUL in a name": [("a\0b", tarfile.REGTYPE, "x")],
    "NUL in a link": [("a", tarfile.SYMTYPE, "b\0c")],
    "file over a link": [("a", tarfile.SYMTYPE, "b"), ("a", tarfile.REGTYPE, "x")],
    # By its text each link stays inside: what it goes up from lies higher than it says.
    "link that climbs another": [
        ("a/b/c/up", tarfile.SYMTYPE, "../../.."),
        ("l", tarfile.SYMTYPE, "a/b/c/up/../.."),
    ],
    "link that climbs one to come": [
        ("l", tarfile.SYMTYPE, "a/b/up/.."),
        ("a/b/up", tarfile.SYMTYPE, "../.."),
    ],
    "folder over a link": [
        ("a", tarfile.DIRTYPE, ""),
        ("l", tarfile.SYMTYPE, "a"),
        ("l", tarfile.DIRTYPE, ""),
    ],
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_archive_is_refused_and_leaves_nothing(tmp_path, kind):
    (tmp_path / "in").mkdir()
    archive = archive_with(tmp_path / "a.tar", *HOSTILE[kind])
    with pytest.raises(Refusal):
        release.unpack(archive, tmp_path / "in" / "out")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.tar", "in"]


@pytest.mark.parametrize("up", ["../..", "../../other"])
def test_a_folder_with_a_link_that_climbs_another_cannot_be_shipped(source, up):
    (source / "other").mkdir()
    (source / "a" / "b").mkdir(parents=True)
    (source / "a" / "b" / "up").symlink_to(up)
    release.check(source)
    (source / "l").symlink_to("a/b/up/../..")
    with pytest.raises(Refusal, match="leads out of the folder"):
        release.check(source)


def test_no_folder_of_an_archive_changes_the_mode_of_what_a_link_leads_to(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (tmp_path / "in").mkdir()
    archive = archive_with(
        tmp_path / "a.tar",
        ("a/b/c/d/up", tarfile.SYMTYPE, "../../../.."),
        ("a/b/closed", tarfile.DIRTYPE, ""),
        ("l", tarfile.SYMTYPE, "a/b/c/d/up/../../closed"),
        ("l", tarfile.DIRTYPE, ""),
    )
    with pytest.raises(Refusal):
        release.unpack(archive, tmp_path / "in" / "out")
    assert closed.stat().st_mode & 0o777 == 0o700


NAMES = st.lists(
    st.sampled_from(["a", "b", "l", "m", "..", ".", "", "a\n", "\udc80"]), min_size=1, max_size=5
).map("/".join)
MEMBERS = st.lists(
    st.tuples(
        NAMES,
        st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE]),
        NAMES,
    ),
    max_size=8,
)


@given(MEMBERS)
def test_whatever_an_archive_holds_all_of_it_is_in_its_folder_or_nothing_is(members):
    with tempfile.TemporaryDirectory() as top:
        outside = os.path.join(top, "a")
        os.mkdir(outside, 0o700)
        os.mkdir(os.path.join(top, "in"))
        folder = os.path.join(top, "in", "out")
        archive = archive_with(os.path.join(top, "tar"), *members)
        try:
            release.unpack(archive, folder)
        except Refusal:
            assert not os.path.lexists(folder)
        else:
            release.check(folder)
            for path, _relative in files.walk(folder):
                assert f"{os.path.realpath(path)}/".startswith(f"{os.path.realpath(folder)}/")
        assert sorted(os.listdir(top)) == ["a", "in", "tar"]
        assert os.listdir(os.path.join(top, "in")) in ([], ["out"])
        assert os.listdir(outside) == []
        assert os.stat(outside).st_mode & 0o777 == 0o700


def test_a_full_disk_is_no_fault_of_the_archive_and_leaves_nothing(source, tmp_path, monkeypatch):
    def full(*_arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    release.pack(source, tmp_path / "a.tar.gz")
    monkeypatch.setattr(release.shutil, "copyfileobj", full)
    with pytest.raises(OSError, match="No space left on device") as raised:
        release.unpack(tmp_path / "a.tar.gz", tmp_path / "out")
    assert raised.value.filename == tmp_path / "out"
    assert not (tmp_path / "out").exists()


def test_half_an_archive_is_refused_and_leaves_nothing(source, tmp_path):
    release.pack(source, tmp_path / "a.tar.gz")
    whole = (tmp_path / "a.tar.gz").read_bytes()
    (tmp_path / "half").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Refusal, match="cannot be unpacked"):
        release.unpack(tmp_path / "half", tmp_path / "out")
    assert not (tmp_path / "out").exists()
