"""The action of applications: what a host needs is sent."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ansible.errors import AnsibleActionFail

from ansible_collections.gpunode.stack.plugins.action import gunicorn_app


@pytest.fixture
def run(monkeypatch):
    """Return a function that runs the action on a host which gives these answers."""

    def ran(*answers):
        action = object.__new__(gunicorn_app.ActionModule)
        left, asked = list(answers), []

        def execute(module_args, **_options):
            asked.append(dict(module_args))
            return left.pop(0)

        monkeypatch.setattr(gunicorn_app.ActionBase, "run", lambda *_arguments: {})
        monkeypatch.setattr(action, "_task", SimpleNamespace(args={"wanted": {}}), raising=False)
        monkeypatch.setattr(action, "_execute_module", execute)
        monkeypatch.setattr(action, "_send", lambda digest: f"/tmp/{digest}")
        return action.run(), [arguments.get("archives") for arguments in asked]

    return ran


def test_a_host_that_has_all_is_asked_once(run):
    done = {"changed": False, "needs": []}
    assert run(done) == (done, [None])


def test_what_a_host_lacks_is_sent(run):
    done = {"changed": True, "needs": []}
    assert run({"needs": ["d1"]}, done) == (done, [None, {"d1": "/tmp/d1"}])


def test_a_release_that_goes_between_the_two_questions_is_a_failure(run):
    with pytest.raises(AnsibleActionFail, match="Release d2 went from the host"):
        run({"needs": ["d1"]}, {"changed": True, "needs": ["d2"]})
