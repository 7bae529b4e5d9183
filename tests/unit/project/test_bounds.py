"""What runs on a host reads regular files of a size, and runs commands that somebody bounds."""

from __future__ import annotations

import ast
import pathlib

import pytest

NODE = pathlib.Path(__file__).parents[3] / "plugins" / "module_utils" / "_node"
_FILES = sorted(NODE.rglob("*.py"))
# Where files are opened for all others; what the kernel makes up as it is read; what we wrote.
_READERS = {
    *("system/files.py", "system/root.py", "system/processes.py", "system/proc_net.py"),
    *("system/systemd.py", "system/node_lock.py", "facts/general.py"),
}
_RUNNERS = {"system/commands.py"}
_RUNS = {"run", "Popen", "call", "check_call", "check_output", "getoutput", "getstatusoutput"}
_OPENS = {"urlopen", "open_url", "build_opener"}


def unbounded(text, may_open=False, may_run=False):
    """Return the calls in a text that nothing holds to a size or time."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call):
            continue
        function = ast.unparse(node.func)
        owner, _dot, name = function.rpartition(".")
        given = [*node.args, *(word.value for word in node.keywords if word.arg == "mode")]
        mode = next((arg.value for arg in given[1:] if isinstance(arg, ast.Constant)), "r")
        if (
            (function == "open" and not may_open and not set("wax") & set(str(mode)))
            or (name == "read" and not node.args and owner in _handles(node, text))
            or (name in ("readlines", "read_bytes", "fdopen") and not may_open)
            or (name == "read_text" and owner not in ("files", ""))
            or (name == "load" and owner == "json")
            or (owner == "subprocess" and name in _RUNS and not may_run)
            or (owner == "os" and name in ("system", "popen"))
        ):
            found.append(ast.unparse(node))
    return found


def _handles(node, text):
    """Return the names that files are given in a text."""
    return {
        item.optional_vars.id
        for each in ast.walk(ast.parse(text))
        if isinstance(each, ast.With)
        for item in each.items
        if isinstance(item.optional_vars, ast.Name)
    } | {"file", "handle"}


@pytest.mark.parametrize("path", _FILES, ids=lambda path: str(path.relative_to(NODE)))
def test_nothing_is_read_or_run_without_a_bound(path):
    name = str(path.relative_to(NODE))
    text = path.read_text(encoding="utf-8")
    assert unbounded(text, name in _READERS, name in _RUNNERS) == []


@pytest.mark.parametrize(
    "text",
    [
        "with open(path) as handle: pass",
        'with open(path, "rb") as handle: pass',
        'open(path, mode="r")',
        "with opened(path) as source: text = source.read()",
        "file.read()",
        "pathlib.Path(path).read_text()",
        "json.load(file)",
        "subprocess.run(argv, timeout=5)",
        "subprocess.check_output(argv)",
        "os.popen(line)",
    ],
)
def test_what_has_no_bound_is_found(text):
    assert len(unbounded(text)) == 1


@pytest.mark.parametrize(
    "text", ['open(path, "w")', 'open(path, "xb")', "files.read_text(path)", "download.read(url)"]
)
def test_what_is_written_or_bounded_elsewhere_is_none_of_it(text):
    assert unbounded(text) == []
