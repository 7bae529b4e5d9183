"""The lab itself, on nodes of labs that belong to throw-away checkouts."""

from __future__ import annotations

import contextlib
import ensurepip
import hashlib
import os
import signal
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab import cgroup, process
from lab.command import run
from lab.node import Lab
from lab.paths import CHECKOUT

pytestmark = pytest.mark.lab

_REBOOT_TIMEOUT_S = 60
_UP = "import sys; from lab.node import Lab; Lab(sys.argv[1]).up(2)"


def a_lab(folder):
    folder.mkdir()
    return Lab(folder)


def boot_ids(lab):
    return {
        node.name: told(lab, node.name, "cat /proc/sys/kernel/random/boot_id") for node in lab.nodes
    }


def told(lab, name, command, timeout_s=60):
    """What a node's command prints; the test fails where the command does."""
    done = lab.ssh(name, command, timeout_s)
    assert done.returncode == 0, f"{name}: {command}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def processes_of(lab):
    """The processes in the lab's control group: id to start time."""
    started = {}
    for procs in (cgroup.hierarchy() / lab.paths.label).rglob("cgroup.procs"):
        for pid in procs.read_text(encoding="ascii").split():
            started[int(pid)] = process.start_time(int(pid))
    return started


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A lab of two nodes; tests may leave it in any state."""
    lab = a_lab(tmp_path_factory.mktemp("own") / "checkout")
    lab.up(2)
    yield lab
    lab.remove()


@pytest.fixture
def own(made):
    """The same lab, up and in order."""
    made.up(2)
    return made


def test_nodes_alternate_between_the_releases_and_have_boot_ids_of_their_own(own):
    releases = [
        told(own, node.name, ". /etc/os-release; echo $VERSION_CODENAME") for node in own.nodes
    ]
    assert releases == ["bookworm", "trixie"]
    machine = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    assert len({machine, *boot_ids(own).values()}) == 3


def test_a_node_is_entered_as_an_ordinary_user_who_has_sudo(own):
    assert told(own, "node1", "id -u; sudo -n id -u").split() == ["1000", "0"]


def test_a_node_has_nothing_that_a_role_must_bring(own):
    programs = "pip3 conda git curl wget gcc make"
    assert own.ssh("node1", f"command -v {programs}").stdout == ""


def test_a_nodes_console_log_shows_how_it_booted(own):
    for node in own.nodes:
        assert "Multi-User System" in node.console.read_text(encoding="utf-8", errors="replace")


def test_a_reboot_from_inside_changes_the_boot_id_of_that_node_alone(own):
    before = boot_ids(own)
    own.ssh("node1", "sudo systemctl reboot")
    deadline = time.monotonic() + _REBOOT_TIMEOUT_S
    while time.monotonic() < deadline:
        answer = own.ssh("node1", "cat /proc/sys/kernel/random/boot_id")
        if answer.returncode == 0 and answer.stdout.strip() != before["node1"]:
            break
    after = boot_ids(own)
    assert after["node1"] != before["node1"]
    assert after["node2"] == before["node2"]


def test_up_again_restarts_nothing(own):
    before = boot_ids(own)
    own.up()
    assert boot_ids(own) == before


def test_up_repairs_a_killed_launcher(own):
    before = boot_ids(own)
    _kill(own, "node1", "lab.launcher")
    own.up()
    after = boot_ids(own)
    assert after["node1"] != before["node1"]
    assert after["node2"] == before["node2"]


def test_up_repairs_a_killed_nspawn(own):
    before = boot_ids(own)
    _kill(own, "node2", "systemd-nspawn")
    own.up()
    assert boot_ids(own)["node2"] != before["node2"]


@pytest.mark.parametrize("delay_s", [0.4, 1.2])
def test_up_repairs_what_a_killed_up_left(own, delay_s):
    own.down()
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT / "tests")}
    killed = subprocess.Popen([sys.executable, "-c", _UP, own.paths.checkout], env=environment)
    time.sleep(delay_s)
    killed.kill()
    killed.wait(10)
    own.up()
    assert len(set(boot_ids(own).values())) == 2


@pytest.mark.slow
def test_up_brings_back_a_node_that_is_cut_off(own):
    run(["ip", "link", "delete", own.paths.bridge])
    own.up()
    assert len(boot_ids(own)) == 2


def test_a_failed_unit_does_not_keep_a_node_that_has_been_up_from_being_up(own):
    own.ssh("node1", "sudo systemd-run --quiet --wait --unit=broken false")
    assert own.ssh("node1", "systemctl is-system-running").stdout.strip() == "degraded"
    before = boot_ids(own)
    own.up()
    assert boot_ids(own) == before
    own.ssh("node1", "sudo systemctl reset-failed")


def test_a_fresh_node_has_forgotten_what_was_written_and_its_neighbour_has_not(own):
    for name in ("node1", "node2"):
        told(own, name, "sudo touch /etc/written")
    own.fresh("node1")
    assert not (own.tree("node1") / "etc/written").exists()
    assert (own.tree("node2") / "etc/written").exists()


def test_a_stopped_node_does_not_answer_and_starts_with_its_files(own):
    told(own, "node1", "sudo touch /etc/kept")
    own.stop("node1")
    assert own.ssh("node1", "true").returncode == 255
    assert (own.tree("node1") / "etc/kept").exists()
    own.start("node1")
    told(own, "node1", "test -e /etc/kept")


def test_one_node_more_leaves_the_others_running_and_is_given_back(own):
    before = boot_ids(own)
    own.up(3)
    with_third = boot_ids(own)
    assert set(with_third) == {"node1", "node2", "node3"}
    own.up(2)
    assert boot_ids(own) == before
    assert before.items() <= with_third.items()


def test_two_checkouts_do_not_collide(own, tmp_path):
    before = boot_ids(own)
    other = a_lab(tmp_path / "checkout")
    try:
        other.up(2)
        assert not own.network.subnet.overlaps(other.network.subnet)
        assert len({*before.values(), *boot_ids(other).values()}) == 4
    finally:
        other.remove()
    assert boot_ids(own) == before


@pytest.mark.parametrize("name", ["node1", "node2"])
def test_apt_in_a_node_uses_the_machines_mirror(own, name):
    listing = "apt-get --print-uris update"
    node = _archives(told(own, name, listing))
    assert node
    assert node <= _archives(run(listing.split()).stdout)
    told(own, name, "sudo apt-get update --error-on=any", timeout_s=120)


@pytest.mark.parametrize("name", ["node1", "node2"])
def test_pip_in_a_node_downloads_with_the_machines_settings(own, name):
    (wheel,) = (Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")
    place = own.tree(name) / "home/ops/pip.whl"
    place.write_bytes(wheel.read_bytes())
    told(
        own,
        name,
        "python3 pip.whl/pip download --no-cache-dir --no-deps --dest downloaded iniconfig",
        timeout_s=120,
    )
    assert told(own, name, "ls downloaded").startswith("iniconfig-")


def test_a_node_trusts_the_authorities_that_the_machine_was_given(own):
    given = list(Path("/usr/local/share/ca-certificates").rglob("*.crt"))
    if not given:
        pytest.skip("this machine was given no certificate authority of its own")
    wanted = {
        hashlib.sha256(ssl.PEM_cert_to_DER_cert(path.read_text("ascii"))).hexdigest()
        for path in given
    }
    trusted = told(
        own,
        "node2",
        """python3 -c '
import hashlib, ssl
context = ssl.create_default_context(cafile="/etc/ssl/certs/ca-certificates.crt")
for each in context.get_ca_certs(binary_form=True):
    print(hashlib.sha256(each).hexdigest())'""",
    )
    assert wanted <= set(trusted.split())


def _archives(listing):
    """Return the repositories that `apt-get --print-uris update` would read."""
    return {line.strip("'").partition("/dists/")[0] for line in listing.splitlines()}


def _kill(lab, name, word):
    """Kill the process of a node's group whose command line has ``word`` in it."""
    for pid in processes_of(lab):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            command = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
            group = Path(f"/proc/{pid}/cgroup").read_text(encoding="ascii")
            if f"/{name}/" in group and word in command:
                os.kill(pid, signal.SIGKILL)
                return
    pytest.fail(f"{name} has no process with {word} in its command")


@dataclass
class Traces:
    """What can be seen of a lab on the machine."""

    processes: dict
    mounts: list
    interfaces: list
    rules: list
    cgroups: list

    @classmethod
    def of(cls, lab):
        mounted = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
        saved = run(["iptables-save"]).stdout.splitlines()
        short = lab.paths.id[:8]
        return cls(
            processes=processes_of(lab),
            mounts=[line for line in mounted if lab.paths.id in line],
            interfaces=[path for path in Path("/sys/class/net").iterdir() if short in path.name],
            rules=[line for line in saved if lab.paths.id in line],
            cgroups=[path for path in Path("/sys/fs/cgroup").rglob("*/") if short in path.name],
        )


@pytest.fixture(scope="module")
def taken_down(made):
    """What was to be seen of the lab while it was up, and after it was taken down."""
    made.up(2)
    before = Traces.of(made)
    made.down()
    yield before, Traces.of(made)
    made.up(2)


def test_down_leaves_no_process(taken_down):
    before, _after = taken_down
    assert before.processes
    alive = [pid for pid, start in before.processes.items() if process.start_time(pid) == start]
    assert not alive


@pytest.mark.parametrize("kind", ["mounts", "interfaces", "rules", "cgroups"])
def test_down_leaves_no(taken_down, kind):
    before, after = taken_down
    assert getattr(before, kind)
    assert not getattr(after, kind)


def test_down_twice_is_fine(taken_down, made):
    made.down()
