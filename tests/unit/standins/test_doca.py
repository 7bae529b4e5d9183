"""The table of what stands for DOCA-OFED keeps to its form, and its packages to the table."""

from __future__ import annotations

import subprocess

import pytest

from standins import doca, mlnx_ofed
from standins.repository import Repository

KEYS = {"doca", "build", "ofed", "rdma", "tools", "mft", "source"}
PACKAGES = {row["name"] for row in mlnx_ofed.table("packages")["packages"]}
VERSION = "3.2.1"


@pytest.mark.parametrize("row", doca.TABLE["versions"], ids=lambda row: row["doca"])
def test_a_version_says_where_it_was_read(row):
    assert row["source"]
    assert set(row) <= KEYS


@pytest.mark.parametrize(
    "row", doca.TABLE["profiles"] + doca.TABLE["faults"], ids=lambda row: row["name"]
)
def test_a_profile_and_a_fault_say_where_they_were_seen(row):
    assert row["source"]


@pytest.mark.parametrize("row", doca.TABLE["archive"], ids=lambda row: row["package"])
def test_what_ubuntus_archive_has_is_a_tree_of_dkms_under_the_name_of_its_package(tmp_path, row):
    assert row["source"]
    doca.archive_package(tmp_path, row["ofed"])
    (path,) = tmp_path.glob("*.deb")
    subprocess.run(["dpkg-deb", "--extract", path, tmp_path / "tree"], check=True)
    dkms = row["version"].partition("-")[0]
    (source,) = (tmp_path / "tree/usr/src").iterdir()
    assert source.name == f"{row['package']}-{dkms}"
    conf = (source / "dkms.conf").read_text()
    assert f'PACKAGE_NAME="{row["package"]}"\nPACKAGE_VERSION="{dkms}"\n' in conf
    # Nobody lays symbols anywhere.
    assert "ofed_scripts" not in conf


def test_a_profile_needs_what_is_there():
    there = PACKAGES | {row["name"] for row in doca.TABLE["profiles"]} | {"*", "kernel"}
    assert {name for row in doca.TABLE["profiles"] for name in row["depends"]} <= there


def test_what_else_is_read_has_a_source():
    table = doca.TABLE
    assert table["host"]["source"]
    assert table["label_source"]
    assert table["without_ofed_info"]["source"]
    assert {row["name"] for row in table["faults"]} - {"damaged"} <= mlnx_ofed.FAULTS


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    made = Repository(tmp_path_factory.mktemp("node"), path="/srv/doca")
    doca.publish(made, VERSION)
    yield made
    made.close()


def test_an_archive_is_flat_and_has_each_package_with_its_place(archive):
    index = (archive.root / "Packages").read_text()
    blocks = index.strip().split("\n\n")
    rows = {block.split("\n")[0].removeprefix("Package: "): block for block in blocks}
    assert rows.keys() >= PACKAGES | {"doca-ofed", "doca-all", "mlnx-fw-updater"}
    assert "Version: 3.2.1-044000" in rows["doca-ofed"]
    assert "Version: 25.10.OFED.25.10.1.7.1.1-1" in rows["mlnx-ofed-kernel-dkms"]
    assert "Version: 2510.0.11-1" in rows["rdma-core"]
    assert "mlnx-fw-updater" not in rows["doca-ofed-userspace"]
    for block in rows.values():
        place = next(line for line in block.splitlines() if line.startswith("Filename: "))
        assert (archive.root / place.removeprefix("Filename: ")).is_file()
    assert "URIs: copy:/srv/doca\nSuites: /\n" in archive.source("/")
    assert "Label: DOCA-HOST" in (archive.root / "InRelease").read_text()


@pytest.mark.parametrize(("version", "has"), [("3.2.1", True), ("4.0.0", False)])
def test_there_is_no_ofed_info_any_more(tmp_path, version, has):
    file = doca.host(tmp_path, version)
    subprocess.run(["dpkg-deb", "-x", file, tmp_path / "tree"], check=True)
    scripts = next((tmp_path / "tree").rglob("ofed-scripts_*.deb"))
    listed = subprocess.run(["dpkg-deb", "-c", scripts], capture_output=True, text=True, check=True)
    assert ("/usr/bin/ofed_info" in listed.stdout) is has
    assert "/usr/sbin/ofed_uninstall.sh" in listed.stdout


def test_doca_host_has_a_repository_and_its_source(tmp_path):
    file = doca.host(tmp_path, VERSION)
    assert file.name == "doca-host_3.2.1-044000-25.10-debian125_amd64.deb"
    subprocess.run(["dpkg-deb", "-x", file, tmp_path / "tree"], check=True)
    folder = "/usr/share/doca-host-3.2.1-044000-25.10-debian125/repo"
    listed = (tmp_path / "tree/etc/apt/sources.list.d/doca.list").read_text()
    assert listed == f"deb [trusted=yes] file:{folder} ./\n"
    assert "Filename: pool/doca-ofed_" in (tmp_path / f"tree{folder}/Packages").read_text()
