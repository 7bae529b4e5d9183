"""The molecule scenarios, run from the folder of each role as people run them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab import commands
from lab.fleet import PROJECT
from lab.node import GUEST, Lab

pytestmark = pytest.mark.lab

SCENARIOS = {
    f"{path.parts[-4]}-{path.parts[-2]}": path
    for path in sorted(PROJECT.glob("roles/*/molecule/*/molecule.yml"))
}
#: The one that takes seconds.
QUICK = "conda_env-default"
_TEST_S = 900


def boot_ids(lab):
    """Return {node: boot id}; another one tells that it was switched off or made new."""
    return {node.name: node.ssh("cat /proc/sys/kernel/random/boot_id").stdout for node in lab.nodes}


def guest_is_on(lab):
    """Say whether a node is lent."""
    return bool(list(Path("/sys/class/net").glob(lab.paths.host_interface(GUEST))))


@pytest.mark.parametrize(
    "scenario",
    [pytest.param(name, marks=[] if name == QUICK else pytest.mark.slow) for name in SCENARIOS],
)
def test_a_scenario_passes_and_leaves_the_lab_as_it_was(lab, scenario, tmp_path):
    path = SCENARIOS[scenario]
    before = boot_ids(lab)
    folder = Path(sys.executable).parent
    done = subprocess.run(
        [folder / "molecule", "test", "--scenario-name", path.parts[-2]],
        cwd=path.parents[2],
        env={
            **os.environ,
            "PATH": f"{folder}:{os.environ['PATH']}",
            # Named after the role alone by default, so that two checkouts would share it.
            "MOLECULE_EPHEMERAL_DIRECTORY": str(tmp_path),
            "NO_COLOR": "1",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_TEST_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no tests found" not in done.stdout + done.stderr
    assert not guest_is_on(lab)
    assert boot_ids(lab) == before


def test_a_lab_that_was_off_lends_a_node_and_is_off_afterwards(tmp_path):
    off = Lab(tmp_path)
    try:
        commands.borrow(off, tmp_path / "inventory.yml")
        assert guest_is_on(off)
        assert "lab_proxy" in (tmp_path / "inventory.yml").read_text()
        commands.give_back(off)
        assert not guest_is_on(off)
        assert not Path(f"/sys/class/net/{off.paths.bridge}").exists()
        assert commands.give_back(off) is None, "giving back twice is no mistake"
    finally:
        commands.down(off)
        off.remove()
