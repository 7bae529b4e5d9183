"""Whatever reaches a terminal, a log or a file of plans has passed the one function that masks."""

from __future__ import annotations

import ast
import json
import pathlib

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node import urls
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.inputs import answers

PLUGINS = pathlib.Path(__file__).parents[3] / "plugins"
# What says something to people, by the name that it is called by.
SPEAKERS = {
    *("AnsibleActionFail", "AnsibleError", "AnsibleActionSkip", "AnsibleConnectionFailure"),
    *("fail_json", "warn", "warning", "deprecate", "deprecated", "log", "display", "error"),
    *("v", "vv", "vvv", "vvvv", "verbose", "print", "write_text_to_log", "syslog"),
}
# What of an answer is for people.
SPOKEN = {"msg", "diff", "changes", "warnings"}
_FILES = sorted(PLUGINS.rglob("*.py"))


def called(node):
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def spoken_by(tree, answers_people):
    """Yield the expressions in a file that people come to read."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and called(node) in SPEAKERS:
            yield from node.args
            yield from (word.value for word in node.keywords if word.arg in SPOKEN)
        elif isinstance(node, ast.Call) and called(node) == "exit_json":
            yield from (word.value for word in node.keywords if word.arg in SPOKEN)
        elif isinstance(node, ast.Dict) and answers_people:
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value in SPOKEN:
                    yield value


def is_masked(expression):
    """Say whether an expression is what that function returns, or a Refusal, which calls it."""
    if isinstance(expression, ast.Constant):
        return True
    if not isinstance(expression, ast.Call):
        return False
    inner = ast.unparse(expression.args[0]) if expression.args else ""
    return ast.unparse(expression.func) in ("urls.shown", "urls.shown_in") or (
        called(expression) == "str" and inner.rpartition(".")[2] in ("refusal", "NOT_ROOT")
    )


def unmasked(text, answers_people=True):
    found = spoken_by(ast.parse(text), answers_people)
    return [ast.unparse(node) for node in found if not is_masked(node)]


# What is no speaker although it is called like one: programs that run by themselves and answer us,
# and what makes the address of a log.
_PROGRAMS = {"module_utils/_node/gpu/cuda_allocation.py", "module_utils/_node/kept_code.py"}


@pytest.mark.parametrize("path", _FILES, ids=lambda path: str(path.relative_to(PLUGINS)))
def test_nothing_is_said_but_what_is_masked(path):
    if str(path.relative_to(PLUGINS)) not in _PROGRAMS:
        text = path.read_text(encoding="utf-8")
        assert unmasked(text, path.parent.name == "action") == []


@pytest.mark.parametrize(
    "text",
    [
        "module.fail_json(msg=str(error))",
        'raise AnsibleActionFail(f"no {url}")',
        'module.exit_json(changed=True, changes=[f"write {url}"])',
        'module.warn("no " + url)',
        'def run(self):\n    return {"changed": True, "msg": text}',
        "display.vvv(answer)",
    ],
)
def test_what_is_said_past_it_is_found(text):
    assert len(unmasked(text)) == 1


def test_what_ansible_makes_of_a_module_that_fails_is_masked():
    address = "https://jane:HUNTER@mirror/t/HUNTER/x?token=HUNTER"
    answer = {
        "failed": True,
        "msg": f"no {address}",
        "exception": f"Traceback\nValueError: {address}",
        "module_stderr": address,
        "module_stdout": address,
        "warnings": [address],
        "deprecations": [{"msg": address}],
    }
    long = f"{'x ' * (answers._LONGEST // 2 - 7)}{address}"
    assert "HUN" not in str(answers.passed_on({"msg": long}))
    told = answers.passed_on(answer)
    assert told.keys() == answer.keys()
    assert "HUNTER" not in json.dumps(told)
    assert urls.shown_in({address: [(address, 7, None)]}) == {
        urls.shown(address): [[urls.shown(address), 7, None]]
    }
