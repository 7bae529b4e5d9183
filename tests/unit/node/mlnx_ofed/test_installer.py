"""What mlnxofedinstall is told, and what is made of what it says."""

from __future__ import annotations

import subprocess

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.mlnx_ofed import installer
from ansible_collections.gpunode.stack.plugins.module_utils._node.mlnx_ofed.installer import Order
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system.root import Root

KERNEL = "6.1.0-40-amd64"
PACKAGES = ["ofed-scripts", "openmpi", "mlnx-ofed-kernel-dkms", "kernel-mft-dkms"]


def order(**said):
    return Order(**{**Order(KERNEL, "/var/tmp", False, False, "", [])._asdict(), **said})


def ended(status, stdout="", stderr=""):
    return subprocess.CompletedProcess([], status, stdout, stderr)


def test_nothing_is_asked_firmware_stays_and_the_kernel_is_named():
    assert installer.arguments(order()) == [
        *("--force", "--without-fw-update", "--kernel", KERNEL),
        *("--kernel-sources", f"/lib/modules/{KERNEL}/build", "--tmpdir", "/var/tmp"),
    ]


@pytest.mark.parametrize(
    ("said", "more", "less"),
    [
        ({"updates_firmware": True}, [], ["--without-fw-update"]),
        ({"adds_kernel": True}, ["--add-kernel-support"], []),
        ({"distribution": "rhel8.7"}, ["--distro", "rhel8.7"], []),
        ({"options": ["--basic", "--without-openmpi"]}, ["--basic", "--without-openmpi"], []),
    ],
)
def test_what_is_said_besides_is_passed_on(said, more, less):
    usual, found = installer.arguments(order()), installer.arguments(order(**said))
    assert [word for word in found if word not in usual] == more
    assert [word for word in usual if word not in found] == less


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--basic", "--with-nvmf", "--umad-dev-rw", "--disable-kmp"],
        ["--post-start-delay", "5", "--kernel-extra-args", "--with-x"],
        ["--without-anything"],
    ],
)
def test_options_that_the_installer_knows_are_taken(options):
    installer.refuse_options(options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--basics"], ["--basics", "Did you mean --basic?"]),
        (["--without-fw-update"], ["mlnx_ofed_firmware_update"]),
        (["--tmpdir", "/tmp"], ["mlnx_ofed_tmpdir"]),
        (["--add-kernel-support"], ["kernels"]),
        (["--force"], ["nobody can be asked"]),
        (["--user-space-only"], ["modules of the kernel"]),
        (["--post-start-delay"], ["takes a value"]),
        (["basic"], ["--basic"]),
    ],
)
def test_options_that_are_unknown_or_ours_are_refused(options, words):
    with pytest.raises(Refusal) as caught:
        installer.refuse_options(options)
    assert options[0] in caught.value.what
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize(
    "option",
    [
        "--without-openmpi",
        "--with-mlnx-ofed-kernel-modules",
        "--enable-iser",
        "--with-nvmf",
        "--all",
    ],
)
def test_names_that_the_bundle_has_are_taken(option):
    installer.refuse_names([option], PACKAGES)


@pytest.mark.parametrize(
    ("name", "nearest"),
    # The second lacks what names of the vendor's own begin with.
    [("openmp", "openmpi"), ("fw-updat", "mlnx-fw-updater")],
)
def test_a_name_that_the_bundle_has_not_is_refused_with_the_nearest(name, nearest):
    with pytest.raises(Refusal) as caught:
        installer.refuse_names(["--basic", f"--without-{name}"], [*PACKAGES, "mlnx-fw-updater"])
    assert f"no package {name}," in str(caught.value)
    assert f"Did you mean --without-{nearest}?" in str(caught.value)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (1, "the installation failed"),
        (2, "no firmware"),
        (22, "mlnx_ofed_options"),
        (28, "mlnx_ofed_tmpdir"),
        (171, "adapter"),
        (172, "another distribution or architecture"),
        (173, "mst"),
        (174, "stand on those"),
        (137, "the installation failed"),
    ],
)
def test_each_status_becomes_a_sentence(tmp_path, status, words):
    refusal = installer.failure("install it", ended(status, "words of its own\n"), Root(tmp_path))
    assert words in str(refusal)
    assert f"status {status}" in refusal.because
    assert "words of its own" in refusal.because


# The first two: the one for Enterprise Linux, in public logs of 23.10 and 4.2.
@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("Run:\nyum install libusbx tcl fuse-libs tk\n", "dnf install libusbx tcl fuse-libs tk"),
        ("Run:\nyum install tcl tk\n", "dnf install tcl tk"),
        ("Run:\n\x1b[31mdnf install tcl\x1b[0m\n", "dnf install tcl"),
        ("Run:\n", "see that its packages can be installed"),
        ("it is not like yum install tcl\n", "see that its packages can be installed"),
    ],
)
def test_packages_that_it_wants_to_find_are_told_with_the_command_that_brings_them(
    tmp_path, said, remedy
):
    words = f"Error: One or more required packages are missing.\n{said}"
    refusal = installer.failure("install it", ended(172, words), Root(tmp_path))
    assert remedy in refusal.remedy
    assert "required packages are missing" in refusal.because


def test_the_log_is_quoted_and_named(tmp_path):
    log = "/var/tmp/MLNX_OFED_LINUX.7.logs/general.log"
    (tmp_path / log[1:]).parent.mkdir(parents=True)
    (tmp_path / log[1:]).write_text("Installing knem\nError: knem-dkms failed\n---- END ----\n")
    told = f"Logs dir: {log.rpartition('/')[0]}\nGeneral log file: {log}\n\x1b[31mgave up\x1b[0m\n"
    refusal = installer.failure("install it", ended(1, "", told), Root(tmp_path))
    assert "Error: knem-dkms failed" in refusal.because
    assert f"({log})" in refusal.because
    assert "\x1b" not in str(refusal)


# microsoft/pai#2470, with the log that DKMS names in turn.
def test_the_log_behind_the_log_that_the_installer_names_is_quoted_with_its_path(tmp_path):
    logs = "/var/tmp/MLNX_OFED_LINUX.6.logs"
    make = "/var/lib/dkms/mlnx-ofed-kernel/24.10/build/make.log"
    texts = {
        f"{logs}/general.log": "Running dpkg\nInstalling mlnx-ofed-kernel-modules failed\n",
        f"{logs}/mlnx-ofed-kernel-modules.debinstall.log": (
            f"Error! Bad return status for module build\nConsult {make} for more information.\n"
        ),
        make: "  CC x.o\nx.c:9:1: error: too few arguments to function 'y'\nmake: *** Error 1\n",
    }
    for path, text in texts.items():
        (tmp_path / path[1:]).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path[1:]).write_text(text)
    told = (
        f"General log file: {logs}/general.log\n"
        "Error: mlnx-ofed-kernel-modules installation failed!\nCollecting debug info...\nSee:\n"
        f"\t{logs}/mlnx-ofed-kernel-modules.debinstall.log\nRemoving newly installed packages...\n"
    )
    refusal = installer.failure("install it", ended(1, told), Root(tmp_path))
    assert refusal.because == (
        "the installation failed (status 1): Error: mlnx-ofed-kernel-modules installation failed! "
        f"/ x.c:9:1: error: too few arguments to function 'y' ({make})"
    )


def test_a_log_that_somebody_else_could_have_written_is_named_and_not_quoted(tmp_path):
    log = tmp_path / "var/tmp/x.log"
    log.parent.mkdir(parents=True)
    log.write_text("root:$6$secret error\n")
    log.chmod(0o666)
    refusal = installer.failure(
        "install it", ended(1, "Error: no. See /var/tmp/x.log"), Root(tmp_path)
    )
    assert "secret" not in str(refusal)
    assert "/var/tmp/x.log" in refusal.because


def test_colours_of_the_terminal_are_no_part_of_a_message(tmp_path):
    told = "\x1b[31mError: gave up\x1b[0m\n"
    refusal = installer.failure("install it", ended(1, told), Root(tmp_path))
    assert "Error: gave up" in refusal.because
    assert "\x1b" not in str(refusal)


def test_a_full_disk_is_told_as_one_whatever_the_status(tmp_path):
    done = ended(1, "", "cp: error writing 'x': No space left on device\n")
    assert "full" in installer.failure("install it", done, Root(tmp_path)).because


@pytest.mark.parametrize(
    ("stdout", "words"),
    [
        ("\x1b[31mFailed to update Firmware.\x1b[0m\nSee /x/fw_update.log\n", "Failed to update"),
        ("Error: mlnx-fw-updater deb doesn't exist! Cannot perform firmware update!\n", "Cannot"),
        ("Installation passed successfully\n", ""),
    ],
)
def test_firmware_that_was_not_updated_is_seen_though_the_status_is_0(stdout, words):
    told = installer.firmware_failure(ended(0, stdout))
    assert told.startswith(words) or words in told
    assert bool(told) == bool(words)
