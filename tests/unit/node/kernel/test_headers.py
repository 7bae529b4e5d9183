"""What a kernel's headers are called is said in the words of its distribution."""

from __future__ import annotations

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.kernel import headers


@pytest.mark.parametrize(
    ("manager", "release", "package"),
    [
        ("apt", "6.1.0-56-amd64", "linux-headers-6.1.0-56-amd64"),
        ("apt", "6.8.0-45-generic", "linux-headers-6.8.0-45-generic"),
        ("apt", "6.8.12-1-pve", "proxmox-headers-6.8.12-1-pve"),
        ("apt", "6.2.16-20-pve", "pve-headers-6.2.16-20-pve"),
        ("dnf", "5.14.0-570.12.1.el9_6.x86_64", "kernel-devel-5.14.0-570.12.1.el9_6.x86_64"),
        ("dnf", "6.1.134-150.224.amzn2023.x86_64", "kernel-devel-6.1.134-150.224.amzn2023.x86_64"),
        ("dnf", "5.15.0-3.60.5.1.el9uek.x86_64", "kernel-uek-devel-5.15.0-3.60.5.1.el9uek.x86_64"),
        ("dnf", "5.14.0-570.el9.x86_64+rt", "kernel-rt-devel-5.14.0-570.el9.x86_64"),
        ("dnf", "5.14.0-570.el9.aarch64+64k", "kernel-64k-devel-5.14.0-570.el9.aarch64"),
        # ELRepo's, of which the long-term ones are apart: elrepo.org, kernel-ml and kernel-lt.
        (
            "dnf",
            "6.9.1-1.el9.elrepo.x86_64",
            "kernel-ml-devel-6.9.1-1.el9.elrepo.x86_64",
        ),
        ("yum", "5.4.278-1.el7.elrepo.x86_64", "kernel-lt-devel-5.4.278-1.el7.elrepo.x86_64"),
        # Amazon Linux 2023 user guide, "Kernel updates": 6.12 beside 6.1.
        (
            "dnf",
            "6.12.20-23.97.amzn2023.x86_64",
            "kernel6.12-devel-6.12.20-23.97.amzn2023.x86_64",
        ),
        ("apt", "6.8.1-1015-realtime", "linux-headers-6.8.1-1015-realtime"),
        (
            "dnf",
            "6.12.0-1.23.3.2.el10uek.x86_64",
            "kernel-uek-devel-6.12.0-1.23.3.2.el10uek.x86_64",
        ),
        ("dnf", "5.14.0-570.el9.x86_64+rt-debug", "kernel-rt-debug-devel-5.14.0-570.el9.x86_64"),
        ("dnf", "4.18.0-553.rt7.342.el8.x86_64", "kernel-rt-devel-4.18.0-553.rt7.342.el8.x86_64"),
    ],
)
def test_the_package_is_that_of_the_kernel_in_the_words_of_its_distribution(
    manager, release, package
):
    assert headers.package(release, manager) == package
    assert package in headers.packages(release, manager)


def test_of_a_release_that_two_lines_of_kernels_may_have_both_are_asked_for():
    release = "6.12.4-1.el9.elrepo.x86_64"
    assert headers.packages(release, "dnf") == [
        f"kernel-lt-devel-{release}",
        f"kernel-ml-devel-{release}",
    ]


def test_what_dkms_needs_beside_is_preferred():
    release = "5.14.0-570.12.1.el9_6.x86_64"
    assert headers.packages(release, "dnf")[0] == f"kernel-devel-matched-{release}"
    assert len(headers.packages(f"{release}+rt", "dnf")) == 1
