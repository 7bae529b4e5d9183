"""The layers of the plugins: who may import whom."""

from __future__ import annotations

import ast
import re
import typing
from pathlib import Path, PurePath

import pytest

from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import project
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.components import registry

COMPONENTS = (
    *("nvidia_driver", "mlnx_ofed", "peer_memory", "vgpu_license"),
    *("miniforge", "conda_env", "gunicorn_app", "nccl"),
)
# The layers from the bottom upwards. What lies in one may import what lies in those before. The
# parts of one layer know nothing of each other; within a part, too, imports go to the left alone.
LAYERS = {
    "plugins/module_utils/_node": (
        ("urls terminal refusal", "steps", "near_miss", "kept_code", "facts_shape"),
        ("system",),
        ("packages",),
        ("kernel gpu rdma", "conda"),
        ("records",),
        ("facts",),
        ("component",),
        COMPONENTS,
        ("releases",),
    ),
    "plugins/plugin_utils/_controller": (
        ("project",),
        ("inputs",),
        ("stack", "conda", "gunicorn", "nccl"),
        tuple(f"components/{name}" for name in COMPONENTS if name != "nccl"),
        ("components/registry",),
        ("wanted_state",),
        ("plan",),
        ("verify",),
    ),
}
NODE, CONTROLLER = LAYERS
# The rooms that belong to one component, by their names on either side.
OWNERS = {
    "gunicorn": "gunicorn_app",
    **{name: name for name in COMPONENTS},
    **{f"components/{name}": name for name in COMPONENTS},
}
# Which folder of unit tests is about which of the project; each has the folders of that.
MIRRORS = {
    "node": NODE,
    "controller": CONTROLLER,
    "modules": "plugins/modules",
    "tools": "tools",
    "benchmarks": "benchmarks",
    "lab": "tests/lab",
    "standins": "tests/standins",
}
# Those about the tree as a whole, about what roles hold besides, and what tests were recorded from.
OF_THEIR_OWN = {"project", "roles", "fixtures"}
# What tests on nodes, and their runs, are imported by.
ON_NODES = {"system", "fleet", "testrun"}
# What looks at several components at once.
ABOVE_COMPONENTS = ("releases", "components/registry", "wanted_state", "plan", "verify")


def below(side):
    """Return {room: the rooms of its side that it may import}."""
    found = {}
    for layer in LAYERS[side]:
        under = set(found)
        for part in layer:
            rooms = part.split()
            found.update({name: under | set(rooms[:at]) for at, name in enumerate(rooms)})
    return found


def place_of(path):
    """Return (side, room) of a module by its path in the project; ('', '') outside of both."""
    for side in LAYERS:
        if PurePath(path).is_relative_to(side):
            parts = PurePath(path).with_suffix("").relative_to(side).parts
            return side, "/".join(parts[: 2 if parts[0] == "components" else 1])
    return "", ""


def imported(path, text):
    """Return what a module imports from the plugins, as paths in the project.

    :param path: its own, from which relative imports go out.
    """
    prefix = "ansible_collections.gpunode.stack."
    names = [name.removeprefix(prefix) for name in names_imported(path, text)]
    return [name.replace(".", "/") for name in names if name.startswith("plugins.")]


def names_imported(path, text):
    """Return the whole names of what a module imports, from anywhere."""
    names = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            start = PurePath(path).parts[: -node.level] if node.level else ()
            module = ".".join([*start, *filter(None, [node.module])])
            names += [f"{module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return names


def is_allowed(path, target):
    """Say whether a module may import another one."""
    (side, room), (to_side, to_room) = place_of(path), place_of(target)
    if OWNERS.get(to_room, OWNERS.get(room)) != OWNERS.get(room) and room not in ABOVE_COMPONENTS:
        return False
    if side == to_side:
        return room == to_room or to_room in below(side).get(room, ())
    # Nothing of the controller goes to a host.
    return side == CONTROLLER and to_side == NODE


def forbidden(path, text):
    """Return what a module imports and may not."""
    return [target for target in imported(path, text) if not is_allowed(path, target)]


def files_below(*folders):
    return [
        str(path.relative_to(project.ROOT))
        for folder in folders
        for path in sorted(Path(project.ROOT, folder).rglob("*.py"))
    ]


def test_every_module_lies_in_a_room_that_has_its_layer():
    found = {place_of(path) for path in files_below(*LAYERS)}
    assert found == {(side, room) for side in LAYERS for room in below(side)}


def test_the_page_for_contributors_names_every_room_of_the_node_from_the_bottom():
    page = Path(project.ROOT, "docs/contributors.md").read_text(encoding="utf-8")
    table = page.partition("## Which way imports go")[2].partition("\n## ")[0]
    named = re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE)))
    rooms = [
        room
        for layer in LAYERS[NODE]
        if layer != COMPONENTS
        for part in layer
        for room in part.split()
    ]
    assert named == rooms


@pytest.mark.parametrize("path", files_below(*LAYERS))
def test_imports_go_down_and_from_no_component_to_another(path):
    assert forbidden(path, Path(project.ROOT, path).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", files_below("plugins/modules"))
def test_a_module_imports_nothing_that_does_not_go_to_the_host_with_it(path):
    found = imported(path, Path(project.ROOT, path).read_text(encoding="utf-8"))
    assert [target for target in found if place_of(target)[0] != NODE] == []


@pytest.mark.parametrize("path", files_below("plugins/modules"))
def test_a_module_only_wires_what_lies_in_the_rooms(path):
    tree = ast.parse(Path(project.ROOT, path).read_text(encoding="utf-8"))
    made = [node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    assert made in ([], ["main"])


@pytest.mark.parametrize("component", registry.COMPONENTS)
def test_a_component_is_looked_at_planned_and_brought_in_files_of_those_names(component):
    folder = Path(project.ROOT, NODE, component)
    assert (folder / "plan.py").is_file()
    for name in ("observe", "converge"):
        tree = ast.parse((folder / f"{name}.py").read_text(encoding="utf-8"))
        assert name in [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]


@pytest.mark.parametrize("component", registry.COMPONENTS)
def test_what_a_wanted_state_has_is_written_once_and_both_sides_know_it_by_that(component):
    returned = typing.get_type_hints(registry.COMPONENTS[component].resolve)["return"]
    home = f".{NODE}.{component}.wanted".replace("/", ".")
    is_typed = all(
        typing.is_typeddict(kind) and kind.__module__.endswith(home)
        for kind in typing.get_args(returned) or [returned]
    )
    loose = re.compile(r"\bwanted: (?:dict|Mapping)\[str, Any\]")
    found = [
        path
        for path in files_below(f"{NODE}/{component}")
        if loose.search(Path(project.ROOT, path).read_text(encoding="utf-8"))
    ]
    assert is_typed
    assert found == []


def test_facts_are_known_by_their_types_wherever_they_are_whole():
    loose = re.compile(r"\bfacts: (?:dict|Mapping)\[str, Any\]")
    found = [
        path
        for path in files_below("plugins")
        if loose.search(Path(project.ROOT, path).read_text(encoding="utf-8"))
    ]
    # Those of an older version lack keys until a case completes them; of a host that brings
    # environments the general ones alone are asked for, and in tests none.
    assert found == [
        f"{NODE}/conda/imports.py",
        f"{CONTROLLER}/stack/case.py",
        f"{CONTROLLER}/stack/plan.py",
    ]


def test_steps_are_run_and_differences_made_in_one_place():
    texts = {
        path: Path(project.ROOT, path).read_text(encoding="utf-8")
        for path in files_below("plugins")
    }
    for pattern in (r"\.action\(\)", "before_header"):
        found = [path for path, text in texts.items() if re.search(pattern, text)]
        assert found == [f"{NODE}/steps.py"], pattern


@pytest.mark.parametrize("path", files_below("plugins/modules", NODE))
def test_nothing_of_ansible_goes_to_a_host_but_the_base_of_modules_and_of_downloads(path):
    names = names_imported(path, Path(project.ROOT, path).read_text(encoding="utf-8"))
    found = {name.rpartition(".")[0] for name in names if name.startswith("ansible.")}
    # The second one knows proxies, certificates and how redirects are followed.
    assert found <= {"ansible.module_utils.basic", "ansible.module_utils.urls"}


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (f"{NODE}/kernel/new.py", "from ..gpu import clients"),
        (f"{NODE}/conda/new.py", "from ..kernel import kernels"),
        (f"{NODE}/gpu/new.py", "from ..conda import builds"),
        (f"{NODE}/system/new.py", "from ..records.receipts import read"),
        (f"{NODE}/facts/new.py", "from .. import releases"),
        (f"{NODE}/facts/new.py", "def late():\n    from ..component import bring"),
        (f"{NODE}/peer_memory/new.py", "from ..nvidia_driver import drain"),
        (f"{NODE}/system/new.py", f"import {CONTROLLER.replace('/', '.')}.project"),
        (f"{NODE}/new/new.py", "from ..system import files"),
        (f"{CONTROLLER}/inputs/new.py", "from ..stack import case"),
        (f"{CONTROLLER}/stack/new.py", "from ..conda import spec"),
        (f"{CONTROLLER}/components/conda_env.py", "from . import gunicorn_app"),
        (f"{CONTROLLER}/components/conda_env.py", "from ..gunicorn import units"),
        (
            f"{CONTROLLER}/components/conda_env.py",
            "from ansible_collections.gpunode.stack.plugins.module_utils._node.miniforge "
            "import removal",
        ),
        (
            f"{CONTROLLER}/stack/new.py",
            "from ansible_collections.gpunode.stack.plugins.module_utils._node.nvidia_driver "
            "import drain",
        ),
        (
            f"{CONTROLLER}/plan/new.py",
            "from ansible_collections.gpunode.stack.plugins import action",
        ),
    ],
)
def test_an_import_that_breaks_a_law_is_found(path, line):
    assert len(forbidden(path, line)) == 1


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (f"{NODE}/gpu/new.py", "from ..kernel import kernels"),
        (f"{NODE}/gpu/new.py", "from . import clients"),
        (f"{NODE}/conda_env/new.py", "from ..conda import builds\nimport os"),
        (f"{CONTROLLER}/components/gunicorn_app.py", "from ..gunicorn import units"),
    ],
)
def test_an_import_that_keeps_to_the_laws_is_none_of_those(path, line):
    assert forbidden(path, line) == []


def test_unit_tests_lie_where_what_they_test_lies():
    unit = Path(project.ROOT, "tests/unit")
    tops = {path.name for path in unit.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert tops == OF_THEIR_OWN | set(MIRRORS)
    folders = {path.parent for top in MIRRORS for path in (unit / top).rglob("test_*.py")}
    places = {}
    for folder in folders:
        top, *parts = folder.relative_to(unit).parts
        places[folder] = Path(project.ROOT, MIRRORS[top], *parts)
    assert [folder for folder, place in places.items() if not place.is_dir()] == []


def test_tests_on_nodes_lie_by_component():
    system = Path(project.ROOT, "tests/system")
    found = {path.parent.name for path in system.rglob("test_*.py")} - {"system"}
    assert found - set(COMPONENTS) == {"preflight", "site"}


@pytest.mark.parametrize("path", files_below("tests/lab"))
def test_the_lab_knows_neither_stand_ins_nor_tests_on_nodes(path):
    assert not tops_imported(path) & {"standins", *ON_NODES}


@pytest.mark.parametrize("path", files_below("tests/standins"))
def test_builders_of_stand_ins_know_nothing_of_tests_on_nodes(path):
    # A test of theirs runs what it needs.
    assert Path(path).name.startswith("test_") or not tops_imported(path) & ON_NODES


def tops_imported(path):
    """Return what a file imports from, by the first parts of their names."""
    text = Path(project.ROOT, path).read_text(encoding="utf-8")
    return {name.partition(".")[0] for name in names_imported(path, text)}
