"""File systems that another serves, of which one does not answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import shares
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import project

SILENT = project.ROOT / "tests" / "standins" / "crowded" / "silent.py"
_NODE = "ansible_collections.gpunode.stack.plugins.module_utils._node"


@pytest.fixture
def beside_a_silent_share(tmp_path):
    """Return what runs Python beside a share at tmp_path/gone that does not answer.

    It has that folder as ``gone``, and prints what it leaves as ``answer``, as JSON.
    """
    gone = tmp_path / "gone"
    gone.mkdir()
    if os.geteuid() != 0 or not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("only root mounts, and by FUSE")

    def run(code):
        lines = f"import json, os\ngone = {str(gone)!r}\n{code}\nprint(json.dumps(answer))\n"
        done = subprocess.run(
            ["unshare", "--mount", sys.executable, SILENT, gone, sys.executable, "-c", lines],
            env={**os.environ, "PYTHONPATH": str(project.ROOT / "collections")},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    return run


def test_a_share_that_does_not_answer_is_left_out_and_keeps_nobody_waiting(beside_a_silent_share):
    started = time.monotonic()
    answer = beside_a_silent_share(
        f"from {_NODE}.facts import general\n"
        "import time\n"
        "started = time.monotonic()\n"
        "found = [row['mount'] for row in general.mounts()]\n"
        "answer = gone in found, '/' in found, time.monotonic() - started"
    )
    assert answer[:2] == [False, True]
    # And who cannot be killed is not waited for in the end either.
    assert answer[2] < 5
    assert time.monotonic() - started < 40


def test_what_is_mounted_below_a_share_that_does_not_answer_is_not_looked_at(tmp_path, monkeypatch):
    (tmp_path / "self").mkdir()
    rows = ["gone:/ /mnt nfs4", "tmpfs /mnt/below tmpfs", "tmpfs /mnt/below/it tmpfs", "sda / ext4"]
    (tmp_path / "self" / "mounts").write_text("".join(f"{row} rw 0 0\n" for row in rows))
    found = shares.mounted(str(tmp_path))
    assert shares.points(found) == {"/mnt"}
    on_it = [mount for mount, _kind in found if shares.lies_on(mount, {"/mnt"})]
    assert on_it == ["/mnt", "/mnt/below", "/mnt/below/it"]


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "lustre", "fuse", "fuse.sshfs"])
def test_what_another_serves_is_a_share(kind):
    assert shares.is_one(kind)


@pytest.mark.parametrize("kind", ["ext4", "tmpfs", "fusectl", "nfsd", "autofs", "overlay"])
def test_what_the_kernel_has_itself_is_none(kind):
    assert not shares.is_one(kind)


def test_paths_are_followed_as_far_as_a_share_and_no_further(tmp_path):
    share = str(tmp_path / "share")
    (tmp_path / "direct").symlink_to(share)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "by-way").symlink_to("../direct/deep")
    for path in (share, f"{share}/a/b", f"{tmp_path}/direct/x", f"{tmp_path}/folder/by-way/y"):
        assert shares.entered(path, {share}) == share
    for path in (f"{share}x", str(tmp_path), f"{tmp_path}/folder/../folder/z"):
        assert shares.entered(path, {share}) == ""


def test_all_are_asked_at_once_and_each_tells_its_room(tmp_path):
    file = tmp_path / "file"
    file.touch()
    found = shares.rooms(["/", str(file), str(tmp_path / "none"), "/proc"])
    status = os.statvfs("/")
    assert found["/"].total == status.f_blocks * status.f_frsize
    assert 0 <= found["/"].available <= found["/"].total
    assert [found[path] for path in found if path != "/"] == [None] * 3


def test_nobody_is_asked_where_there_is_no_share(monkeypatch):
    monkeypatch.setattr(os, "fork", lambda: pytest.fail("a process was made"))
    assert shares.rooms([]) == {}


def test_many_shares_answer_through_a_pipe_that_holds_few(tmp_path):
    folders = [str(tmp_path / f"{number:03}") for number in range(300)]
    for folder in folders:
        os.mkdir(folder)
    found = shares.rooms(folders, 20)
    assert list(map(str, sorted(found))) == folders
    assert all(found.values())


def test_who_is_to_look_where_nobody_answers_is_told_where_and_what_to_do(beside_a_silent_share):
    said = beside_a_silent_share(
        f"from {_NODE}.refusal import Refusal\n"
        f"from {_NODE}.system import shares\n"
        "os.symlink(gone + '/deep', gone + '-link')\n"
        "shares._WANTED_S = 0.5\n"
        "shares.refuse_silent(['/opt', '/'])\n"
        "answer = []\n"
        "for path in (gone, gone + '/conda', gone + '-link/conda'):\n"
        "    try:\n"
        "        shares.refuse_silent(['/opt', path])\n"
        "    except Refusal as refusal:\n"
        "        answer.append([refusal.what, path, str(refusal)])"
    )
    assert len(said) == 3
    for what, path, words in said:
        assert what == path
        assert "has not answered within 0.5 s" in words
        assert f"umount -l {path.removesuffix('/conda').removesuffix('-link')}" in words


def test_a_share_that_answers_is_looked_at(monkeypatch):
    rows = [("/", "ext4"), (str(Path(__file__).parent), "nfs4")]
    monkeypatch.setattr(shares, "mounted", lambda proc: rows)
    shares.refuse_silent([__file__])
    monkeypatch.setattr(shares, "rooms", lambda _mounts, _patience_s: {})
    with pytest.raises(Refusal, match="has not answered"):
        shares.refuse_silent([__file__])


def test_no_path_is_thought_of_where_there_is_no_share(monkeypatch):
    monkeypatch.setattr(shares, "mounted", lambda proc: [("/", "ext4")])
    shares.refuse_silent(pytest.fail("a path was asked for") for _path in range(1))


def test_a_socket_on_a_share_is_told_of_without_a_look_at_it(beside_a_silent_share):
    answer = beside_a_silent_share(
        f"from {_NODE}.system import unix_sockets\n"
        "rows = [unix_sockets._Row('1', gone + '/app.sock', 5),\n"
        "        unix_sockets._Row('2', gone + '/old.sock', None),\n"
        "        unix_sockets._Row('3', '/none.sock', 7)]\n"
        "answer = [row.inode for row in unix_sockets._reachable(rows, {gone})]"
    )
    assert answer == ["1", "2"]


def test_a_whole_look_beside_a_silent_share_ends(beside_a_silent_share):
    answer = beside_a_silent_share(
        f"from {_NODE}.facts import look\n"
        "import time\n"
        "started = time.process_time()\n"
        "found = look.facts(paths=['/opt'])\n"
        "answer = [gone in [row['mount'] for row in found['mounts']], sorted(found['paths'])]"
    )
    assert answer == [False, ["/opt"]]


@pytest.mark.parametrize("place", ["programs", "sources"])
def test_where_programs_or_modules_lie_on_a_silent_share_the_look_says_so(
    place, beside_a_silent_share
):
    moved = {
        "programs": "root.PATH = f'{gone}/bin:{root.PATH}'",
        "sources": "look._PLACES = (gone + '/src',)",
    }
    answer = beside_a_silent_share(
        f"from {_NODE}.facts import look\n"
        f"from {_NODE}.refusal import Refusal\n"
        f"from {_NODE}.system import root, shares\n"
        "shares._WANTED_S = 0.5\n"
        f"{moved[place]}\n"
        "try:\n"
        "    answer = look.facts()\n"
        "except Refusal as refusal:\n"
        "    answer = str(refusal)"
    )
    assert "which has not answered within 0.5 s" in answer
