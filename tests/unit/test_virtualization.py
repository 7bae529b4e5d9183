"""On what hypervisor a host runs, by systemd's word or by processor and firmware."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trees import looked_at, planted

from ansible_collections.gpunode.stack.plugins.module_utils import virtualization

SYSTEMD = {"/usr/bin/systemd-detect-virt": ""}
GUEST = {"/proc/cpuinfo": "processor\t: 0\nflags\t\t: fpu sse4_2 hypervisor lahf_lm\n"}
BARE = {"/proc/cpuinfo": "processor\t: 0\nflags\t\t: fpu sse4_2 lahf_lm\n"}


def dmi(**names):
    return {f"/sys/class/dmi/id/{name}": f"{text}\n" for name, text in names.items()}


def test_where_there_is_systemd_its_word_counts(tmp_path):
    files = {**SYSTEMD, **GUEST, **dmi(sys_vendor="QEMU")}
    tree = planted(tmp_path, files, answers={"systemd-detect-virt": "kvm\n"})
    assert virtualization.detect(tree) == "kvm"


def test_where_systemd_finds_none_it_is_bare_metal(tmp_path):
    # It prints "none" and fails; the answer of a program that fails is empty.
    tree = planted(tmp_path, {**SYSTEMD, **dmi(sys_vendor="QEMU")})
    assert virtualization.detect(tree) == ""


@pytest.mark.parametrize(
    ("tables", "name"),
    [
        ({"product_name": "KVM", "sys_vendor": "Red Hat"}, "kvm"),
        ({"product_name": "Standard PC (Q35 + ICH9, 2009)", "sys_vendor": "QEMU"}, "qemu"),
        ({"product_name": "VMware Virtual Platform", "sys_vendor": "VMware, Inc."}, "vmware"),
        ({"product_name": "HVM domU", "sys_vendor": "Xen"}, "xen"),
        ({"product_name": "p4d.24xlarge", "sys_vendor": "Amazon EC2"}, "amazon"),
        ({"product_name": "Google Compute Engine", "sys_vendor": "Google"}, "google"),
        ({"sys_vendor": "Microsoft Corporation", "product_version": "Hyper-V UEFI"}, "microsoft"),
        ({"product_name": "KVM", "sys_vendor": "QEMU"}, "kvm"),
        ({"sys_vendor": "somebody"}, "vm-other"),
        ({}, "vm-other"),
    ],
)
def test_without_systemd_the_firmware_names_the_hypervisor(tmp_path, tables, name):
    assert virtualization.detect(planted(tmp_path, {**GUEST, **dmi(**tables)})) == name


def test_a_bare_metal_host_of_a_cloud_is_bare_metal(tmp_path):
    tree = planted(tmp_path, {**BARE, **dmi(product_name="p4d.metal", sys_vendor="Amazon EC2")})
    assert virtualization.detect(tree) == ""


def test_a_host_that_tells_nothing_is_bare_metal(tmp_path):
    assert virtualization.detect(planted(tmp_path)) == ""


@given(st.binary(), st.binary())
def test_no_content_is_an_error(cpuinfo, vendor):
    files = {"/proc/cpuinfo": cpuinfo, "/sys/class/dmi/id/sys_vendor": vendor}
    assert isinstance(looked_at(virtualization.detect, files), str)
