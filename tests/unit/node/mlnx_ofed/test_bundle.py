"""The bundle of MLNX_OFED: looked into, and held against the host."""

from __future__ import annotations

import gzip
import os
import subprocess

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.mlnx_ofed import bundle
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import disk

VERSION = "24.10-1.1.4.0"


@pytest.fixture
def unpacked(tmp_path):
    folder = tmp_path / "MLNX_OFED_LINUX"
    for name, text in {
        "mlnxofedinstall": "#!/bin/sh\n",
        ".mlnx": f"{VERSION}\n",
        ".arch": "x86_64\n",
        "distro": "debian12.5\n",
        "DEBS/MLNX_LIBS/ofed-scripts_24.10_amd64.deb": "",
        "RPMS/mlnx-ofa_kernel-24.10-OFED.24.10.1.1.4.1.rhel9u4.x86_64.rpm": "",
        ".supported_kernels": "5.14.0-427.el9.x86_64\n",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def execute(argv, _environment):
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_a_bundle_tells_what_it_is(unpacked):
    found = bundle.read(str(unpacked))
    assert found[1:] == (
        *(VERSION, "debian12.5", "x86_64"),
        ["mlnx-ofa_kernel", "ofed-scripts"],
        ["5.14.0-427.el9.x86_64"],
    )


@pytest.mark.parametrize("lacking", ["mlnxofedinstall", ".mlnx", "distro"])
def test_what_is_no_bundle_is_refused(unpacked, lacking):
    (unpacked / lacking).unlink()
    with pytest.raises(Refusal, match="gpunode_ofed_file"):
        bundle.read(str(unpacked))


def test_an_archive_is_unpacked_anew_without_its_folder(unpacked, tmp_path):
    archive, target = tmp_path / "bundle.tgz", tmp_path / "target"
    subprocess.run(["tar", "czf", archive, "-C", tmp_path, unpacked.name], check=True)
    target.mkdir()
    (target / "of-a-killed-run").touch()
    found = bundle.unpack(str(archive), str(target), execute)
    assert found.version == VERSION
    assert not (target / "of-a-killed-run").exists()


def test_a_damaged_archive_is_refused_with_the_words_of_tar(tmp_path):
    archive = tmp_path / "bundle.tgz"
    archive.write_bytes(b"no archive")
    with pytest.raises(Refusal, match="not in gzip format"):
        bundle.unpack(str(archive), str(tmp_path / "target"), execute)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (("24.10-0.7.0.0", "debian12.5", "x86_64"), "24.10-0.7.0.0 is wanted"),
        ((VERSION, "debian12.5", "aarch64"), "the host is aarch64"),
        ((VERSION, "debian11.9", "x86_64"), "the host is debian11.9"),
        ((VERSION, "ubuntu12.5", "x86_64"), "the host is ubuntu12.5"),
    ],
)
def test_a_bundle_for_another_host_is_refused(unpacked, asked, words):
    with pytest.raises(Refusal) as caught:
        bundle.refuse_misfits(bundle.read(str(unpacked)), *asked)
    assert words in caught.value.because


def test_a_point_release_is_the_same_distribution_but_for_ubuntu(unpacked):
    found = bundle.read(str(unpacked))
    bundle.refuse_misfits(found, VERSION, "debian12.11", "x86_64")
    of_ubuntu = found._replace(distribution="ubuntu22.04")
    with pytest.raises(Refusal, match=r"ubuntu22\.10"):
        bundle.refuse_misfits(of_ubuntu, VERSION, "ubuntu22.10", "x86_64")


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "bundle.tgz"
    path.write_bytes(gzip.compress(b"\0" * (3 << 20)))
    return str(path)


def room(monkeypatch, free):
    real = os.statvfs("/")
    made = [*real]
    made[0] = made[1] = 1
    made[4] = free
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result(made))


@pytest.mark.parametrize(("adds_kernel", "needed"), [(False, 3 << 20), (True, 9 << 20)])
def test_room_is_looked_for_before_anything_is_unpacked(archive, monkeypatch, adds_kernel, needed):
    monkeypatch.setattr(bundle, "_INSTALLED", 0)
    room(monkeypatch, needed)
    bundle.refuse_without_room(archive, "/var/tmp", adds_kernel)
    room(monkeypatch, needed - 1)
    with pytest.raises(Refusal) as caught:
        bundle.refuse_without_room(archive, "/var/tmp", adds_kernel)
    assert "/var/tmp" in caught.value.what
    assert "mlnx_ofed_tmpdir" in caught.value.remedy


def test_room_is_looked_for_where_packages_go(archive, monkeypatch):
    room(monkeypatch, disk.GIB - 1)
    with pytest.raises(Refusal, match="in /usr"):
        bundle.refuse_without_room(archive, "/var/tmp", False)


@pytest.mark.parametrize(
    "spoil", [lambda path: path.chmod(0o777), lambda path: os.chown(path, 1, 1)]
)
def test_nothing_is_unpacked_where_others_could_change_the_installer(unpacked, tmp_path, spoil):
    folder = tmp_path / "room"
    folder.mkdir()
    spoil(folder)
    with pytest.raises(Refusal, match="mlnx_ofed_tmpdir"):
        bundle.unpack("bundle.tgz", str(folder / "bundle"), execute)
    assert not (folder / "bundle").exists()


def test_what_a_user_made_deep_beside_the_bundles_keeps_nobody_from_work(tmp_path, deepened):
    deepened(tmp_path / f"{bundle.UNPACKED}{VERSION}")
    (tmp_path / f"{bundle.UNPACKED}file").touch()
    bundle.discard_unpacked(str(tmp_path))
    assert os.listdir(tmp_path) == [f"{bundle.UNPACKED}file"]
