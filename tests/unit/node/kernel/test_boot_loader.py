"""Which kernel a boot loader starts next, from small trees laid out as distributions do it."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trees import looked_at

from ansible_collections.gpunode.stack.plugins.module_utils._node.kernel import boot_loader, kernels

OLD, NEW = "6.1.0-9-amd64", "6.1.0-40-amd64"
MACHINE = "0f2fa4b23f1c4e0d9d1a7c3c3b6f9a11"
EFI = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"


def on_disk(*releases):
    return {f"/lib/modules/{release}/vmlinuz": "" for release in releases}


def upcoming(files, links=None):
    rows = looked_at(lambda tree: kernels.survey(tree, ""), files, links)
    return [row["release"] for row in rows if row["next"]]


def variable(name, text):
    """Return the file of a variable of the boot loader interface: 4 bytes, and UTF-16."""
    content = b"\x06\0\0\0" + f"{text}\0".encode("utf-16-le")
    return {f"/sys/firmware/efi/efivars/{name}-{EFI}": content}


# systemd v252, src/boot/efi/boot.c; the entries as kernel-install(8) writes them.
def systemd_boot(esp="/efi", default=None, releases=(OLD, NEW), **fields):
    """Return the files of a host whose kernels have entries on the ESP."""
    files = {f"{esp}/loader/loader.conf": "timeout 3\n#console-mode keep\n", **on_disk(*releases)}
    if default is not None:
        files[f"{esp}/loader/loader.conf"] += f"default {default}\n"
    said = {"sort-key": "debian", "machine-id": MACHINE, **fields}
    for release in releases:
        lines = [f"{key:<10} {value}" for key, value in said.items() if value]
        files[f"{esp}/loader/entries/{MACHINE}-{release}.conf"] = "\n".join(
            [
                "# Boot Loader Specification type#1 entry",
                f"version    {release}",
                *lines,
                f"linux      /{MACHINE}/{release}/linux",
            ]
        )
    return files


@pytest.mark.parametrize("esp", ["/efi", "/boot", "/boot/efi"])
@pytest.mark.parametrize(
    ("default", "release"),
    [
        (None, NEW),
        (f"{MACHINE}-{OLD}.conf", OLD),
        (f"*-{OLD}.conf", OLD),
        (f"{MACHINE.upper()}-6.1.0-?-AMD64.conf", OLD),
        # An id has its ending; what fits none is passed over.
        (f"{MACHINE}-{OLD}", NEW),
        ("arch-*", NEW),
        # The first that fits, and the newest is the first.
        (f"{MACHINE}-*", NEW),
    ],
)
def test_systemd_boot_starts_the_entry_that_its_settings_name(esp, default, release):
    assert upcoming(systemd_boot(esp, default)) == [release]


@pytest.mark.parametrize(
    ("variables", "default", "release"),
    [
        ({"LoaderEntryOneShot": OLD}, NEW, OLD),
        ({"LoaderEntryDefault": OLD}, NEW, OLD),
        ({"LoaderEntryOneShot": NEW, "LoaderEntryDefault": OLD}, None, NEW),
        ({"LoaderEntryLastBooted": OLD}, None, NEW),
        ({"LoaderEntryLastBooted": OLD}, "@saved", OLD),
        ({}, "@saved", NEW),
    ],
)
def test_what_was_chosen_in_the_menu_or_for_once_counts_more(variables, default, release):
    default = default and (default if default[0] == "@" else f"{MACHINE}-{default}.conf")
    files = systemd_boot(default=default)
    for name, chosen in variables.items():
        files.update(variable(name, f"{MACHINE}-{chosen}.conf"))
    assert upcoming(files) == [release]


def test_an_entry_that_failed_too_often_comes_last():
    files = systemd_boot()
    text = files.pop(f"/efi/loader/entries/{MACHINE}-{NEW}.conf")
    files[f"/efi/loader/entries/{MACHINE}-{NEW}+0-3.conf"] = text
    assert upcoming(files) == [OLD]
    files[f"/efi/loader/entries/{MACHINE}-{NEW}+2-1.conf"] = text
    assert upcoming(files) == [NEW]


def test_entries_without_a_key_to_sort_by_come_by_their_names():
    assert upcoming(systemd_boot(**{"sort-key": ""})) == [NEW]


def test_an_entry_with_a_key_comes_before_one_without():
    old, new = systemd_boot(releases=[OLD]), systemd_boot(releases=[NEW], **{"sort-key": ""})
    assert upcoming({**new, **old}) == [OLD]


def test_a_unified_image_is_an_entry():
    files = {"/efi/loader/loader.conf": "", **on_disk(OLD, NEW)}
    for release in (OLD, NEW):
        files[f"/efi/EFI/Linux/{MACHINE}-{release}.efi"] = b"MZ"
    assert upcoming(files) == [NEW]
    files["/efi/loader/loader.conf"] = f"default {MACHINE}-{OLD}.efi\n"
    assert upcoming(files) == [OLD]


@pytest.mark.parametrize("default", ["auto-windows", "auto-efi-shell"])
def test_where_another_system_starts_no_kernel_does(default):
    assert upcoming(systemd_boot(default=default)) == []


def test_an_entry_of_a_kernel_without_modules_is_none_of_ours():
    files = systemd_boot(default="rescue.conf")
    files["/efi/loader/entries/rescue.conf"] = "title Rescue\nlinux /rescue/linux\n"
    assert upcoming(files) == []


def test_the_firmware_tells_which_of_two_boot_loaders_it_was():
    files = {**systemd_boot(default=f"*{OLD}.conf"), "/boot/grub/grub.cfg": ""}
    assert upcoming(files) == [NEW]
    assert upcoming({**files, **variable("LoaderInfo", "systemd-boot 252.39-1~deb12u1")}) == [OLD]
    assert upcoming({**files, **variable("LoaderInfo", "GRUB 2.12")}) == [NEW]


@pytest.mark.parametrize(
    ("pins", "release"),
    [
        ({}, []),
        ({"proxmox-boot-pin": OLD}, [OLD]),
        ({"proxmox-boot-pin": OLD, "next-boot-pin": NEW}, [NEW]),
    ],
)
def test_of_an_esp_that_is_not_mounted_the_pins_of_proxmox_tell(pins, release):
    files = {**on_disk(OLD, NEW), **variable("LoaderInfo", "systemd-boot 252"), "/boot/grub/x": ""}
    files.update({f"/etc/kernel/{name}": f"{pin}\n" for name, pin in pins.items()})
    assert upcoming(files) == release


# Ubuntu's grub2, debian/patches: grub-sort-version sorts by the place in GRUB_FLAVOUR_ORDER first.
LOWLATENCY, GENERIC = "6.8.0-45-lowlatency", "6.8.0-48-generic"


def grub(*releases, settings="", **more):
    files = {"/boot/grub/grub.cfg": "", "/etc/default/grub": settings}
    return {**files, **on_disk(*releases), **more}


@pytest.mark.parametrize(
    ("order", "release"),
    [
        ("", GENERIC),
        ("lowlatency", LOWLATENCY),
        ("realtime lowlatency generic", LOWLATENCY),
        ("generic lowlatency", GENERIC),
        ("fips", GENERIC),
        # A flavour is the whole end of a release.
        ("latency", GENERIC),
    ],
)
def test_ubuntu_sorts_flavours_as_it_is_told(order, release):
    files = grub(LOWLATENCY, GENERIC, "6.8.0-31-lowlatency", settings="GRUB_DEFAULT=0\n")
    files["/etc/default/grub.d/99-flavour.cfg"] = f'GRUB_FLAVOUR_ORDER="{order}"\n'
    assert upcoming(files) == [release]


# grub 2.12, docs/grub.texi, GRUB_TOP_LEVEL: a path to an image, which is the first entry.
@pytest.mark.parametrize(
    ("top", "release"),
    [
        (f"/boot/vmlinuz-{OLD}", OLD),
        (f"'/boot/vmlinuz-{OLD}'", OLD),
        ("/boot/vmlinuz-6.0-gone", NEW),
        ("", NEW),
    ],
)
def test_grub_starts_the_kernel_that_is_to_be_on_top(top, release):
    files = grub(OLD, NEW, settings=f"GRUB_TOP_LEVEL={top}\nGRUB_DEFAULT=0\n")
    assert upcoming(files) == [release]


def test_what_is_on_top_counts_more_than_its_flavour_and_less_than_an_entry_by_name():
    settings = f"GRUB_FLAVOUR_ORDER=lowlatency\nGRUB_TOP_LEVEL=/boot/vmlinuz-{GENERIC}\n"
    assert upcoming(grub(LOWLATENCY, GENERIC, settings=settings)) == [GENERIC]
    settings += f'GRUB_DEFAULT="1>gnulinux-{LOWLATENCY}-advanced"\n'
    assert upcoming(grub(LOWLATENCY, GENERIC, settings=settings)) == [LOWLATENCY]


# rhinstaller/anaconda#3151: grub.cfg and grubenv on the ESP alone, as up to Enterprise Linux 8.
@pytest.mark.parametrize(
    "folder", ["/boot/efi/EFI/redhat", "/boot/efi/EFI/centos", "/efi/EFI/fedora"]
)
def test_grub_is_found_on_the_esp(folder):
    files = {**on_disk(OLD, NEW), f"{folder}/grub.cfg": "", "/etc/default/grub": ""}
    assert upcoming(files) == [NEW]
    files["/etc/default/grub"] = "GRUB_DEFAULT=saved\n"
    files[f"{folder}/grubenv"] = f"saved_entry={MACHINE}-{OLD}\n"
    assert upcoming(files) == [OLD]


def test_what_only_leads_from_the_esp_to_boot_is_no_second_grub():
    files = grub(OLD, NEW, settings="GRUB_DEFAULT=saved\n")
    files["/boot/grub/grubenv"] = f"saved_entry=gnulinux-{OLD}-advanced\n"
    files["/boot/efi/EFI/ubuntu/grub.cfg"] = "configfile $prefix/grub.cfg\n"
    files["/boot/efi/EFI/ubuntu/grubenv"] = "saved_entry=0\n"
    assert upcoming(files) == [OLD]


# As grub-mkconfig of Debian 12 writes it: util/grub.d/10_linux.in, 30_os-prober.in.
MENU = f"""\
if [ "${{next_entry}}" ] ; then
   set default="${{next_entry}}"
fi
function load_video {{
  insmod all_video
}}
menuentry 'Debian GNU/Linux' --class debian $menuentry_id_option 'gnulinux-simple-0f2f' {{
\tload_video
\tlinux\t/boot/vmlinuz-{NEW} root=UUID=0f2f ro quiet
\tinitrd\t/boot/initrd.img-{NEW}
}}
submenu 'Advanced options for Debian GNU/Linux' $menuentry_id_option 'gnulinux-advanced-0f2f' {{
\tmenuentry 'Debian GNU/Linux, with Linux {NEW}' $menuentry_id_option 'gnulinux-{NEW}-0f2f' {{
\t\tlinux\t/boot/vmlinuz-{NEW} root=UUID=0f2f
\t}}
\tmenuentry 'Debian GNU/Linux, with Linux {OLD}' $menuentry_id_option 'gnulinux-{OLD}-0f2f' {{
\t\tlinux\t/boot/vmlinuz-{OLD} root=UUID=0f2f
\t}}
}}
menuentry 'Windows Boot Manager (on /dev/sda1)' --class windows --id 'osprober-efi-1' {{
\tchainloader /EFI/Microsoft/Boot/bootmgfw.efi
}}
menuentry "Ours" --unrestricted {{
\tlinuxefi /vmlinuz-{OLD} root=UUID=0f2f
}}
"""


@pytest.mark.parametrize(
    ("chosen", "release"),
    [
        ("0", [NEW]),
        ("1>0", [NEW]),
        ("1>1", [OLD]),
        ("1", [NEW]),
        ("2", []),
        ("3", [OLD]),
        # Without such an entry GRUB takes the first one.
        ("9", [NEW]),
        ("1>9", [NEW]),
        ("gone", [NEW]),
        ("gnulinux-simple-0f2f", [NEW]),
        (f"gnulinux-advanced-0f2f>gnulinux-{OLD}-0f2f", [OLD]),
        (f"Advanced options for Debian GNU/Linux>Debian GNU/Linux, with Linux {OLD}", [OLD]),
        ("Windows Boot Manager (on /dev/sda1)", []),
        ("osprober-efi-1", []),
        ("Ours", [OLD]),
        # Of an entry in a submenu that is named alone its own name tells.
        (f"gnulinux-{OLD}-0f2f", [OLD]),
    ],
)
def test_grub_starts_the_entry_of_its_menu_by_number_name_or_id(chosen, release):
    files = grub(OLD, NEW, settings=f"GRUB_DEFAULT='{chosen}'\n")
    files["/boot/grub/grub.cfg"] = MENU
    assert upcoming(files) == release


# Fedora's grub2, 0020-blscfg: entries sorted by the names of their files, the newest first.
def blscfg(saved, **names):
    """Return the files of a host with entries of the specification; names is {release: name}."""
    files = {
        "/boot/grub2/grub.cfg": "insmod blscfg\nblscfg\n",
        "/etc/default/grub": "GRUB_DEFAULT=saved\nGRUB_ENABLE_BLSCFG=true\n",
        "/boot/grub2/grubenv": f"saved_entry={saved}\n",
        f"/boot/loader/entries/{MACHINE}-0-rescue.conf": (
            f"title Rescue\nlinux /vmlinuz-0-rescue-{MACHINE}\n"
        ),
        **on_disk(OLD, NEW),
    }
    for release in (OLD, NEW):
        name = names.get(release, f"{MACHINE}-{release}")
        files[f"/boot/loader/entries/{name}.conf"] = (
            f"title Linux ({release})\nversion {release}\nlinux /vmlinuz-{release}\n"
        )
    return files


@pytest.mark.parametrize(
    ("saved", "release"),
    [
        ("", [NEW]),
        ("0", [NEW]),
        ("1", [OLD]),
        (f"Linux ({OLD})", [OLD]),
        (f"{MACHINE}-{OLD}", [OLD]),
        # The rescue image has no modules of its own, and there is no seventh entry.
        ("2", []),
        (f"{MACHINE}-0-rescue", []),
        ("7", []),
        (f"{MACHINE}-5.14.0-362.8.1.el9_3.x86_64", [NEW]),
    ],
)
def test_grub_starts_the_entry_of_the_boot_loader_specification(saved, release):
    assert upcoming(blscfg(saved)) == release


def test_the_file_of_an_entry_and_not_its_name_says_which_kernel_it_starts():
    names = {OLD: "golden", NEW: "candidate"}
    assert upcoming(blscfg("candidate", **names)) == [NEW]
    assert upcoming(blscfg("golden", **names)) == [OLD]
    assert upcoming(blscfg("", **names)) == [OLD]


def test_entries_are_no_menu_where_grub_does_not_read_them():
    files = blscfg("1")
    files["/boot/grub2/grub.cfg"] = ""
    files["/etc/default/grub"] = "GRUB_DEFAULT=saved\n"
    assert upcoming(files) == []


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.binary(max_size=200),
    st.sampled_from(
        [
            "/efi/loader/loader.conf",
            f"/efi/loader/entries/{MACHINE}-{NEW}.conf",
            f"/sys/firmware/efi/efivars/LoaderEntryOneShot-{EFI}",
            f"/sys/firmware/efi/efivars/LoaderInfo-{EFI}",
            "/boot/loader/entries/x.conf",
            "/boot/grub2/grub.cfg",
        ]
    ),
)
def test_rubbish_in_any_file_is_no_error(rubbish, path):
    for files in (systemd_boot(), blscfg("0")):
        found = looked_at(
            lambda tree: boot_loader.next_release(tree, [NEW, OLD]), {**files, path: rubbish}
        )
        assert found in (NEW, OLD, "")
