"""Placing an application's release on a host."""

from __future__ import annotations

import os

import pytest
from web_app import APP

from ansible_collections.gpunode.stack.plugins.module_utils import (
    app_host,
    app_plan,
    app_release,
    app_service,
)
from ansible_collections.gpunode.stack.plugins.module_utils.refusal import Refusal


@pytest.fixture
def placing(tmp_path):
    """Return a Host with the archive of a release, and the application that wants it."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "main.py").write_text("app = 1\n")
    digest = app_release.digest_of(source)
    archive = tmp_path / "release.tar.gz"
    app_release.pack(source, archive)
    (tmp_path / "releases").mkdir()
    release = tmp_path / "releases" / app_release.id_of(digest)
    return app_host.Host({}, {digest: str(archive)}), {
        **APP, "digest": digest, "release": str(release),
    }  # fmt: skip


def names(folder):
    return sorted(os.listdir(folder))


def test_a_release_is_placed_whole_and_over_a_changed_one_and_over_leftovers(placing):
    host, app = placing
    folder = os.path.dirname(app["release"])
    os.makedirs(os.path.join(app["release"], "changed"))
    os.makedirs(
        os.path.join(folder, f"{app_service.TEMPORARY}new-{os.path.basename(app['release'])}")
    )
    host.place_release(app)
    assert names(folder) == [os.path.basename(app["release"])]
    assert names(app["release"]) == ["main.py"]


def test_an_archive_of_another_release_is_not_placed(placing, tmp_path):
    host, app = placing
    other = {**app, "digest": "0" * 64}
    host = app_host.Host({}, {"0" * 64: str(tmp_path / "release.tar.gz")})
    with pytest.raises(Refusal, match="its archive holds"):
        host.place_release(other)
    assert names(tmp_path / "releases") == []


def test_an_application_without_its_environment_is_refused_before_anything_is_done(placing):
    host, app = placing
    with pytest.raises(Refusal, match="no bin/python"):
        host.apply({**app, "prefix": "/no/such"}, app_plan.Plan([], [], [], []))
    assert names(os.path.dirname(app["release"])) == []
