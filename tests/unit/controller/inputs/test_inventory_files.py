"""What Ansible would take for an inventory is refused; what it passes over is not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ansible.inventory.manager import IGNORED_ALWAYS, IGNORED_EXTS, InventoryManager
from ansible.parsing.dataloader import DataLoader

from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import wanted_state
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.inputs import (
    inventory_files,
)
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.plan import host_plan

PROJECT = Path(__file__).parents[4]
LOCK = "# platform: linux-64\n@EXPLICIT\nhttps://conda.example/noarch/flask-3-0.conda#0\n"


@pytest.fixture
def inventory(tmp_path, monkeypatch):
    """A folder with a file of hosts, read as Ansible does by itself; write(path, text, mode)."""
    own = re.compile(b"|".join(IGNORED_ALWAYS + IGNORED_EXTS))
    monkeypatch.setattr(inventory_files, "IGNORED", own)
    folder = tmp_path / "prod"

    def write(path, text="", mode=0o644):
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        place.chmod(mode)
        return str(place)

    write("hosts.yml", "all: {hosts: {web1: {}}}\n")
    write.folder = str(folder)
    return write


def told(inventory, named=(), source=None):
    found = inventory_files.refusals([source or inventory.folder], named)
    return [refusal.what.partition(" in the inventory ")[0] for refusal in found]


STRANGERS = {
    "a lock": ("locks/web.lock", LOCK, 0o644),
    "a lock beside the hosts": ("web.lock", LOCK, 0o644),
    "conda-lock's own name": ("conda-linux-64.lock", LOCK, 0o644),
    "a lock by another name": ("web", LOCK, 0o644),
    "a Django project": ("app/manage.py", "#!/usr/bin/python3\nprint('{}')\n", 0o755),
    "an application": ("app/main.py", "app = 1\n", 0o644),
    "a script of an application": ("app/bin/start", "#!/bin/sh\n", 0o755),
    "a certificate": ("tls/ca.pem", "-----BEGIN CERTIFICATE-----\n", 0o644),
    "a certificate beside the hosts": ("ca.pem", "-----BEGIN CERTIFICATE-----\n", 0o644),
    "a key without an ending": ("id_ed25519", "-----BEGIN OPENSSH PRIVATE KEY-----\n", 0o600),
    "a driver, which would be run": ("NVIDIA-Linux-x86_64-535.run", "#! /bin/sh\n", 0o755),
    "an installer of conda, too": ("Miniforge3-24.7.1-2-Linux-x86_64.sh", "#!/bin/sh\n", 0o755),
    "a bundle": ("MLNX_OFED_LINUX-24.10.tgz", "\x1f\0", 0o644),
    "an archive by another name": ("bundle", "PK\3\4\0", 0o644),
    "what pip is asked for": ("requirements.in", "flask>=3\n", 0o644),
    "a lock of another tool": ("uv.lock", "version = 1\n", 0o644),
    "a token": ("client.tok", "eyJhbGciOi\n", 0o644),
    "a wheel": ("web-1.0-py3-none-any.whl", "x", 0o644),
    "a key of a repository": ("cuda.gpg", "x", 0o644),
}


@pytest.mark.parametrize("kind", STRANGERS)
def test_what_would_be_read_as_an_inventory_is_refused_with_the_remedy(inventory, kind):
    path = inventory(*STRANGERS[kind])
    (refusal,) = inventory_files.refusals([inventory.folder])
    assert refusal.what == f"{path} in the inventory {inventory.folder}"
    assert f"such as {inventory.folder}/hosts.yml" in refusal.remedy


@pytest.mark.parametrize("path", ["notes", "settings.json", "app/settings.yml"])
def test_whatever_a_variable_names_is_no_inventory(inventory, path):
    place = inventory(path, "{}")
    assert told(inventory) == []
    assert told(inventory, [place]) == [place]


def test_what_only_begins_like_a_path_of_a_variable_is_left_alone(inventory):
    inventory("app2/hosts.yml")
    assert told(inventory, [f"{inventory.folder}/app"]) == []


def test_a_link_to_nothing_is_left_to_ansible(inventory):
    os.symlink("gone", f"{inventory.folder}/hosts")
    assert told(inventory) == []


def test_the_file_of_hosts_that_is_there_is_named(tmp_path):
    (tmp_path / "hosts.ini").write_text("[gpus]\nweb1\n")
    (tmp_path / "web").write_text(LOCK)
    (refusal,) = inventory_files.refusals([str(tmp_path)])
    assert f"such as {tmp_path}/hosts.ini" in refusal.remedy


def test_a_folder_that_a_variable_names_is_told_once_and_not_by_each_file(inventory):
    for name in ("a.py", "b/c.py", "settings.yml"):
        inventory(f"app/{name}")
    folder = f"{inventory.folder}/app"
    assert told(inventory, [folder]) == [folder]


@pytest.mark.parametrize(
    ("path", "text", "mode"),
    [
        ("more.ini", "[gpus]\nweb2\n", 0o644),
        ("openstack.py", "#!/usr/bin/python3\n", 0o755),
        ("inventory.sh", "#!/bin/sh\n", 0o755),
        ("cloud", "#!/usr/bin/python3\n", 0o755),
        ("vaulted", "$ANSIBLE_VAULT;1.1;AES256\n6162\n", 0o644),
        ("dc1/hosts.yml", "all: {}\n", 0o644),
        ("dc1/hosts", "[gpus]\nweb2\n", 0o644),
        ("dc1/hosts.yaml", "all: {}\n", 0o644),
        ("dc1/hosts.json", "{}\n", 0o644),
        ("group_vars/all/web.lock", LOCK, 0o644),
        (".git/hooks/pre-commit", "#!/bin/sh\n", 0o755),
        ("web.requirements.txt", "flask==3\n", 0o644),
    ],
)
def test_inventories_and_what_ansible_passes_over_are_not_refused(inventory, path, text, mode):
    inventory(path, text, mode)
    assert told(inventory) == []


def test_beside_a_file_of_hosts_anything_may_lie(inventory):
    lock = inventory("locks/web.lock", LOCK)
    program = inventory("app/manage.py", f"#!/bin/sh\ntouch {inventory.folder}/run\n", 0o755)
    hosts = f"{inventory.folder}/hosts.yml"
    assert told(inventory, [lock, program], hosts) == []
    manager = InventoryManager(loader=DataLoader(), sources=[hosts])
    assert list(manager.hosts) == ["web1"]
    assert not os.path.exists(f"{inventory.folder}/run")


def test_a_run_refuses_what_its_variables_name_in_a_folder_of_hosts(inventory):
    lock = inventory("deep/web", "@EXPLICIT\n")
    said = {"conda_env_list": [{"name": "web", "lock": "deep/web"}]}
    site = wanted_state.Site(said, inventory.folder, [inventory.folder])
    assert lock in " ".join(refusal.what for refusal in host_plan.wishes(site, said).refusals)


def test_the_base_of_relative_paths_can_be_said(inventory):
    variables = {"inventory_dir": inventory.folder, "gpunode_base": "../elsewhere"}

    class Templar:
        template = staticmethod(lambda value: value)

    found = wanted_state.site_of(variables, Templar).path("web.lock")
    assert os.path.normpath(found) == os.path.join(
        os.path.dirname(inventory.folder), "elsewhere/web.lock"
    )
    variables["gpunode_base"] = "/srv/gpunode"
    assert wanted_state.site_of(variables, Templar).path("web.lock") == "/srv/gpunode/web.lock"
    del variables["gpunode_base"]
    assert wanted_state.site_of(variables, Templar).path("x") == f"{inventory.folder}/x"


def test_make_refuses_before_ansible_has_read_anything(inventory):
    inventory("app/manage.py", f"#!/bin/sh\ntouch {inventory.folder}/run\n", 0o755)
    done = subprocess.run(
        [sys.executable, PROJECT / "tools/inventory.py", inventory.folder, "--inventory", "x"],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": "collections"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"{inventory.folder}/app/manage.py in the inventory ")
    assert not os.path.exists(f"{inventory.folder}/run")
    make = (PROJECT / "Makefile").read_text()
    assert "tools/inventory.py $(INVENTORY) && \\\n\t$(BIN)/ansible-playbook" in make
