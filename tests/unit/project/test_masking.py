"""Whatever reaches a terminal, a log or a file of plans has passed the one function that masks."""

from __future__ import annotations

import ast
import json
import pathlib

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node import urls
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.inputs import answers

PLUGINS = pathlib.Path(__file__).parents[3] / "plugins"
# What says something to people, by the name that it is called by; and Ansible's own exceptions.
SPEAKERS = {
    *("fail_json", "warn", "warning", "deprecate", "deprecated", "log", "display", "error"),
    *("v", "vv", "vvv", "vvvv", "vvvvv", "vvvvvv", "verbose", "print", "write_text_to_log"),
    *("info", "debug", "critical", "exception", "syslog", "print_exc", "print_exception"),
}
_STREAMS = {
    "sys.stdout.write",
    "sys.stderr.write",
    "sys.stdout.writelines",
    "sys.stderr.writelines",
}
# What of an answer is for people.
SPOKEN = {
    *("msg", "diff", "changes", "warnings", "deprecations"),
    *("exception", "stdout", "stderr", "module_stdout", "module_stderr"),
}
_FILES = sorted(PLUGINS.rglob("*.py"))


def called(node):
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def speaks(node):
    """Say whether a call is of something that says to people whatever it is given."""
    name = called(node)
    is_ansibles = name.startswith("Ansible") and name.endswith(("Fail", "Error", "Skip", "Failure"))
    return is_ansibles or name in SPEAKERS or ast.unparse(node.func) in _STREAMS


def spoken_by(tree, answers_people):
    """Yield the expressions in a file that people come to read."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and speaks(node):
            yield from node.args
            yield from (word.value for word in node.keywords)
        elif isinstance(node, ast.Call) and (
            called(node) == "exit_json" or (answers_people and called(node) in ("dict", "update"))
        ):
            yield from (word.value for word in node.keywords if word.arg in SPOKEN)
        elif isinstance(node, ast.Call) and called(node) == "getattr" and len(node.args) > 1:
            yield from (node.args[:1] if getattr(node.args[1], "value", "") in SPEAKERS else ())
        elif isinstance(node, ast.Dict) and answers_people:
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value in SPOKEN:
                    yield value
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                place = target.slice if isinstance(target, ast.Subscript) else None
                if answers_people and getattr(place, "value", "") in SPOKEN:
                    yield node.value
            # By another name nobody would know it.
            if isinstance(node.value, ast.Attribute) and node.value.attr in SPEAKERS:
                yield node.value
        elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and speaks(node.exc):
            # Ansible tells of what it comes from as well.
            yield from [node.cause] if node.cause else []


def is_masked(expression):
    """Say whether an expression is what that function returns, or a Refusal, which calls it."""
    if isinstance(expression, ast.Constant):
        return True
    if not isinstance(expression, ast.Call):
        return False
    inner = ast.unparse(expression.args[0]) if expression.args else ""
    return ast.unparse(expression.func) in ("urls.shown", "urls.shown_in") or (
        called(expression) == "str" and inner.rpartition(".")[2] in ("refusal", "not_root()")
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
        "display.vvvvv(answer)",
        "raise AnsibleActionFail(message=str(error))",
        'raise AnsibleParserError(f"no {url}")',
        "raise AnsibleActionFail(urls.shown(str(error))) from error",
        "raise AnsibleActionFail(str(refusal)) from refusal",
        'raise AnsibleError("no address", orig_exc=error)',
        "module.fail_json(**answer)",
        'module.fail_json(msg="no", exception=error)',
        "say = module.fail_json",
        'getattr(module, "warn")(url)',
        "sys.stderr.write(url)",
        "logging.info(url)",
        'result["msg"] = url',
        "result.update(msg=url)",
        "result = dict(msg=url)",
        'result = {"stderr": url}',
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
