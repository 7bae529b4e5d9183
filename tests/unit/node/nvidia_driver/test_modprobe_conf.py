"""Files that keep the kernel's own drivers away, and the initramfs without them."""

from __future__ import annotations

import subprocess

from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import in_kernel_drivers
from ansible_collections.gpunode.stack.plugins.module_utils._node.nvidia_driver import modprobe_conf
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import root


def host(tmp_path, *folders):
    for folder in folders:
        (tmp_path / folder.lstrip("/")).mkdir(parents=True)
    return root.Root(str(tmp_path))


def test_what_is_written_is_what_the_facts_take_for_blacklisted(tmp_path):
    folder = tmp_path / "etc" / "modprobe.d"
    folder.mkdir(parents=True)
    (folder / "gpunode-nvidia.conf").write_text(modprobe_conf.modprobe_text({}))
    found = in_kernel_drivers.survey(root.Root(str(tmp_path)))
    assert [name for name, row in found.items() if row["blacklisted"]] == list(
        in_kernel_drivers.NAMES
    )


def test_parameters_are_options_of_the_driver_in_one_line():
    text = modprobe_conf.modprobe_text({"NVreg_A": "0", "NVreg_B": "x"})
    assert text.endswith("options nvidia NVreg_A=0 NVreg_B=x\n")
    assert "options nvidia" not in modprobe_conf.modprobe_text({})


def test_only_the_maker_of_images_that_is_there_gets_a_file(tmp_path):
    assert list(modprobe_conf.wanted_files(host(tmp_path / "a"), {})) == [modprobe_conf.MODPROBE]
    debian = modprobe_conf.wanted_files(host(tmp_path / "b", "/etc/initramfs-tools/hooks"), {})
    assert [(path, file.mode) for path, file in debian.items()][1:] == [
        ("/etc/initramfs-tools/hooks/gpunode-nvidia", 0o755)
    ]
    red_hat = modprobe_conf.wanted_files(host(tmp_path / "c", "/etc/dracut.conf.d"), {})
    assert list(red_hat)[1:] == ["/etc/dracut.conf.d/gpunode-nvidia.conf"]


def hook(tmp_path):
    found = modprobe_conf.wanted_files(host(tmp_path / "h", "/etc/initramfs-tools/hooks"), {})
    path = tmp_path / "hook"
    path.write_text(found["/etc/initramfs-tools/hooks/gpunode-nvidia"].text)
    return path


def test_the_hook_takes_in_kernel_drivers_out_of_an_image_and_nothing_else(tmp_path):
    modules = tmp_path / "image" / "lib" / "modules"
    modules.mkdir(parents=True)
    drivers = ["nouveau.ko", "nouveau.ko.xz", "nova_core.ko.zst", "nova-core.ko", "nova.ko"]
    for name in [*drivers, "nova_not_ours.txt", "renouveau.ko", "ext4.ko"]:
        (modules / name).write_text("")
    subprocess.run(
        ["sh", hook(tmp_path)], env={"DESTDIR": str(tmp_path / "image")}, check=True, timeout=10
    )
    assert sorted(path.name for path in modules.iterdir()) == [
        "ext4.ko",
        "nova_not_ours.txt",
        "renouveau.ko",
    ]


def test_the_hook_does_nothing_when_it_is_asked_what_it_stands_on(tmp_path):
    kept = tmp_path / "nouveau.ko"
    kept.write_text("")
    answer = subprocess.run(
        ["sh", hook(tmp_path), "prereqs"],
        env={"DESTDIR": str(tmp_path)},
        check=True,
        timeout=10,
        capture_output=True,
    )
    assert (answer.stdout, kept.exists()) == (b"", True)


def test_kernels_are_named_whose_image_holds_any_in_kernel_driver():
    found = {"nouveau": {"initramfs": ["b", "a"]}, "nova_core": {"initramfs": ["b"]}}
    assert modprobe_conf.held(found) == ["a", "b"]
