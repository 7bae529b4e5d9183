"""Whether packages are installed, as the host's own database tells it."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.packages import database
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import commands

# What dpkg-query of Debian says.
INSTALLED = (
    "ii \tlibc6\t\n"
    "ii \tlibglib2.0-0t64\tlibglib2.0-0 (= 2.84.4-3~deb13u1)\n"
    "hi \theld\ta-name, another (= 1)\n"
    "rc \tgone\t\n"
    "iF \thalf\t\n"
    "un \tnever\t\n"
)


def answering(text):
    def run(argv, **_options):
        return subprocess.CompletedProcess(argv, 0, text, "")

    return run


def missing(*names):
    return database.missing(names, answering(INSTALLED), database.by_dpkg)


def test_a_package_is_missing_unless_it_is_installed_whole():
    assert missing("libc6", "held", "gone", "half", "never", "unheard-of") == [
        *("gone", "half", "never", "unheard-of")
    ]


def test_a_name_that_an_installed_package_provides_is_not_missing():
    assert missing("libglib2.0-0", "a-name", "another") == []


def test_rpm_tells_what_is_missing():
    run = answering("libSM-1.2.3-10.el9.x86_64\nno package provides libXft\n")
    assert database.missing(["libSM", "libXft"], run, database.by_rpm) == ["libXft"]


@pytest.mark.parametrize("ask", [database.by_dpkg, database.by_rpm])
@pytest.mark.parametrize("said", ["", "half an answ"], ids=["nothing", "half"])
def test_a_database_that_does_not_answer_is_told_and_says_of_no_package_that_it_is_there_or_not(
    ask, said
):
    def run(argv, **_options):
        return subprocess.CompletedProcess(argv, 2, said, "error: rpmdb open failed\n")

    with pytest.raises(commands.NotRun, match="rpmdb open failed"):
        database.missing(["libSM", "libXft"], run, ask)


def test_nothing_is_asked_where_nothing_is_wanted():
    def run(*_arguments, **_options):
        raise AssertionError("asked")

    assert database.missing([], run) == []


def test_where_nobody_can_tell_all_are_missing(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _program: None)
    assert database.missing(["libgl1"]) == ["libgl1"]
