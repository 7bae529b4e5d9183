"""A .run looked into, unpacked, installed, removed and kept, with the stand-in for the file."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.nvidia_driver import (
    runfile as driver_runfile,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import files
from ansible_collections.gpunode.stack.plugins.module_utils._node.system.root import Root
from standins import runfile

V440, V535, V590 = "440.33.01", "535.161.08", "590.48.01"
# One of each branch, the first and last of those that changed an option.
VERSIONS = [
    *("410.57", "418.88", V440, "450.119.03", "460.91.03", "470.256.02", "510.108.03"),
    *("515.43.04", "520.56.06", "525.147.05", V535, "545.23.06", "550.54.14", "555.42.02"),
    *("560.35.03", "570.86.16", "580.65.06", V590),
]


@pytest.fixture
def host(tmp_path):
    root = tmp_path / "host"
    (root / "usr" / "lib" / "x86_64-linux-gnu").mkdir(parents=True)
    return Root(str(root))


@pytest.fixture
def execute(host):
    def run(argv, environment):
        return subprocess.run(
            argv,
            env={**os.environ, **environment, "RUNFILE_ROOT": host.root},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def driver(tmp_path, execute):
    """Return what makes a file and unpacks it: (path, folder)."""

    def make(version, **settings):
        path = tmp_path / runfile.file_name(version, settings.get("flavour", "tesla"))
        runfile.build(path, version, **settings)
        folder = tmp_path / "unpacked" / version
        driver_runfile.extract(str(path), str(folder), execute)
        return path, str(folder)

    return make


def install(driver, host, execute, version, **settings):
    _path, folder = driver(version, **settings)
    driver_runfile.install(folder, version, execute, host)


def test_what_installs_it_has_no_network_and_a_tmp_of_its_own(host, driver, execute):
    asked = []

    def noting(argv, environment):
        asked.append(set(getattr(argv, "settings", ())))
        return execute(argv, environment)

    install(driver, host, noting, V590)
    assert {"PrivateNetwork=yes", "ProtectHome=read-only"} <= asked[-1]
    # ldconfig has a domain of its own in SELinux, and programs go to /usr.
    assert not {"NoNewPrivileges=yes", "ProtectSystem=full"} & asked[-1]


@pytest.mark.parametrize("version", VERSIONS)
def test_no_version_is_given_an_option_that_it_does_not_know(version):
    names = {row["name"] for row in runfile.options(version)}
    negatable = {f"no-{row['name']}" for row in runfile.options(version) if row["negatable"]}
    passed = [
        option[2:].partition("=")[0] for option in driver_runfile.arguments(version, "/log", "/tmp")
    ]
    assert set(passed) <= names | negatable


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_is_told_not_to_touch_modules_that_are_loaded_or_on_disk(version):
    passed = driver_runfile.arguments(version)
    assert "--skip-module-unload" in passed
    assert {"--no-kernel-module", "--no-kernel-modules"} & set(passed)


def test_an_initramfs_is_left_alone_by_the_versions_that_would_make_one():
    assert "--no-rebuild-initramfs" not in driver_runfile.arguments(V535)
    assert "--no-rebuild-initramfs" in driver_runfile.arguments("545.23.06")


@pytest.mark.parametrize("flavour", ["tesla", "grid"])
def test_a_file_is_told_by_its_header(tmp_path, execute, flavour):
    path = runfile.build(tmp_path / "driver.run", V535, flavour)
    assert driver_runfile.inspect(str(path), "x86_64", execute, V535, flavour) == (V535, flavour)


@pytest.mark.parametrize(
    ("settings", "asked", "says"),
    [
        ({"faults": ["truncated"]}, {}, "damaged: Error in checksums"),
        ({"faults": ["other-architecture"]}, {}, "for aarch64, the host is x86_64"),
        ({}, {"version": V440}, f"version is {V535}, wanted is {V440}"),
        ({}, {"flavour": "grid"}, "flavour is tesla, wanted is grid"),
        ({"flavour": "grid"}, {"flavour": "tesla"}, "flavour is grid, wanted is tesla"),
    ],
)
def test_a_file_that_will_not_do_is_refused_and_says_why(tmp_path, execute, settings, asked, says):
    path = runfile.build(tmp_path / "driver.run", V535, **settings)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(Refusal, match=says):
        driver_runfile.inspect(str(path), "x86_64", execute, **asked)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\nexit 0\n", os.urandom(4096)])
def test_a_file_that_is_no_driver_is_refused_and_not_run(tmp_path, content):
    path = tmp_path / "driver.run"
    path.write_bytes(content)
    with pytest.raises(Refusal, match=r"no \.run of the NVIDIA driver"):
        driver_runfile.inspect(str(path), "x86_64", None)


def test_a_driver_for_the_host_of_virtual_gpus_is_refused(tmp_path, execute):
    path = runfile.build(tmp_path / "driver.run", V535)
    text = path.read_bytes().replace(b"targetdir=NVIDIA-Linux-x86_64-535.161.08", b"targetdir=X")
    text = text.replace(b"targetdir=X", b"targetdir=NVIDIA-Linux-x86_64-535.161.05-vgpu-kvm")
    path.write_bytes(text)

    def whole(argv, _environment):
        return subprocess.CompletedProcess(argv, 0, "", "")

    with pytest.raises(Refusal, match="host of virtual GPUs"):
        driver_runfile.inspect(str(path), "x86_64", whole)


def test_an_unpacked_file_tells_its_version_and_modules(driver):
    _path, folder = driver(V535)
    assert driver_runfile.manifest(folder) == (V535, ["nvidia"])
    assert sorted(name for name in os.listdir(folder) if "kernel" in name) == [
        "kernel",
        "kernel-open",
    ]


def test_what_a_killed_run_unpacked_is_unpacked_anew(tmp_path, execute):
    path = runfile.build(tmp_path / "driver.run", V535)
    target = tmp_path / "unpacked"
    target.mkdir()
    (target / ".manifest").write_text("half")
    assert driver_runfile.extract(str(path), str(target), execute).version == V535


def test_a_full_disk_is_named_when_unpacking_ends_without_a_word(tmp_path, monkeypatch):
    monkeypatch.setattr(driver_runfile, "_free", lambda _folder: 0)

    def ended_by_a_signal(argv, _environment):
        return subprocess.CompletedProcess(argv, 143, "Uncompressing", "")

    with pytest.raises(Refusal, match=r"file system of .* is full"):
        driver_runfile.extract("/x.run", str(tmp_path / "unpacked"), ended_by_a_signal)


@pytest.mark.parametrize("version", [V440, V535, V590])
def test_programs_and_libraries_are_installed_and_no_module(driver, host, execute, version):
    install(driver, host, execute, version)
    assert driver_runfile.installed_driver.runfile(host) == version
    assert driver_runfile.installed_driver.libraries(host) == [version]
    assert not host.exists("/usr/src")


def test_another_version_takes_the_place_of_the_one_before_in_both_directions(
    driver, host, execute
):
    for version in (V440, V535, V440):
        install(driver, host, execute, version)
        assert driver_runfile.installed_driver.libraries(host) == [version]


def test_the_driver_before_goes_without_its_own_uninstaller_which_would_unload_modules(
    driver, host, execute
):
    install(driver, host, execute, V440)
    asked = []

    def remember(argv, environment):
        asked.append(argv)
        return execute(argv, environment)

    _path, folder = driver(V535)
    driver_runfile.install(folder, V535, remember, host)
    assert [argv[0] for argv in asked] == [f"{folder}/nvidia-installer"] * 2
    assert {"--uninstall", "--skip-module-unload"} <= set(asked[0])
    log = host.text(driver_runfile.LOG)
    assert "nvidia-uninstall" not in log


def test_errors_of_an_earlier_run_are_not_told_as_those_of_this_one(driver, host):
    _path, folder = driver(V535)
    log = Path(host.path(driver_runfile.LOG))
    log.parent.mkdir(parents=True)
    log.write_text("ERROR: of last week\n")

    def does_not_start(argv, _environment):
        return subprocess.CompletedProcess(argv, 126, "", "cannot execute")

    with pytest.raises(Refusal, match="cannot execute"):
        driver_runfile.install(folder, V535, does_not_start, host)


def test_a_full_disk_is_a_refusal_though_the_installer_calls_it_a_success(driver, host, execute):
    with pytest.raises(Refusal, match="file system of /usr is full"):
        install(driver, host, execute, V535, faults=["disk-full"])


def test_a_killed_installer_is_a_refusal_and_the_next_run_repairs(driver, host, execute):
    with pytest.raises(Refusal, match=f"install NVIDIA driver {V535}"):
        install(driver, host, execute, V535, faults=["killed"])
    assert not driver_runfile.is_whole(host, "tesla")
    install(driver, host, execute, V535)
    assert host.exists(f"/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.{V535}")
    assert driver_runfile.is_whole(host, "tesla")


@pytest.mark.parametrize("name", ["libcuda.so.1", f"libnvidia-ml.so.{V535}"])
def test_a_file_or_link_that_was_placed_and_is_gone_is_missed(driver, host, execute, name):
    install(driver, host, execute, V535)
    assert f"/usr/lib/x86_64-linux-gnu/{name}" in driver_runfile.deployed(host)
    os.unlink(os.path.join(host.root, "usr/lib/x86_64-linux-gnu", name))
    assert not driver_runfile.is_whole(host, "tesla")


@pytest.mark.parametrize(("flavour", "other"), [("tesla", "grid"), ("grid", "tesla")])
def test_one_flavour_of_a_version_does_not_pass_for_the_other(
    driver, host, execute, flavour, other
):
    install(driver, host, execute, V535, flavour=flavour)
    assert driver_runfile.is_whole(host, flavour)
    assert not driver_runfile.is_whole(host, other)


def test_the_line_of_the_log_that_tells_why_is_quoted(driver, host, execute):
    marker = Path(host.path("/usr/lib/nvidia/alternate-install-present"))
    marker.parent.mkdir()
    marker.touch()
    with pytest.raises(Refusal, match=r"canceled due to the availability .*nvidia-installer\.log"):
        install(driver, host, execute, V535)


@pytest.mark.parametrize("status", [0, 1])
def test_an_error_in_the_log_is_one_whatever_the_status(tmp_path, driver, host, execute, status):
    _path, folder = driver(V535)
    log = host.path(driver_runfile.LOG)

    def tells_in_its_log(argv, environment):
        answer = execute(argv, environment)
        with open(log, "a", encoding="utf-8") as handle:
            handle.write("ERROR: Failed to execute `/sbin/ldconfig`: no\n")
        return subprocess.CompletedProcess(argv, status, answer.stdout, answer.stderr)

    with pytest.raises(Refusal, match="Failed to execute `/sbin/ldconfig`"):
        driver_runfile.install(folder, V535, tells_in_its_log, host)


def test_an_uninstallation_leaves_nothing_of_it(driver, host, execute, tmp_path):
    install(driver, host, execute, V535)
    driver_runfile.uninstall(execute, host)
    left = [path.name for path in Path(host.root).rglob("*") if not path.is_dir()]
    assert sorted(left) == ["nvidia-installer.log", "nvidia-uninstall.log"]
    driver_runfile.uninstall(None, host)


def test_an_uninstaller_that_is_gone_is_named_and_the_unpacked_one_does_as_well(
    driver, host, execute
):
    _path, folder = driver(V535)
    driver_runfile.install(folder, V535, execute, host)
    os.unlink(host.path("/usr/bin") + "/nvidia-uninstall")
    with pytest.raises(Refusal, match="nvidia-uninstall is gone"):
        driver_runfile.uninstall(execute, host)
    driver_runfile.uninstall(execute, host, folder)
    assert driver_runfile.installed_driver.libraries(host) == []


def test_the_uninstaller_is_told_to_unload_nothing(driver, host, execute, tmp_path):
    install(driver, host, execute, V535)
    asked = []

    def remember(argv, environment):
        asked.append(argv)
        return execute(argv, environment)

    driver_runfile.uninstall(remember, host)
    assert "--skip-module-unload" in asked[0]


def keep(tmp_path, folder, version):
    path = tmp_path / f"{version}.run"
    path.write_text(version)
    identity = driver_runfile.Identity(version, "tesla")
    driver_runfile.keep(str(path), identity, files.sha256_of_file(path), str(folder))


def test_the_installed_file_and_the_one_before_are_kept_and_no_other(tmp_path):
    folder = tmp_path / "kept"
    for version in (V440, V535, V535, V590):
        keep(tmp_path, folder, version)
    rows = driver_runfile.kept(str(folder))
    assert [row["version"] for row in rows] == [V590, V535]
    assert [Path(row["path"]).read_text() for row in rows] == [V590, V535]
    assert len(list(folder.glob("*.run"))) == 2
    keep(tmp_path, folder, V535)
    assert [row["version"] for row in driver_runfile.kept(str(folder))] == [V535, V590]


def test_what_is_kept_is_for_root_alone(tmp_path):
    folder = tmp_path / "kept"
    keep(tmp_path, folder, V535)
    modes = {f"{path.stat().st_mode & 0o777:o}" for path in folder.iterdir()}
    assert (f"{folder.stat().st_mode & 0o777:o}", modes) == ("700", {"600"})


@pytest.mark.parametrize("text", ["", "rubbish", "[]", '[{"name": "x"}]'])
def test_a_broken_note_of_what_is_kept_counts_as_none(tmp_path, text):
    folder = tmp_path / "kept"
    folder.mkdir()
    (folder / "kept.json").write_text(text)
    assert driver_runfile.kept(str(folder)) == []
    keep(tmp_path, folder, V535)
    assert [row["version"] for row in driver_runfile.kept(str(folder))] == [V535]
