"""Why a module could not be built is told in the words that name the cause, with what to do."""

from __future__ import annotations

import subprocess

import pytest
from trees import planted

from ansible_collections.gpunode.stack.plugins.module_utils._node.kernel import build_failure

DEBIAN, EL = "6.1.0-40-amd64", "5.14.0-570.12.1.el9_6.x86_64"
OTHERWISE = "Choose a driver that builds for this kernel"
GPL = "modpost: GPL-incompatible module nvidia.ko uses GPL-only symbol"
MAKE = "make[2]: *** [Makefile:1: modules] Error 2"


def failure(folder, text, release=DEBIAN, status=2, said="", **kernel):
    files = {"/var/lib/dpkg/status": ""} if release == DEBIAN else {"/var/lib/rpm/x": ""}
    row = {"release": release, "compiler": "gcc-12", "compiler_found": True, **kernel}
    done = subprocess.CompletedProcess([], status, said, "")
    tree = planted(folder, files)
    return build_failure.failure(tree, "make.log", text, row, "build it", done, OTHERWISE)


@pytest.mark.parametrize(
    "line",
    [
        # Gentoo bug 617650, and the same by later kernels.
        f"FATAL: {GPL} 'rcu_read_unlock_strict'",
        f"ERROR: {GPL} '__vma_start_write'",
        "FATAL: modpost: parse error in symbol dump file",
        "nvidia/nv-vm.c:872:6: error: implicit declaration of function 'strncpy'",
        'ERROR: modpost: "ib_register_peer_memory_client" [nvidia-peermem.ko] undefined!',
    ],
)
def test_what_ended_a_build_is_quoted_and_not_what_make_says_of_it(tmp_path, line):
    refusal = failure(tmp_path, f"  LD [M] nvidia.o\n{line}\n{MAKE}\n")
    assert refusal.because.startswith(f"{line} (/var/log/gpunode/make.log)")
    assert refusal.remedy.startswith(OTHERWISE)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        # microsoft/pai#2040.
        ("cc: internal compiler error: Killed (program cc1)\nPlease submit a full bug report,", 2),
        ("gcc: fatal error: Killed signal terminated program cc1\ncompilation terminated.", 2),
        ("cc1: out of memory allocating 65536 bytes after a total of 1 bytes", 2),
        ("as: cannot allocate memory", 2),
        ("make[2]: *** virtual memory exhausted.  Stop.", 2),
        ("", 137),
        ("", -9),
    ],
)
def test_a_compiler_that_was_killed_lacked_memory(tmp_path, text, status):
    refusal = failure(tmp_path, f"{text}\nx.c:1: error: y\n{MAKE}" if text else "", status=status)
    assert "memory" in refusal.remedy
    assert "Choose" not in refusal.remedy
    assert text.partition("\n")[0] in refusal.because


# xanmod/linux#65 has the first; the second is dkms.in of 3.0.10.
UNPREPARED = [
    "  ERROR: Kernel configuration is invalid.",
    "include/generated/autoconf.h or include/config/auto.conf are missing.",
    "/bin/sh: 1: scripts/basic/fixdep: not found",
    "/bin/sh: line 1: ./tools/objtool/objtool: No such file or directory",
    "         Run 'make oldconfig && make prepare' on kernel src to fix it.",
    "The kernel source tree is not complete: run make modules_prepare there",
    "The kernel sources in /usr/src/linux have not been prepared",
    "make[1]: *** No rule to make target 'scripts/module.lds', needed by 'nvidia.ko'.  Stop.",
    "/bin/sh: 1: scripts/basic/fixdep: Exec format error",
    "/bin/bash: line 1: scripts/mod/modpost: Permission denied",
    "make[1]: *** /lib/modules/6.1.0-40-amd64/build: No such file or directory.  Stop.",
    "make[1]: *** No rule to make target 'modules'.  Stop.",
    # What `make modules_prepare` makes: linux v6.1, Makefile and Kbuild.
    "include/linux/vermagic.h:6:10: fatal error: generated/utsrelease.h: No such file or directory",
    "include/linux/page-flags.h:13:10: fatal error: generated/bounds.h: No such file or directory",
    # nvidia-installer, kernel.c.
    "ERROR: Unable to find the kernel source tree for the currently running kernel.",
    "ERROR: The kernel header file '/lib/modules/x/build/include/linux/kernel.h' does not exist.",
    "Error! Your kernel headers for kernel 6.1.0-40-amd64 cannot be found at /lib/modules",
]


@pytest.mark.parametrize("line", UNPREPARED)
def test_headers_that_are_not_prepared_are_installed_anew_or_prepared(tmp_path, line):
    refusal = failure(tmp_path, f"{line}\n{MAKE}\n")
    assert line.strip() in refusal.because
    assert f"apt-get install --reinstall linux-headers-{DEBIAN}" in refusal.remedy
    assert f"make -C /lib/modules/{DEBIAN}/build modules_prepare" in refusal.remedy


def test_they_are_named_as_the_distribution_names_them(tmp_path):
    refusal = failure(tmp_path, UNPREPARED[0], EL)
    assert f"dnf reinstall kernel-devel-{EL}" in refusal.remedy


def test_what_dkms_says_counts_where_nothing_was_logged(tmp_path):
    refusal = failure(tmp_path, "", said=UNPREPARED[-1])
    assert "--reinstall" in refusal.remedy


@pytest.mark.parametrize(
    "line",
    [
        "cc1: fatal error: opening output file /tmp/x.s: No space left on device",
        "nv.c:1:1: fatal error: error writing to /tmp/ccX.s: No space left on device",
        "/usr/bin/ld: final link failed: No space left on device",
        "cp: error writing 'nvidia.ko': Disk quota exceeded",
    ],
)
def test_a_disk_that_is_full_is_told_as_such(tmp_path, line):
    refusal = failure(tmp_path, f"x.c:1: error: y\n{line}\n{MAKE}\n")
    assert line in refusal.because
    assert refusal.remedy.startswith("Free room on /usr, /var and /tmp, and run again")


@pytest.mark.parametrize(
    "line",
    [
        # kernel-open/conftest.sh, cc_version_check; what later compilers know, by earlier ones.
        "*** Failed CC version check. Bailing out! ***",
        "gcc: error: unrecognized command-line option '-ftrivial-auto-var-init=zero'",
        "cc: error: unrecognized command line option '-mindirect-branch-cs-prefix'",
        "clang: error: unknown argument: '-mpreferred-stack-boundary=3'",
        "cc1: error: incompatible gcc/plugin versions",
        "cc1: error: cannot load plugin ./scripts/gcc-plugins/latent_entropy_plugin.so",
        "/bin/sh: 1: gcc-12: not found",
        "/bin/sh: line 1: gcc-12: command not found",
        "make[3]: gcc-12: No such file or directory",
        "make[3]: x86_64-linux-gnu-gcc-12: Command not found",
        "/bin/sh: 1: cc: not found",
    ],
)
def test_another_compiler_than_the_kernels_is_told_with_its_name(tmp_path, line):
    refusal = failure(tmp_path, f"{line}\n{MAKE}\n")
    assert line in refusal.because
    assert refusal.remedy.startswith("Install gcc-12, with which the kernel was built")


def test_a_kernel_that_does_not_tell_its_compiler_is_no_reason_to_be_silent(tmp_path):
    refusal = failure(tmp_path, "/bin/sh: 1: gcc-13: not found", compiler="", compiler_found=False)
    assert refusal.remedy.startswith("Install the compiler, with which the kernel was built")


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("/bin/sh: 1: flex: not found", "flex"),
        ("/bin/sh: line 1: bc: command not found", "bc"),
        ("make[4]: bison: No such file or directory", "bison"),
        ("/bin/sh: 1: pahole: not found", "pahole"),
        # linux v4.19, Makefile: the second.
        ("/usr/bin/ld: cannot find -lelf: No such file or directory", "the library elf"),
        (
            'Makefile:1078: *** "Cannot generate ORC metadata for CONFIG_UNWINDER_ORC=y, please '
            'install libelf-dev, libelf-devel or elfutils-libelf-devel".  Stop.',
            "libelf-dev, libelf-devel or elfutils-libelf-devel",
        ),
    ],
)
def test_a_tool_that_a_build_lacks_is_to_be_installed(tmp_path, line, name):
    refusal = failure(tmp_path, f"{line}\n{MAKE}\n")
    assert line in refusal.because
    assert refusal.remedy.startswith(f"Install {name}")


@pytest.mark.parametrize(
    "line",
    [
        # linux v6.1, tools/objtool/Makefile; sign-file.c, and Kbuild where the key is missing.
        "Skipping BTF generation for nvidia.ko due to unavailability of vmlinux",
        "nvidia.o: warning: objtool: _nv044971rm+0x28: naked return found in RETHUNK build",
        "make[1]: warning:  Clock skew detected.  Your build may be incomplete.",
        "warning: the compiler differs from the one used to build the kernel",
        # nvidia-installer, of every host without the X Window System.
        "WARNING: nvidia-installer was forced to guess the X library path; please install the "
        "`pkg-config` utility and the X.Org SDK package",
    ],
)
def test_what_only_warns_is_not_quoted(tmp_path, line):
    refusal = failure(tmp_path, f"{line}\nx.c:1: error: y\n{MAKE}\n")
    assert refusal.because.startswith("x.c:1: error: y (")


def test_headers_of_a_later_release_are_told_as_such(tmp_path):
    line = (
        "scripts/mod/modpost: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.38' not found "
        "(required by scripts/mod/modpost)"
    )
    refusal = failure(tmp_path, f"{line}\n{MAKE}\n")
    assert line in refusal.because
    assert refusal.remedy.startswith("Boot the host with a kernel of its own release")


def test_a_key_that_modules_are_to_be_signed_with_and_that_cannot_be_read_is_told(tmp_path):
    line = "- SSL error:FFFFFFFF80000002:system library::No such file or directory: bss_file.c:67"
    refusal = failure(tmp_path, f"At main.c:298:\n{line}\nsign-file: /var/lib/dkms/mok.key\n")
    assert line in refusal.because
    assert "/var/lib/dkms/mok.key" in refusal.because
    assert refusal.remedy.startswith("Look at the key")


def test_a_real_time_kernel_is_told_as_one(tmp_path):
    text = "The kernel you are installing for is a PREEMPT_RT kernel!\n*** Failed PREEMPT_RT check."
    refusal = failure(tmp_path, f"{text}\n{MAKE}", "5.14.0-570.el9.x86_64+rt")
    assert "real-time" in refusal.remedy
    assert "kernel-rt-devel-5.14.0-570.el9.x86_64" in refusal.remedy


def test_a_driver_that_takes_no_real_time_kernel_tells_of_one(tmp_path):
    text = "This driver does not support real-time kernels"
    assert "real-time" in failure(tmp_path, f"{text}\n{MAKE}").remedy


def test_a_symbol_that_the_kernel_keeps_for_itself_comes_before_other_errors(tmp_path):
    refusal = failure(tmp_path, f"x.c:1: error: y\nFATAL: {GPL} 'x'\n{MAKE}")
    assert refusal.because.startswith(f"FATAL: {GPL} 'x' (")


def test_no_more_than_two_lines_are_quoted_and_none_twice(tmp_path):
    lines = [f"x.c:{number}: error: y" for number in (1, 1, 2, 3)]
    assert failure(tmp_path, "\n".join(lines)).because.startswith(f"{lines[0]} / {lines[2]} (")


def test_what_a_build_said_is_kept_for_root_alone(tmp_path):
    failure(tmp_path, "x.c:1: error: y")
    log = tmp_path / "var/log/gpunode/make.log"
    assert (log.read_text(), log.stat().st_mode & 0o777) == ("x.c:1: error: y\n", 0o600)


def test_a_compiler_that_is_not_there_is_named_but_for_a_better_reason(tmp_path):
    lacks = {"compiler_found": False}
    assert failure(tmp_path, "x.c:1: error: y", **lacks).remedy.startswith("Install gcc-12")
    assert "memory" in failure(tmp_path, "cc: Killed", **lacks).remedy


def test_make_is_quoted_where_nobody_else_says_anything(tmp_path):
    assert failure(tmp_path, f"x\n{MAKE}\n").because.startswith(MAKE)
    assert failure(tmp_path, "", said="it broke").because.startswith("it broke")
