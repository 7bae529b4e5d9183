"""Entry points, as far as reading the source tells."""

from __future__ import annotations

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.gunicorn import entry_point

DEFINES = {
    "assignment": "app = 1",
    "annotated": "app: object = 1",
    "tuple": "other, app = 1, 2",
    "function": "def app(environ, start): pass",
    "async function": "async def app(): pass",
    "class": "class app: pass",
    "import": "import flask as app",
    "import from": "from web import app",
    "in try": "try:\n    app = 1\nexcept ImportError:\n    raise",
    "in if": "if True:\n    app = 1",
    "in with": "with open('x') as app: pass",
    "in for": "for app in []: pass",
    "walrus": "print(app := 1)",
    "global": "def make():\n    global app\n    app = 1\nmake()",
}
LACKS = {
    "nothing": "",
    "another name": "application = 1",
    "local": "def make():\n    app = 1",
    "attribute": "import x\nx.app = 1",
    "in a class": "class Site:\n    app = 1",
    "only used": "print(app)",
    "only annotated elsewhere": "other = 'app'",
}
CANNOT_BE_TOLD = {
    "star import": "from web import *",
    "module getattr": "def __getattr__(name): return 1",
    "globals": "globals()['app'] = 1",
    "another Python": "print 'app'",
}


def checked(folder, source, entry="main:app"):
    (folder / "main.py").write_text(source + "\n")
    entry_point.check(str(folder), entry, "gunicorn", "application web")


@pytest.mark.parametrize("case", [*DEFINES, *CANNOT_BE_TOLD])
def test_a_module_that_defines_the_object_or_may_do_so_is_good(tmp_path, case):
    checked(tmp_path, {**DEFINES, **CANNOT_BE_TOLD}[case])


@pytest.mark.parametrize("case", LACKS)
def test_a_module_without_the_object_is_refused_by_file_and_name(tmp_path, case):
    with pytest.raises(Refusal, match=r"main\.py defines no 'app'"):
        checked(tmp_path, LACKS[case])


@pytest.mark.parametrize("entry", ["main:make()", "main:site.app"])
def test_a_factory_and_an_attribute_are_entries(tmp_path, entry):
    checked(tmp_path, "import site\ndef make(): pass", entry)


def test_a_package_is_a_module(tmp_path):
    (tmp_path / "web" / "api").mkdir(parents=True)
    (tmp_path / "web" / "api" / "__init__.py").write_text("app = 1\n")
    entry_point.check(str(tmp_path), "web.api:app", "gunicorn", "application web")
    with pytest.raises(Refusal, match=r"neither web/apo\.py nor a package web\.apo"):
        entry_point.check(str(tmp_path), "web.apo:app", "gunicorn", "application web")


@pytest.mark.parametrize(
    "entry", ["main", "main:", ":app", "main:app()x", "../main:app", "main:a b"]
)
def test_an_entry_of_another_form_is_refused(tmp_path, entry):
    with pytest.raises(Refusal, match="module:object"):
        checked(tmp_path, "app = 1", entry)


def test_a_file_to_run_is_looked_for_in_the_source(tmp_path):
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "serve.py").touch()
    entry_point.check(str(tmp_path), "web/serve.py", "python", "application web")
    with pytest.raises(Refusal, match=r"there is no web/swerve\.py in"):
        entry_point.check(str(tmp_path), "web/swerve.py", "python", "application web")


@pytest.mark.parametrize(
    "entry", ["main:app", "/bin/sh.py", "../main.py", "web/../../main.py", "a b.py", "-m.py"]
)
def test_a_file_to_run_of_another_form_is_refused(tmp_path, entry):
    with pytest.raises(Refusal, match="inside of the source"):
        entry_point.check(str(tmp_path), entry, "python", "application web")


@pytest.mark.parametrize(
    ("server", "good", "bad"), [("gunicorn", "main:app", "main"), ("python", "main.py", "main")]
)
def test_without_the_files_only_the_form_is_looked_at(server, good, bad):
    entry_point.check(None, good, server, "application web")
    with pytest.raises(Refusal, match="application web"):
        entry_point.check(None, bad, server, "application web")
