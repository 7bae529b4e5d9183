"""Which kernels a driver is known to build for: each is held against its own line of releases."""

from __future__ import annotations

import pytest

from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.stack import kernel_limits


@pytest.mark.parametrize(
    ("release", "line"),
    [
        ("7.0.9-1-custom", "upstream"),
        ("6.15.4-zabbly+", "upstream"),
        ("6.12.41+deb13-amd64", "upstream"),
        ("6.17.13-2-pve", "upstream"),
        ("6.9.1-1.el9.elrepo.x86_64", "upstream"),
        ("6.1.134-150.224.amzn2023.x86_64", "upstream"),
        ("6.1.0-40-amd64", "debian"),
        ("6.1.0-18-cloud-amd64", "debian"),
        ("6.8.0-48-generic", "ubuntu"),
        ("5.15.0-1067-azure", "ubuntu"),
        ("5.14.0-687.12.1.el9_8.x86_64", "el9"),
        ("5.14.0-570.el9.x86_64+rt", "el9"),
        ("6.12.0-55.9.1.el10_0.x86_64", "el10"),
        ("4.18.0-553.rt7.342.el8_10.x86_64", "el8"),
        ("3.10.0-514.el7.x86_64", "el7"),
        ("5.15.0-3.60.5.1.el9uek.x86_64", "uek"),
    ],
)
def test_a_release_has_the_numbers_of_whom_it_is_from(release, line):
    assert kernel_limits.line_of(release) == line


@pytest.mark.parametrize(
    ("release", "is_it"),
    [
        ("6.8.1-1015-realtime", True),
        ("6.1.0-40-rt-amd64", True),
        ("5.15.55-rt48", True),
        ("5.6.17-rt10-xanmod1", True),
        ("5.14.0-570.el9.x86_64+rt", True),
        ("4.18.0-553.rt7.342.el8_10.x86_64", True),
        ("6.1.0-40-amd64", False),
        ("6.8.0-45-lowlatency", False),
        ("6.6.30-rtx-box", False),
        ("6.6.30-smart-amd64", False),
    ],
)
def test_a_real_time_kernel_is_known_by_its_release(release, is_it):
    assert kernel_limits.is_real_time(release) is is_it


BELOW = {"upstream": ["6.1.76", "6.6.15", "6.7.3"], "debian": ["6.1.0-18"], "el9": ["5.14.0-687"]}


@pytest.mark.parametrize(
    ("release", "first"),
    [
        ("6.1.75", ""),
        ("6.1.76", "6.1.76"),
        ("6.1.90-custom", "6.1.76"),
        # Of a series between, nobody tells.
        ("6.5.13", ""),
        ("6.6.14", ""),
        ("6.6.15-1.el9.elrepo.x86_64", "6.6.15"),
        ("6.7.2", ""),
        ("6.8.0-custom.1", "6.7.3"),
        ("7.0.1", "6.7.3"),
        ("6.1.0-17-amd64", ""),
        ("6.1.0-18-cloud-amd64", "6.1.0-18"),
        ("6.1.0-40-amd64", "6.1.0-18"),
        ("5.14.0-570.12.1.el9_6.x86_64", ""),
        ("5.14.0-687.12.1.el9_8.x86_64", "5.14.0-687"),
        # Which changes of the series it has, its number does not tell.
        ("6.1.0-9-generic", ""),
        ("6.7.0-9-generic", ""),
        ("6.8.0-48-generic", "6.7.3"),
        ("6.12.0-55.9.1.el10_0.x86_64", "6.7.3"),
    ],
)
def test_a_kernel_reaches_the_limit_of_its_series_or_of_all_later_ones(release, first):
    assert kernel_limits.reached(BELOW, release) == first


@pytest.mark.parametrize(
    ("release", "first"),
    [
        ("6.14.9", ""),
        ("6.15.0", "6.15"),
        ("6.14.0-27-generic", ""),
        ("6.15.0-3-generic", "6.15"),
        ("6.17.13-2-pve", "6.15"),
        # Its changes are those of later releases, as many as were taken in.
        ("6.12.0-211.51.1.el10_2.x86_64", ""),
        ("6.15.0-1.el11.x86_64", "6.15"),
    ],
)
def test_a_limit_that_is_a_whole_series_holds_for_whoever_began_there(release, first):
    assert kernel_limits.reached({"upstream": ["6.15"]}, release) == first


def test_a_limit_of_one_line_says_nothing_of_the_others():
    assert kernel_limits.reached({"el9": ["5.14.0-687"]}, "7.0.1") == ""
    assert kernel_limits.reached({"el9": ["5.14.0-687"]}, "6.1.0-40-amd64") == ""


NEWEST = {"upstream": "6.17", "el9": "5.14.0-503"}


@pytest.mark.parametrize(
    ("release", "is_it"),
    [
        ("6.17.9-arch1-1", True),
        ("6.18.0", False),
        ("6.1.0-40-amd64", True),
        ("6.17.0-5-generic", True),
        ("5.14.0-503.26.1.el9_5.x86_64", True),
        ("5.14.0-427.el9.x86_64", True),
        ("5.14.0-5031.el9.x86_64", False),
        ("5.14.0-570.12.1.el9_6.x86_64", False),
        ("4.18.0-553.el8_10.x86_64", False),
        ("5.15.0-3.60.5.1.el9uek.x86_64", True),
    ],
)
def test_a_kernel_is_tried_where_a_newer_one_of_its_line_is(release, is_it):
    assert kernel_limits.is_tested(NEWEST, release) is is_it


def test_of_nothing_no_kernel_is_known():
    assert not kernel_limits.is_tested({}, "6.1.0")
    assert kernel_limits.reached({}, "6.1.0") == ""
