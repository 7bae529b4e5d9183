"""What people read holds: examples are valid, options are told, links and paths lead somewhere."""

from __future__ import annotations

import functools
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import wanted_state
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.components.registry import (
    COMPONENTS,
)
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.inputs import (
    catalog,
    node_code,
    yaml_file,
)

ROOT = Path(__file__).resolve().parents[3]
ROLES = sorted(path.parents[1].name for path in ROOT.glob("roles/*/meta/argument_specs.yml"))
PAGES = sorted(
    str(path.relative_to(ROOT))
    for pattern in ("*.md", "docs/*.md", "roles/*/README.md", "tests/standins/*/README.md")
    for path in ROOT.glob(pattern)
)
MODULES = sorted(path.stem for path in ROOT.glob("plugins/modules/*.py"))

_FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?://)(?P<page>[^)#\s]*)(?:#(?P<anchor>[^)\s]+))?\)")
# A path of the tree, as a page names it in code: `plugins/modules/plan.py`, `_node/steps.py`.
_TOPS = (
    "benchmarks|docs|inventory|playbooks|plugins|roles|tests|tools|module_utils|_node|_controller"
)
_PATH = re.compile(rf"(?<![\w./-])(?:{_TOPS})/[\w./<>*-]*[\w>*]")
_BASES = ("", "plugins", "plugins/module_utils", "plugins/plugin_utils")
# What is made by a command, and what a user makes.
_MADE = re.compile(r"tests/output\b|inventory/(?:prod\b|lab/)")
_COLUMNS = ("option", "type", "default", "choices", "required", "description")


def text_of(page):
    """Return the text of a page."""
    return (ROOT / page).read_text(encoding="utf-8")


def fences(text):
    """Return [(language, text)] of the fenced blocks of a page."""
    return [(found["language"], found["text"]) for found in _FENCE.finditer(text)]


def anchors(text):
    """Return the anchors of a page's headings, as GitHub makes them."""
    prose = _FENCE.sub("", text)
    headings = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def options_in(text):
    """Return {option: {column: cell}} of the tables of options in a README."""
    found = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        name = re.fullmatch(r"`(\w+)`", cells[0]) if len(cells) == len(_COLUMNS) else None
        if name:
            found[name[1]] = dict(zip(_COLUMNS, cells, strict=True))
    return found


def all_options(options):
    """Yield (option, specification) of options, nested ones too."""
    for name, option in options.items():
        yield name, option
        yield from all_options(option.get("options", {}))


def main_of(role):
    """Return the specification of a role's one entry point."""
    specs = yaml_file.load(ROOT / "roles" / role / "meta" / "argument_specs.yml")
    assert list(specs["argument_specs"]) == ["main"]
    return specs["argument_specs"]["main"]


@pytest.mark.parametrize("page", PAGES)
def test_each_fenced_block_names_its_language_and_yaml_can_be_read(page):
    text = text_of(page)
    assert text.count("```") == 2 * len(fences(text))
    for language, block in fences(text):
        assert language, block
        if language == "yaml":
            assert yaml.safe_load(block), block


def refused(document):
    """Return what is refused of a block of YAML: variables, or plays with some."""
    said = [document] if isinstance(document, dict) else [play.get("vars", {}) for play in document]
    found = []
    for variables in said:
        site = wanted_state.Site(variables, ROOT)
        asked = [functools.partial(site.refuse_unread, variables, ["nccl"]), site.stack]
        for ask in asked + [functools.partial(site.options, name) for name in COMPONENTS]:
            try:
                ask()
            except Refusal as refusal:
                found.append(str(refusal))
    return found


@pytest.mark.parametrize("page", PAGES)
def test_each_fenced_block_of_yaml_says_what_roles_read_in_their_types(page):
    blocks = [block for language, block in fences(text_of(page)) if language == "yaml"]
    assert [says for block in blocks for says in refused(yaml.safe_load(block))] == []


@pytest.mark.parametrize(
    "block",
    [
        "conda_env_lsit: []",
        "gpunode_ofed_version: 25.10",
        "gpunode_driver_flavour: teslo",
        "gunicorn_app_list: [{name: web, lisen: '0.0.0.0:1'}]",
        "[{hosts: all, vars: {gpunode_stack: r0}}]",
    ],
)
def test_a_block_that_would_be_refused_is_found(block):
    assert refused(yaml.safe_load(block))


def test_a_task_name_with_a_bare_colon_is_no_yaml():
    ((language, block),) = fences("```yaml\n- name: Importing role: web\n```\n")
    assert language == "yaml"
    with pytest.raises(yaml.YAMLError):
        yaml.safe_load(block)


@pytest.mark.parametrize("role", ROLES)
def test_a_readme_begins_with_the_shortest_example_which_applies_the_role(role):
    example = main_of(role)["examples"]
    assert fences(text_of(f"roles/{role}/README.md"))[0] == ("yaml", example)
    (play,) = yaml.safe_load(example)
    assert play["roles"][-1] == {"role": f"gpunode.stack.{role}"}
    assert set(play.get("vars", {})) <= wanted_state.known_variables()


@pytest.mark.parametrize("role", ROLES)
def test_a_readme_tells_of_each_option_what_may_be_said(role):
    told = options_in(text_of(f"roles/{role}/README.md"))
    said = dict(all_options(main_of(role)["options"]))
    assert set(told) == set(said)
    for name, option in said.items():
        row = told[name]
        assert row["type"].startswith(option["type"]), name
        assert option.get("elements", "") in row["type"], name
        assert bool(row["default"]) == ("default" in option), name
        if row["default"]:
            assert yaml.safe_load(row["default"].strip("`")) == option["default"], name
        choices = [str(choice) for choice in option.get("choices", [])]
        assert re.findall(r"`([^`]+)`", row["choices"]) == choices, name
        assert row["required"] == ("yes" if option.get("required") else ""), name
        assert len(row["description"]) > 10, name


@pytest.mark.parametrize("page", PAGES)
def test_each_link_leads_to_a_page_and_a_heading_that_are_there(page):
    dead = []
    for link in _LINK.finditer(text_of(page)):
        target = (ROOT / page).parent / link["page"] if link["page"] else ROOT / page
        headings = anchors(target.read_text(encoding="utf-8")) if target.is_file() else set()
        if not target.exists() or (link["anchor"] and link["anchor"] not in headings):
            dead.append(link[0])
    assert dead == []


def test_the_anchor_of_a_heading_is_found():
    text = "# A `b_c`: d\n```yaml\n# no heading\n```\n## E, f\n"
    assert anchors(text) == {"a-b_c-d", "e-f"}


@pytest.mark.parametrize("page", PAGES)
def test_each_path_that_a_page_names_is_there(page):
    named = {path for path in _PATH.findall(text_of(page)) if not _MADE.match(path)}
    assert [path for path in sorted(named) if not _is_there(page, path)] == []


def walk():
    """Return the files that the walk of one converge passes, in its order."""
    text = text_of("docs/contributors.md").partition("## Anatomy of one converge\n")[2]
    told = text.partition("\n### Afterwards")[0]
    return re.findall(r"`([^`<>]+/[^`<>]+\.(?:py|yml))`", told)


def test_the_walk_of_one_converge_passes_each_file_once():
    """From an option of the driver to its receipt: who has to come back to a file is lost."""
    passed = walk()
    assert passed[0] == "roles/preflight/meta/argument_specs.yml"
    assert passed[-1] == "_node/records/receipts.py"
    assert [path for path in set(passed) if passed.count(path) > 1] == []


@pytest.mark.parametrize("path", [path for path in walk() if path.endswith(".py")])
def test_the_walk_of_one_converge_passes_files_that_a_run_has_at_work(path):
    begun = [*ROOT.glob("plugins/action/*.py"), *ROOT.glob("plugins/modules/n*.py")]
    at_work = {file for start in begun for file in node_code.with_imports(start)}
    assert {file for base in _BASES for file in (ROOT / base).glob(path)} <= at_work


def _is_there(page, path):
    pattern = re.sub(r"<[^>]*>", "*", path)
    bases = [*(ROOT / base for base in _BASES), (ROOT / page).parent]
    return any(any(base.glob(pattern)) for base in bases)


def matrix():
    """Return {row: {distribution: cell}} of the support matrix, distributions as the catalog's."""
    text = text_of("README.md").partition("## Support")[2].partition("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    head, *rows = ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines)
    return {
        name: {
            distribution: cell
            for column, cell in zip(head[1:], cells, strict=True)
            for distribution in _distributions(column)
        }
        for name, *cells in rows
    }


def _distributions(column):
    """Yield what a column is about: 'Ubuntu 22.04, 24.04' is about two."""
    named = column.replace("Enterprise Linux", "RedHat").replace("Amazon Linux", "Amazon")
    name, versions = named.split(" ", 1)
    for version in versions.split(", "):
        yield f"{name} {version}"


@pytest.mark.parametrize(
    ("row", "known"),
    [
        ("driver by packages", catalog.rows("driver_packages")),
        ("DOCA-OFED", catalog.rows("doca_repositories")[0]["distributions"]),
    ],
)
def test_the_matrix_refuses_those_distributions_for_which_the_catalog_has_nothing(row, known):
    cells = matrix()[row]
    distributions = {entry["distribution"] for entry in known}
    assert distributions <= set(cells)
    refused = {distribution for distribution, cell in cells.items() if cell == "refused"}
    assert refused == set(cells) - distributions


@pytest.fixture(scope="module")
def documentation():
    """{module: what ansible-doc says of it}, fragments included."""
    told = subprocess.run(
        [
            Path(sys.executable).with_name("ansible-doc"),
            *("--json", "--type", "module"),
            *(f"gpunode.stack.{name}" for name in MODULES),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout
    return {name.rsplit(".", 1)[1]: row["doc"] for name, row in json.loads(told).items()}


def test_each_module_says_how_it_takes_check_mode_and_diff_mode(documentation):
    assert sorted(documentation) == MODULES
    for name, doc in documentation.items():
        for mode in ("check_mode", "diff_mode"):
            attribute = doc["attributes"][mode]
            assert attribute["description"], (name, mode)
            assert attribute["support"] in {"full", "partial", "none"}, (name, mode)


def test_what_a_module_says_itself_stands_beside_what_the_fragment_says(documentation):
    looks = documentation["report"]["attributes"]["check_mode"]
    assert looks == {"description": "It changes nothing on a host in any mode.", "support": "full"}
    changes = documentation["mlnx_ofed"]["attributes"]["diff_mode"]
    assert changes["support"] == "partial"
    assert changes["description"].startswith("Shows what changes")
    assert changes["details"].startswith("The files, apart from")


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_role_says_which_consents_and_units_to_drain_its_module_goes_by(component, documentation):
    taken = {"consent", "drain"} & set(documentation[component]["options"])
    said = {name for name in main_of(component)["options"] if name.startswith("gpunode_")}
    assert said == {f"gpunode_{name}" for name in taken}


def test_an_option_of_a_fragment_is_an_option_of_the_module(documentation):
    assert documentation["conda_env"]["options"]["wanted"]["required"] is True
    assert documentation["nvidia_driver"]["options"]["consent"]["elements"] == "str"
    assert documentation["peer_memory"]["options"]["files"]["type"] == "dict"
    assert documentation["report"]["options"]["unreachable"]["default"] == []


_TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def test_each_promise_of_security_names_tests_that_are_there():
    promises = text_of("docs/security.md").partition("## What is promised")[2]
    promises = promises.partition("## What is not")[0].strip().split("\n\n")
    for promise in promises:
        named = _TEST.findall(promise)
        assert named, promise
        for file, test in named:
            text = (ROOT / file).read_text(encoding="utf-8")
            assert f"def {test}(" in text if test else "def test_" in text, (file, test)
