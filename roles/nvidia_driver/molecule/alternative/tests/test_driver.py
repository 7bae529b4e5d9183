"""R470 from the distribution's backports, on an image that has no kernel yet."""

from __future__ import annotations


def test_the_packages_are_those_of_the_branch_and_held(host):
    package = host.package("nvidia-tesla-470-kernel-dkms")
    assert package.version.startswith("470.")
    assert "~bpo" in package.version
    assert package.version in host.check_output("cat /etc/apt/preferences.d/gpunode-nvidia")


def test_dkms_builds_the_modules_for_the_kernels_to_come(host):
    assert "nvidia-tesla-470/470." in host.check_output("dkms status")


def test_the_parameters_are_those_that_were_asked_for(host):
    settings = host.file("/etc/modprobe.d/gpunode-nvidia.conf").content_string
    assert "options nvidia NVreg_PreserveVideoMemoryAllocations=1" in settings


def test_no_daemon_was_asked_for(host):
    assert not host.service("nvidia-persistenced").is_enabled
