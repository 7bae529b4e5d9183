"""Code that a host keeps compiled: who may have made it, what it costs to lack it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import marshal
import os
import pathlib
import subprocess
import sys
import zipfile

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node import kept_code

RUNNER = pathlib.Path(kept_code.__file__).read_text(encoding="utf-8")
SOURCES = {
    "first.inner.entry": "from ..other import TWICE\ndef ask(number):\n    return number * TWICE\n",
    "first.other": "TWICE = 2\n",
}


def packed(sources):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in sources.items():
            # Without the time of now.
            archive.writestr(zipfile.ZipInfo(name), text)
    return content.getvalue()


class Host:
    """Runs the program as a host would, with a folder for what it keeps."""

    def __init__(self, folder):
        self.folder = folder / "cache" / "code"
        self.cwd = folder

    def ask(self, sources=None, kept=None, before=""):
        """Return what is printed; (sources) are sent along, (kept) are those that are meant.

        (before) is what a host does otherwise than this one, as Python.
        """
        order = {
            "folder": str(self.folder),
            "digest": hashlib.sha256(packed(kept or SOURCES)).hexdigest(),
            "code": sources and base64.b64encode(packed(sources)).decode(),
            "module": "first.inner.entry",
            "function": "ask",
            "arguments": {"number": 21},
        }
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-"],
            input=f"{RUNNER}\n\n{before}\nmain({json.dumps(order)!r})\n",
            cwd=self.cwd,
            capture_output=True,
            text=True,
            check=False,
        )
        return json.loads(done.stdout) if done.returncode == 0 else done.stderr

    def files(self):
        return sorted(self.folder.iterdir())


ANSWER, LACKS = {"answer": 42}, {"lacks": True}


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


def test_a_host_that_lacks_it_says_so_and_keeps_what_it_is_sent(host):
    assert host.ask() == LACKS
    assert host.ask(SOURCES) == ANSWER
    assert host.ask() == ANSWER
    (path,) = host.files()
    assert (path.stat().st_mode & 0o777, host.folder.stat().st_mode & 0o777) == (0o600, 0o700)


def test_it_can_be_removed_at_any_time(host):
    host.ask(SOURCES)
    host.files()[0].unlink()
    assert host.ask() == LACKS
    assert host.ask(SOURCES) == ANSWER


@pytest.mark.parametrize("at", [0, 40, -1], ids=["digest", "code", "end"])
def test_what_is_damaged_is_not_run(host, at):
    host.ask(SOURCES)
    (path,) = host.files()
    text = bytearray(path.read_bytes())
    text[at] ^= 1
    path.write_bytes(text)
    assert host.ask() == LACKS
    assert host.ask(SOURCES) == ANSWER
    assert host.ask() == ANSWER


@pytest.mark.parametrize("text", [b"junk", b"", marshal.dumps([1])], ids=["junk", "none", "list"])
def test_what_another_build_of_python_has_left_under_the_same_name_is_made_anew(host, text):
    host.ask(SOURCES)
    (path,) = host.files()
    path.write_bytes(hashlib.sha256(text).digest() + text)
    assert host.ask() == LACKS
    assert host.ask(SOURCES) == ANSWER
    assert host.ask() == ANSWER


def _others_can_write(path):
    path.chmod(0o620)


def _is_a_link(path):
    path.rename(path.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent / "elsewhere")


def _is_a_pipe(path):
    path.unlink()
    os.mkfifo(path)


def _is_a_folder(path):
    path.unlink()
    path.mkdir()


def _folder_is_everybodys(path):
    path.parent.chmod(0o777)


def _folder_is_the_groups(path):
    # Where nobody moves what is another's, anybody still puts something beside it.
    path.parent.chmod(0o1775)


def _folder_is_a_link(path):
    path.parent.rename(path.parent.parent / "elsewhere")
    path.parent.symlink_to(path.parent.parent / "elsewhere")


def _folder_above_is_everybodys(path):
    path.parent.parent.chmod(0o777)


def _folder_above_is_a_link(path):
    above = path.parent.parent
    above.rename(above.parent / "elsewhere")
    above.symlink_to(above.parent / "elsewhere")


MADE_BY_OTHERS = [
    _others_can_write,
    _is_a_link,
    _is_a_pipe,
    _is_a_folder,
    _folder_is_everybodys,
    _folder_is_the_groups,
    _folder_is_a_link,
    _folder_above_is_everybodys,
    _folder_above_is_a_link,
]


@pytest.mark.parametrize("made", MADE_BY_OTHERS, ids=lambda made: made.__name__)
def test_what_others_could_have_made_is_not_run(host, made):
    host.ask(SOURCES)
    made(host.files()[0])
    assert host.ask() == LACKS
    # And it does without, then.
    assert host.ask(SOURCES) == ANSWER


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_what_another_user_owns_is_not_run(host):
    host.ask(SOURCES)
    os.chown(host.files()[0], 65534, 65534)
    assert host.ask() == LACKS
    os.chown(host.folder, 65534, 65534)
    assert host.ask(SOURCES) == ANSWER
    assert host.ask() == LACKS


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_below_a_folder_of_another_user_nothing_is_kept_or_run(host):
    host.ask(SOURCES)
    os.chown(host.folder.parent, 65534, 65534)
    assert host.ask() == LACKS
    host.files()[0].unlink()
    assert host.ask(SOURCES) == ANSWER
    assert host.files() == []


def test_nothing_is_made_where_a_link_leads(host):
    (host.cwd / "elsewhere").mkdir()
    host.folder.parent.symlink_to(host.cwd / "elsewhere")
    assert host.ask(SOURCES) == ANSWER
    assert list((host.cwd / "elsewhere").iterdir()) == []


def test_what_a_list_of_nfs_may_give_to_others_is_not_run(host):
    host.ask(SOURCES)
    assert host.ask(before="os.listxattr = lambda number: ['system.nfs4_acl']") == LACKS


def test_whatever_the_umask_nobody_else_writes_what_is_made(host):
    assert host.ask(SOURCES, before="os.umask(0)") == ANSWER
    made = [host.folder.parent, host.folder, *host.files()]
    assert [path.stat().st_mode & 0o777 for path in made] == [0o755, 0o700, 0o600]


def test_a_clock_that_went_back_loses_nothing_that_was_just_kept(host):
    versions = [{**SOURCES, "first.other": f"TWICE = 2\n# {number}\n"} for number in range(5)]
    for version in versions:
        assert host.ask(version, kept=version) == ANSWER
        for path in host.files():
            os.utime(path, (2**32, 2**32))
    assert host.ask(SOURCES) == ANSWER
    assert host.ask() == ANSWER
    assert len(host.files()) == 4


def test_other_code_than_was_named_is_not_run(host):
    told = host.ask({**SOURCES, "first.other": "TWICE = 3\n"})
    assert "the code that came is not that of" in told
    assert not host.folder.exists()


def test_where_nothing_can_be_kept_the_answer_comes_all_the_same(host):
    host.folder.parent.mkdir()
    host.folder.write_text("a file stands there")
    assert host.ask() == LACKS
    assert host.ask(SOURCES) == ANSWER


def test_of_several_versions_the_latest_are_kept(host):
    versions = [{**SOURCES, "first.other": f"TWICE = 2\n# {number}\n"} for number in range(6)]
    for at, version in enumerate(versions):
        assert host.ask(version, kept=version) == ANSWER
        for path in host.files():
            # As if an hour had passed.
            seen = path.stat()
            os.utime(path, (seen.st_atime - 3600, seen.st_mtime - 3600))
        assert len(host.files()) == min(at + 1, 4)
    told = [host.ask(kept=version) for version in versions]
    assert told == [LACKS, LACKS, ANSWER, ANSWER, ANSWER, ANSWER]


def test_python_takes_nothing_from_the_folder_it_stands_in(host):
    (host.cwd / "json.py").write_text("raise SystemExit('taken')")
    (host.cwd / "sitecustomize.py").write_text("raise SystemExit('taken')")
    assert host.ask() == LACKS
