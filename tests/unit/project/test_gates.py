"""What the whole tree keeps to, whichever part one works on."""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import project, wanted_state
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.inputs import (
    variables,
    yaml_file,
)

ROLES = sorted(
    path.parents[1].name for path in project.ROOT.glob("roles/*/meta/argument_specs.yml")
)

# The modules that put more than a file on a disk.
FILLING = [
    "conda_env",
    "conda_solve",
    "gunicorn_app",
    "miniforge",
    "mlnx_ofed",
    "nvidia_driver",
    "peer_memory",
]

# By the names in tests/gates.yml. None matches its own text here.
SILENCERS = {
    "noqa": r"#\s*(?:ruff: ?)?noqa\b",
    "pylint disable": r"#\s*pylint:\s*disable",
    "type ignore": r"#\s*(?:type:\s*ignore|mypy:)",
    "yamllint disable": r"#\s*yamllint\s+disable",
    "changed_when false": r"\bchanged_when:\s*['\"]?(?:false|no)\b",
}
# Lines of a function, its docstring among them.
_LONGEST_FUNCTION = 40
_CODE = {".py", ".yml", ".yaml", ".j2", ".sh", ""}
# A file of tests as comments and docstrings name it; what stands in quotes is for the code to find.
_FILE_OF_TESTS = re.compile(r"(?<![\"\w./-])tests/[\w/-]+\.(?:py|yml)\b")


def tracked():
    """Return the files of the checkout that git keeps or would: relative paths, links left out."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=project.ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    paths = {Path(name) for name in listing.split("\0") if name}
    return sorted(path for path in paths if (project.ROOT / path).is_file())


def occurrences(pattern, texts):
    """Return 'name:line' for each line of the texts, {name: text}, that matches a pattern."""
    return [
        f"{name}:{number}"
        for name, text in texts.items()
        for number, line in enumerate(text.splitlines(), start=1)
        if re.search(pattern, line, re.IGNORECASE)
    ]


def inventory_variables(document, in_vars_folder):
    """Return the names of the variables that one file of an inventory sets.

    :param document: the file's content, parsed.
    :param in_vars_folder: whether it lies in group_vars or host_vars; otherwise it holds groups.
    """
    if in_vars_folder:
        return set(document or {})
    names = set()
    for content in (document or {}).values():
        group = content or {}
        names |= set(group.get("vars") or {})
        for host_variables in (group.get("hosts") or {}).values():
            names |= set(host_variables or {})
        names |= inventory_variables(group.get("children"), in_vars_folder=False)
    return names


def plays_in(text):
    """Return the plays of a text of YAML."""
    document = yaml.safe_load(text)
    items = document if isinstance(document, list) else []
    return [item for item in items if isinstance(item, dict) and "hosts" in item]


def templated_defaults(options, where=""):
    """Return the paths of the options, nested ones too, whose default holds Jinja."""
    found = []
    for name, option in (options or {}).items():
        if re.search(r"\{[{%#]", yaml.safe_dump(option.get("default"))):
            found.append(f"{where}{name}")
        found += templated_defaults(option.get("options"), f"{where}{name}.")
    return found


def entry_points(role):
    """Return a role's {entry point: specification}."""
    return yaml_file.load(project.ROOT / "roles" / role / "meta" / "argument_specs.yml")[
        "argument_specs"
    ]


@pytest.fixture(scope="module")
def texts():
    """{path: text} of the code of the checkout."""
    return {
        str(path): (project.ROOT / path).read_text(encoding="utf-8")
        for path in tracked()
        if path.suffix in _CODE
    }


@pytest.mark.parametrize("kind", SILENCERS)
def test_checks_are_silenced_as_often_as_was_agreed(kind, texts):
    agreed = yaml_file.load(project.ROOT / "tests" / "gates.yml")["silenced"]
    found = occurrences(SILENCERS[kind], texts)
    assert len(found) == agreed[kind], found


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("noqa", "import os  # " + "noqa: F401"),
        ("noqa", "# ruff: " + "noqa"),
        ("noqa", "  name: no name  # " + "noqa name[casing]"),
        ("pylint disable", "# pylint: " + "disable=all"),
        ("type ignore", "import torch  # type: " + "ignore[import-untyped]"),
        ("type ignore", "# my" + "py: ignore-errors"),
        ("yamllint disable", "# yamllint " + "disable-line"),
        ("changed_when false", "  changed_when:" + " false"),
        ("changed_when false", '  changed_when: "' + 'False"'),
    ],
)
def test_a_silenced_check_is_counted(kind, line):
    assert occurrences(SILENCERS[kind], {"a.yml": f"---\n{line}\n"}) == ["a.yml:2"]


def test_each_file_of_tests_that_a_comment_names_is_there(texts):
    named = {(path, name) for path, text in texts.items() for name in _FILE_OF_TESTS.findall(text)}
    assert len(named) > 10
    assert [row for row in sorted(named) if not (project.ROOT / row[1]).is_file()] == []


def test_ansible_lint_skips_no_rule_anywhere():
    configuration = yaml_file.load(project.ROOT / ".ansible-lint")
    assert configuration["profile"] == "production"
    assert not {"skip_list", "warn_list", "mock_modules", "mock_roles"} & set(configuration)
    assert not [path for path in tracked() if path.name == ".ansible-lint-ignore"]


def test_mypy_passes_over_nothing_of_ours():
    configuration = configparser.ConfigParser()
    configuration.read(project.ROOT / "mypy.ini")
    assert configuration["mypy"].getboolean("disallow_untyped_defs")
    for section in configuration.sections():
        loosened = {"ignore_errors", "exclude", "disable_error_code", "allow_untyped_defs"}
        assert not loosened & set(configuration[section])
    # Those have no types of their own.
    assert configuration.sections() == ["mypy", "mypy-ansible.*,torch.*"]


@pytest.mark.parametrize(
    "path",
    [
        *("galaxy.yml", "README.md", "docs/facts.md", "docs/checks.md", "tests/support.yml"),
        *("roles/miniforge/README.md", "roles/miniforge/meta/argument_specs.yml"),
        "plugins/module_utils/_node/facts_shape.py",
        "plugins/plugin_utils/_controller/verify/driver.py",
        *(
            "tools/docs",
            "tools/facts.py",
            "tools/checks.py",
            "tools/support.py",
            "tools/support.yml",
        ),
        "tools/role-readme.md.j2",
    ],
)
def test_a_commit_of_what_pages_are_generated_from_has_them_checked(path):
    hooks = yaml_file.load(project.ROOT / ".pre-commit-config.yaml")["repos"][0]["hooks"]
    (files,) = [hook["files"] for hook in hooks if hook["id"] == "docs"]
    assert (project.ROOT / path).is_file()
    assert re.search(files, path)


def test_every_variable_of_ours_in_an_inventory_is_an_option_of_a_role():
    prefixes = [path.name for path in project.ROOT.glob("roles/*")] + ["gpunode"]
    refusals = {}
    for path in tracked():
        if path.parts[0] == "inventory" and path.suffix in {".yml", ".yaml"}:
            in_vars_folder = bool({"group_vars", "host_vars"} & set(path.parts))
            names = inventory_variables(yaml_file.load(project.ROOT / path), in_vars_folder)
            for refusal in variables.unknown(names, wanted_state.known_variables(), prefixes):
                refusals.setdefault(str(path), []).append(str(refusal))
    assert refusals == {}


def test_every_play_that_is_shipped_or_shown_gathers_no_facts():
    # With an ansible.cfg of somebody else's, who need not say so.
    texts = {path: path.read_text("utf-8") for path in project.ROOT.glob("playbooks/*.yml")}
    examples = {role: entry_points(role)["main"].get("examples", "") for role in ROLES}
    plays = [
        (name, play) for name, text in {**texts, **examples}.items() for play in plays_in(text)
    ]
    assert len(plays) > len(texts) + len(ROLES) / 2
    assert [name for name, play in plays if play.get("gather_facts") is not False] == []


def test_variables_are_found_wherever_an_inventory_may_set_them():
    groups = yaml.safe_load("""
        all:
          vars: {a: 1}
          hosts: {h: {b: 1}, plain:}
          children:
            gpu: {vars: {c: 1}, children: {deep: {hosts: {i: {d: 1}}}}}
            empty:
    """)
    assert inventory_variables(groups, in_vars_folder=False) == set("abcd")
    assert inventory_variables({"e": {"nested": 1}}, in_vars_folder=True) == {"e"}
    assert inventory_variables(None, in_vars_folder=True) == set()


@pytest.mark.parametrize("role", ROLES)
def test_no_default_of_an_option_holds_jinja(role):
    for specification in entry_points(role).values():
        assert templated_defaults(specification.get("options")) == []


def test_jinja_in_a_nested_default_is_found():
    options = {
        "plain": {"default": "{x}"},
        "list": {"default": [{"a": "{{ b }}"}], "options": {"in": {"default": "{% if x %}"}}},
    }
    assert templated_defaults(options) == ["list", "list.in"]


@pytest.mark.parametrize("role", ROLES)
def test_generated_defaults_mean_what_the_options_say(role):
    # The generator writes YAML 1.2, where a bare "on" is text; Ansible reads it as true.
    options = {
        name: option["default"]
        for specification in entry_points(role).values()
        for name, option in (specification.get("options") or {}).items()
        if "default" in option
    }
    assert yaml_file.load(project.ROOT / "roles" / role / "defaults" / "main.yml") == options


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """The names of all files in the collection, built in this checkout as it is."""
    folder = tmp_path_factory.mktemp("collection")
    subprocess.run(
        [
            Path(sys.executable).with_name("ansible-galaxy"),
            *("collection", "build", "--output-path", folder),
        ],
        cwd=project.ROOT,
        timeout=120,
        check=True,
        capture_output=True,
    )
    (archive,) = folder.glob("gpunode-stack-*.tar.gz")
    with tarfile.open(archive) as tar:
        return {member.name for member in tar.getmembers() if not member.isdir()}


def test_the_collection_holds_nothing_that_git_ignores(shipped):
    kept = {str(path) for path in tracked()} | {"MANIFEST.json", "FILES.json"}
    assert shipped - kept == set()


def test_the_collection_holds_all_that_a_run_needs(shipped):
    parts = {"plugins", "roles", "playbooks", "files", "meta"}
    needed = {str(path) for path in tracked() if path.parts[0] in parts}
    assert needed - shipped == set()


def test_the_collection_holds_nothing_of_the_clone_around_it(shipped):
    alone = {"Makefile", "ansible.cfg", "collections", "inventory", "mypy.ini", "site.yml"}
    alone |= {"benchmarks", "tests", "tools"}
    assert {name.split("/")[0] for name in shipped} & alone == set()
    assert not [name for name in shipped if name.startswith(".")]


@pytest.mark.parametrize("module", FILLING)
def test_a_module_that_fills_a_disk_says_which_one_is_full(module):
    plugins = project.ROOT / "plugins"
    text = (plugins / "modules" / f"{module}.py").read_text(encoding="utf-8")
    if "bring.bring(" in text:
        text = (plugins / "module_utils/_node/component/bring.py").read_text(encoding="utf-8")
    assert "disk.watched(" in text


@pytest.mark.parametrize(
    "path", sorted(map(str, project.ROOT.glob("plugins/**/*.py"))), ids=lambda path: Path(path).name
)
def test_a_function_of_the_plugins_can_be_seen_at_once(path):
    nodes = ast.walk(ast.parse(Path(path).read_text(encoding="utf-8")))
    lines = [
        (node.name, node.end_lineno - node.lineno + 1)
        for node in nodes
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    assert [row for row in lines if row[1] > _LONGEST_FUNCTION] == []
