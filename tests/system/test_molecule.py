"""The molecule scenarios, run from the folder of each role as people run them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab import commands
from lab.errors import LabError
from lab.node import GUEST, Lab
from system.playbooks import PROJECT

pytestmark = pytest.mark.lab

SCENARIOS = {
    f"{path.parts[-4]}-{path.parts[-2]}": path
    for path in sorted(PROJECT.glob("roles/*/molecule/*/molecule.yml"))
}
#: One that converges a node in half a minute; the others are for `make test-full`.
QUICK = ("miniforge-default",)
_TEST_S = 900


def boot_ids(lab):
    """Return {node: boot id}; another one tells that it was switched off or made new."""
    return {node.name: node.ssh("cat /proc/sys/kernel/random/boot_id").stdout for node in lab.nodes}


def guest_is_on(lab):
    """Say whether a node is lent."""
    return bool(list(Path("/sys/class/net").glob(lab.paths.host_interface(GUEST))))


def molecule(path, folder, verb, **variables):
    """Run a scenario as people do, or a part of it, and return the CompletedProcess.

    :param path: its molecule.yml.
    :param folder: for what molecule keeps meanwhile.
    :param verb: such as "test".
    :param variables: further ones of the environment.
    """
    programs = Path(sys.executable).parent
    return subprocess.run(
        [programs / "molecule", verb, "--scenario-name", path.parts[-2]],
        cwd=path.parents[2],
        env={
            **os.environ,
            "PATH": f"{programs}:{os.environ['PATH']}",
            # Named after the role alone by default, so that two checkouts would share it.
            "MOLECULE_EPHEMERAL_DIRECTORY": str(folder),
            "NO_COLOR": "1",
            **variables,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_TEST_S,
        check=False,
    )


@pytest.mark.parametrize(
    "scenario",
    [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in SCENARIOS],
)
def test_a_scenario_passes_and_leaves_the_lab_as_it_was(lab, scenario, tmp_path):
    before = boot_ids(lab)
    done = molecule(SCENARIOS[scenario], tmp_path, "test")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no tests found" not in done.stdout + done.stderr
    assert "TASK [Add a node, and an inventory of it]" in done.stdout
    assert not guest_is_on(lab)
    assert boot_ids(lab) == before


@pytest.mark.slow
def test_a_scenario_is_run_on_the_shape_that_is_asked_for(lab, tmp_path):
    told = []
    for verb in ("create", "converge", "verify"):
        done = molecule(SCENARIOS["miniforge-default"], tmp_path, verb, LAB_SHAPE="el9")
        assert done.returncode == 0, done.stdout + done.stderr
        told.append(lab.node(f"node{GUEST}").ssh(". /etc/os-release; echo $ID").stdout.strip())
    assert molecule(SCENARIOS["miniforge-default"], tmp_path, "destroy").returncode == 0
    assert told == ["rocky"] * 3
    assert not guest_is_on(lab)


def test_a_lab_that_was_off_lends_a_node_and_is_off_afterwards(tmp_path):
    off = Lab(tmp_path)
    try:
        commands.borrow(off, tmp_path / "inventory.yml", os.getpid())
        assert guest_is_on(off)
        assert "lab_proxy" in (tmp_path / "inventory.yml").read_text()
        commands.give_back(off, os.getpid())
        assert not guest_is_on(off)
        assert not Path(f"/sys/class/net/{off.paths.bridge}").exists()
        assert commands.give_back(off, os.getpid()) is None, "giving back twice is no mistake"
    finally:
        commands.down(off)
        off.remove()


def test_a_node_that_is_lent_is_the_borrowers_for_as_long_as_that_runs(tmp_path):
    lending, me = Lab(tmp_path), os.getpid()
    borrower = subprocess.Popen(["sleep", "600"])
    try:
        commands.borrow(lending, tmp_path / "inventory.yml", borrower.pid)
        before = (tmp_path / "inventory.yml").read_text()
        for attempt in (
            lambda: commands.borrow(lending, tmp_path / "inventory.yml", me),
            lambda: commands.give_back(lending, me),
        ):
            with pytest.raises(LabError, match=f"lent to process {borrower.pid}"):
                attempt()
        assert guest_is_on(lending)
        assert (tmp_path / "inventory.yml").read_text() == before
        borrower.kill()
        borrower.wait()
        commands.give_back(lending, me)
        assert not guest_is_on(lending)
    finally:
        borrower.kill()
        borrower.wait()
        commands.down(lending)
        lending.remove()


def test_what_molecule_starts_borrows_on_behalf_of_molecule(tmp_path):
    code = tmp_path / "code.py"
    code.write_text("from lab import process\nprint(process.ancestor('molecule'))\n")
    program = tmp_path / "molecule"
    # A shell that has nothing else to do would become the Python.
    program.write_text(f"#!/bin/sh\necho $$\nsh -c '{sys.executable} {code}; true'\n")
    program.chmod(0o755)
    done = subprocess.run(
        [program],
        env={**os.environ, "PYTHONPATH": str(PROJECT / "tests")},
        capture_output=True,
        text=True,
        check=True,
    )
    itself, found = done.stdout.split()
    assert found == itself
