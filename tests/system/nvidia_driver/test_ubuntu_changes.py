"""What becomes of a driver of Ubuntu's packages, on nodes shaped as each release of Ubuntu."""

from __future__ import annotations

import pytest

from lab.shapes import ubuntu
from system import cut_runs
from system.nvidia_driver import driver_runs, ubuntu_host

pytestmark = [pytest.mark.lab, pytest.mark.slow]

NODE = "node1"
FIRST, SECOND, THIRD, OTHER_BRANCH = "580.95.05", "580.126.20", "580.159.03", "595.58.03"
PERSISTENCED = "nvidia-persistenced.service"
PINS = "/etc/apt/preferences.d/gpunode-nvidia"
OPEN, PROPRIETARY = "Dual MIT/GPL", "NVIDIA"
LOCK_S = 60


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(
            name,
            marks=[
                pytest.mark.executes(one, name)
                for one in ("facts", "driver_packages")
                # Quick tests execute that one: test_ubuntu.py.
                if name != "ubuntu24.04"
            ],
        )
        for name in ubuntu.SHAPES
    ],
)
def host(lab, request):
    with ubuntu_host.shaped(lab, NODE, request.param) as made:
        made.publish(FIRST)
        yield made


@pytest.fixture
def converge(host, tmp_path):
    def run(*arguments, **variables):
        said = {"gpunode_stack": "r580", **variables}
        return driver_runs.converge(host.node, tmp_path / "ssh", *arguments, **said)

    return run


def is_whole(host, driver, *kernels):
    """Hold the node to having one driver, for its kernel and further ones."""
    assert set(host.versions().values()) == {host.package_version(driver)}
    assert host.modules() == dict.fromkeys([host.release, *kernels], driver)
    assert host.says("dpkg --audit") == ""


def rests(host, converge, **variables):
    return driver_runs.is_settled(converge(**variables), host.node)


def test_a_fresh_host_has_the_driver_and_rests(converge, host):
    driver_runs.as_predicted(converge, host.node)
    is_whole(host, FIRST)
    shown = host.says(f"systemctl show -p ExecStart -p UnitFileState {PERSISTENCED}")
    assert "UnitFileState=enabled" in shown
    assert "--no-persistence-mode" not in shown
    assert rests(host, converge)


def test_an_update_for_security_is_named_and_held_back_from_unattended_upgrades(converge, host):
    host.publish(FIRST, security=[SECOND])
    told = converge().messages()
    held, offered = map(host.package_version, (FIRST, SECOND))
    assert f"held at {held}, and the repository offers {offered}, a security update" in told
    told = host.says("unattended-upgrade --debug 2>&1", timeout_s=300)
    assert "No packages found that can be upgraded unattended" in told
    is_whole(host, FIRST)
    # Without the pins it would have come.
    host.says(f"mv {PINS} /root")
    told = host.says("unattended-upgrade --dry-run --debug 2>&1", timeout_s=300)
    host.says(f"mv /root/{PINS.rpartition('/')[2]} {PINS}")
    (line,) = [line for line in told.splitlines() if "Packages that will be upgraded" in line]
    assert "libnvidia-compute-580-server" in line


def test_a_kernel_that_arrives_gets_the_modules(converge, host):
    arrived = host.release.replace("-generic", "1-generic")
    host.add_kernel(arrived)
    driver_runs.as_predicted(converge, host.node)
    is_whole(host, FIRST, arrived)


def test_modules_that_do_not_build_leave_the_driver_of_every_kernel(converge, host):
    before, arrived = host.versions(), host.release.replace("-generic", "1-generic")
    fault = {"nvidia-kernel-source-{branch}-server-open": "broken-module"}
    host.publish(OTHER_BRANCH, faults=fault)
    done = converge(gpunode_stack="r595")
    assert done.status != 0
    assert "this kernel is not supported" in done.messages()
    assert host.versions() == before
    is_whole(host, FIRST, arrived)
    host.says(f"dkms uninstall nvidia/{FIRST} -k {arrived}; rm -rf /lib/modules/{arrived}")


def test_a_change_of_kind_never_asks_for_both_and_goes_both_ways(converge, host):
    host.publish(FIRST)
    for kind, licence in (("proprietary", PROPRIETARY), ("open", OPEN)):
        driver_runs.as_predicted(converge, host.node, gpunode_driver_modules=kind)
        assert (host.licences(), host.kinds()) == ({licence}, {kind})
        is_whole(host, FIRST)


def test_another_branch_comes_and_goes_again(converge, host):
    host.publish(FIRST, OTHER_BRANCH)
    for stack, driver in (("r595", OTHER_BRANCH), ("r580", FIRST)):
        driver_runs.as_predicted(converge, host.node, gpunode_stack=stack)
        is_whole(host, driver)
        assert {name for name in host.versions() if f"-{driver[:3]}-" not in name} == set()
        assert rests(host, converge, gpunode_stack=stack)


@pytest.mark.parametrize(
    "damage",
    [
        "apt-get -q -y purge nvidia-utils-580-server",
        "rm /lib/modules/*/updates/dkms/nvidia*.ko*",
        f"rm {PINS}",
    ],
    ids=["a package", "the modules", "the pins"],
)
def test_what_is_broken_by_hand_is_reported_and_repaired(converge, host, damage):
    before = host.versions(), host.says(f"cat {PINS}")
    host.says(damage)
    assert driver_runs.as_predicted(converge, host.node)
    assert (host.versions(), host.says(f"cat {PINS}")) == before
    is_whole(host, FIRST)
    assert rests(host, converge)


def test_a_run_that_was_killed_is_brought_to_its_end(converge, host):
    # What a dpkg at work has not written into its table yet.
    at_work = "ls /var/lib/dpkg/updates/[0-9]*"
    said = driver_runs.said(gpunode_stack="r595")
    cut_runs.killed(host, at_work, "host", "--limit", host.node, *said)
    done = converge(gpunode_stack="r595")
    assert done.status == 0, done.messages()
    is_whole(host, OTHER_BRANCH)
    done = converge()
    assert done.status == 0, done.messages()
    is_whole(host, FIRST)


def test_a_lock_that_another_one_holds_is_waited_for(converge, host):
    host.says("apt-get -q -y purge nvidia-utils-580-server")
    host.says(driver_runs.hold_lock(LOCK_S))
    done = converge()
    assert done.status == 0, done.messages()
    # It came after the other one had ended.
    assert host.says("find /usr/bin/nvidia-smi -cnewer /run/released")
    is_whole(host, FIRST)


def test_a_dpkg_that_was_killed_is_brought_to_its_end(converge, host):
    name = "nvidia-utils-580-server"
    host.publish(FIRST, faults={"nvidia-utils-{branch}-server": "interrupted"})
    host.says(f"touch /run/interrupt; apt-get -q -y install --reinstall {name} || true")
    assert name in host.says("dpkg --audit")
    driver_runs.as_predicted(converge, host.node)
    is_whole(host, FIRST)


def test_a_package_that_fails_halfway_gives_way_to_the_driver_before(converge, host):
    before = host.versions()
    fault = {"nvidia-compute-utils-{branch}-server": "broken-postinst"}
    host.publish(OTHER_BRANCH, faults=fault)
    done = converge(gpunode_stack="r595")
    assert done.status != 0
    assert "it does not work" in done.messages()
    assert f"Driver {FIRST} is back" in done.messages()
    assert host.versions() == before
    is_whole(host, FIRST)


def test_a_removal_that_others_would_go_with_is_refused_by_their_names(converge, host):
    host.says(driver_runs.package_of_others("nvidia-utils-580-server"))
    done = converge(nvidia_driver_state="absent")
    assert done.status != 0
    assert "remove what others may need: render-farm" in done.messages()
    is_whole(host, FIRST)
    host.says("dpkg --purge render-farm")


def test_removal_leaves_nothing(converge, host):
    gone = {"nvidia_driver_state": "absent"}
    driver_runs.as_predicted(converge, host.node, **gone)
    assert (host.versions(), host.modules(), host.kept()) == ({}, {}, {})
    assert [line for line in host.traces() if "nvidia" in line] == []
    assert host.tried(f"systemctl cat {PERSISTENCED}").returncode != 0
    assert rests(host, converge, **gone)
