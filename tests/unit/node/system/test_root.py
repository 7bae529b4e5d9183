"""A host's files and programs: what is missing or broken is no error."""

from __future__ import annotations

import os
import subprocess
import threading
import time

import pytest
from trees import planted

from ansible_collections.gpunode.stack.plugins.module_utils._node.system.root import Root


def test_an_absolute_link_of_a_recorded_tree_stays_inside_it(tmp_path):
    tree = planted(
        tmp_path,
        files={"/usr/src/linux-headers-6.1/Makefile": "all:\n"},
        links={
            "/lib": "usr/lib",
            "/usr/lib/modules/6.1/build": "/usr/src/headers",
            "/usr/src/headers": "../src/./linux-headers-6.1",
        },
    )
    assert tree.resolve("/lib/modules/6.1/build") == "/usr/src/linux-headers-6.1"


def test_links_that_lead_in_a_circle_lead_nowhere(tmp_path):
    tree = planted(tmp_path, links={"/one": "/two", "/two": "/one"})
    assert tree.resolve("/one/file") == "/one/file"
    assert not tree.exists(tree.resolve("/one"))


def test_a_path_without_links_leads_to_itself(tmp_path):
    assert Root(str(tmp_path)).resolve("/a/./b/../c//d") == "/a/c/d"


def test_a_program_that_is_there_is_found_and_none_else(tmp_path):
    tree = planted(tmp_path, files={"/usr/sbin/nv-fabricmanager": ""})
    assert tree.has_program("nv-fabricmanager")
    assert not tree.has_program("gcc")


def test_how_a_program_ended_is_told_with_both_outputs():
    ended = Root().ended("sh", "-c", "echo out; echo err >&2; exit 3")
    assert ended == (3, "out\n", "err\n", False)


def test_a_program_that_is_missing_did_not_end():
    ended = Root().ended("gpunode-no-such-program")
    assert (ended.status, ended.output) == (None, "")
    assert "gpunode-no-such-program" in ended.errors


def test_a_program_that_takes_too_long_did_not_end():
    assert Root().ended("sleep", "20", patience_s=0.2).errors == "no answer within 0.2 s"


def test_a_program_that_cannot_be_killed_is_left_to_itself():
    stuck = threading.Event()

    def run(_argv, **_options):
        stuck.wait(60)
        raise FileNotFoundError

    began = time.monotonic()
    try:
        ended = Root(run=run).ended("nvidia-smi", patience_s=0.1)
    finally:
        stuck.set()
    assert time.monotonic() - began < 20
    assert (ended.status, ended.errors) == (None, "no answer within 0.1 s")


@pytest.mark.parametrize(("status", "answer"), [(0, "yes\n"), (1, "")])
def test_a_failed_program_has_no_answer(status, answer):
    def run(argv, **_options):
        return subprocess.CompletedProcess(argv, status, b"yes\n", b"")

    assert Root(run=run).answer("any") == answer


def test_a_pipe_in_a_files_place_keeps_nobody_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert Root(str(tmp_path)).text("/pipe") == ""


def test_a_link_from_the_root_stays_inside_a_tree_that_stands_for_it(tmp_path):
    (tmp_path / "usr/src/headers").mkdir(parents=True)
    (tmp_path / "usr/src/headers/Makefile").write_text("all:\n")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/build").symlink_to("/usr/src/headers")
    host = Root(str(tmp_path))
    assert host.text("/lib/build/Makefile") == "all:"
    assert host.target("/lib/build") == "headers"
    assert host.names("/lib/build") == ["Makefile"]
