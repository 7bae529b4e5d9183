"""Transactions of dnf that wait, fail halfway, are cut, or are somebody else's.

On nodes shaped as Enterprise Linux and its like, see test_el.py.
"""

from __future__ import annotations

import pytest

from lab.shapes import el
from system import cut_runs
from system.nvidia_driver import driver_runs, el_host

pytestmark = [pytest.mark.lab, pytest.mark.slow]

NODE = "node1"
OLD, NEW, NEXT = "580.95.05", "580.105.08", "595.58.03"
OPEN = "Dual MIT/GPL"
# Which rpm holds for as long as a transaction lasts.
RPM_LOCK = "/var/lib/rpm/.rpm.lock"
LOCK_S = 40
# dnf-automatic(8): what it updates, and where it tells of it, which is by mail where nothing is
# said; kernels arrive in a test of their own.
AUTOMATIC = """\
[commands]
upgrade_type = default
[emitters]
emit_via = stdio
[base]
excludepkgs = kernel*
"""


@pytest.fixture(scope="module", params=el.SHAPES)
def host(lab, request):
    with el_host.shaped(lab, NODE, request.param) as made:
        yield made


@pytest.fixture
def converge(tmp_path, host):
    return host.converging(tmp_path / "ssh")


def test_a_database_that_another_one_holds_is_waited_for(converge, host):
    host.publish(OLD)
    host.says(driver_runs.hold_lock(LOCK_S, RPM_LOCK))
    done = converge()
    assert done.status == 0, done.messages()
    assert host.tried("test -e /run/released").returncode == 0
    assert host.modules() == {host.release: (OLD, OPEN)}


def test_an_update_of_the_host_leaves_the_driver_at_its_version(converge, host):
    host.publish(OLD, NEW)
    host.says("dnf -y -q upgrade --exclude='kernel*'", timeout_s=300)
    assert set(host.versions().values()) == {OLD}
    told = converge()
    assert (told.status, told.changed[NODE]) == (0, 0), told.messages()
    dist = host.shape.name
    assert (
        f"held at 3:{OLD}-1.{dist}, and the repository offers 3:{NEW}-1.{dist}" in told.messages()
    )


def automatic(host, verb):
    """Run dnf-automatic, as its timer does in time; return what it says."""
    host.says(f"cat >/root/automatic.conf <<'end'\n{AUTOMATIC}end")
    called = f'main(["/root/automatic.conf", "{verb}"])'
    return host.says(f"python3 -c 'from dnf.automatic.main import main; exit({called})' 2>&1")


def test_dnf_automatic_leaves_the_driver_at_its_version(converge, host):
    before = host.versions(), host.modules()
    assert "nvidia" not in automatic(host, "--installupdates")
    assert (host.versions(), host.modules()) == before
    # Without the pins it would have come.
    host.says(f"cp {el_host.PINS} /root/pins; : >{el_host.PINS}")
    told = automatic(host, "--downloadupdates")
    host.says(f"cat /root/pins >{el_host.PINS}")
    assert "nvidia-driver-cuda" in told
    assert driver_runs.is_settled(converge(), NODE)


def test_a_kernel_that_arrives_has_the_driver_and_keeps_it(converge, host):
    # By their versions: with best=False, as Amazon Linux has it, dnf is content with what is there.
    coming = " ".join(f"{name}-{host.shape.next_kernel}" for name in host.shape.kernel_packages)
    host.says(f"dnf -y -q install {coming}", timeout_s=300)
    both = dict.fromkeys([host.release, host.shape.next_kernel], (OLD, OPEN))
    assert host.modules() == both
    driver_runs.as_predicted(converge, NODE)
    assert host.modules() == both


def test_modules_that_cannot_be_built_leave_the_driver_of_both_kernels(converge, host):
    host.publish(OLD, NEXT, faults={"kmod-nvidia-open-dkms": "broken-module"})
    before = host.versions(), host.modules()
    assert len(host.modules()) == 2
    done = converge(gpunode_stack="r595")
    assert done.status != 0
    assert "this kernel is not supported" in done.messages()
    assert "no module was replaced" in done.messages()
    assert (host.versions(), host.modules()) == before


def test_a_package_that_fails_halfway_gives_way_to_what_is_kept(converge, host):
    before = host.versions(), host.modules()
    # The repository has the newest alone.
    host.publish(NEXT, faults={"nvidia-modprobe": "broken-pre"})
    done = converge(gpunode_stack="r595")
    assert done.status != 0
    assert (
        f"%prein(nvidia-modprobe-3:{NEXT}-1.{host.shape.name}.x86_64) scriptlet failed"
        in done.messages()
    )
    assert f"Driver {OLD} is back" in done.messages()
    assert (host.versions(), host.modules()) == before


def test_a_transaction_that_was_cut_is_brought_to_its_end(converge, host):
    host.publish(OLD, NEXT)
    at_work = "test -e /usr/src/nvidia-open-595.58.03/dkms.conf && rpm -q kmod-nvidia-open-dkms"
    at_work += f" | grep -q {NEXT}"
    said = {"gpunode_stack": "r595", **host.said}
    cut_runs.killed(host, at_work, "host", "--limit", NODE, *driver_runs.said(**said))
    driver_runs.as_predicted(converge, NODE, gpunode_stack="r595")
    assert set(host.versions().values()) == {NEXT}
    assert host.says("dnf -q repoquery --duplicates; rpm -qa '*nvidia*' | wc -l") == "9"
    assert set(host.modules().values()) == {(NEXT, OPEN)}


def test_what_is_kept_comes_back_though_the_repository_is_gone(converge, host):
    host.hide()
    done = converge(gpunode_driver_version=OLD)
    assert done.status == 0, done.messages()
    assert set(host.versions().values()) == {OLD}
    host.serve()


@pytest.mark.parametrize(
    "said",
    [
        {"gpunode_driver_modules": "proprietary"},
        {"gpunode_stack": "r595", "gpunode_driver_modules": "open"},
        {"gpunode_driver_modules": "open"},
    ],
    ids=["other-kind", "newer-branch", "older-branch"],
)
def test_what_is_foretold_of_an_exchange_is_what_is_done(converge, host, said):
    host.publish(OLD, NEXT)
    predicted = converge("--check", **said)
    assert predicted.status == 0, predicted.messages()
    done = converge(**said)
    assert done.status == 0, done.messages()
    assert predicted.changes(NODE) == done.changes(NODE)
    assert driver_runs.is_settled(converge(**said), NODE)


@pytest.mark.parametrize(
    "damage",
    [
        "rpm -e --nodeps nvidia-modprobe",
        "rm /lib/modules/*/extra/nvidia*.ko*",
        f"sed -i /nvidia/d {el_host.PINS}",
        f"rm {el_host.REPOSITORY}",
    ],
    ids=["a package", "the modules", "the pins", "the repository"],
)
def test_what_is_broken_by_hand_is_reported_and_repaired(converge, host, damage):
    before = host.traces(), host.modules()
    host.says(damage)
    assert driver_runs.as_predicted(converge, NODE)
    assert (host.traces(), host.modules()) == before
    assert driver_runs.is_settled(converge(), NODE)
