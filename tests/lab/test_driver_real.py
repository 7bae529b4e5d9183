"""Drivers as Debian has them, for a real kernel: built whole, with nothing that stands in."""

from __future__ import annotations

import pytest

from lab import driver_runs, fleet

pytestmark = [pytest.mark.lab, pytest.mark.slow]

NODE = "node1"
# The whole tree takes minutes, and the package's own script builds it once more.
PATIENCE_S = 2400
MODULES = {"nvidia", "nvidia_uvm", "nvidia_modeset", "nvidia_drm", "nvidia_peermem"}


@pytest.fixture(scope="module")
def host(lab):
    lab.fresh(NODE)
    yield driver_runs.Node(lab, NODE)
    lab.fresh(NODE)


def test_the_driver_of_debian_is_built_whole_for_the_kernel_and_held(host, tmp_path):
    limits = {"log": tmp_path / "ssh", "timeout_s": PATIENCE_S}
    said = ("--limit", NODE, *driver_runs.said(gpunode_stack="r470"))
    done = fleet.run("site.yml", *said, **limits)
    assert done.status == 0, done.messages()
    folder = f"/lib/modules/{host.release}/updates/dkms"
    told = host.says(f"modinfo -F name {folder}/*.ko; modinfo -F vermagic {folder}/*.ko").split(
        "\n"
    )
    assert set(told) >= MODULES, told
    assert {line.split()[0] for line in told if " " in line} == {host.release}
    version = host.versions()["nvidia-tesla-470-kernel-dkms"]
    assert host.kept() == {version.partition("-")[0]: {"700", "600"}}
    again = fleet.run("site.yml", *said, **limits)
    assert (again.status, again.changed[NODE]) == (0, 0), again.messages()
