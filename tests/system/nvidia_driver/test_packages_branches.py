"""Another branch by packages that have other names: all of the one before goes, or stays.

Debian's packages of 470 and of its main branch stand side by side as far as apt is concerned.
"""

from __future__ import annotations

import pytest

from system.nvidia_driver import driver_runs

pytestmark = [pytest.mark.lab, pytest.mark.slow]

NODE = "node1"
OLD, NEW = "470.256.02", "535.161.08"
R470, R535 = {"gpunode_stack": "r470"}, {"gpunode_stack": "r535"}
NEXT_KERNEL = "6.1.0-99-cloud-amd64"
PINS = "/etc/apt/preferences.d/gpunode-nvidia"


@pytest.fixture(scope="module")
def host(lab):
    with driver_runs.packaged(lab, NODE) as made:
        made.add_kernel(NEXT_KERNEL)
        yield made


@pytest.fixture(autouse=True)
def _offered(host):
    """Let the archive have both branches, as Debian's has."""
    host.publish([f"{NEW}-1"], tesla=[f"{OLD}-1"])


@pytest.fixture
def converge(tmp_path):
    def run(*arguments, **variables):
        return driver_runs.converge(NODE, tmp_path / "ssh", *arguments, **variables)

    return run


def state(host):
    """Return what there is of any driver: packages in whatever state, modules, sources, pins."""
    packages = host.says(
        r"dpkg-query -W -f '${db:Status-Abbrev} ${Package} ${Version}\n' '*nvidia*' 'libcuda1'"
        " | grep -v ^un"
    )
    trees = host.says(f"dkms status; ls -d /usr/src/nvidia*; cat {PINS}")
    return packages, trees, host.modules()


def is_alone(host, version, other):
    """Hold the node to having one driver and nothing of the other one, its settings included."""
    assert host.modules() == dict.fromkeys([host.release, NEXT_KERNEL], version)
    packages, trees, _modules = state(host)
    assert f"{version}-1" in packages
    assert other not in packages + trees
    assert {line[:2] for line in packages.splitlines()} == {"ii"}, packages
    assert f"Pin: version {version}-1" in trees
    host.says('test -z "$(dpkg --audit)"')
    left = [line for line in host.traces() if not line.startswith(driver_runs.KEPT)]
    files = "nvidia/tesla-470" if other == OLD else "nvidia/current"
    assert [line for line in left if other in line or files in line] == []


def rests(converge, **variables):
    again = converge(**variables)
    assert (again.status, again.changed[NODE]) == (0, 0), again.messages()
    assert again.plays == ["Probe, plan and refuse"], again.messages()
    return again


def test_a_branch_whose_names_carry_it_is_installed_alone(converge, host):
    done = converge(**R470)
    assert done.status == 0, done.messages()
    is_alone(host, OLD, NEW)
    rests(converge, **R470)


def test_what_another_package_needs_of_the_branch_before_is_refused_by_name(converge, host):
    host.add_package_of_others("libnvidia-tesla-470-cuda1")
    before = state(host)
    done = converge(**R535)
    assert done.status != 0
    assert "remove what others may need: render-farm" in done.messages()
    assert state(host) == before
    # What can do with any branch is no obstacle, and stays.
    host.add_package_of_others("libcuda1 | libcuda.so.1")


def test_a_branch_that_fails_halfway_gives_way_to_the_one_before(converge, host):
    before = state(host)
    host.publish([f"{NEW}-1"], tesla=[f"{OLD}-1"], faults={"nvidia-smi": "broken-postinst"})
    done = converge(**R535)
    assert done.status != 0
    assert "it does not work" in done.messages()
    assert f"Driver {OLD} is back" in done.messages()
    assert state(host) == before
    is_alone(host, OLD, NEW)


def test_the_newer_branch_takes_the_place_of_the_older_one(converge, host):
    predicted = converge("--check", **R535)
    assert predicted.status == 0, predicted.messages()
    assert "nvidia-tesla-470-kernel-dkms" in " ".join(predicted.changes(NODE))
    done = converge(**R535)
    assert done.status == 0, done.messages()
    assert predicted.changes(NODE) == done.changes(NODE)
    is_alone(host, NEW, OLD)
    assert host.says("dpkg-query -W -f '${Status}' render-farm") == "install ok installed"
    told = rests(converge, **R535).messages()
    assert f"driver {OLD}, which is kept on the host: gpunode_driver_version: {OLD}" in told


def test_the_way_back_that_was_told_works_from_what_is_kept_alone(converge, host):
    # The archive has that branch no longer.
    host.publish([f"{NEW}-1"])
    told = {**R535, "gpunode_driver_version": OLD}
    done = converge(**told)
    assert done.status == 0, done.messages()
    is_alone(host, OLD, NEW)
    rests(converge, **told)


def test_two_branches_that_were_put_side_by_side_by_hand_become_one(converge, host):
    host.says(
        f"rm {PINS}; DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends"
        " libcuda1 nvidia-smi",
        timeout_s=300,
    )
    done = converge(**R470)
    assert done.status == 0, done.messages()
    is_alone(host, OLD, NEW)
    rests(converge, **R470)
