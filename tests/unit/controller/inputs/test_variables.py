"""Misspelt variables are named, other people's variables are left alone."""

import pytest
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.vars.manager import VariableManager

from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.inputs import variables

KNOWN = {
    "conda_env_list",
    "conda_env_dir",
    "gunicorn_app_list",
    "gunicorn_app_secrets",
    "gpunode_batch",
    "gpunode_driver_version",
    "gpunode_stack",
    "miniforge_prefix",
    "nvidia_driver_fabric",
}
PREFIXES = ("conda_env", "gunicorn_app", "miniforge", "nvidia_driver", "gpunode")


def refused(*names, own=()):
    found = variables.unknown(names, KNOWN, PREFIXES, own)
    return {refusal.what.removeprefix("variable "): refusal.remedy for refusal in found}


@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        ("conda_env_lsit", "conda_env_list"),
        ("conda_env_List", "conda_env_list"),
        ("gpunode_stakc", "gpunode_stack"),
        ("gpunode_driver_verison", "gpunode_driver_version"),
        ("gunicorn_app_secret", "gunicorn_app_secrets"),
        ("gunicron_app_list", "gunicorn_app_list"),
        ("gpu_node_stack", "gpunode_stack"),
        ("miniforge_prefx", "miniforge_prefix"),
    ],
)
def test_a_near_miss_is_refused_with_the_name_that_was_meant(slip, meant):
    assert refused(slip)[slip].startswith(f"Did you mean {meant}?")


@pytest.mark.parametrize(
    "name",
    [
        *("conda_env_base_packages", "gunicorn_app_port", "gpunode_site", "gpunode_branch"),
        *("nvidia_driver_branch", "nvidia_driver_package_state", "miniforge_version"),
    ],
)
def test_what_has_only_our_prefix_is_refused_without_a_guess_and_with_the_place_for_ones_own(name):
    remedy = refused(name)[name]
    assert "Did you mean" not in remedy
    assert "let its name begin with my_, or list it in gpunode_own_variables" in remedy


def test_what_is_said_to_be_ones_own_passes_and_nothing_else_does():
    names = ("nvidia_driver_branch", "gunicron_app_list", "gpunode_site")
    assert list(refused(*names, own=["nvidia_driver_branch", "gunicron_app_list"])) == [
        "gpunode_site"
    ]


def test_known_names_and_other_peoples_names_pass():
    theirs = ("mirror", "ansible_user", "http_port", "__internal", "conda", "conda_list")
    assert refused(*KNOWN, *theirs, "my_conda_env_list", "my_gpunode_stack", "gunicorn_port") == {}


def test_what_ansible_itself_has_of_a_host_is_compared_with_no_option(monkeypatch):
    loader = DataLoader()
    inventory = InventoryManager(loader, sources="one,")
    has = VariableManager(loader, inventory).get_vars(host=inventory.get_host("one"))
    compared = []
    monkeypatch.setattr(variables, "_nearest", lambda name, *_known: compared.append(name) or "")
    assert {"groups", "inventory_hostname"} <= set(has)
    assert refused(*has, "own") == {}
    assert compared == ["own"]
