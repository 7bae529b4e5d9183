"""The initramfs of a kernel, and who makes it anew."""

from __future__ import annotations

import subprocess

import pytest
from trees import planted

from ansible_collections.gpunode.stack.plugins.module_utils._node.kernel import initramfs
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import root


@pytest.mark.parametrize(
    ("name", "is_there"),
    [
        ("initrd.img-6.1", True),
        ("initramfs-6.1.img", True),
        ("initrd.img-6.10", False),
        ("initramfs-6.1kdump.img", False),
    ],
)
def test_a_kernel_has_an_image_by_its_own_name(tmp_path, name, is_there):
    assert initramfs.is_there(planted(tmp_path, {f"/boot/{name}": ""}), "6.1") is is_there


def program(tmp_path, name):
    path = tmp_path / "usr" / "bin" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")


@pytest.mark.parametrize(
    ("name", "argv"),
    [
        ("update-initramfs", ["update-initramfs", "-u", "-k", "6.1"]),
        ("dracut", ["dracut", "--force", "--kver", "6.1"]),
    ],
)
def test_an_image_is_made_anew_by_what_the_host_has(tmp_path, name, argv):
    asked = []

    def execute(command, _environment):
        asked.append(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    program(tmp_path, name)
    initramfs.rebuild(root.Root(str(tmp_path)), "6.1", execute)
    assert asked == [argv]


def test_an_image_that_nothing_can_make_anew_is_a_refusal(tmp_path):
    with pytest.raises(Refusal, match="neither update-initramfs nor dracut"):
        initramfs.rebuild(root.Root(str(tmp_path)), "6.1", None)


def test_a_maker_that_fails_is_quoted(tmp_path):
    program(tmp_path, "dracut")

    def execute(command, _environment):
        return subprocess.CompletedProcess(command, 1, "", "dracut: Cannot write to /boot\n")

    with pytest.raises(Refusal, match="Cannot write to /boot"):
        initramfs.rebuild(root.Root(str(tmp_path)), "6.1", execute)
