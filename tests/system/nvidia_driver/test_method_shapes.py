"""A driver by a .run and one by packages in each other's place, on each shape; see test_method.py.

What such nodes prove and what not: docs/contributors.md, "Shapes".
"""

from __future__ import annotations

import re

import pytest

from lab import shapes
from lab.shapes import ubuntu
from system.nvidia_driver import driver_image, driver_runs, el_host, ubuntu_host

pytestmark = [pytest.mark.lab, pytest.mark.slow]

NODE = "node1"
# Both build for the kernels of all shapes, the newest of which is 7.0.
FILE, PACKAGES = "580.142", "580.159.04"
CONSENT = {"gpunode_consent": ["change_method"]}
BY_PACKAGES = {"gpunode_stack": "r580"}
_DRIVER = re.compile(r"\b580\.[0-9.]+[0-9]\b")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=pytest.mark.executes("driver_file", name))
        for name in shapes.SHAPES
    ],
)
def host(lab, request):
    family = ubuntu_host if request.param in ubuntu.SHAPES else el_host
    with family.shaped(lab, NODE, request.param) as made:
        made.publish(PACKAGES)
        yield made


@pytest.fixture
def converge(tmp_path, host):
    def run(*arguments, **variables):
        said = {**host.said, **variables}
        return driver_runs.converge(NODE, tmp_path / "ssh", *arguments, **said)

    return run


@pytest.fixture(scope="module")
def by_file(tmp_path_factory):
    """What is said of a host that is to have the driver by a .run."""
    return {"gpunode_driver_file": driver_image.file(tmp_path_factory.mktemp("file"), FILE)}


def drivers(host):
    """Return the versions that there are of the driver, wherever one shows."""
    # ls complains of patterns that nothing matches, which is the answer "none".
    found = host.says(
        f"modinfo -k {host.release} -F version nvidia 2>/dev/null; dkms status; "
        "ls -d /usr/src/nvidia-* /usr/lib64/lib*.so.* /usr/lib/*-linux-gnu/lib*.so.* || true"
    )
    return set(_DRIVER.findall(found))


def rests(converge, **variables):
    again = converge(**variables)
    return driver_runs.is_settled(again, NODE) or again.messages()


def test_a_fresh_host_has_the_driver_of_the_file_and_rests(converge, host, by_file):
    driver_runs.as_predicted(converge, NODE, **by_file)
    assert drivers(host) == {FILE}
    assert rests(converge, **by_file) is True


def test_packages_take_its_place_with_consent_alone(converge, host):
    waits = converge(**BY_PACKAGES)
    assert "nvidia_driver waits for gpunode_consent: [change_method]" in waits.messages()
    assert drivers(host) == {FILE}
    driver_runs.as_predicted(converge, NODE, **BY_PACKAGES, **CONSENT)
    assert drivers(host) == {PACKAGES}
    assert rests(converge, **BY_PACKAGES) is True


def test_a_file_whose_modules_do_not_build_leaves_the_packages(converge, host, tmp_path):
    before = host.versions(), host.traces()
    broken = driver_image.file(tmp_path, FILE, faults=("does-not-compile",))
    done = converge(gpunode_driver_file=broken, **CONSENT)
    assert done.status != 0
    assert drivers(host) == {PACKAGES}
    assert host.versions() == before[0]
    # What was unpacked is there for the next attempt.
    assert {
        path for path in {*host.traces()} ^ {*before[1]} if "/var/cache/gpunode" not in path
    } == set()


def test_the_file_takes_the_place_of_packages_and_goes_without_a_trace(converge, host, by_file):
    driver_runs.as_predicted(converge, NODE, **by_file, **CONSENT)
    assert drivers(host) == {FILE}
    assert rests(converge, **by_file) is True
    gone = {"nvidia_driver_state": "absent"}
    driver_runs.as_predicted(converge, NODE, **gone)
    assert drivers(host) == set()
    assert rests(converge, **gone) is True
