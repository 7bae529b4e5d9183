"""Applications of a site, for the tests of what is made of them."""

from __future__ import annotations

import pytest
from applications import LOCK

from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import wanted_state


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "web"
    folder.mkdir()
    (folder / "main.py").write_text("app = print\n")
    return folder


@pytest.fixture
def resolve(tmp_path, source, monkeypatch):
    """Return a function from changes of one good application to the wanted state."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def resolved(*apps, gunicorn="23.0.0", facts=None, **variables):
        (tmp_path / "env.lock").write_text(LOCK.format(gunicorn=gunicorn))
        base = {"name": "web", "environment": "env", "source": "web", "listen": "0.0.0.0:9001"}
        values = {
            "conda_env_list": [{"name": "env", "lock": "env.lock"}],
            "gunicorn_app_list": [{**base, **app} for app in apps or [{}]],
            **variables,
        }
        site = wanted_state.Site(values, tmp_path)
        if facts:
            site.look(facts)
        return site.wanted("gunicorn_app")

    return resolved
