"""Which slow tests a change concerns follows from imports, by folders, roles and stand-ins."""

from __future__ import annotations

import subprocess

import pytest

from testrun import changes

FILES = {
    "plugins/modules/driver.py": "from ..module_utils.driver import build\n",
    "plugins/modules/stack.py": "import json\n",
    "plugins/modules/receipt.py": "from ..module_utils import all_of_it\n",
    "plugins/action/driver.py": (
        "from ansible_collections.gpunode.stack.plugins.plugin_utils import sent\n"
    ),
    "plugins/plugin_utils/sent.py": "",
    "plugins/plugin_utils/_controller/components/stack.py": "",
    "plugins/module_utils/__init__.py": "",
    "plugins/module_utils/all_of_it.py": "from . import other\n",
    "plugins/module_utils/driver/__init__.py": "",
    "plugins/module_utils/driver/build.py": "from ..system import files as placed\n",
    "plugins/module_utils/system/files.py": "",
    "plugins/module_utils/other.py": "",
    "roles/driver/tasks/main.yml": "- gpunode.stack.driver:\n- gpunode.stack.receipt:\n",
    "roles/driver/defaults/main.yml": "",
    "roles/stack/tasks/main.yml": "- gpunode.stack.receipt:\n    component: stack\n",
    "playbooks/site.yml": "",
    "tests/lab/node.py": "",
    "tests/standins/runfile.py": "from lab import node\n",
    "tests/standins/runfile/header.sh": "",
    "tests/standins/other/header.sh": "",
    "tests/system/driver/__init__.py": "",
    "tests/system/driver/role.yml": "",
    "tests/system/driver/runs.py": "from standins import runfile\n",
    "tests/system/driver/test_a.py": "from system.driver import runs\n",
    "tests/system/driver/test_b.py": "",
    "tests/system/site/test_c.py": "",
    "tests/system/stack/test_e.py": "",
    "tests/lab/test_d.py": "import lab.node\n",
}
A, C, D = "tests/system/driver/test_a.py", "tests/system/site/test_c.py", "tests/lab/test_d.py"


def git(folder, *arguments):
    identity = ("-c", "user.name=Nobody", "-c", "user.email=nobody@example.com")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def root(tmp_path):
    """A checkout with the files."""
    for path, text in FILES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    git(tmp_path, "init", "--initial-branch=main")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "All")
    return tmp_path


@pytest.mark.parametrize(
    "path",
    [
        "plugins/modules/driver.py",
        "plugins/action/driver.py",
        "plugins/plugin_utils/sent.py",
        "plugins/module_utils/driver/__init__.py",
        "plugins/module_utils/driver/build.py",
        "plugins/module_utils/system/files.py",
        "plugins/modules/receipt.py",
        "roles/driver/defaults/main.yml",
        "tests/lab/node.py",
        "tests/standins/runfile/header.sh",
        "tests/system/driver/role.yml",
        "tests/system/driver/runs.py",
        A,
    ],
)
def test_a_test_of_a_role_stands_on(root, path):
    assert path in changes.Tree(root).concerns(A)


@pytest.mark.parametrize(
    "path",
    [
        # What a module that all roles use imports would concern all.
        "plugins/module_utils/other.py",
        "plugins/modules/stack.py",
        "roles/stack/tasks/main.yml",
        "tests/standins/other/header.sh",
        "tests/system/driver/test_b.py",
        "playbooks/site.yml",
    ],
)
def test_it_does_not_stand_on(root, path):
    assert path not in changes.Tree(root).concerns(A)


def test_a_role_stands_on_what_bears_its_name(root):
    found = changes.Tree(root).concerns("tests/system/stack/test_e.py")
    assert {
        "plugins/modules/stack.py",
        "plugins/plugin_utils/_controller/components/stack.py",
    } <= found
    assert "plugins/modules/driver.py" not in found


def test_other_tests_stand_on_playbooks_and_those_of_the_lab_on_the_lab(root):
    tree = changes.Tree(root)
    assert tree.concerns(C) == {C, "playbooks/site.yml"}
    assert tree.concerns(D) == {D, "tests/lab/node.py"}


def test_the_latest_commits_come_first_and_a_first_one_changed_all(root):
    for name in ("one", "two"):
        (root / name).touch()
        git(root, "add", name)
        git(root, "commit", "-m", name)
    assert changes.recent(root) == [{"two"}, {"one"}, set(FILES)]
    assert changes.recent(root, look_back=1) == [{"two"}]
    assert changes.number(root) == 3


def test_on_a_branch_it_is_what_the_default_branch_does_not_have(root, tmp_path_factory):
    clone = tmp_path_factory.mktemp("clone") / "checkout"
    git(root, "clone", "--quiet", ".", clone)
    (clone / "one").touch()
    git(clone, "add", "one")
    git(clone, "commit", "-m", "one")
    assert changes.recent(clone) == [{"one"}]


def test_a_merge_brings_all_of_its_branch(root):
    git(root, "switch", "--create", "side")
    (root / "one").touch()
    git(root, "add", "one")
    git(root, "commit", "-m", "one")
    git(root, "switch", "main")
    git(root, "merge", "--no-ff", "-m", "Merge", "side")
    assert changes.recent(root)[0] == {"one"}


def test_those_concerned_come_first_and_the_others_in_turn():
    concerns = {name: {name} for name in "abcde"}
    chosen = changes.in_turn("abcde", concerns, [{"d"}, {"b", "d"}], turn=4)
    assert chosen == (["d", "b"], ["c", "e", "a"])
    assert changes.in_turn("a", {"a": {"a"}}, [{"a"}], turn=4) == (["a"], [])
