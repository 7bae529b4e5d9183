"""Logs that a program names are followed where only root could have written them."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trees import planted

from ansible_collections.gpunode.stack.plugins.module_utils._node.system import named_logs

# microsoft/pai#2470: the path on a line of its own behind a tab.
SEE = "Error: mlnx-ofed-kernel-modules installation failed!\nCollecting debug info...\nSee:\n\t{}\n"
LOG = "/tmp/MLNX_OFED_LINUX.6.logs/mlnx-ofed-kernel-modules.debinstall.log"
# dkms 3.0.10, dkms.in, invoke_command().
CONSULT = "Error! Bad return status\nConsult {} for more information.\n"
MAKE = "/var/lib/dkms/mlnx-ofed-kernel/24.10/build/make.log"


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        (SEE.format(LOG), [LOG]),
        (CONSULT.format(MAKE), [MAKE]),
        (f"General log file: {LOG}\nSee {LOG}, and '{MAKE}'.\n", [LOG, MAKE]),
        ("see /x/../y.log and https://a.org/b.log, c/d.log", ["/x/../y.log"]),
        ("/x/build.out /x/summary.txt", ["/x/build.out", "/x/summary.txt"]),
        ("/x/a.logs /x/b.log/c /x/d.txt2", []),
        ("/etc/shadow /etc/nvidia/ClientConfigToken/a.tok /dev/nvidia0", []),
    ],
)
def test_paths_of_logs_are_told_from_others(text, paths):
    assert named_logs.paths(text) == paths


def test_a_log_is_followed_to_the_one_that_it_names(tmp_path):
    tree = planted(tmp_path, {LOG: CONSULT.format(MAKE), MAKE: "x.c:1: error: no\n"})
    assert named_logs.followed(SEE.format(LOG), tree) == {
        LOG: CONSULT.format(MAKE),
        MAKE: "x.c:1: error: no\n",
    }


def test_logs_that_name_each_other_are_read_once(tmp_path):
    tree = planted(tmp_path, {LOG: f"see {MAKE}", MAKE: f"see {LOG}"})
    assert list(named_logs.followed(LOG, tree)) == [LOG, MAKE]


def test_of_logs_without_end_some_are_read(tmp_path):
    logs = [f"/var/log/{number}.log" for number in range(20)]
    tree = planted(tmp_path, dict(zip(logs, [*logs[1:], ""], strict=True)))
    assert list(named_logs.followed(logs[0], tree)) == logs[:16]


def test_of_a_log_without_end_the_beginning_is_read(tmp_path):
    tree = planted(tmp_path, {LOG: ""})
    os.truncate(tree.path(LOG), 64 << 20)
    assert len(named_logs.followed(LOG, tree)[LOG]) <= 16 << 20


def test_what_others_than_root_could_have_written_is_not_read(tmp_path):
    tree = planted(tmp_path, {LOG: "error", MAKE: "error"})
    os.chmod(tree.path(LOG), 0o666)
    os.chmod(os.path.dirname(tree.path(MAKE)), 0o777)
    assert named_logs.followed(f"{LOG} {MAKE}", tree) == {}


def test_what_is_no_regular_file_is_not_read(tmp_path):
    tree = planted(tmp_path, {"/var/log/x": ""})
    os.mkfifo(tree.path("/var/log/pipe.log"))
    os.mkdir(tree.path("/var/log/folder.log"))
    assert named_logs.followed("/var/log/pipe.log /var/log/folder.log /gone.log", tree) == {}


@given(st.text(max_size=80))
def test_rubbish_is_no_error(text):
    named_logs.paths(f"/{text}.log")
