"""Whether an environment was changed under what runs from it."""

from __future__ import annotations

import os

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils import app_environment, env_build

PACKAGE = {
    "name": "python", "version": "3.11.7", "build": "0", "md5": "0" * 32, "url": "x",
}  # fmt: skip


@pytest.fixture
def prefix(tmp_path):
    """An environment of nothing, which is what it was built from."""
    found = tmp_path / env_build.folder_of("env", env_build.id_of([], []))
    found.mkdir()
    env_build.record({"prefix": str(found), "lock": [], "dists": []})
    os.utime(env_build.record_of(found), (1000, 1000))
    return str(found)


def test_an_environment_is_newer_than_what_was_started_before_its_last_change(prefix):
    assert app_environment.is_newer(prefix, 999.9)
    assert not app_environment.is_newer(prefix, 1000.1)


def test_an_environment_without_a_record_and_a_process_that_is_none_are_never_newer(prefix):
    assert not app_environment.is_newer(prefix, None)
    assert not app_environment.is_newer("/no/such", 0)


def test_an_environment_is_damaged_when_it_is_not_what_it_was_built_from(prefix, tmp_path):
    assert not app_environment.is_damaged(prefix)
    assert not app_environment.is_damaged("/no/such")
    lacking = str(tmp_path / env_build.folder_of("env", env_build.id_of([PACKAGE], [])))
    os.mkdir(lacking)
    env_build.record({"prefix": lacking, "lock": [PACKAGE], "dists": []})
    assert app_environment.is_damaged(lacking)
