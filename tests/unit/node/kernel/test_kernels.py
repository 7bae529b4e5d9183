"""Kernels on disk, from small trees laid out as distributions lay them out."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trees import looked_at, planted

from ansible_collections.gpunode.stack.plugins.module_utils._node.kernel import kernels, modprobe
from ansible_collections.gpunode.stack.plugins.module_utils._node.system.root import Root

OLD, NEW = "6.1.0-9-amd64", "6.1.0-40-amd64"
EL_OLD, EL_NEW = "5.14.0-427.13.1.el9_4.x86_64", "5.14.0-503.11.1.el9_5.x86_64"
MACHINE = "0f2fa4b23f1c4e0d9d1a7c3c3b6f9a11"


def debian(*releases):
    """Return the files of kernels that can boot, with GRUB."""
    files = {"/boot/grub/grub.cfg": "", "/etc/default/grub": "GRUB_DEFAULT=0\nGRUB_TIMEOUT=5\n"}
    for release in releases:
        files[f"/boot/vmlinuz-{release}"] = ""
        files[f"/lib/modules/{release}/modules.dep"] = ""
    return files


def enterprise_linux(saved):
    """Return the files of an EL 9 host with two kernels, a rescue image, and an entry saved."""
    files = {
        "/boot/grub2/grub.cfg": "",
        "/etc/default/grub": 'GRUB_DEFAULT=saved\nGRUB_ENABLE_BLSCFG="true"\n',
        "/boot/grub2/grubenv": f"# GRUB Environment Block\nsaved_entry={saved}\n" + 900 * "#",
        f"/boot/vmlinuz-0-rescue-{MACHINE}": "",
        f"/boot/loader/entries/{MACHINE}-0-rescue.conf": "",
    }
    for release in (EL_OLD, EL_NEW):
        files[f"/boot/vmlinuz-{release}"] = ""
        files[f"/lib/modules/{release}/vmlinuz"] = ""
        files[f"/boot/loader/entries/{MACHINE}-{release}.conf"] = f"version {release}\n"
    return files


def upcoming(files, links=None):
    rows = looked_at(lambda tree: kernels.survey(tree, ""), files, links)
    return [row["release"] for row in rows if row["next"]]


def test_kernels_are_listed_newest_first():
    rows = looked_at(lambda tree: kernels.survey(tree, OLD), debian(OLD, NEW))
    assert [(row["release"], row["running"]) for row in rows] == [(NEW, False), (OLD, True)]


def test_a_kernel_of_which_only_modules_are_left_is_not_listed():
    files = {"/lib/modules/6.1.0-8-amd64/updates/dkms/nvidia.ko": "", **debian(NEW)}
    rows = looked_at(lambda tree: kernels.survey(tree, ""), files)
    assert [row["release"] for row in rows] == [NEW]


def test_headers_are_there_where_the_build_link_leads_to_a_makefile():
    files = debian(OLD, NEW)
    files[f"/usr/src/linux-headers-{NEW}/Makefile"] = ""
    files[f"/usr/src/linux-headers-{OLD}/Module.symvers"] = ""
    links = {
        f"/lib/modules/{release}/build": f"/usr/src/linux-headers-{release}"
        for release in (OLD, NEW)
    }
    rows = looked_at(lambda tree: kernels.survey(tree, ""), files, links)
    assert {row["release"]: row["headers"] for row in rows} == {NEW: True, OLD: False}


def test_a_kernel_that_is_there_to_build_for_alone_is_listed_and_does_not_boot_next():
    files = {**debian(), f"/usr/src/linux-headers-{NEW}/Makefile": ""}
    links = {f"/lib/modules/{NEW}/build": f"/usr/src/linux-headers-{NEW}"}
    (row,) = looked_at(lambda tree: kernels.survey(tree, ""), files, links)
    assert (row["release"], row["headers"], row["next"]) == (NEW, True, False)


def test_debian_boots_the_newest_kernel_next():
    assert upcoming(debian(OLD, NEW)) == [NEW]


@pytest.mark.parametrize(
    "entry",
    [
        f"gnulinux-advanced-1b2c>gnulinux-{OLD}-advanced-1b2c",
        f"Advanced options for Debian GNU/Linux>Debian GNU/Linux, with Linux {OLD}",
    ],
)
@pytest.mark.parametrize("quote", ['"', "'"])
def test_the_entry_that_the_settings_name_boots_next(entry, quote):
    files = {**debian(OLD, NEW), "/etc/default/grub": f"GRUB_DEFAULT={quote}{entry}{quote}\n"}
    assert upcoming(files) == [OLD]


def test_settings_in_the_folder_count_more_than_the_file():
    files = debian(OLD, NEW)
    files["/etc/default/grub.d/50-cloudimg-settings.cfg"] = f'GRUB_DEFAULT="x>Ubuntu, {OLD}"\n'
    files["/etc/default/grub.d/README"] = "GRUB_DEFAULT=1>2\n"
    assert upcoming(files) == [OLD]


def test_ubuntu_boots_the_entry_it_saved():
    files = {
        **debian(OLD, NEW),
        "/etc/default/grub": "GRUB_DEFAULT=saved # the last one\nGRUB_SAVEDEFAULT=true\n",
        "/boot/grub/grubenv": f"saved_entry=gnulinux-advanced-1>gnulinux-{OLD}-advanced-1\n",
    }
    assert upcoming(files) == [OLD]


def test_a_saved_entry_counts_only_where_the_settings_say_so():
    files = {**debian(OLD, NEW), "/boot/grub/grubenv": f"saved_entry=gnulinux-{OLD}-advanced-1\n"}
    assert upcoming(files) == [NEW]


def test_an_entry_for_once_boots_next_whatever_the_settings_say():
    files = {**debian(OLD, NEW), "/boot/grub/grubenv": f"next_entry=gnulinux-{OLD}-advanced-1\n"}
    assert upcoming(files) == [OLD]


@pytest.mark.parametrize("other", ["6.1.0", "9-amd64"])
def test_of_releases_that_contain_one_another_the_longer_one_is_meant(other):
    files = debian(other, OLD, NEW)
    files["/etc/default/grub"] = f'GRUB_DEFAULT="1>gnulinux-{OLD}-advanced"\n'
    assert upcoming(files) == [OLD]


def test_an_entry_by_number_within_the_menu_cannot_be_told():
    files = {**debian(OLD, NEW), "/etc/default/grub": 'GRUB_DEFAULT="1>2"\n'}
    assert upcoming(files) == []


def test_enterprise_linux_boots_the_saved_entry():
    assert upcoming(enterprise_linux(f"{MACHINE}-{EL_OLD}")) == [EL_OLD]


def test_enterprise_linux_boots_the_newest_kernel_where_the_saved_one_is_gone():
    assert upcoming(enterprise_linux(f"{MACHINE}-5.14.0-362.8.1.el9_3.x86_64")) == [EL_NEW]


def test_the_environment_of_grub_is_found_through_its_link():
    files = enterprise_linux("")
    files["/boot/efi/EFI/redhat/grubenv"] = f"saved_entry={MACHINE}-{EL_OLD}\n"
    del files["/boot/grub2/grubenv"]
    links = {"/boot/grub2/grubenv": "../efi/EFI/redhat/grubenv"}
    assert upcoming(files, links) == [EL_OLD]


@pytest.mark.parametrize(
    ("link", "target"), [("/vmlinuz", f"boot/vmlinuz-{OLD}"), ("/boot/vmlinuz", f"vmlinuz-{OLD}")]
)
def test_a_link_says_what_boots_where_there_is_no_grub(link, target):
    files = debian(OLD, NEW)
    del files["/boot/grub/grub.cfg"]
    assert upcoming(files, {link: target}) == [OLD]


def test_nothing_boots_next_where_there_is_no_boot_loader():
    files = debian(OLD, NEW)
    del files["/boot/grub/grub.cfg"]
    assert upcoming(files) == []


@pytest.mark.parametrize(
    ("words", "compiler"),
    [
        ("gcc-12 (Debian 12.2.0-14) 12.2.0", "gcc-12"),
        ("x86_64-linux-gnu-gcc-13 (Ubuntu 13.2.0-23ubuntu4) 13.2.0", "gcc-13"),
        ("gcc (GCC) 11.4.1 20231218 (Red Hat 11.4.1-3)", "gcc-11"),
        ("gcc (crosstool-NG 1.26.0) 13.2.0", "gcc-13"),
        ("Debian clang version 14.0.6", "clang-14"),
        ("cc", ""),
    ],
)
def test_the_compiler_of_a_kernel_is_named_with_its_major_version(words, compiler):
    files = {**debian(NEW), f"/boot/config-{NEW}": f'CONFIG_CC_VERSION_TEXT="{words}"\n'}
    (row,) = looked_at(lambda tree: kernels.survey(tree, ""), files)
    assert row["compiler"] == compiler


@pytest.mark.parametrize(
    ("name", "line"),
    [
        (".config", 'CONFIG_CC_VERSION_TEXT="gcc-12 (Debian 12.2.0-14) 12.2.0"\n'),
        ("include/config/auto.conf", "CONFIG_CC_VERSION_TEXT=gcc-12 (Debian 12.2.0-14) 12.2.0\n"),
    ],
)
def test_the_headers_tell_the_compiler_where_the_image_is_not_there(name, line):
    files = {f"/usr/src/linux-headers-{NEW}/{name}": line}
    links = {f"/lib/modules/{NEW}/build": f"/usr/src/linux-headers-{NEW}"}
    (row,) = looked_at(lambda tree: kernels.survey(tree, ""), files, links)
    assert row["compiler"] == "gcc-12"


@pytest.mark.parametrize(
    ("programs", "version", "found"),
    [
        (["gcc-12"], "13\n", True),
        (["gcc"], "12\n", True),
        (["gcc"], "12.2.0\n", True),
        (["gcc"], "13\n", False),
        (["gcc-13"], "12\n", False),
        ([], "12\n", False),
    ],
)
def test_a_compiler_is_found_by_its_name_or_as_plain_gcc_of_its_version(programs, version, found):
    files = {**debian(NEW), f"/boot/config-{NEW}": 'CONFIG_CC_VERSION_TEXT="gcc-12 (x) 12.2.0"\n'}
    files.update({f"/usr/bin/{name}": "" for name in programs})
    (row,) = looked_at(lambda tree: kernels.survey(tree, ""), files, answers={"gcc": version})
    assert row["compiler_found"] is found


@pytest.mark.parametrize(
    ("programs", "calls", "found"),
    [
        (["gcc"], 1, {NEW: True, OLD: False}),
        (["gcc", "gcc-11", "gcc-12"], 0, {NEW: True, OLD: True}),
    ],
)
def test_gcc_is_asked_once_for_all_kernels_at_the_most(tmp_path, programs, calls, found):
    files = {**debian(OLD, NEW), **{f"/usr/bin/{name}": "" for name in programs}}
    for release, major in ((OLD, 11), (NEW, 12)):
        files[f"/boot/config-{release}"] = f'CONFIG_CC_VERSION_TEXT="gcc-{major} (x) {major}.1"\n'
    planted(tmp_path, files)
    asked = []

    def run(argv, **_options):
        asked.append(argv)
        return subprocess.CompletedProcess(argv, 0, b"12\n", b"")

    rows = kernels.survey(Root(str(tmp_path), run), "")
    assert asked == calls * [["gcc", "-dumpversion"]]
    assert {row["release"]: row["compiler_found"] for row in rows} == found


def test_loaded_modules_are_named():
    files = {"/proc/modules": "nvidia 56823808 10 nvidia_uvm, Live 0x0000000000000000 (POE)\n"}
    assert looked_at(kernels.loaded_modules, files) == {"nvidia"}
    assert looked_at(kernels.module_users, files) == {"nvidia": (10, ["nvidia_uvm"], False)}


# linux v6.1, kernel/module/procfs.c, print_unload_info(), with and without CONFIG_MODULE_UNLOAD.
@pytest.mark.parametrize(
    ("line", "users"),
    [
        ("nvidia 56823808 1 [permanent], Live 0x0", (1, [], True)),
        ("nvidia 56823808 2 nvidia_uvm,[permanent], Live 0x0", (2, ["nvidia_uvm"], True)),
        ("nvidia 56823808 - - Live 0x0", (0, [], True)),
        ("nvidia 56823808 0 - Unloading 0x0", (0, [], False)),
        ("nvidia_drm 135168 2 - Live 0x0", (2, [], False)),
    ],
)
def test_a_module_that_the_kernel_never_unloads_is_loaded_and_has_no_user_of_that_name(line, users):
    found = looked_at(kernels.module_users, {"/proc/modules": f"{line}\n"})
    assert list(found.values()) == [users]


@pytest.mark.parametrize(
    ("counts", "is_unused"),
    [("0 -", True), ("1 -", False), ("0 [permanent],", False), ("- -", False)],
)
def test_a_module_is_unused_where_it_could_go(counts, is_unused):
    files = {"/proc/modules": f"nouveau 1 {counts} Live 0x0\n"}
    assert looked_at(lambda tree: modprobe.is_unused("nouveau", tree), files) is is_unused


def test_who_stands_on_a_module_is_found_through_those_between():
    lines = "ib_core 1 2 rdma_cm,mlx5_ib, Live 0x0\nrdma_cm 1 1 beegfs, Live 0x0\nbeegfs 1 0 - Live"
    found = looked_at(lambda tree: kernels.above(tree, ["ib_core"]), {"/proc/modules": lines})
    assert found == {"rdma_cm", "mlx5_ib", "beegfs"}


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=300), st.sampled_from(["", "GRUB_DEFAULT=", "CONFIG_CC_VERSION_TEXT="]))
def test_rubbish_in_any_file_is_no_error(rubbish, before):
    rubbish = before.encode() + rubbish
    files = {**debian(NEW), "/boot/grub/grubenv": rubbish, "/etc/default/grub": rubbish}
    files.update({f"/boot/config-{NEW}": rubbish, "/proc/modules": rubbish})

    def look(tree):
        kernels.loaded_modules(tree)
        return kernels.survey(tree, NEW)

    assert [row["release"] for row in looked_at(look, files)] == [NEW]
