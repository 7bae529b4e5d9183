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
    "vars": "import sys\nvars(sys.modules[__name__])['app'] = 1",
    "setattr": "import sys\nsetattr(sys.modules[__name__], 'app', 1)",
    "exec": "exec('app = 1')",
    "another Python": "print 'app'",
}


def checked(folder, source, entry="main:app"):
    (folder / "main.py").write_text(source + "\n")
    entry_point.check(entry_point.Files([folder]), entry, "gunicorn", "application web")


@pytest.mark.parametrize("case", [*DEFINES, *CANNOT_BE_TOLD])
def test_a_module_that_defines_the_object_or_may_do_so_is_good(tmp_path, case):
    checked(tmp_path, {**DEFINES, **CANNOT_BE_TOLD}[case])


@pytest.mark.parametrize("case", LACKS)
def test_a_module_without_the_object_is_refused_by_file_and_name(tmp_path, case):
    with pytest.raises(Refusal, match=r"main\.py defines no 'app'"):
        checked(tmp_path, LACKS[case])


# Held against import_app() of gunicorn 23.0.0 and 27.0.1, which take these and none of the others.
TAKEN = (
    "main:make", "main:make()", "main:make('production')", 'main:make("a b", debug=False)',
    "main:make(mode='production', sizes=[1, 2], more={'a': None})", "main:make(-1)", "main",
    "main:make('100% $HOME')",
)  # fmt: skip
NOT_TAKEN = (
    "main:", ":app", "main:app()x", "../main:app", "main:a b", "main:make.app", "main:make().app",
    "main:make(os.environ)", "main:make(open('x'))", "main:make(*args)", "main:make(1 + x)",
    "main:lambda: 1", "main:make('a\n')", "main:make(**{'a': 1})x", "main:[make][0]", "ma in:app",
    "main: make", "-main:app", "main..web:app", ".main:app", "main.:app", "main/web:app",
)  # fmt: skip
SOURCE = "def make(*args, **more):\n    return print\napplication = print\n"


@pytest.mark.parametrize("entry", TAKEN)
def test_what_gunicorn_takes_is_an_entry(tmp_path, entry):
    checked(tmp_path, SOURCE, entry)


@pytest.mark.parametrize("entry", NOT_TAKEN)
def test_what_gunicorn_does_not_take_is_refused(tmp_path, entry):
    with pytest.raises(Refusal, match=r"module:object|plain texts"):
        checked(tmp_path, SOURCE, entry)


# What import_module() is given need not be a name, as an import statement would have it.
@pytest.mark.parametrize("module", ["my-shop", "2048", "my-shop.wsgi", "shop.wsgi-prod", "class"])
def test_a_module_is_called_as_its_file_is(tmp_path, module):
    path = tmp_path.joinpath(*module.split(".")).with_suffix(".py")
    path.parent.mkdir(exist_ok=True)
    path.write_text("app = 1")
    assert entry_of(tmp_path, f"{module}:app") is False
    with pytest.raises(Refusal, match=r"\.py defines no 'site'"):
        entry_of(tmp_path, f"{module}:site")


def entry_of(tmp_path, entry, installed=(), *more):
    files = entry_point.Files([tmp_path, *more], installed)
    entry_point.check(files, entry, "gunicorn", "application web")
    return entry_point.is_of_environment(files, entry)


@pytest.mark.parametrize(
    "entry", ["superset.app:create_app()", "acme_portal.wsgi:application", "whoami", "cv2.web:app"]
)
def test_an_entry_of_an_installed_package_is_left_to_gunicorn(tmp_path, entry):
    (tmp_path / "main.py").write_text("")
    assert entry_of(tmp_path, entry, ["apache-superset", "acme-portal", "python"])


@pytest.mark.parametrize("entry", ["mian:app", "min:app", "mainn.web:app"])
def test_a_module_that_is_misspelt_is_told_with_the_one_that_is_there(tmp_path, entry):
    (tmp_path / "main.py").write_text("app = 1")
    with pytest.raises(Refusal, match=r"Did you mean main\?"):
        entry_of(tmp_path, entry, ["python"])
    assert entry_of(tmp_path, entry, [entry.split(":")[0].split(".")[0]])
    assert entry_of(tmp_path, entry, None)


def test_modules_lie_in_each_folder_that_python_is_told_of(tmp_path):
    (tmp_path / "src" / "web").mkdir(parents=True)
    (tmp_path / "src" / "web" / "wsgi.py").write_text("application = 1")
    assert entry_of(tmp_path, "web.wsgi", (), tmp_path / "src") is False
    with pytest.raises(Refusal, match=r"wsgi\.py defines no 'app'"):
        entry_of(tmp_path, "web.wsgi:app", (), tmp_path / "src")
    with pytest.raises(Refusal, match=r"neither web/asgi\.py nor a package"):
        entry_of(tmp_path, "web.asgi:app", (), tmp_path / "src")


# importlib.machinery.EXTENSION_SUFFIXES.
@pytest.mark.parametrize("ending", [".cpython-311-x86_64-linux-gnu.so", ".abi3.so", ".so"])
def test_a_module_that_was_compiled_is_not_read(tmp_path, ending):
    (tmp_path / f"main{ending}").write_bytes(b"\x7fELF")
    assert entry_of(tmp_path, "main:anything") is False


def test_a_file_to_run_is_looked_for_in_the_source(tmp_path):
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "serve.py").touch()
    entry_point.check(entry_point.Files([tmp_path]), "web/serve.py", "python", "application web")
    with pytest.raises(Refusal, match=r"there is no web/swerve\.py in"):
        entry_point.check(
            entry_point.Files([tmp_path]), "web/swerve.py", "python", "application web"
        )


@pytest.mark.parametrize(
    "entry", ["main:app", "/bin/sh.py", "../main.py", "web/../../main.py", "a b.py", "-m.py"]
)
def test_a_file_to_run_of_another_form_is_refused(tmp_path, entry):
    with pytest.raises(Refusal, match="inside of the source"):
        entry_point.check(entry_point.Files([tmp_path]), entry, "python", "application web")


@pytest.mark.parametrize(
    ("server", "good", "bad"), [("gunicorn", "main:app", "main:"), ("python", "main.py", "main")]
)
def test_without_the_files_only_the_form_is_looked_at(server, good, bad):
    entry_point.check(entry_point.Files(), good, server, "application web")
    with pytest.raises(Refusal, match="application web"):
        entry_point.check(entry_point.Files(), bad, server, "application web")


@pytest.mark.parametrize("source", ["-" * 100_000 + "1", "a" + ".b" * 100_000, "(" * 500, "\0"])
def test_what_python_cannot_hold_tells_nothing(tmp_path, source):
    checked(tmp_path, source)


def test_a_module_that_nobody_would_write_is_not_read(tmp_path):
    with open(tmp_path / "main.py", "wb") as handle:
        handle.truncate(1 << 40)
    entry_point.check(entry_point.Files([tmp_path]), "main:app", "gunicorn", "application web")
