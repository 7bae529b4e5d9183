"""Files that a host asks for: sent once, checked first, and no others."""

from __future__ import annotations

import hashlib

import pytest
from ansible import constants
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible.vars import manager

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import wanted_state
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.inputs import sent_file

DONE = {"changed": True, "needs": []}
CONTENT = b"what a driver is made of"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Host:
    """Gives these answers, and keeps what it was asked and sent."""

    def __init__(self, *answers):
        self._answers = list(answers)
        self.asked, self.sent = [], []

    def run(self, files):
        self.asked.append(files)
        return self._answers.pop(0)

    def send(self, path):
        self.sent.append(path)
        return f"/tmp/{len(self.sent)}"


@pytest.fixture
def file(tmp_path):
    """The path of a file of the controller."""
    path = tmp_path / "driver.run"
    path.write_bytes(CONTENT)
    return str(path)


def answered(host, sendable):
    return sent_file.run_with(sendable, host.run, host.send)


def test_a_host_that_has_all_is_asked_once(file):
    host = Host(DONE)
    assert answered(host, sent_file.of("option", file, DIGEST)) == DONE
    assert (host.asked, host.sent) == ([{}], [])


def test_what_a_host_lacks_is_sent_and_the_module_told_where_it_lies(file):
    host = Host({"needs": [file]}, DONE)
    assert answered(host, sent_file.of("option", file, DIGEST)) == DONE
    assert (host.asked, host.sent) == ([{}, {file: "/tmp/1"}], [file])


def test_a_module_that_failed_is_sent_nothing(file):
    failed = {"failed": True, "needs": [file]}
    host = Host(failed)
    assert answered(host, sent_file.of("option", file, DIGEST)) == failed
    assert host.sent == []


def test_what_goes_between_the_two_questions_is_a_refusal(file):
    host = Host({"needs": [file]}, {"changed": True, "needs": ["d2"]})
    with pytest.raises(Refusal, match="d2: it went from the host during this run"):
        answered(host, sent_file.of("option", file, DIGEST))


@pytest.mark.parametrize("asked", ["/etc/shadow", "{}/../driver.run"])
def test_a_host_is_sent_nothing_that_its_variables_do_not_name(file, asked):
    host = Host({"needs": [asked.format(file)]})
    with pytest.raises(Refusal, match="no file that its variables name"):
        answered(host, sent_file.of("option", file, DIGEST))
    assert host.sent == []


def test_a_file_of_another_digest_is_not_sent(file):
    host = Host({"needs": [file]})
    with pytest.raises(Refusal, match=f"option: {file}: its sha256 is {DIGEST}, wanted is 0{{64}}"):
        answered(host, sent_file.of("option", file, "0" * 64))
    assert host.sent == []


def test_a_file_that_is_gone_is_a_refusal_that_names_its_option(tmp_path):
    gone = str(tmp_path / "none.run")
    host = Host({"needs": [gone]})
    with pytest.raises(Refusal, match=f"option: {gone}: there is no such file on the controller"):
        answered(host, sent_file.of("option", gone, DIGEST))


def test_what_this_project_made_itself_has_no_digest_to_be_held_against(file):
    host = Host({"needs": ["d1"]}, DONE)
    assert answered(host, {"d1": sent_file.File("release d1", file)}) == DONE
    assert host.asked == [{}, {"d1": "/tmp/1"}]


@pytest.mark.parametrize("file", ["", "https://example.org/driver.run", "file:///srv/driver.run"])
def test_an_address_is_fetched_by_the_host_itself(file):
    assert sent_file.of("option", file, DIGEST) == {}
    assert sent_file.refusals("option", file) == []


def variables_with(facts, monkeypatch, tmp_path):
    """Return the variables that Ansible gives an action of a host that says these facts."""
    # Where ansible-core 2.19 and 2.21 keep it.
    monkeypatch.setattr(constants, "INJECT_FACTS_AS_VARS", True)
    monkeypatch.setattr(manager, "_INJECT_FACTS", True, raising=False)
    (tmp_path / "hosts.yml").write_text("all: {hosts: {n1: {conda_env_dir: /opt/envs}}}\n")
    loader = DataLoader()
    inventory = InventoryManager(loader, str(tmp_path / "hosts.yml"))
    variables = manager.VariableManager(loader, inventory)
    variables.set_host_facts("n1", facts)
    return variables.get_vars(host=inventory.get_host("n1")), Templar(loader)


@pytest.mark.parametrize(
    "facts",
    [
        {"gunicorn_app_list": [{"name": "web", "source": "/etc", "environment": "web"}]},
        {"conda_env_dir": "/home/mallory"},
    ],
)
def test_a_host_that_says_its_own_variables_is_refused(facts, monkeypatch, tmp_path):
    given = variables_with(facts, monkeypatch, tmp_path)
    # What Ansible believes.
    assert given[0][next(iter(facts))] == next(iter(facts.values()))
    with pytest.raises(Refusal, match=f"{next(iter(facts))}: the host says it itself"):
        wanted_state.variables_of(*given)


def test_other_facts_of_a_host_are_its_own_affair(monkeypatch, tmp_path):
    given = variables_with({"ansible_distribution": "Debian"}, monkeypatch, tmp_path)
    assert wanted_state.variables_of(*given) == {"conda_env_dir": "/opt/envs"}
