"""nouveau and nova_core: loaded, kept from loading, and in which initramfs."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trees import looked_at, planted

from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import in_kernel_drivers
from ansible_collections.gpunode.stack.plugins.module_utils._node.system.root import Root

K1, K2 = "6.1.0-40-amd64", "6.1.0-42-amd64"
LISTED = (
    ".\nusr/lib/modules/{0}/kernel/drivers/gpu/drm/nouveau\n"
    "usr/lib/modules/{0}/kernel/drivers/gpu/drm/nouveau/nouveau.ko.xz\n"
    "usr/lib/modules/{0}/kernel/fs/ext4/ext4.ko.xz\n"
)
# As dracut's lsinitrd lists, with the mode and the size before each name.
LISTED_BY_DRACUT = (
    "Image: /boot/initramfs-{0}.img: 38M\n"
    "-rw-r--r--   1 root  root  9 Jan  1 2024 "
    "usr/lib/modules/{0}/kernel/drivers/gpu/nova-core/nova_core.ko.zst\n"
)


def facts_of(name, files, answers=None):
    return looked_at(in_kernel_drivers.survey, files, answers=answers)[name]


def test_a_host_without_anything_has_no_in_kernel_driver():
    nothing = {"loaded": False, "blacklisted": False, "initramfs": []}
    assert looked_at(in_kernel_drivers.survey) == {"nouveau": nothing, "nova_core": nothing}


@pytest.mark.parametrize("name", in_kernel_drivers.NAMES)
def test_a_loaded_in_kernel_driver_is_told(name):
    files = {"/proc/modules": f"{name} 3362816 4 - Live 0x0\n"}
    facts = looked_at(in_kernel_drivers.survey, files)
    assert [key for key in in_kernel_drivers.NAMES if facts[key]["loaded"]] == [name]


@pytest.mark.parametrize(
    "files",
    [
        {"/etc/modprobe.d/nvidia.conf": "# x\n  blacklist   nouveau \n"},
        {"/usr/lib/modprobe.d/nvidia-kernel-common.conf": "install nouveau /bin/false\n"},
        {"/lib/modprobe.d/a.conf": "options nouveau modeset=0\ninstall nouveau /usr/bin/true\n"},
        {"/run/modprobe.d/a.conf": "blacklist nouveau # said by the installer\n"},
        {"/proc/cmdline": "root=/dev/sda1 ro modprobe.blacklist=snd,nouveau quiet\n"},
        {"/proc/cmdline": "module_blacklist=nouveau\n"},
    ],
)
def test_an_in_kernel_driver_that_udev_may_not_load_is_blacklisted(files):
    assert facts_of("nouveau", files)["blacklisted"] is True
    assert facts_of("nova_core", files)["blacklisted"] is False


@pytest.mark.parametrize(
    "files",
    [
        {"/etc/modprobe.d/nvidia.conf": "#blacklist nouveau\n"},
        {"/etc/modprobe.d/nvidia.conf.disabled": "blacklist nouveau\n"},
        {"/etc/modprobe.d/nvidia.conf": "install nouveau /sbin/modprobe --ignore-install x\n"},
        {"/etc/modprobe.d/nvidia.conf": "options nouveau modeset=0\nblacklist\n"},
        {"/proc/cmdline": "rd.driver.blacklist=nouveau nouveau.modeset=0\n"},
        {"/etc/modprobe.d/a.conf": "", "/usr/lib/modprobe.d/a.conf": "blacklist nouveau\n"},
    ],
)
def test_an_in_kernel_driver_that_udev_would_load_is_not_blacklisted(files):
    assert facts_of("nouveau", files)["blacklisted"] is False


def test_the_name_of_a_module_may_be_written_with_dashes():
    files = {"/etc/modprobe.d/nvidia.conf": "blacklist nova-core\n"}
    assert facts_of("nova_core", files)["blacklisted"] is True


def images(*names, kernels=(K1, K2)):
    files = {f"/lib/modules/{kernel}/modules.dep": "" for kernel in kernels}
    files.update({f"/boot/{name}": name for name in names})
    return files


class Lister:
    """A program that lists images, and remembers those that it was asked for."""

    def __init__(self, program, text):
        self.program, self.text, self.asked = program, text, []

    def __call__(self, argv, **_options):
        if argv[0] != self.program:
            raise FileNotFoundError(argv[0])
        self.asked.append(os.path.basename(argv[1]))
        text = self.text.format(K1) if K1 in argv[1] else "usr/lib\nusr/lib/modules/nouveau\n"
        return subprocess.CompletedProcess(argv, 0, text.encode(), b"")


@pytest.mark.parametrize(
    ("program", "text", "image", "name"),
    [
        ("lsinitramfs", LISTED, "initrd.img-{}", "nouveau"),
        ("lsinitrd", LISTED_BY_DRACUT, "initramfs-{}.img", "nova_core"),
    ],
)
def test_images_that_hold_an_in_kernel_driver_are_named_by_their_kernel(
    tmp_path, program, text, image, name
):
    planted(tmp_path, images(image.format(K1), image.format(K2)))
    facts = in_kernel_drivers.survey(Root(str(tmp_path), Lister(program, text)))
    assert {key: facts[key]["initramfs"] for key in in_kernel_drivers.NAMES} == {
        key: [K1] if key == name else [] for key in in_kernel_drivers.NAMES
    }


def test_copies_and_images_for_rescue_are_not_listed(tmp_path):
    planted(
        tmp_path,
        images(f"initrd.img-{K1}.old-dkms", "initramfs-0-rescue-1.img", f"initramfs-{K1}kdump.img"),
    )
    lister = Lister("lsinitramfs", LISTED)
    assert in_kernel_drivers.survey(Root(str(tmp_path), lister))["nouveau"]["initramfs"] == []
    assert lister.asked == []


def test_an_image_is_listed_once_until_it_changes(tmp_path):
    first, second = f"initrd.img-{K1}", f"initrd.img-{K2}"
    planted(tmp_path, images(first, second))
    lister = Lister("lsinitramfs", LISTED)
    tree = Root(str(tmp_path), lister)
    told = [in_kernel_drivers.survey(tree) for _time in range(2)]
    assert lister.asked == [first, second]
    assert told[0] == told[1]
    written = os.stat(tree.path(in_kernel_drivers.CACHE)).st_ino
    in_kernel_drivers.survey(tree)
    assert os.stat(tree.path(in_kernel_drivers.CACHE)).st_ino == written
    (tmp_path / "boot" / second).write_text("made anew")
    in_kernel_drivers.survey(tree)
    assert lister.asked == [first, second, second]


def test_an_image_that_is_gone_is_forgotten(tmp_path):
    planted(tmp_path, images(f"initrd.img-{K1}", f"initrd.img-{K2}"))
    tree = Root(str(tmp_path), Lister("lsinitramfs", LISTED))
    in_kernel_drivers.survey(tree)
    (tmp_path / "boot" / f"initrd.img-{K1}").unlink()
    assert in_kernel_drivers.survey(tree)["nouveau"]["initramfs"] == []
    assert list(json.loads(tree.text(in_kernel_drivers.CACHE))) == [f"/boot/initrd.img-{K2}"]


def test_an_image_that_nothing_can_list_is_asked_for_again(tmp_path):
    planted(tmp_path, images(f"initrd.img-{K1}"))
    silent = Root(str(tmp_path), Lister("none", ""))
    assert in_kernel_drivers.survey(silent)["nouveau"]["initramfs"] == []
    tree = Root(str(tmp_path), Lister("lsinitramfs", LISTED))
    assert in_kernel_drivers.survey(tree)["nouveau"]["initramfs"] == [K1]


@pytest.mark.parametrize(
    "cache",
    [
        "",
        "{",
        "[1]",
        "[" * 100_000,
        json.dumps({f"/boot/initrd.img-{K1}": 3}),
        json.dumps({f"/boot/initrd.img-{K1}": {"mark": None, "holds": [{}]}}),
    ],
)
def test_rubbish_in_the_cache_is_no_error(tmp_path, cache):
    planted(tmp_path, {**images(f"initrd.img-{K1}"), in_kernel_drivers.CACHE: cache})
    tree = Root(str(tmp_path), Lister("lsinitramfs", LISTED))
    assert in_kernel_drivers.survey(tree)["nouveau"]["initramfs"] == [K1]
    assert list(json.loads(tree.text(in_kernel_drivers.CACHE))) == [f"/boot/initrd.img-{K1}"]


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path):
    planted(tmp_path, {**images(f"initrd.img-{K1}"), "/var/cache/gpunode": "a file"})
    lister = Lister("lsinitramfs", LISTED)
    tree = Root(str(tmp_path), lister)
    for _time in range(2):
        assert in_kernel_drivers.survey(tree)["nouveau"]["initramfs"] == [K1]
    assert len(lister.asked) == 2


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=200))
def test_rubbish_in_any_file_and_answer_is_no_error(rubbish):
    files = {
        **images(f"initrd.img-{K1}"),
        "/proc/modules": rubbish,
        "/proc/cmdline": rubbish,
        "/etc/modprobe.d/a.conf": b"install\nblacklist\ninstall x\n" + rubbish,
        in_kernel_drivers.CACHE: rubbish,
    }
    assert set(looked_at(in_kernel_drivers.survey, files, answers={"lsinitramfs": rubbish})) == {
        "nouveau",
        "nova_core",
    }
