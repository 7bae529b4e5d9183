"""Looking at a host quickly: what is sent, and what is done where that is no way."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest

import costs
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import project
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.inputs import node_code
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.plan import probe

ASKED = {"paths": [f"/srv/application-{number}" for number in range(50)], "users": [], "units": []}


class Connection:
    """What is asked of a connection before it is fed.

    :param pipelining: (the setting, where it is from).
    """

    def __init__(self, pipelining=(True, "ansible.cfg"), has_pipelining=True, become=None):
        self.has_pipelining, self.become = has_pipelining, become
        self.pipelining = pipelining

    def get_option_and_origin(self, name):
        assert name == "pipelining"
        if self.pipelining is None:
            raise KeyError(name)
        return self.pipelining

    def is_pipelining_enabled(self):
        return False


class Action:
    """An action plugin's side of a host.

    :param printed: what the host prints, in turn.
    """

    def __init__(self, *printed, python="/usr/bin/python3", environment="", **connection):
        self.printed, self.fed, self.modules = list(printed), [], []
        self.python, self.environment = python, environment
        self._templar = self
        self._connection = Connection(**connection)

    def template(self, said):
        return {"{{ python }}": "/opt/python/bin/python"}.get(said, said)

    def _compute_environment_string(self):
        return self.environment

    def _low_level_execute_command(self, command, in_data):
        self.fed.append((command, in_data))
        return {"stdout": self.printed.pop(0), "rc": 0, "stderr": ""}

    def _execute_module(self, name, module_args, task_vars):
        self.modules.append((name, module_args))
        return {"gpunode_facts": {"by": "module"}}

    def seen(self):
        return probe.node_info(self, ASKED, {"ansible_python_interpreter": self.python})


def test_what_is_sent_to_a_host_that_keeps_the_code_is_little():
    action = Action(json.dumps({"answer": {"kernel": "6.1"}}))
    assert action.seen() == {"gpunode_facts": {"kernel": "6.1"}}
    ((command, text),) = action.fed
    assert len(command) + len(text) <= costs.MOST["sent_bytes"]
    assert command == "/usr/bin/python3 -I -S -"
    assert action.modules == []


def test_a_host_that_lacks_the_code_is_sent_it_once():
    action = Action(json.dumps({"lacks": True}), json.dumps({"answer": {"kernel": "6.1"}}))
    assert action.seen() == {"gpunode_facts": {"kernel": "6.1"}}
    without, with_code = (text for _command, text in action.fed)
    assert len(without) <= costs.MOST["sent_bytes"] < len(with_code)


def test_others_may_say_what_they_like_around_the_answer():
    answer = json.dumps({"answer": {}})
    assert Action(f"Welcome!\n{{ not this\n{answer}\nlast login: today\n").seen() == {
        "gpunode_facts": {}
    }


DEEP = '{"answer": ' + "[" * 100_000
BAD = ["", "sudo: a password is required\n", "{", "[]", '{"other": 1}', DEEP, "{}"]


@pytest.mark.parametrize("printed", BAD, ids=lambda printed: printed[:20])
def test_where_there_is_no_answer_an_ordinary_module_looks_and_tells(printed):
    action = Action(printed)
    assert action.seen() == {"gpunode_facts": {"by": "module"}}
    assert action.modules == [("gpunode.stack.node_info", ASKED)]


def test_a_host_that_never_has_enough_is_asked_twice_and_no_more():
    lacks = json.dumps({"lacks": True})
    action = Action(lacks, lacks)
    assert action.seen() == {"gpunode_facts": {"by": "module"}}
    assert len(action.fed) == 2


UNFED = [
    {"pipelining": (False, "ansible.cfg")},
    {"pipelining": None},
    {"has_pipelining": False},
    {"become": SimpleNamespace(pipelining=False)},
]


@pytest.mark.parametrize("settings", UNFED, ids=str)
def test_where_nothing_can_or_shall_be_fed_an_ordinary_module_looks(settings):
    action = Action(**settings)
    assert action.seen() == {"gpunode_facts": {"by": "module"}}
    assert action.fed == []


@pytest.mark.parametrize(
    "settings",
    [
        {"pipelining": (False, "default")},
        {"become": SimpleNamespace(pipelining=True)},
        {"python": "auto"},
        {"python": "auto_silent"},
    ],
    ids=str,
)
def test_what_nobody_said_keeps_no_host_from_being_fed(settings):
    action = Action(json.dumps({"answer": {}}), **settings)
    assert action.seen() == {"gpunode_facts": {}}
    assert [command for command, _text in action.fed] == ["/usr/bin/python3 -I -S -"]
    assert action.modules == []


def test_the_python_and_the_environment_that_were_said_are_used():
    action = Action(
        json.dumps({"answer": {}}), python="{{ python }}", environment="http_proxy=http://p"
    )
    action.seen()
    assert action.fed[0][0] == "http_proxy=http://p /opt/python/bin/python -I -S -"


def test_the_code_is_all_that_is_imported_and_nothing_of_ansible_core():
    files = node_code.with_imports(
        pathlib.Path(project.ROOT, "plugins/module_utils/_node/facts/look.py")
    )
    imported = [
        line
        for path in files
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.match(r"\s*(?:from|import) ansible\b", line)
    ]
    assert imported == []
    assert 20 < len(files) <= costs.MOST["imported_files"]


def test_the_same_sources_make_the_same_archive(monkeypatch):
    first = node_code.archive_of("facts.look")
    node_code.archive_of.cache_clear()
    monkeypatch.setattr(node_code.zipfile.time, "time", lambda: 0.0)
    assert node_code.archive_of("facts.look") == first
    assert first.module.endswith("_node.facts.look")


def test_nothing_is_imported_or_made_ready_that_takes_long_and_that_a_look_does_without():
    lines = [
        "import sys",
        f"sys.path.insert(0, {str(project.ROOT / 'collections')!r})",
        "from ansible_collections.gpunode.stack.plugins.module_utils._node import kept_code, urls",
        "from ansible_collections.gpunode.stack.plugins.module_utils._node.facts import look",
        # What hides secrets is many patterns, for the one text in a thousand.
        "assert urls._compiled.cache_info().currsize == 0",
        "print(*sys.modules)",
    ]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", "\n".join(lines)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    imported = set(done.stdout.split())
    assert "subprocess" in imported
    assert imported.isdisjoint({"ssl", "zipfile", "pathlib", "platform", "email", "asyncio"})
