"""Which files do a component's work: its module, and all that it imports."""

from __future__ import annotations

import ast
import textwrap

import pytest

from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import project
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.components import registry
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.inputs import node_code

OURS = "ansible_collections.gpunode.stack.plugins.module_utils._node"


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Return a function that writes a project of these files: {path: text}."""
    monkeypatch.setattr(project, "ROOT", tmp_path)

    def write(files):
        for name, text in files.items():
            path = tmp_path / "plugins" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))

    return write


def found(component):
    """Return the paths of a component's files, relative to the folder of plugins."""
    folder = project.ROOT / "plugins"
    return {str(path.relative_to(folder)) for path in node_code.files_of(component)}


def imported(tree, text, *others):
    """Return what a module with this text imports of these files of module_utils/_node."""
    tree({"modules/web.py": text, **{f"module_utils/_node/{name}": "" for name in others}})
    return {name.removeprefix("module_utils/_node/") for name in found("web") - {"modules/web.py"}}


STATEMENTS = {
    "a module of a package": f"from {OURS}.system import files",
    "a name of a module": f"from {OURS}.system.files import write",
    "a module by its whole name": f"import {OURS}.system.files",
    "under another name": f"from {OURS}.system import files as written",
    "within parentheses": f"from {OURS}.system import (\n    child,\n    files,\n)\n",
    "within a function": f"def work():\n    from {OURS}.system import files\n",
    "after words that look like one": f"'''Text\nfrom (which\n'''\nimport {OURS}.system.files",
}


@pytest.mark.parametrize("text", STATEMENTS.values(), ids=STATEMENTS)
def test_every_form_of_an_import_is_followed(tree, text):
    assert imported(tree, text, "system/files.py", "system/other.py") == {"system/files.py"}


def test_what_is_imported_by_what_is_imported_counts_and_circles_end(tree):
    tree(
        {
            "modules/web.py": f"from {OURS}.web import converge",
            "module_utils/_node/web/converge.py": "from ..system import files\nfrom . import plan",
            "module_utils/_node/web/plan.py": "from . import converge",
            "module_utils/_node/system/files.py": "import os",
            "module_utils/_node/driver/converge.py": "",
        }
    )
    assert found("web") == {
        "modules/web.py",
        *(f"module_utils/_node/{name}.py" for name in ("web/converge", "web/plan", "system/files")),
    }


def test_what_belongs_to_others_does_not_count(tree):
    others = "import json\nfrom ansible.module_utils.basic import AnsibleModule\n"
    assert imported(tree, others, "json.py", "basic.py") == set()


@pytest.mark.parametrize("component", registry.COMPONENTS)
def test_imports_alone_tell_what_the_whole_files_do(component):
    def statements(text):
        tree = ast.walk(ast.parse(text))
        return {ast.dump(node) for node in tree if isinstance(node, (ast.Import, ast.ImportFrom))}

    for path in node_code.files_of(component):
        text = path.read_text(encoding="utf-8")
        read = {ast.dump(node) for node in node_code.import_statements(text)}
        assert statements(text) <= read, path
