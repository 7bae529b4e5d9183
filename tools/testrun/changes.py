"""Which tests on lab nodes a change concerns: those of the components whose imports it touches."""

from __future__ import annotations

import ast
import collections
import re
import subprocess
from pathlib import Path

_COLLECTION = "ansible_collections.gpunode.stack."
_NAMED = re.compile(r"gpunode\.stack\.(\w+)")
#: Where what a role or playbook names may lie, and what a role brings by gpunode.stack.component.
_NAMED_IN = (
    "plugins/modules/{}.py",
    "plugins/action/{}.py",
    "plugins/plugin_utils/_controller/components/{}.py",
)
#: Commits that are looked at where nothing tells what was tested before: pushes bring several.
LOOK_BACK = 10


class Tree:
    """The files of a checkout, and what imports what.

    :ivar root: the checkout.
    :ivar files: the paths of its files, relative to it.
    """

    def __init__(self, root):
        self.root = Path(root)
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        self.files = set(filter(None, listed.split("\0")))
        self._roles = {path.split("/")[1] for path in self.files if path.startswith("roles/")}
        self._imports = {}
        uses = collections.Counter()
        for role in self._roles:
            uses.update(self._named_by(role))
        self._shared = {path for path, count in uses.items() if count > 1}

    def concerns(self, test):
        """Return the paths of all that a file of tests stands on.

        That is what it imports, and whatever stands for a vendor's files beside the builders that
        it imports. What lies in the folder of a role stands on the role, its modules and what they
        import; other tests of playbooks stand on all playbooks. Modules that several roles name
        count by themselves: what they import is nearly everything.
        """
        found = self._closure([test])
        found |= {
            path
            for builder in found
            if builder.startswith("tests/standins/")
            for path in self._below(builder.removesuffix(".py") + "/")
        }
        folder, _slash, _name = test.rpartition("/")
        if not folder.startswith("tests/system"):
            return found
        found |= self._below(f"{folder}/", tests=False)
        component = folder.rpartition("/")[2]
        if component in self._roles:
            found |= self._below(f"roles/{component}/")
            named = self._named_by(component)
            found |= named | self._closure(named - self._shared)
        else:
            found |= self._below("playbooks/")
        return found

    def _below(self, folder, tests=True):
        return {
            path
            for path in self.files
            if path.startswith(folder)
            and (tests or not path.removeprefix(folder).startswith("test_"))
        }

    def _named_by(self, role):
        """Return the plugins that a role's tasks name, and those that bear its name."""
        names = {role}
        for path in self._below(f"roles/{role}/tasks/"):
            names |= set(_NAMED.findall((self.root / path).read_text(encoding="utf-8")))
        return {place.format(name) for place in _NAMED_IN for name in names} & self.files

    def _closure(self, paths):
        found, waiting = set(), list(paths)
        while waiting:
            path = waiting.pop()
            if path not in found:
                found.add(path)
                waiting += self._imported(path)
        return found

    def _imported(self, path):
        """Return the files of this checkout that a Python file imports."""
        if path not in self._imports:
            found = set()
            tree = ast.parse((self.root / path).read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                if isinstance(node, ast.Import):
                    for alias in node.names:
                        found |= self._places(alias.name)
                elif isinstance(node, ast.ImportFrom):
                    module = _absolute(node, path)
                    found |= self._places(module)
                    for alias in node.names:
                        found |= self._places(f"{module}.{alias.name}")
            self._imports[path] = found
        return self._imports[path]

    def _places(self, module):
        """Return the files that stand for a module: its own, and those of the packages above."""
        found = set()
        if module.startswith(_COLLECTION):
            roots = [module.removeprefix(_COLLECTION)]
        else:
            roots = [f"tests.{module}", f"tools.{module}"]
        for root in roots:
            parts = root.split(".")
            for end in range(1, len(parts) + 1):
                place = "/".join(parts[:end])
                found |= {f"{place}.py", f"{place}/__init__.py"} & self.files
        return found


def _absolute(node, path):
    """Return what an ImportFrom in a file imports from, without dots before it."""
    if not node.level:
        return node.module
    above = path.split("/")[: -node.level]
    prefix = _COLLECTION if above[0] == "plugins" else ""
    above = above if prefix else above[1:]
    return prefix + ".".join([*above, *([node.module] if node.module else [])])


def recent(root, look_back=LOOK_BACK):
    """Return the sets of files that the latest commits changed, the latest first.

    Those that the default branch of the origin does not have; where it has them all, as after a
    push to it, the last ``look_back``. A checkout that lacks a commit's parent shows all files as
    changed by it, which asks for too much rather than for too little.
    """
    own = _git(root, "log", "--format=%H", "origin/HEAD..HEAD", check=False).split()
    commits = own or _git(root, "log", "--format=%H", f"--max-count={look_back}").split()
    shown = ("show", "--first-parent", "--format=", "--name-only", "-z")
    return [set(filter(None, _git(root, *shown, commit).split("\0"))) for commit in commits]


def number(root):
    """Return the number of the commit: how many there are up to it."""
    return int(_git(root, "rev-list", "--count", "HEAD"))


def in_turn(tests, concerns, commits, turn):
    """Return (the tests that commits concern, the latest first; the others, in turn).

    :param concerns: {test: paths}.
    :param commits: sets of paths, the latest first.
    :param turn: a number; the next one begins with the next test.
    """
    age = {}
    for test in tests:
        ages = [place for place, changed in enumerate(commits) if changed & concerns[test]]
        if ages:
            age[test] = ages[0]
    others = sorted(test for test in tests if test not in age)
    start = turn % len(others) if others else 0
    return sorted(age, key=lambda test: (age[test], test)), others[start:] + others[:start]


def _git(root, *arguments, check=True):
    done = subprocess.run(
        ["git", *arguments], cwd=root, capture_output=True, text=True, check=check
    )
    return done.stdout
