"""The tables of the stand-in of MLNX_OFED keep to their form, and its programs to the tables."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from standins import mlnx_ofed

OPTIONS = mlnx_ofed.table("options")
WORDS = mlnx_ofed.table("words")
PACKAGES = mlnx_ofed.table("packages")
FAULTS = mlnx_ofed.table("faults")["faults"]
VERSION = "24.10-2.1.8.0"
STATUSES = {0, 1, 2, 22, 28, 30, 171, 172, 173, 174, -9}

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="the installer asks for root before that")


@pytest.mark.parametrize(
    "row", OPTIONS["options"] + OPTIONS["uninstall"], ids=lambda row: row["name"]
)
def test_an_option_says_where_it_was_read(row):
    assert row["source"]
    assert set(row) <= {"name", "short", "takes", "sets", "source"}
    assert row["name"].startswith("-")
    assert row.get("takes", "value") == "value"
    assert all(value != "value" or "takes" in row for value in row.get("sets", {}).values())


@pytest.mark.parametrize("name", WORDS["words"])
def test_words_say_where_they_were_read_and_how_they_end(name):
    row = WORDS["words"][name]
    assert row["source"]
    assert set(row) <= {"says", "exit", "color", "source"}
    assert row.get("exit", 0) in STATUSES


@pytest.mark.parametrize("row", FAULTS, ids=lambda row: row["name"])
def test_a_fault_says_where_it_was_seen(row):
    assert row["source"]
    assert set(row) <= {"name", "exit", "says", "source"}
    assert row.get("exit", 0) in STATUSES


@pytest.mark.parametrize(
    "row", [*PACKAGES["packages"], PACKAGES["updater"]], ids=lambda row: row["name"]
)
def test_a_package_says_where_it_is_from_and_has_files_that_are_there(row):
    assert row["source"]
    for name in row.get("files", {}).values():
        assert (mlnx_ofed.STANDIN / "files" / name).is_file()


def test_what_is_said_is_in_the_table():
    files = mlnx_ofed.STANDIN / "files"
    said = set()
    # The installer of .rpm files has words of its own, see test_mlnx_ofed_rpms.py.
    for path in set(files.glob("*.py")) - {files / "installer_rpm.py"}:
        said |= set(re.findall(r'\b(?:say|tell)\(\s*"(\w+)"', path.read_text()))
        said |= set(re.findall(r'\["words"\]\["(\w+)"\]', path.read_text()))
    assert said == set(WORDS["words"])


def test_what_options_set_is_what_the_installer_asks_for():
    text = (mlnx_ofed.STANDIN / "files" / "installer.py").read_text()
    set_ = {key for row in OPTIONS["options"] for key in row.get("sets", {})} | {
        *OPTIONS["defaults"]
    }
    asked = set(re.findall(r'given(?:\.get\(|\[)"(\w+)"', text))
    asked |= {"print_available", "user_space_only", "check_deps_only"}
    assert set_ - asked == set()
    assert asked - set_ == {"again"}


def test_what_is_removed_are_the_packages_of_the_bundle_too():
    names = {row["name"] for row in PACKAGES["packages"]} | {PACKAGES["updater"]["name"]}
    assert names <= set(WORDS["removed"]["names"])


@pytest.mark.parametrize(
    ("version", "kernel", "rdma", "headers", "debs"),
    [
        (
            "24.10-2.1.8.0",
            "24.10.OFED.24.10.2.1.8.1-1",
            "2410mlnx54-1.2410068",
            "x86_64/KERNEL",
            "DEBS",
        ),
        ("5.8-4.1.5.0", "5.8-OFED.5.8.4.1.5.1", "58mlnx1-1.58415", "x86_64/KERNEL", "DEBS"),
        ("5.0-2.1.8.0", "5.0-OFED.5.0.2.1.8.1", "50mlnx1-1.50218", "default", "DEBS/UPSTREAM_LIBS"),
    ],
)
def test_versions_follow_from_that_of_the_bundle(version, kernel, rdma, headers, debs):
    known = mlnx_ofed.versions(version)
    assert (known["kernel"], known["rdma"]) == (kernel, rdma)
    assert mlnx_ofed.headers(version) == headers
    assert mlnx_ofed.debs(version) == debs


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    file = mlnx_ofed.make(tmp_path_factory.mktemp("made"), VERSION)
    # Python 3.11.2, which Debian 12 has, does not know extractall's filter.
    subprocess.run(["tar", "--extract", "--file", file, "--directory", file.parent], check=True)
    return file.with_suffix("")


@pytest.fixture
def run(bundle, tmp_path):
    """Run a program of the bundle as far as it changes nothing."""

    def _run(program, *arguments, answer=""):
        state = {"MLNX_OFED_STANDIN_STATE": str(tmp_path / "state"), "PATH": os.environ["PATH"]}
        if program == "mlnxofedinstall":
            arguments += ("--tmpdir", str(tmp_path))
        return subprocess.run(
            [bundle / program, *arguments],
            input=answer,
            capture_output=True,
            text=True,
            check=False,
            env=state,
        )

    return _run


def test_a_bundle_is_laid_out_as_the_vendor_s(bundle):
    assert bundle.name == f"MLNX_OFED_LINUX-{VERSION}-debian12.5-x86_64"
    assert (bundle / "distro").read_text() == "debian12.5\n"
    assert (bundle / ".mlnx").read_text() == (bundle / "mlnx").read_text() == f"{VERSION}\n"
    names = {path.name for path in (bundle / "DEBS").iterdir()}
    assert "ofed-scripts_24.10.OFED.24.10.2.1.8-1_amd64.deb" in names
    assert "mlnx-ofed-kernel-dkms_24.10.OFED.24.10.2.1.8.1-1_all.deb" in names


def test_an_option_that_is_none_ends_it(run):
    done = run("mlnxofedinstall", "--force", "--no-such")
    assert done.returncode == 22
    assert "Unsupported installation option: '--no-such'" in done.stdout


@as_root
def test_another_distribution_ends_it(run):
    done = run("mlnxofedinstall", "--force", "--distro", "debian12.12")
    assert done.returncode == 172
    assert "intended for debian12.5" in done.stdout


@as_root
def test_without_a_yes_it_ends(run):
    done = run("mlnxofedinstall", "--distro", "debian12.5", "--user-space-only", answer="n")
    assert done.returncode == 1
    assert done.stdout.endswith("Do you want to continue?[y/N]:")


@as_root
def test_a_mistyped_package_is_warned_of_at_most(run):
    plain = ("--distro", "debian12.5", "--user-space-only", "-p")
    done = run("mlnxofedinstall", *plain, "--without-rdmacore")
    assert done.returncode == 0
    assert "\x1b[33mUnsupported package: rdmacore\x1b[0m" in done.stdout
    assert " rdma-core" in done.stdout
    assert " rdma-core" not in run("mlnxofedinstall", *plain, "--without-rdma-core").stdout


def test_the_uninstaller_does_nothing_for_what_it_does_not_know(run):
    done = run("uninstall.sh", "--forse")
    assert done.returncode == 0
    assert "Usage" in done.stdout


@pytest.mark.parametrize("fault", ["no-such", "exit 28"])
def test_a_fault_that_is_none_is_refused(tmp_path, fault):
    with pytest.raises(ValueError, match="no such fault"):
        mlnx_ofed.make(tmp_path, VERSION, faults=[fault])


def test_a_truncated_bundle_cannot_be_unpacked(tmp_path):
    file = mlnx_ofed.make(tmp_path, VERSION, faults=["truncated"])
    assert subprocess.run(["tar", "tzf", file], capture_output=True, check=False).returncode
