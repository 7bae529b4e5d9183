#!/usr/bin/python3
"""The kernel of a machine with GPUs and RDMA adapters: what it shows as modules come and go.

Called as `kernel.py boot` by a unit, and as modprobe, insmod or rmmod in place of kmod's.
"""

import errno
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import adapters

HOME = Path("/usr/local/lib/machine")
STATE = Path("/run/machine")
MODULES = STATE / "modules"
SYS = STATE / "sys"
PCI = SYS / "bus" / "pci" / "devices"
EFIVARS = SYS / "firmware" / "efi" / "efivars"
IN_KERNEL = ("nouveau", "nova_core")
# beegfs stands for whoever stands on RDMA besides, as that file system does.
PLAYED = re.compile("|".join((r"nvidia(_\w+)?|nv_peer_mem|beegfs", *IN_KERNEL, *adapters.MODULES)))
DEVICES = {"nvidia_uvm": "nvidia-uvm", "nvidia_modeset": "nvidia-modeset"}
# The device files whose opening uses a module. Of RDMA it is ib_uverbs alone, also once the driver
# took the device away under who has it open.
OPENED = {
    "nvidia": r"/dev/nvidia(\d+|ctl)",
    **{name: f"/dev/{device}" for name, device in DEVICES.items()},
    "ib_uverbs": rf"{adapters.DEVICES}/uverbs\d+( \(deleted\))?",
}
# In use by whom they register memory of a GPU for: who has both a GPU and an RDMA device open.
REGISTERING = ("nv_peer_mem", "nvidia_peermem")
RELEASE = os.uname().release
# EFI_GLOBAL_VARIABLE and shim's own, SHIM_LOCK_GUID; EFI_CERT_X509_GUID as it lies in memory.
GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
SHIM = "605dab50-e046-4300-abb6-3dd810dd8b23"
X509 = bytes.fromhex("a159c0a5e494a74a87b5ab155c2bf072")
# What modprobe is asked that loads and unloads nothing.
HARMLESS = ("-c", "-n", "-D", "-R", "-V", "-h", "-S", "-d", "--show", "--dry", "--dump", "--set")


class Rejected(Exception):
    """The kernel does not take a module, or does not let it go."""

    def __init__(self, number, words=""):
        super().__init__(words)
        self.errno = number


def words():
    return json.loads((HOME / "words.json").read_text())


def machine():
    return json.loads((HOME / "machine.json").read_text())


def log(line):
    with open(STATE / "log", "a", encoding="utf-8") as handle:
        handle.write(f"{line}\n")


# What is loaded


def loaded():
    """Return {name: [modules above it]}, the last loaded first, from /proc/modules."""
    rows = [line.split() for line in MODULES.read_text().splitlines()]
    return {row[0]: [name for name in row[3].split(",") if name not in ("", "-")] for row in rows}


def write_loaded(modules):
    # In place: it may be mounted over /proc/modules.
    with open(MODULES, "r+", encoding="ascii") as handle:
        for name, holders in modules.items():
            above = "".join(f"{holder}," for holder in holders) or "-"
            users = len(holders) + (name == machine().get("console"))
            print(name, 16384, users, above, "Live 0x0000000000000000 (OE)", file=handle)
        handle.truncate()
    for name, holders in modules.items():
        # Modules that others are played to need are not shown.
        if (SYS / "module" / name).exists():
            show_holders(SYS / "module" / name, holders)


def show_holders(folder, holders):
    (folder / "refcnt").write_text(f"{len(holders)}\n")
    place = folder / "holders"
    place.mkdir(exist_ok=True)
    for link in place.iterdir():
        link.unlink()
    for holder in holders:
        (place / holder).symlink_to(f"../../{holder}")


def described(path):
    """Return what modinfo says of a module."""
    told = subprocess.run(["modinfo", path], capture_output=True, text=True, check=False)
    rows = [re.match(r"(\w+): *(.*)", line) for line in told.stdout.splitlines()]
    return {row.group(1): row.group(2) for row in rows if row}


def insert(path):
    """Load a module.

    :raises Rejected: as the kernel would not take it.
    """
    fields = described(path)
    name = fields.get("name", "")
    if not name:
        raise Rejected(errno.ENOEXEC)
    if name in loaded():
        raise Rejected(errno.EEXIST)
    depends = [part for part in fields.get("depends", "").split(",") if part]
    check_signature(fields)
    if fields.get("vermagic", "").split(" ")[0] != RELEASE:
        reject("vermagic", name=name, vermagic=fields.get("vermagic"), release=RELEASE)
    for needed in depends:
        if PLAYED.fullmatch(needed) and needed not in loaded():
            reject("missing", name=name)
    bind(name)
    (SYS / "module" / name).mkdir()
    modules = loaded()
    for needed in depends:
        modules.setdefault(needed, []).append(name)
    write_loaded({name: [], **modules})
    show(name, fields, path)


def reject(key, **fields):
    row = words()["kernel"][key]
    log(row["says"].format(**fields))
    raise Rejected(getattr(errno, row["errno"]))


def check_signature(fields):
    if not EFIVARS.exists() or read_flag("SecureBoot") == 0:
        return
    if "sig_key" not in fields:
        reject("unsigned")
    # A key is named by the serial number of its certificate.
    serial = bytes.fromhex(fields["sig_key"].replace(":", ""))
    known = [EFIVARS / f"MokListRT-{SHIM}", *HOME.glob("inbox/signing_key.x509")]
    if not any(serial in path.read_bytes() for path in known):
        reject("unknown_key")


def bind(name):
    """Let a driver take the GPUs that no other has."""
    if name != "nvidia" and name not in IN_KERNEL:
        return
    gpus = [PCI / gpu["address"] for gpu in machine()["gpus"]]
    free = [gpu for gpu in gpus if not (gpu / "driver").is_symlink()]
    if name == "nvidia" and not gpus:
        reject("no_gpu")
    if name == "nvidia" and not free:
        reject("not_probed", count=len(gpus))
    for gpu in free:
        (gpu / "driver").symlink_to(f"../../drivers/{name}")


def show(name, fields, path):
    """Show a module that was loaded as its kernel and its own code do."""
    folder = SYS / "module" / name
    is_open = fields.get("license") == "Dual MIT/GPL"
    for attribute in ("version", "srcversion"):
        if attribute in fields:
            (folder / attribute).write_text(f"{fields[attribute]}\n")
    show_build(folder / "notes", path)
    (folder / "initstate").write_text("live\n")
    (folder / "taint").write_text(f"{taint(fields)}\n")
    if name == "nvidia":
        show_driver(fields["version"], is_open)
    elif name in DEVICES:
        make_device(DEVICES[name])
    adapters.came(name, machine()["rdma"], SYS)


def show_build(folder, path):
    """Show the note by which the linker named the build, where it did."""
    folder.mkdir()
    note = ".note.gnu.build-id"
    taken = ["objcopy", "-O", "binary", f"--only-section={note}", path, folder / note]
    subprocess.run(taken, check=True)


def taint(fields):
    if "intree" in fields:
        return ""
    return "OE" if fields.get("license", "").endswith("GPL") else "POE"


def show_driver(version, is_open):
    folder = STATE / "driver" / "nvidia"
    kind = "Open Kernel Module for x86_64" if is_open else "x86_64 Kernel Module"
    for number, gpu in enumerate(machine()["gpus"]):
        about = folder / "gpus" / gpu["address"]
        about.mkdir(parents=True)
        (about / "information").write_text(f"Model: \t\t {gpu['name']}\nIRQ:   \t\t 16\n")
        make_device(f"nvidia{number}")
    (folder / "version").write_text(
        f"NVRM version: NVIDIA UNIX {kind}  {version}  Tue Mar  5 22:42:15 UTC 2024\n"
        "GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)\n"
    )
    make_device("nvidiactl")


def make_device(name):
    path = Path("/dev", name)
    path.touch()
    path.chmod(0o666)


def remove(name):
    """Unload a module.

    :raises Rejected: it is used, or not there; the text says by what.
    """
    modules = loaded()
    if name not in modules:
        raise Rejected(errno.ENOENT)
    if modules[name]:
        raise Rejected(errno.EAGAIN, " ".join(modules[name]))
    if is_in_use(name):
        raise Rejected(errno.EAGAIN)
    write_loaded(
        {
            other: [holder for holder in holders if holder != name]
            for other, holders in modules.items()
            if other != name
        }
    )
    subprocess.run(["rm", "-r", SYS / "module" / name], check=True)
    adapters.went(name, machine()["rdma"], SYS)
    for device in devices_of(name):
        device.unlink()
    if name == "nvidia":
        subprocess.run(["rm", "-r", STATE / "driver" / "nvidia"], check=True)
    for gpu in PCI.iterdir():
        link = gpu / "driver"
        if link.is_symlink() and os.path.basename(os.readlink(link)) == name:
            link.unlink()


def devices_of(name):
    if name == "nvidia":
        return [*Path("/dev").glob("nvidia[0-9]*"), Path("/dev/nvidiactl")]
    return [Path("/dev", DEVICES[name])] if name in DEVICES else []


def is_in_use(name):
    """Say whether anybody but another module uses a module."""
    if name == machine().get("console"):
        return True
    if name in REGISTERING:
        return bool(users(OPENED["nvidia"]) & users(OPENED["ib_uverbs"]))
    return name in OPENED and bool(users(OPENED[name]))


def users(opened):
    """Return the processes that have a file open whose path fits a pattern."""
    found = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if re.fullmatch(opened, os.readlink(link)):
                found.add(link.parts[2])
        except OSError:
            continue
    return found


# The programs


def kmod(program, arguments):
    os.execv("/usr/bin/kmod", [program, *arguments])


def complain(key, **fields):
    print(words()["kmod"][key]["says"].format(**fields), file=sys.stderr)


def modprobe(arguments):
    options = [word for word in arguments if word.startswith("-")]
    given = [word for word in arguments if not word.startswith("-")]
    takes_all = any(re.fullmatch(r"-\w*[ar]\w*|--remove|--all", option) for option in options)
    names = [name.replace("-", "_") for name in (given if takes_all else given[:1])]
    if any(option.startswith(HARMLESS) for option in options):
        kmod("modprobe", arguments)
    if not any(map(PLAYED.fullmatch, names)):
        kmod("modprobe", arguments)
    is_removal = any(re.fullmatch(r"-\w*r\w*|--remove", option) for option in options)
    return max(probe_out(name) if is_removal else probe_in(name, options) for name in names)


def probe_in(name, options):
    passed = [
        option
        for option in options
        if option in ("-b", "--use-blacklist", "-i", "--ignore-install", "-q", "--quiet")
    ]
    planned = subprocess.run(
        ["modprobe", "--show-depends", *passed, name],
        executable="/usr/bin/kmod",
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if planned.returncode:
        return planned.returncode
    for line in planned.stdout.splitlines():
        verb, _blank, rest = line.strip().partition(" ")
        if verb == "install":
            if subprocess.run(["sh", "-c", rest], check=False).returncode:
                complain("could_not_insert", name=name, error="Invalid argument")
                return 1
        elif verb == "insmod":
            path = rest.split()[0]
            try:
                insert(path)
            except Rejected as rejected:
                if rejected.errno == errno.EEXIST:
                    continue
                key = "unknown_symbol" if rejected.errno == errno.ENOENT else "could_not_insert"
                complain(key, name=name, error=os.strerror(rejected.errno))
                return 1
    return 0


def probe_out(name):
    """Unload a module, and then those below it that nothing else needs."""
    below = [other for other, holders in loaded().items() if name in holders]
    try:
        remove(name)
    except Rejected as rejected:
        if rejected.errno == errno.ENOENT:
            return 0
        complain("modprobe_in_use", name=name)
        return 1
    for other in below:
        if PLAYED.fullmatch(other) and not loaded().get(other, [name]):
            probe_out(other)
    return 0


def insmod(arguments):
    path = arguments[0] if arguments else ""
    if not PLAYED.fullmatch(described(path).get("name", "")):
        kmod("insmod", arguments)
    try:
        insert(path)
    except Rejected as rejected:
        texts = {errno.ENOEXEC: "Invalid module format", errno.ENOENT: "Unknown symbol in module"}
        error = texts.get(rejected.errno, os.strerror(rejected.errno))
        complain("insmod", path=path, error=error)
        return 1
    return 0


def rmmod(arguments):
    names = [word.replace("-", "_") for word in arguments if not word.startswith("-")]
    if not any(map(PLAYED.fullmatch, names)):
        kmod("rmmod", arguments)
    status = 0
    for name in names:
        try:
            remove(name)
        except Rejected as rejected:
            status = 1
            if rejected.errno == errno.ENOENT:
                complain("rmmod_not_loaded", name=name)
            elif str(rejected):
                complain("rmmod_in_use_by", name=name, holders=rejected)
            else:
                complain("rmmod_in_use", name=name)
    return status


# The boot


def boot():
    show_machine()
    load_in_kernel_drivers_of_initramfs()
    if machine()["gpus"]:
        # udev asks for all modules that a device's identity names, whatever is bound to it.
        for name in (*IN_KERNEL, "nvidia"):
            probe_in(name, ["-b", "-q"])
    if machine()["rdma"]:
        for name in adapters.AT_BOOT:
            probe_in(name, ["-b", "-q"])
    for path in sorted(Path("/etc/modules-load.d").glob("*.conf")):
        for line in path.read_text().split():
            if PLAYED.fullmatch(line.replace("-", "_")):
                probe_in(line, ["-b", "-q"])
    return 0


def mount(*arguments):
    subprocess.run(["mount", *map(str, arguments)], check=True)


def show_machine():
    for folder in (STATE / "driver", SYS):
        folder.mkdir(parents=True)
    for name in ("modules", "log", "environ"):
        (STATE / name).touch()
    show_sys()
    mount("--bind", STATE / "driver", "/proc/driver")
    # What tells a container: systemd's container interface.
    mount("--bind", STATE / "environ", "/proc/1/environ")
    if os.path.exists("/proc/modules"):
        mount("--bind", MODULES, "/proc/modules")
    # The keys of the kernel that is really there, which this one does not have.
    if os.path.exists("/proc/keys"):
        mount("--bind", "/dev/null", "/proc/keys")


def show_sys():
    """Put another /sys over the real one: the same, but for modules, firmware and PCI devices."""
    mount("-t", "tmpfs", "-o", "mode=755", "machine", SYS)
    keep("/sys", ("module", "firmware", "bus", "class"))
    keep("/sys/bus", ("pci",))
    keep("/sys/class", ("infiniband",))
    (SYS / "module").mkdir()
    PCI.mkdir(parents=True)
    for device in (*machine()["gpus"], *machine()["nvswitches"], *machine()["rdma"]):
        folder = PCI / device["address"]
        folder.mkdir()
        for name in ("vendor", "device", "class", "subsystem_vendor", "subsystem_device"):
            (folder / name).write_text(f"{device[name]}\n")
    if machine()["secure_boot"]:
        show_firmware(machine()["secure_boot"])
    adapters.show_interfaces(machine()["rdma"], SYS, STATE)
    mount("--rbind", SYS, "/sys")
    # Where /sys can be written, systemd starts what looks after devices.
    mount("-o", "remount,bind,ro", "/sys")


def keep(top, without):
    for entry in os.listdir(top):
        place = SYS / Path(top).relative_to("/sys") / entry
        if entry not in without:
            place.mkdir(parents=True)
            mount("--rbind", Path(top, entry), place)


def show_firmware(secure_boot):
    """Show the EFI variables; a certificate that was enrolled meanwhile is known from now on."""
    EFIVARS.mkdir(parents=True)
    for name, value in (("SecureBoot", secure_boot["enabled"]), ("SetupMode", False)):
        (EFIVARS / f"{name}-{GLOBAL}").write_bytes(bytes([6, 0, 0, 0, int(value)]))
    data = b""
    for path in map(Path, secure_boot["enrolled"]):
        if path.exists():
            certificate = path.read_bytes()
            size = 16 + len(certificate)
            data += X509
            data += b"".join(number.to_bytes(4, "little") for number in (28 + size, 0, size))
            data += bytes(16) + certificate
    (EFIVARS / f"MokListRT-{SHIM}").write_bytes(bytes([6, 0, 0, 0]) + data)


def read_flag(name):
    return (EFIVARS / f"{name}-{GLOBAL}").read_bytes()[4]


def load_in_kernel_drivers_of_initramfs():
    """Load those that the initramfs of the kernel holds and does not itself blacklist."""
    image = Path("/boot", f"initrd.img-{RELEASE}")
    if not (image.exists() and machine()["gpus"]):
        return
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["unmkinitramfs", image, folder], check=False)
        texts = [path.read_text() for path in Path(folder).rglob("modprobe.d/*.conf")]
        for path in Path(folder).rglob("*.ko*"):
            name = path.name.partition(".")[0].replace("-", "_")
            never = re.compile(rf"^\s*(blacklist|install)\s+{name}\b", re.MULTILINE)
            if name in IN_KERNEL and not any(map(never.search, texts)):
                try:
                    insert(path)
                except Rejected:
                    continue


def main():
    name, arguments = os.path.basename(sys.argv[0]), sys.argv[1:]
    if name == "kernel.py":
        return boot()
    return {"modprobe": modprobe, "insmod": insmod, "rmmod": rmmod}[name](arguments)


if __name__ == "__main__":
    sys.exit(main())
