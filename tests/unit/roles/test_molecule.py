"""Each role has a scenario without options and one with all of them."""

from __future__ import annotations

import ast

import pytest

from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import project, wanted_state
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.components import registry
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.inputs import yaml_file

SYSTEM = project.ROOT / "tests" / "system"
SCENARIOS = ("default", "alternative")
#: What `alternative` leaves as it is by default, and the reason: what proves it below tests/system.
LEFT = {
    "miniforge": {
        "miniforge_state": "its other value leaves nothing: site/test_removal.py",
        "miniforge_version": "the inventory says it: ../lab/inventory.py",
        "miniforge_url": "the inventory says it: ../lab/inventory.py",
        "miniforge_sha256": "the inventory says it: ../lab/inventory.py",
        "miniforge_ca_source": "excludes ca_bundle: miniforge/test_company_network.py",
    },
    "conda_env": {
        "conda_env_list.packages": "solved into a lock beforehand: conda_env/test_lock.py",
        "conda_env_list.channels": "solved into a lock beforehand: conda_env/test_lock.py",
        "conda_env_list.pip": "solved into a lock beforehand: conda_env/test_lock.py",
        "conda_env_list.environment_file": "becomes packages and pip: conda_env/test_lock.py",
        "conda_env_list.build": "names what the host keeps: conda_env/test_environments.py",
    },
    "mlnx_ofed": {
        "mlnx_ofed_firmware_update": "needs a bundle: mlnx_ofed/test_bundle.py",
        "mlnx_ofed_options": "needs a bundle: mlnx_ofed/test_bundle.py",
        "mlnx_ofed_repository": "needs the archive of Ubuntu 26.04: mlnx_ofed/test_doca_archive.py",
        "mlnx_ofed_repository_key": "needs a mirror: mlnx_ofed/test_doca_el.py",
        "mlnx_ofed_repository_url": "needs a mirror: mlnx_ofed/test_doca.py",
        "mlnx_ofed_tmpdir": "needs a bundle: mlnx_ofed/test_bundle.py",
    },
    "nvidia_driver": {
        "nvidia_driver_state": "its other value leaves nothing: nvidia_driver/test_runfile.py",
        "nvidia_driver_repository_key": "needs a mirror: nvidia_driver/test_el.py",
        "nvidia_driver_repository_url": "needs a mirror: nvidia_driver/test_packages_faults.py",
    },
    "vgpu_license": {
        "vgpu_license_state": "its other value leaves nothing: vgpu_license/test_role.py",
        "vgpu_license_token": "excludes server: vgpu_license/test_role.py",
    },
    "peer_memory": {
        "peer_memory_archives": "needs an RDMA stack: peer_memory/test_dkms.py",
        "peer_memory_delivery": "needs an RDMA stack: peer_memory/test_rpm.py",
        "peer_memory_driver_module": "needs an RDMA stack: peer_memory/test_dkms.py",
        "peer_memory_driver_source": "needs an RDMA stack: peer_memory/test_dkms.py",
    },
    "gunicorn_app": {
        "gunicorn_app_list.release": "names what the host keeps: gunicorn_app/test_releases.py",
    },
}


def unchanged(options, values, where=""):
    """Return the paths of the options, nested ones too, that have no value but their default.

    :param options: {option: specification}.
    :param values: a list of {option: value}: one value other than the default is enough.
    """
    found = []
    for name, option in options.items():
        given = [one[name] for one in values if name in one]
        if all(value == option.get("default") for value in given):
            found.append(f"{where}{name}")
        elif "options" in option:
            items = [item for value in given for item in _as_list(value)]
            found += unchanged(option["options"], items, f"{where}{name}.")
    return found


def _as_list(value):
    return value if isinstance(value, list) else [value]


def variables(role, scenario):
    """Return the variables that a scenario's playbook sets, those of its plays and its roles."""
    plays = yaml_file.load(project.ROOT / "roles" / role / "molecule" / scenario / "converge.yml")
    found = {}
    for play in plays:
        for holder in [play, *play.get("roles", [])]:
            found.update(holder.get("vars", {}))
    return found


@pytest.mark.parametrize("role", registry.COMPONENTS)
def test_the_default_scenario_sets_no_option(role):
    assert variables(role, "default") == {}


@pytest.mark.parametrize("role", registry.COMPONENTS)
def test_the_alternative_scenario_sets_every_option_to_another_value(role):
    options = wanted_state.options_of(role)
    assert set(unchanged(options, [variables(role, "alternative")])) == set(LEFT[role])


@pytest.mark.parametrize("role", registry.COMPONENTS)
def test_what_the_alternative_scenario_leaves_is_proven_elsewhere(role):
    for reason in LEFT[role].values():
        assert (SYSTEM / reason.rpartition(": ")[2]).is_file(), reason


def test_an_option_that_a_scenario_forgets_is_found():
    options = {
        "plain": {"default": 1},
        "bare": {},
        "items": {"default": [], "options": {"name": {}, "deep": {"options": {"x": {}}}}},
    }
    assert unchanged(options, [{}]) == ["plain", "bare", "items"]
    given = {"plain": 1, "bare": "b", "items": [{"name": "n"}, {"deep": {}}]}
    assert unchanged(options, [given]) == ["plain", "items.deep.x"]
    given = {"plain": 2, "bare": "b", "items": [{"name": "n"}, {"deep": {"x": 0}}]}
    assert unchanged(options, [given]) == []


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("role", registry.COMPONENTS)
def test_each_scenario_verifies_something(role, scenario):
    # Where molecule finds no test it only warns.
    folder = project.ROOT / "roles" / role / "molecule" / scenario
    verifier = yaml_file.load(folder / "molecule.yml").get("verifier", {})
    files = list((folder / verifier.get("directory", "tests")).glob("test_*.py"))
    claims = [
        node.name
        for file in files
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    assert claims


def test_no_role_has_another_kind_of_scenario():
    found = {path.parent.name for path in project.ROOT.glob("roles/*/molecule/*/molecule.yml")}
    assert found == set(SCENARIOS)
