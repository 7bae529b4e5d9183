"""An environment from a spec: solved once, on one host, and then the same everywhere."""

from __future__ import annotations

import hashlib
import shutil

import pytest
import yaml

from system import playbooks

pytestmark = pytest.mark.lab

SPEC = {"packages": ["python=3", "pip", "flask=3.0"], "pip": ["colorama<0.4.6", "idna"]}
SPARE = playbooks.PROJECT / "inventory/lab/generated/ob_cuda.lock"
FILES = ("files/web.lock", "files/web.requirements.txt")


class Inventory:
    """An inventory of the lab's hosts that asks for one environment from a spec."""

    def __init__(self, folder, log):
        self.folder = folder
        self._log = log

    def ask(self, **changes):
        item = {"name": "web", **SPEC, **changes}
        text = yaml.safe_dump({"conda_env_list": [item]})
        (self.folder / "group_vars" / "all.yml").write_text(text)

    def site(self, *arguments):
        return playbooks.site("-i", self.folder, *arguments, log=self._log)

    def lock(self, *arguments):
        return playbooks.run("playbooks/lock.yml", "-i", self.folder, *arguments, log=self._log)

    def write(self, texts):
        for name, text in texts.items():
            (self.folder / name).write_text(text)

    def texts(self):
        return {name: (self.folder / name).read_text() for name in FILES}


@pytest.fixture(scope="module")
def inventory(lab, tmp_path_factory):
    """Fresh hosts, a spec, and no lock; the lab's own hosts afterwards."""
    folder = tmp_path_factory.mktemp("inventory")
    (folder / "group_vars").mkdir()
    shutil.copy(lab.paths.inventory, folder / "hosts.yml")
    asking = Inventory(folder, folder.with_name("ssh"))
    asking.ask()
    for node in lab.nodes:
        lab.fresh(node.name)
    yield asking
    for node in lab.nodes:
        lab.fresh(node.name)


@pytest.fixture(scope="module")
def unsolved(inventory):
    """Site with a spec that was never solved."""
    return inventory.site()


@pytest.fixture(scope="module")
def solved(unsolved, inventory):
    """The prediction, and the run that solves."""
    return inventory.lock("--check"), inventory.lock()


@pytest.fixture(scope="module")
def converged(solved, inventory):
    """Site with the files that were solved."""
    assert solved[1].status == 0, solved[1].messages()
    return inventory.site()


def test_a_spec_without_a_lock_is_refused_with_the_command_to_run(unsolved, inventory, lab):
    assert unsolved.status != 0
    assert f"{inventory.folder}/files/web.lock is not there yet" in unsolved.messages()
    assert f"`make lock INVENTORY={inventory.folder}`" in unsolved.messages()
    assert lab.ssh("node1", "test -e /opt/miniforge3").returncode != 0


def test_check_mode_says_what_is_solved_and_where(solved):
    predicted, real = solved
    assert (predicted.status, real.status) == (0, 0), real.messages()
    assert "web is to be solved on node1" in predicted.messages()
    assert predicted.changes("node1") == real.changes("node1") != []


def test_one_host_solves_and_the_others_are_left_alone(solved, lab):
    assert solved[1].changes("node2") == []
    assert lab.ssh("node2", "test -e /opt/miniforge3").returncode != 0


def test_the_files_say_what_they_were_solved_for(solved, inventory):
    lock, requirements = inventory.texts().values()
    assert "# package: flask=3.0\n" in lock
    assert "/flask-3.0.3-" in lock
    assert "# pip requirement: colorama<0.4.6\n" in requirements
    assert "colorama==0.4.5 \\\n    --hash=sha256:" in requirements


def test_nothing_of_the_solving_stays_on_the_host(solved, lab):
    left = "sudo ls -A /opt/gpunode/envs /var/lib/gpunode/building"
    assert lab.ssh("node1", left).stdout.split() == [
        "/opt/gpunode/envs:",
        "/var/lib/gpunode/building:",
    ]


def test_hosts_converge_to_the_very_same_packages(converged, inventory, lab):
    assert converged.status == 0, converged.messages()
    listing = "/opt/miniforge3/bin/conda list --json --prefix /opt/gpunode/envs/web"
    found = [yaml.safe_load(lab.ssh(node.name, listing).stdout) for node in lab.nodes]
    assert found[0] == found[1]
    assert {"flask", "colorama", "idna"} <= {package["name"] for package in found[0]}


def test_a_second_run_solves_nothing(converged, inventory):
    before = inventory.texts()
    again = inventory.lock()
    assert (again.status, set(again.changed.values())) == (0, {0}), again.messages()
    assert again.round_trips == []
    assert inventory.texts() == before


def older(texts):
    """Return the files for any flask, as of a time when the channel had earlier versions.

    One package of today is not in them, and one is that nobody needs any more.
    """
    lock, requirements = texts.values()
    spare = next(line for line in SPARE.read_text().splitlines() if "/gunicorn-" in line)
    lines = [line for line in lock.splitlines() if "/click-" not in line]
    aged = "\n".join([*lines, spare, ""]).replace("# package: flask=3.0", "# package: flask")
    digests = [hashlib.sha256(text.encode()).hexdigest() for text in (lock, aged)]
    requirements = requirements.replace("# package: flask=3.0", "# package: flask")
    return dict(zip(FILES, (aged, requirements.replace(*digests)), strict=True))


@pytest.mark.slow
def test_newer_versions_come_when_asked_for_and_the_difference_is_shown(converged, inventory):
    before = inventory.texts()
    inventory.ask(packages=["python=3", "pip", "flask"])
    inventory.write(older(before))
    unasked = inventory.lock()
    assert (unasked.status, set(unasked.changed.values())) == (0, {0}), unasked.messages()
    misspelt = inventory.lock("-e", "lock_upgrade=wbe")
    assert misspelt.status != 0
    assert "lock_upgrade wbe" in misspelt.messages()
    assert "There are web" in misspelt.messages()
    assert inventory.texts() == older(before)
    upgrade = inventory.lock("-e", "lock_upgrade=web")
    assert upgrade.status == 0, upgrade.messages()
    for sentence in ("added: click ", "removed: gunicorn ", "changed: flask 3.0.3 (py_0) -> 3.1.3"):
        assert sentence in upgrade.messages()
    assert "/flask-3.1.3-" in inventory.texts()[FILES[0]]
    inventory.write(before)
    inventory.ask()


def test_another_spec_is_refused_until_it_is_solved(converged, inventory):
    inventory.ask(packages=["python=3", "pip", "flask=3.1"])
    refused = inventory.site()
    assert refused.status != 0
    assert "package flask=3.1 is asked for and not in it" in refused.messages()
    again = inventory.lock("--limit", "node2")
    assert again.status == 0, again.messages()
    assert "changed: flask 3.0.3 (py_0) -> 3.1.3 (py_0)" in again.messages()
    assert inventory.site("--check").status == 0


def test_a_package_that_does_not_exist_is_named_and_the_lock_stays(converged, inventory, lab):
    before = inventory.texts()
    inventory.ask(packages=["python=3", "pip", "no-such-package"])
    refused = inventory.lock()
    assert refused.status != 0
    assert "environment web: conda create" in refused.messages()
    assert "no channel has no-such-package" in refused.messages()
    assert inventory.texts() == before
    assert lab.ssh("node1", "sudo ls /var/lib/gpunode/building").stdout == ""
