# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which kernel the boot loader starts next: GRUB 2, systemd-boot, or another by its link."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from typing import NamedTuple

from ..packages import deb_version
from ..system.root import Root

_LINKS = ("/vmlinuz", "/boot/vmlinuz")
# Where the EFI system partition is mounted (bootctl(1)); /boot may be one of its own for kernels.
_ESPS = ("/efi", "/boot", "/boot/efi")
_GRUB_FOLDERS = ("/boot/grub", "/boot/grub2")
_GRUB_SETTINGS = "/etc/default/grub"
_GRUB_SETTING = re.compile(r"""^\s*(?:export\s+)?(GRUB_\w+)=(["']?)(.*?)\2\s*(?:#.*)?$""")
# In GRUB's menu, as grub-mkconfig writes it: what opens an entry or a submenu, with its title and
# its id; what opens or closes any other block; and the image.
_ITEM = re.compile(r"""\s*(?:menuentry|submenu)\s+(["'])(.*?)\1(.*)\{\s*$""")
_ITEM_ID = re.compile(r"""(?:\$menuentry_id_option|--id)[ =]+(["']?)([^"']*?)\1(?:\s|$)""")
_OPENS, _CLOSES = re.compile(r".*\{\s*$"), re.compile(r"\s*\}\s*$")
_IMAGE = re.compile(r"\s*linux(?:16|efi)?\s+(\S+)")
# In an entry's number the first part counts the menu, and the next one a submenu.
_NUMBER = re.compile(r"[0-9]+(?:>[0-9]+)*")
# systemd.io, "The Boot Loader Interface".
_VARIABLES = "/sys/firmware/efi/efivars/{}-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
_SYSTEMD_BOOT = "systemd-boot"
# Entries that it finds by itself, such as of another system.
_AUTO = "auto-"
# The Boot Loader Specification, "Boot counting": tries that are left, and those that were taken.
_TRIES = re.compile(r"\+([0-9]+)(?:-[0-9]+)?(?=\.(?:conf|efi)$)")
# What proxmox-boot-tool pins a kernel by, on partitions that are not mounted; the first for once.
_PROXMOX_PINS = ("/etc/kernel/next-boot-pin", "/etc/kernel/proxmox-boot-pin")


class Entry(NamedTuple):
    """An entry of a menu, as the Boot Loader Specification has it.

    :ivar id: the name of its file, without the tries.
    :ivar fields: {key: value} of the file, {} of a unified image.
    :ivar has_failed: whether no try is left.
    """

    id: str
    fields: dict[str, str]
    has_failed: bool


class Item:
    """An item of GRUB's menu.

    :ivar names: its title and its id.
    :ivar image: the path of the kernel that it starts, '' of another system and of a submenu.
    :ivar inside: the items of a submenu, [] of an entry.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.image = ""
        self.inside: list[Item] = []


def next_release(tree: Root, bootable: Sequence[str]) -> str:
    """Return the release of the kernel that starts next, '' where that cannot be told.

    Which boot loader it is the one that ran says itself, where it has the interface for it; else
    GRUB is taken to be it where there is its menu. Without either, a link /vmlinuz says what others
    start; where there is none, as in a container, nothing does.

    :param bootable: the releases that can boot, newest first.
    """
    ran, folders = _variable(tree, "LoaderInfo"), _grub_folders(tree)
    is_systemd_boot = ran.startswith(_SYSTEMD_BOOT)
    if folders and not is_systemd_boot:
        return _next_of_grub(tree, folders, bootable)
    if is_systemd_boot or any(tree.exists(f"{esp}/loader/loader.conf") for esp in _ESPS):
        return _next_of_systemd_boot(tree, bootable)
    kept = {tree.target(link).partition("-")[2] for link in _LINKS}
    return next((release for release in bootable if release in kept), "")


def _grub_folders(tree: Root) -> list[str]:
    """Return the folders with GRUB's menu; on the ESP it may only lead to the one in /boot."""
    on_esp = [f"{esp}/EFI/{name}" for esp in _ESPS for name in tree.names(f"{esp}/EFI")]
    found = [
        [folder for folder in folders if tree.exists(f"{folder}/grub.cfg")]
        for folders in (_GRUB_FOLDERS, on_esp)
    ]
    return found[0] or found[1]


def _next_of_grub(tree: Root, folders: Sequence[str], bootable: Sequence[str]) -> str:
    """Return the release that GRUB 2 starts.

    It starts the entry that grubenv keeps for once (next_entry), else the one that GRUB_DEFAULT
    names, or that grubenv keeps where GRUB_DEFAULT is "saved" (grub 2.06,
    util/grub.d/00_header.in). What names an entry carries the release, be it a title or an id such
    as gnulinux-advanced-UUID>gnulinux-6.1.0-40-amd64-advanced-UUID. A name without any stands for
    the first entry, and so does a name that is no longer there. Where the menu is made of entries
    of the Boot Loader Specification, these say all that; else the menu does, where it can be
    read.
    """
    settings = _grub_settings(tree)
    chosen = _grub_entry(tree, folders, settings)
    is_bls = settings.get("GRUB_ENABLE_BLSCFG") == "true" or any(
        re.search(r"^\s*blscfg\b", tree.text(f"{folder}/grub.cfg"), re.MULTILINE)
        for folder in folders
    )
    menu = _by_name(_entries(tree, "/boot")) if is_bls else []
    if menu:
        if _NUMBER.fullmatch(chosen):
            at = int(chosen) if chosen.isdecimal() and len(chosen) < 10 else len(menu)
            return _release(menu[at], bootable) if at < len(menu) else ""
        for entry in menu:
            if chosen in (entry.id, entry.id[: -len(".conf")], entry.fields.get("title")):
                return _release(entry, bootable)
        return _named(chosen, bootable) or _release(menu[0], bootable)
    items = next(filter(None, (_items(tree, f"{folder}/grub.cfg") for folder in folders)), [])
    if items and (_at(items, chosen) is not None or not _named(chosen, bootable)):
        image = _item(items, chosen).image
        return next((release for release in bootable if image.endswith(f"-{release}")), "")
    if _NUMBER.fullmatch(chosen) and chosen.strip("0"):
        return ""
    return _named(chosen, bootable) or next(iter(_in_menu(bootable, settings)), "")


def _items(tree: Root, path: str) -> list[Item]:
    """Return the items of a menu of GRUB's, [] where it has none that are understood."""
    top = Item(())
    # What is open, a block that is no item as None.
    open_now: list[Item | None] = [top]
    for line in tree.lines(path):
        opened, image = _ITEM.match(line), _IMAGE.match(line)
        within = open_now[-1]
        if opened and within:
            told = _ITEM_ID.search(opened.group(3))
            item = Item((opened.group(2), *([told.group(2)] if told else [])))
            within.inside.append(item)
            open_now.append(item)
        elif _OPENS.match(line):
            open_now.append(None)
        elif _CLOSES.match(line) and len(open_now) > 1:
            open_now.pop()
        elif image and within:
            within.image = image.group(1)
    return top.inside


def _at(items: Sequence[Item], chosen: str) -> int | None:
    """Return the place of the item that the first part of a name or number means, None of none."""
    part = chosen.partition(">")[0]
    if part.isdecimal() and len(part) < 10:
        return int(part) if int(part) < len(items) else None
    return next((at for at, item in enumerate(items) if part in item.names), None)


def _item(items: Sequence[Item], chosen: str) -> Item:
    """Return the entry that GRUB starts: the first one where there is none that is meant."""
    item = items[_at(items, chosen) or 0]
    while item.inside:
        chosen = chosen.partition(">")[2]
        item = item.inside[_at(item.inside, chosen) or 0]
    return item


def _grub_settings(tree: Root) -> dict[str, str]:
    """Return {name: value} of what GRUB's menu is made by."""
    folder = f"{_GRUB_SETTINGS}.d"
    names = [name for name in tree.names(folder) if name.endswith(".cfg")]
    paths = [_GRUB_SETTINGS, *(f"{folder}/{name}" for name in names)]
    matches = [_GRUB_SETTING.match(line) for path in paths for line in tree.lines(path)]
    return {match.group(1): match.group(3) for match in matches if match}


def _grub_entry(tree: Root, folders: Sequence[str], settings: dict[str, str]) -> str:
    """Return the name or number of the entry that GRUB starts."""
    kept = dict(
        line.split("=", 1)
        for folder in folders
        for line in tree.lines(tree.resolve(f"{folder}/grubenv"))
        if "=" in line
    )
    default = settings.get("GRUB_DEFAULT", "0")
    chosen = kept.get("saved_entry", "") if default == "saved" else default
    return kept.get("next_entry") or chosen or "0"


def _in_menu(bootable: Sequence[str], settings: dict[str, str]) -> list[str]:
    """Return releases in the order of GRUB's menu.

    Newest first (10_linux.in). Before that come the flavours of GRUB_FLAVOUR_ORDER in their order,
    where it is Ubuntu's (grub-sort-version), and before all the image that GRUB_TOP_LEVEL names
    (grub 2.12, grub_move_to_front).
    """
    flavours = settings.get("GRUB_FLAVOUR_ORDER", "").split()
    top = settings.get("GRUB_TOP_LEVEL", "").rpartition("/")[2]

    def place(release: str) -> tuple[bool, int]:
        fitting = [at for at, name in enumerate(flavours) if release.endswith(f"-{name}")]
        return top != f"vmlinuz-{release}", min(fitting, default=len(flavours))

    return sorted(bootable, key=place)


def _next_of_systemd_boot(tree: Root, bootable: Sequence[str]) -> str:
    """Return the release that systemd-boot starts.

    systemd v252, src/boot/efi/boot.c, config_select_default_entry(): the entry for once, the one
    chosen in the menu, the one that loader.conf names, and the first one; names are patterns.
    """
    entries = [entry for esp in _ESPS for entry in (*_entries(tree, esp), *_images(tree, esp))]
    if not entries:
        pins = [tree.text(path) for path in _PROXMOX_PINS]
        return next((pin for pin in pins if pin in bootable), "")
    menu = _sorted(entries)
    settings = [_fields(tree, f"{esp}/loader/loader.conf") for esp in _ESPS]
    default = next((found["default"] for found in settings if "default" in found), "")
    for chosen in (
        _variable(tree, "LoaderEntryOneShot"),
        _variable(tree, "LoaderEntryDefault"),
        default,
    ):
        pattern = _variable(tree, "LoaderEntryLastBooted") if chosen == "@saved" else chosen
        if pattern.startswith(_AUTO):
            return ""
        for entry in menu:
            if fnmatch.fnmatchcase(entry.id.lower(), pattern.lower()):
                return _release(entry, bootable)
    return _release(menu[0], bootable)


def _sorted(entries: Sequence[Entry]) -> list[Entry]:
    """Return entries in the order of systemd-boot's menu (boot.c, config_entry_compare())."""
    menu = _by_name(entries)
    menu.sort(
        key=lambda entry: deb_version.kernel_key(entry.fields.get("version", "")), reverse=True
    )
    menu.sort(key=lambda entry: entry.fields.get("machine-id", ""))
    menu.sort(key=lambda entry: entry.fields.get("sort-key", ""))
    new = [entry for entry in menu if entry.fields.get("sort-key")]
    old = [entry for entry in _by_name(entries) if not entry.fields.get("sort-key")]
    return sorted([*new, *old], key=lambda entry: entry.has_failed)


def _by_name(entries: Sequence[Entry]) -> list[Entry]:
    """Return entries by the versions in their names, the newest first."""
    return sorted(entries, key=lambda entry: deb_version.kernel_key(entry.id), reverse=True)


def _entries(tree: Root, top: str) -> list[Entry]:
    """Return the entries in the files of a partition."""
    folder = f"{top}/loader/entries"
    return [
        _entry(name, _fields(tree, f"{folder}/{name}"))
        for name in tree.names(folder)
        if name.endswith(".conf")
    ]


def _images(tree: Root, top: str) -> list[Entry]:
    """Return the entries that are unified images."""
    names = tree.names(f"{top}/EFI/Linux")
    return [_entry(name, {}) for name in names if name.endswith(".efi")]


def _entry(name: str, fields: dict[str, str]) -> Entry:
    tries = _TRIES.search(name)
    return Entry(_TRIES.sub("", name), fields, tries is not None and not int(tries.group(1)))


def _fields(tree: Root, path: str) -> dict[str, str]:
    """Return {key: value} of a file of systemd-boot's or of an entry; of several the first."""
    found: dict[str, str] = {}
    for line in tree.lines(path):
        key, _blank, value = line.strip().replace("\t", " ").partition(" ")
        if not key.startswith("#"):
            found.setdefault(key, value.strip())
    return found


def _release(entry: Entry, bootable: Sequence[str]) -> str:
    """Return the release that an entry starts, '' where it is none of those that can boot."""
    image = entry.fields.get("linux", "")
    parts = image.split("/")
    said = {entry.fields.get("version", ""), *parts, parts[-1].partition("-")[2]}
    exact = [release for release in bootable if release in said]
    return exact[0] if exact else _named(entry.id if not image else "", bootable)


def _named(text: str, bootable: Sequence[str]) -> str:
    """Return the release that a text names; of those that contain one another the longest."""
    return max((release for release in bootable if release in text), key=len, default="")


def _variable(tree: Root, name: str) -> str:
    """Return a variable of the boot loader interface: after four bytes of attributes, UTF-16."""
    content = tree.data(_VARIABLES.format(name))[4:]
    return content.decode("utf-16-le", "replace").strip("\0")
