"""Where an application's files come from: a folder, an archive, an address."""

from __future__ import annotations

import errno
import hashlib
import http.server
import os
import pathlib
import shutil
import tarfile
import threading
import time

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app import release
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import wanted_state
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.gunicorn import (
    source as app_source,
)


def keep_all(_path, _is_folder):
    return False


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return wanted_state.Site({}, tmp_path)


@pytest.fixture
def archive(tmp_path):
    """An archive as a code host makes them: one folder at the top."""
    folder = tmp_path / "web-1.0"
    folder.mkdir()
    (folder / "main.py").write_text("app = 1\n")
    path = tmp_path / "web.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(folder, "web-1.0")
    return path


def sha256_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def content(folder):
    with open(f"{folder}/main.py", encoding="utf-8") as handle:
        return handle.read()


def test_a_relative_folder_starts_at_the_inventory(site, tmp_path):
    (tmp_path / "web").mkdir()
    assert app_source.folder_of("web", None, site) == str(tmp_path / "web")


@pytest.mark.parametrize("source", ["web.tar.gz", "file://{}"])
def test_an_archive_of_the_named_digest_is_unpacked(site, archive, source):
    source = source.format(archive)
    assert content(app_source.folder_of(source, sha256_of(archive), site)) == "app = 1\n"


def test_an_archive_is_fetched_once(site, archive):
    digest = sha256_of(archive)
    first = app_source.folder_of(f"file://{archive}", digest, site)
    archive.unlink()
    assert app_source.folder_of(f"file://{archive}", digest, site) == first


def test_an_archive_without_a_single_top_folder_is_taken_as_it_is(site, tmp_path):
    (tmp_path / "main.py").write_text("app = 2\n")
    with tarfile.open(tmp_path / "flat.tar", "w") as tar:
        tar.add(tmp_path / "main.py", "main.py")
    folder = app_source.folder_of("flat.tar", sha256_of(tmp_path / "flat.tar"), site)
    assert content(folder) == "app = 2\n"


@pytest.mark.parametrize("source", ["web.tar.gz", "file://{}"])
def test_an_archive_of_another_digest_is_refused_and_nothing_is_kept(
    site, archive, tmp_path, source
):
    with pytest.raises(Refusal, match=sha256_of(archive)):
        app_source.folder_of(source.format(archive), "0" * 64, site)
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("source", ["web.tar.gz", "https://x.example/web.tar.gz"])
def test_an_archive_without_a_digest_is_refused(site, archive, source):
    with pytest.raises(Refusal, match="without a sha256"):
        app_source.folder_of(source, None, site)


def test_a_file_that_is_no_archive_is_refused(site, tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(Refusal, match="cannot be unpacked"):
        app_source.folder_of("notes.txt", sha256_of(tmp_path / "notes.txt"), site)


def test_a_folder_that_changed_before_it_was_packed_leaves_no_archive(site, archive, tmp_path):
    with pytest.raises(Refusal, match="while it was being packed"):
        app_source.pack(str(tmp_path / "web-1.0"), "0" * 64, keep_all)
    assert not app_source.archive_of("0" * 64).exists()


def cut(path):
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize(
    "damage", [cut, lambda path: path.write_bytes(b""), lambda path: path.unlink()]
)
def test_an_archive_that_is_damaged_in_the_cache_is_packed_anew(site, tmp_path, archive, damage):
    folder = tmp_path / "web-1.0"
    digest = release.digest_of(str(folder))
    app_source.pack(str(folder), digest, keep_all)
    packed = app_source.archive_of(digest)
    whole = packed.read_bytes()
    damage(packed)
    app_source.pack(str(folder), digest, keep_all)
    assert packed.read_bytes() == whole


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "main.py").unlink(),
        lambda folder: (folder / "main.py").write_text("app = 666\n"),
        lambda folder: (folder / "more.py").write_text(""),
        shutil.rmtree,
    ],
)
def test_a_source_that_was_changed_in_the_cache_is_unpacked_anew(site, archive, damage):
    given = (f"file://{archive}", sha256_of(archive), site)
    damage(pathlib.Path(app_source.folder_of(*given)))
    found = pathlib.Path(app_source.folder_of(*given))
    assert [path.name for path in found.iterdir()] == ["main.py"]
    assert content(found) == "app = 1\n"


def test_the_cache_is_for_nobody_else(site, tmp_path, archive):
    app_source.folder_of(f"file://{archive}", sha256_of(archive), site)
    assert (tmp_path / "cache" / "gpunode").stat().st_mode & 0o777 == 0o700


def test_a_cache_that_others_could_read_is_closed(site, tmp_path, archive):
    cache = tmp_path / "cache" / "gpunode"
    cache.mkdir(parents=True)
    cache.chmod(0o755)
    app_source.folder_of("web.tar.gz", sha256_of(archive), site)
    assert cache.stat().st_mode & 0o777 == 0o700


def _written_by_all(cache):
    cache.mkdir()
    cache.chmod(0o777)


def _anothers(cache):
    cache.mkdir()
    os.chown(cache, 65534, 65534)


def _a_link_of_anothers(cache):
    (cache.parent / "own").mkdir()
    cache.symlink_to(cache.parent / "own")
    os.chown(cache, 65534, 65534, follow_symlinks=False)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("made", [_written_by_all, _anothers, _a_link_of_anothers])
def test_nothing_comes_from_a_cache_that_others_could_fill(site, tmp_path, archive, made):
    folder = str(tmp_path / "web-1.0")
    digest = release.digest_of(folder)
    app_source.folder_of("web.tar.gz", sha256_of(archive), site)
    app_source.pack(folder, digest, keep_all)
    cache = tmp_path / "cache" / "gpunode"
    cache.rename(tmp_path / "before")
    made(cache)
    for use in (
        lambda: app_source.folder_of("web.tar.gz", sha256_of(archive), site),
        lambda: app_source.folder_of(f"file://{archive}", sha256_of(archive), site),
        lambda: app_source.pack(folder, digest, keep_all),
    ):
        with pytest.raises(Refusal, match=rf"{cache}: .*goes to hosts.*XDG_CACHE_HOME"):
            use()
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("step", ["pack", "digest_of"])
def test_a_cache_without_room_is_named(site, tmp_path, archive, monkeypatch, number, step):
    def full(*_arguments):
        raise OSError(number, os.strerror(number), str(tmp_path / "cache" / "x"))

    folder = str(tmp_path / "web-1.0")
    monkeypatch.setattr(release, step, full)
    with pytest.raises(Refusal, match=f"the file system of {tmp_path}/cache/x is full"):
        app_source.pack(folder, "0" * 64, keep_all)


class Together(http.server.BaseHTTPRequestHandler):
    """Begins to answer, and goes on once as many wait for it as are to; sends its own path."""

    def do_GET(self):
        server = self.server
        with server.lock:
            server.asked.append(self.path)
        if "gone" in self.path:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.path)))
        self.end_headers()
        self.wfile.flush()
        with server.lock:
            server.now += 1
            server.most = max(server.most, server.now)
        deadline = time.monotonic() + 60
        while server.most < server.together and time.monotonic() < deadline:
            time.sleep(0.01)
        # Whoever comes too many has the time to come.
        time.sleep(0.2)
        with server.lock:
            server.now -= 1
        self.wfile.write(self.path.encode())

    def log_message(self, *_arguments):
        pass


@pytest.fixture
def together():
    """A server of archives; ``most`` is how many were asked for at once."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Together) as server:
        server.asked, server.lock = [], threading.Lock()
        server.now = server.most = 0
        server.together = 4
        server.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


def wishes(server, *names):
    return [
        (f"{server.url}/{name}", hashlib.sha256(f"/{name}".encode()).hexdigest()) for name in names
    ]


def test_archives_that_are_lacking_come_a_few_at_once_and_each_that_does_not_is_told(
    site, together
):
    names = ["a", "b", "gone1", "c", "d", "gone2", "e", "f"]
    asked = wishes(together, *names)
    refused = app_source.fetch_missing(
        [*asked, asked[0], ("web", None), (f"{together.url}/x", None)]
    )
    assert list(refused) == [asked[2], asked[5]]
    assert all("404" in str(refusal) for refusal in refused.values())
    assert together.most == 4
    assert sorted(together.asked) == sorted(f"/{name}" for name in names)
    together.asked.clear()
    assert list(app_source.fetch_missing(asked[:2])) == []
    assert together.asked == []


def test_what_a_killed_run_left_of_an_archive_goes_once_nobody_came_back_for_it(site, together):
    together.together = 1
    (wish,) = wishes(together, "a")
    folder = app_source.cache() / "archives"
    folder.mkdir(parents=True, mode=0o700)
    for name, age_s in ((".gpunode-old", 2 * 24 * 3600), (".gpunode-new", 3600), ("kept", 1e7)):
        (folder / name).write_text("")
        os.utime(folder / name, (time.time() - age_s,) * 2)
    app_source.fetch_missing([wish])
    assert {path.name for path in folder.iterdir()} == {".gpunode-new", "kept", wish[1]}
