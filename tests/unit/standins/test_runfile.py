"""The stand-in of a .run, tried on a folder that stands for a host."""

from __future__ import annotations

import os
import subprocess

import pytest

from standins import runfile

V440, V535, V590 = "440.33.01", "535.161.08", "590.48.01"
SILENT = ("--silent", "--no-kernel-module")


@pytest.fixture
def host(tmp_path, monkeypatch):
    root = tmp_path / "host"
    (root / "usr" / "lib" / "x86_64-linux-gnu").mkdir(parents=True)
    monkeypatch.setenv("RUNFILE_ROOT", str(root))
    return root


@pytest.fixture
def made(tmp_path):
    """Return what builds a file once and runs it."""

    def make(version, *arguments, **settings):
        path = tmp_path / runfile.file_name(version, settings.get("flavour", "tesla"))
        if not path.exists():
            runfile.build(path, version, **settings)
        argv = ["sh", path, *arguments]
        return subprocess.run(argv, capture_output=True, text=True, cwd=tmp_path, check=False)

    return make


def listed(host):
    return (host / "var/lib/nvidia/log").read_text().splitlines()


def test_a_whole_file_says_that_its_sums_are_right(made):
    done = made(V535, "--check")
    assert (done.returncode, done.stdout) == (0, "check sums and md5 sums are ok\n")


def test_a_truncated_file_is_told_by_its_sums_and_unpacks_nothing(made, tmp_path):
    assert made(V535, "--check", faults=["truncated"]).returncode == 2
    done = made(V535, "-x", "--target", "there")
    assert done.returncode == 2
    assert "Error in check sums" in done.stdout
    assert os.listdir(tmp_path / "there") == []


def test_a_file_for_another_architecture_unpacks_but_does_not_run(made, tmp_path):
    done = made(V535, "--silent", faults=["other-architecture"])
    assert done.returncode == 1
    assert "Linux-aarch64 platform" in done.stdout
    assert made(V535, "-x").returncode == 0
    assert (tmp_path / f"NVIDIA-Linux-x86_64-{V535}" / "nvidia-installer").exists()


def test_it_does_not_unpack_over_a_folder_that_is_there(made, tmp_path):
    (tmp_path / "there").mkdir()
    done = made(V535, "-x", "--target", "there")
    assert done.returncode == 1
    assert "already exists" in done.stdout


@pytest.mark.parametrize(
    ("version", "folders"), [(V440, ["kernel"]), (V535, ["kernel", "kernel-open"])]
)
def test_open_modules_come_with_the_versions_that_have_them(made, tmp_path, version, folders):
    made(version, "-x", "--target", "there")
    assert sorted(path.name for path in (tmp_path / "there").glob("kernel*")) == folders


@pytest.mark.parametrize("version", [V440, V535, V590])
def test_an_option_that_the_version_lacks_is_fatal_and_changes_nothing(made, host, version):
    done = made(version, "--silent", "--never-heard-of")
    assert done.returncode == 1
    assert 'unrecognized option: "--never-heard-of"' in done.stderr
    assert os.listdir(host) == ["usr"]


@pytest.mark.parametrize(
    ("option", "without", "with_it"),
    [
        ("--no-kernel-modules", "510.108.03", "515.43.04"),
        ("--allow-installation-with-running-driver", V535, "545.23.06"),
        ("--no-rebuild-initramfs", V535, "545.23.06"),
        ("--skip-module-load", "545.29.06", "550.40.07"),
        ("--no-dkms", "515.86.01", "520.56.06"),
        ("--no-systemd", "460.91.03", "465.19.01"),
    ],
)
def test_an_option_is_taken_from_its_first_version_on(made, host, option, without, with_it):
    assert made(without, *SILENT, option).returncode == 1
    assert made(with_it, *SILENT, option).returncode == 0


def test_an_installation_is_listed_as_the_installer_lists_it(made, host):
    done = made(V535, *SILENT)
    assert done.returncode == 0
    assert listed(host)[0] == "1.0-53516108 (535.161.08)"
    library = host / "usr/lib/x86_64-linux-gnu"
    assert (library / "libcuda.so").resolve() == library / f"libcuda.so.{V535}"
    assert (host / "usr/bin/nvidia-uninstall").resolve() == host / "usr/bin/nvidia-installer"
    assert (
        f"Installing NVIDIA driver version {V535}."
        in (host / "var/log/nvidia-installer.log").read_text()
    )


def test_the_next_installation_removes_the_one_before(made, host):
    made(V440, *SILENT)
    made(V535, *SILENT)
    names = os.listdir(host / "usr/lib/x86_64-linux-gnu")
    assert [name for name in names if V440 in name] == []
    assert listed(host)[0].endswith(f"({V535})")


def test_an_uninstallation_leaves_nothing_but_the_log(made, host):
    made(V535, *SILENT)
    program = host / "usr/bin/nvidia-uninstall"
    assert subprocess.run([program, "-s"], check=False).returncode == 0
    left = [path for path in host.rglob("*") if not path.is_dir()]
    assert sorted(path.name for path in left) == ["nvidia-installer.log", "nvidia-uninstall.log"]


def test_a_changed_file_is_kept_by_an_uninstallation(made, host):
    made(V535, *SILENT)
    changed = host / "usr/bin/nvidia-smi"
    changed.write_text("mine")
    subprocess.run([host / "usr/bin/nvidia-uninstall", "-s"], check=False)
    assert changed.read_text() == "mine"
    assert "has been altered" in (host / "var/log/nvidia-uninstall.log").read_text()


def test_a_full_disk_is_an_error_in_the_log_and_no_failure(made, host):
    done = made(V535, *SILENT, faults=["disk-full"])
    assert done.returncode == 0
    log = (host / "var/log/nvidia-installer.log").read_text()
    assert "No space left on device" in log
    assert "Post-install sanity check failed." in log
    assert "ERROR: Unable to create" in done.stderr


def test_a_killed_installer_leaves_half_of_it(made, host):
    assert made(V535, *SILENT, faults=["killed"]).returncode == 137
    names = os.listdir(host / "usr/lib/x86_64-linux-gnu")
    assert f"libcuda.so.{V535}" in names
    assert f"libnvidia-ml.so.{V535}" not in names


def test_packages_that_say_so_stop_it_unless_it_is_told_not_to_ask(made, host):
    marker = host / "usr/lib/nvidia/alternate-install-present"
    marker.parent.mkdir()
    marker.write_text("Use the packages.")
    done = made(V535, *SILENT)
    assert done.returncode == 1
    assert "canceled due to the availability" in done.stderr
    assert made(V535, *SILENT, "--no-check-for-alternate-installs").returncode == 0


@pytest.mark.parametrize(
    ("version", "arguments", "status"),
    [
        (V535, ["--silent"], 1),
        (V590, ["--silent"], 1),
        (V590, SILENT, 0),
        (V535, SILENT, 0),
    ],
)
def test_a_loaded_driver_stops_it_only_where_modules_are_to_be_installed(
    made, host, version, arguments, status
):
    (host / "proc").mkdir()
    (host / "proc/modules").write_text("nvidia 1 0 - Live 0x0\n")
    done = made(version, *arguments)
    assert done.returncode == status
    assert ("appears to already be loaded" in done.stderr) == (version == V535 and status == 1)


@pytest.mark.parametrize("faults", [[], ["no-gridd-unit"]])
def test_the_guest_driver_brings_its_daemon_and_settings(made, tmp_path, host, faults):
    made(V535, *SILENT, flavour="grid", faults=faults)
    assert (host / "usr/bin/nvidia-gridd").exists()
    assert (host / "etc/nvidia/gridd.conf.template").exists()
    made(V535, "-x", "--target", "there", flavour="grid")
    assert (tmp_path / "there/nvidia-gridd.service").exists() == (not faults)


def test_programs_that_are_handed_over_are_told_their_version(made, tmp_path, host):
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("nvidia-smi", "nvidia-persistenced"):
        (programs / name).write_text("#!/bin/sh\necho mine @VERSION@\n")
    made(V535, *SILENT, programs=programs)
    answer = subprocess.run([host / "usr/bin/nvidia-smi"], capture_output=True, check=False)
    assert answer.stdout.decode() == f"mine {V535}\n"
