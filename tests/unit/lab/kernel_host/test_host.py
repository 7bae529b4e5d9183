"""A kernel host as the lab knows it: what it was made from, and what the lab has of them."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from lab import base, inherit, network, paths
from lab.kernel_host import guest, host

NET = network.Network("gl-0123456789ab", ip_network("10.213.7.0/24"), "gpunode-lab-0123456789ab")


@pytest.fixture
def lab_paths(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", tmp_path / "labs")
    return paths.LabPaths.of(tmp_path / "checkout")


def made(lab_paths, number, told):
    folder = lab_paths.kernel_hosts / f"kernel{number}"
    folder.mkdir(parents=True)
    (folder / "made-from").write_text(told)


def test_a_lab_has_the_kernel_hosts_that_it_has_a_folder_of_in_order(lab_paths):
    assert host.all_of(lab_paths, NET) == []
    for number in (2, 1):
        made(lab_paths, number, "grub-0123456789ab 10.213.7.221")
    assert [one.name for one in host.all_of(lab_paths, NET)] == ["kernel1", "kernel2"]
    assert not any(one.is_running() for one in host.all_of(lab_paths, NET))


@pytest.mark.parametrize("boot_loader", guest.BOOT_LOADERS)
def test_it_tells_what_its_disk_was_made_from(lab_paths, boot_loader):
    made(lab_paths, 1, f"{boot_loader}-0123456789ab 10.213.7.221")
    (one,) = host.all_of(lab_paths, NET)
    assert one.boot_loader == boot_loader
    assert one.tree == base.BASES / f"{boot_loader}-0123456789ab"


def test_one_whose_disk_was_never_whole_has_no_boot_loader(lab_paths):
    lab_paths.kernel_hosts.joinpath("kernel1").mkdir(parents=True)
    (one,) = host.all_of(lab_paths, NET)
    assert one.boot_loader == ""


@pytest.mark.parametrize(
    ("told", "is_kept"),
    [
        ("grub-0123456789ab made 10.213.7.221 /opt/wheels", True),
        # Another tree, another way to make a disk, another subnet of the lab, no folder shown.
        ("grub-ba9876543210 made 10.213.7.221 /opt/wheels", False),
        ("grub-0123456789ab made 10.213.9.221 /opt/wheels", False),
        ("grub-0123456789ab as-before 10.213.7.221 /opt/wheels", False),
        ("grub-0123456789ab made 10.213.7.221", False),
        ("", False),
    ],
)
def test_a_disk_is_kept_for_as_long_as_it_is_what_it_would_be_made(
    lab_paths, monkeypatch, told, is_kept
):
    made(lab_paths, 1, told)
    (one,) = host.all_of(lab_paths, NET)
    done = []
    monkeypatch.setattr(host.emulator, "ensure", lambda say: None)
    tree = base.BASES / "grub-0123456789ab"
    monkeypatch.setattr(host.guest, "ensure", lambda boot_loader, say: tree)
    inherited = inherit.Inheritance(folders=["/opt/wheels"])
    monkeypatch.setattr(host.disk, "digest", lambda: "made")
    monkeypatch.setattr(host.inherit, "gather", lambda _release, _tree: inherited)
    for name in ("discard", "_make_disk", "stop", "_launch", "_wait_ready"):
        monkeypatch.setattr(one, name, lambda *_args, name=name: done.append(name))
    monkeypatch.setattr(host.textfile, "put", lambda path, text: done.append(text))
    one.ensure("", say=lambda sentence: None)
    anew = ["discard", "_make_disk", "grub-0123456789ab made 10.213.7.221 /opt/wheels"]
    assert done == [*([] if is_kept else anew), "stop", "_launch", "_wait_ready"]
