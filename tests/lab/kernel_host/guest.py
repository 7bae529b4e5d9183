"""What boots in a kernel host: a tree of Debian with a kernel, an initramfs and a boot loader.

No command here needs a loop device, or to be on the disk that the tree is going to be on.
"""

from __future__ import annotations

from dataclasses import dataclass

from lab import base
from lab.errors import LabError

RELEASE = "trixie"
#: Where the EFI system partition is mounted. Its content lies there in the tree.
ESP = "boot/efi"
#: What the file systems of every disk are known by: no host has two of these disks.
ROOT_UUID = "5f0bb1c4-2f1c-4a8e-9a52-1f6d3c7be001"
ESP_SERIAL = "6C4B-0001"
#: As the machine has them, see lab.kernel_host.qemu: the first disk, on virtio.
ROOT_DEVICE = "/dev/vda2"
_PACKAGES = (*base.PACKAGES, "linux-image-amd64", "initramfs-tools", "e2fsprogs", "pciutils")
_COMMAND_LINE = "console=ttyS0 quiet systemd.show_status=yes"
_FSTAB = rf"""UUID={ROOT_UUID} / ext4 errors=remount-ro 0 1
UUID={ESP_SERIAL} /{ESP} vfat umask=0077 0 0
"""
# The initramfs is made while there is no disk, so that what it needs is listed. Later ones have
# what the host needs, as the installer offers it: under emulation "most" takes five minutes.
_INITRAMFS_SETTINGS = "etc/initramfs-tools/conf.d/modules"
_FIRST_INITRAMFS = (
    f"""\
mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d"
printf 'MODULES=list\\nCOMPRESS=gzip\\n' >"$1/{_INITRAMFS_SETTINGS}"
printf '%s\\n' virtio_pci virtio_blk ext4 >"$1/usr/share/initramfs-tools/modules.d/disk"
""",
)
_HOOKS = (
    *base.HOOKS,
    'rm "$1/etc/dpkg/dpkg.cfg.d/99mmdebstrap"',
    f"""cat >"$1/etc/fstab" <<'END'\n{_FSTAB}END""",
    f"""sed -i s/=list/=dep/ "$1/{_INITRAMFS_SETTINGS}" """,
    """rm "$1/usr/share/initramfs-tools/modules.d/disk" """,
    # Nobody sits at this console either, and it is no time for housekeeping.
    """chroot "$1" systemctl mask serial-getty@ttyS0.service getty@tty1.service""",
    """chroot "$1" systemctl disable e2scrub_all.timer fstrim.timer dpkg-db-backup.timer""",
)


@dataclass(frozen=True)
class BootLoader:
    """A boot loader, by its name.

    :ivar packages: what it comes with.
    :ivar before: scripts for before these are unpacked, which take the tree's folder.
    :ivar after: scripts for when they are there, which furnish the EFI system partition.
    """

    packages: tuple[str, ...]
    before: tuple[str, ...]
    after: tuple[str, ...]


# What grub-probe would say on the disk: there is none yet.
_GRUB_PROBE = f"""\
#!/bin/sh
for word; do
    case $word in --target=*) target=${{word#--target=}};; esac
done
case $target in
    device) echo {ROOT_DEVICE};;
    fs_uuid) echo {ROOT_UUID};;
    fs) echo ext2;;
    partmap) echo gpt;;
esac
"""
_GRUB_SETTINGS = f"""\
GRUB_TIMEOUT=0
GRUB_CMDLINE_LINUX_DEFAULT=""
GRUB_CMDLINE_LINUX="{_COMMAND_LINE}"
GRUB_TERMINAL=console
"""
# What grub-install does: modules beside the menu, and on the EFI system partition what leads the
# signed GRUB, which looks there, to it.
_GRUB_ON_ESP = f"""\
search.fs_uuid {ROOT_UUID} root
set prefix=($root)'/boot/grub'
configfile $prefix/grub.cfg
"""
_GRUB = BootLoader(
    ("grub-efi-amd64", "grub-efi-amd64-signed", "shim-signed"),
    (
        """chroot "$1" dpkg-divert --local --rename --divert /usr/sbin/grub-probe.real \
            --add /usr/sbin/grub-probe""",
        f"""cat >"$1/usr/sbin/grub-probe" <<'END'\n{_GRUB_PROBE}END""",
        """chmod 755 "$1/usr/sbin/grub-probe" """,
        """mkdir -p "$1/etc/default/grub.d" """,
        f"""cat >"$1/etc/default/grub.d/console.cfg" <<'END'\n{_GRUB_SETTINGS}END""",
    ),
    (
        """mkdir -p "$1/boot/grub" && cp -r "$1/usr/lib/grub/x86_64-efi" "$1/boot/grub" """,
        """chroot "$1" update-grub""",
        """rm "$1/usr/sbin/grub-probe" """,
        """chroot "$1" dpkg-divert --local --rename --remove /usr/sbin/grub-probe""",
        f"""mkdir -p "$1/{ESP}/EFI/BOOT" "$1/{ESP}/EFI/debian" """,
        *(
            f"""cp "$1/usr/lib/{source}" "$1/{ESP}/EFI/{target}" """
            for source, target in (
                ("shim/shimx64.efi.signed", "BOOT/BOOTX64.EFI"),
                ("shim/mmx64.efi.signed", "BOOT/mmx64.efi"),
                ("grub/x86_64-efi-signed/grubx64.efi.signed", "BOOT/grubx64.efi"),
                ("shim/shimx64.efi.signed", "debian/shimx64.efi"),
                ("grub/x86_64-efi-signed/grubx64.efi.signed", "debian/grubx64.efi"),
            )
        ),
        f"""cat >"$1/{ESP}/EFI/debian/grub.cfg" <<'END'\n{_GRUB_ON_ESP}END""",
    ),
)
#: The name of the one that is taken where nobody asks for another.
GRUB = "grub"
BOOT_LOADERS = {GRUB: _GRUB}


def ensure(boot_loader, say):
    """Build the tree with a boot loader, a key of :data:`BOOT_LOADERS`, unless it is there.

    :raises LabError: as :func:`lab.base.ensure`; there is no such boot loader.
    """
    if boot_loader not in BOOT_LOADERS:
        known = ", ".join(BOOT_LOADERS)
        raise LabError(f"no kernel host boots by {boot_loader!r}: {known} are known")
    command = _command(BOOT_LOADERS[boot_loader])
    place = base.BASES / f"{boot_loader}-{base.digest_of(command, base.certificates())}"
    what = f"a tree of Debian {RELEASE} that boots by {boot_loader}, about two minutes"
    return base.built(place, command, what, say)


def kernel(tree):
    """Return the release of the kernel that a tree has."""
    (folder,) = (tree / "lib" / "modules").iterdir()
    return folder.name


def options():
    """Return options of mmdebstrap for a tree with a kernel's package.

    By these the package makes a small initramfs, and dpkg does not wait for the disk at each file:
    a tree that is not whole does not count.
    """
    return [
        "--dpkgopt=force-unsafe-io",
        *(f"--essential-hook={script}" for script in _FIRST_INITRAMFS),
    ]


def _command(boot_loader):
    packages = (*_PACKAGES, *boot_loader.packages)
    before = [f"--essential-hook={script}" for script in boot_loader.before]
    more = [*options(), *before]
    return base.mmdebstrap(RELEASE, packages, (*_HOOKS, *boot_loader.after), more)
