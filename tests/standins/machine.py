"""A lab node as a host with a kernel of its own, GPUs and adapters; see tests/standins/machine.

A test makes the node bare when it is done with it.
"""

from __future__ import annotations

import json
import shlex
import time

import yaml

from lab import textfile
from lab.images import Image
from lab.paths import CHECKOUT

STANDIN = CHECKOUT / "tests" / "standins" / "machine"
MODULE = CHECKOUT / "tests" / "standins" / "module"
HOME = "/usr/local/lib/machine"
VERSION = "535.161.08"
#: The program of kmod that kernel.py stands before.
_OF_KMOD = ("modprobe", "insmod", "rmmod")
_UNIT_OF = {
    "nvidia-gridd": "nvidia-gridd.service",
    "nv-fabricmanager": "nvidia-fabricmanager.service",
    "nvidia-persistenced": "nvidia-persistenced.service",
}
_LIBRARIES = "/usr/lib/x86_64-linux-gnu"
_INSTALL_TIMEOUT_S = 400
_BOOT_TIMEOUT_S = 60

_OWN_MODULE = '#include <linux/module.h>\nMODULE_LICENSE("GPL");\n'

# A kernel's headers become those of the kernel that runs, which is the machine's and has none;
# modules that are built with them are for it by name.
_SET_UP = f"""
set -e
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
    dkms gcc libc6-dev openssl linux-headers-cloud-amd64
apt-get clean
running=$(uname -r)
headers=$(ls -d /usr/src/linux-headers-*cloud-amd64)
cp -a $headers /usr/src/linux-headers-$running
cd /usr/src/linux-headers-$running
echo $running >include/config/kernel.release
echo "#define UTS_RELEASE \\"$running\\"" >include/generated/utsrelease.h
mkdir -p /lib/modules/$running
ln -s $PWD /lib/modules/$running/build
touch /lib/modules/$running/modules.order /lib/modules/$running/modules.builtin
# One module of its own: DKMS 3.2 takes a kernel without any for one that was removed.
make -s -C /lib/modules/$running/build M={HOME}/own modules
install -D -m 0644 {HOME}/own/dummy.ko /lib/modules/$running/kernel/drivers/net/dummy.ko
touch /boot/vmlinuz-$running
ln -sf boot/vmlinuz-$running /vmlinuz
depmod $running
cd {HOME}
gcc -shared -fPIC -O1 -o modules.so modules.c -ldl
test -e /proc/modules || echo {HOME}/modules.so >/etc/ld.so.preload
for name in {" ".join(_OF_KMOD)}; do ln -sf {HOME}/kernel.py /usr/sbin/$name; done
"""

# The distribution's RDMA modules, signed with the key that its kernel knows by itself.
_INBOX = f"""
set -e
cd {HOME}/inbox
build=/lib/modules/$(uname -r)/build
openssl req -new -x509 -newkey rsa:2048 -nodes -days 36500 -subj '/CN=Distribution/' \
    -keyout signing_key.pem -outform DER -out signing_key.x509 2>/dev/null
make -s -C $build M=$PWD modules
put() {{
    $build/scripts/sign-file sha256 signing_key.pem signing_key.x509 $1.ko
    install -D -m 0644 $1.ko /lib/modules/$(uname -r)/kernel/drivers/$2/$1.ko
}}
put ib_core infiniband/core
put ib_uverbs infiniband/core
put mlx5_ib infiniband/hw/mlx5
put mlx5_core net/ethernet/mellanox/mlx5/core
depmod
"""


def gpu(address="0000:3b:00.0", device="0x20b0", name="NVIDIA A100-SXM4-40GB", **other):
    """Return a GPU: as PCI shows it, and as nvidia-smi names it.

    :param other: ``mode``, and ``licensed_product`` of a vGPU, such as
        "NVIDIA Virtual Compute Server".
    """
    return {
        "address": address,
        "vendor": "0x10de",
        "device": device,
        "class": "0x030200",
        "subsystem_vendor": "0x10de",
        "subsystem_device": "0x134f",
        "name": name,
        "mode": "None",
        "licensed_product": "",
        **other,
    }


def nvswitch(address="0000:b7:00.0"):
    """Return an NVSwitch as PCI shows it."""
    return {**gpu(address, "0x1af1"), "class": "0x068000"}


def adapter(interface="", address="0000:5e:00.0", name="mlx5_0"):
    """Return an RDMA adapter, a ConnectX-6: as PCI shows it, and as its driver does.

    :param interface: the network interface of the node that is on it, such as "host0"; '' for an
        adapter of InfiniBand.
    """
    return {
        "name": name,
        "address": address,
        "interface": interface,
        "vendor": "0x15b3",
        "device": "0x101b",
        "class": "0x020000" if interface else "0x020700",
        "subsystem_vendor": "0x15b3",
        "subsystem_device": "0x0007",
        "firmware": "20.41.1000",
        "board": "MT_0000000224",
    }


class Machine:
    """A node that has GPUs and adapters.

    :ivar name: of the node.
    :ivar hardware: what it has, see :meth:`has`.
    """

    def __init__(self, lab, name, gpus=None, nvswitches=(), rdma=(), secure_boot=None, console=""):
        """:param gpus: rows of :func:`gpu`; one by default.
        :param nvswitches: rows of :func:`nvswitch`.
        :param rdma: rows of :func:`adapter`; with any the kernel has modules for them.
        :param secure_boot: ``{"enabled": bool, "enrolled": [path of a certificate on the node]}``;
            None for a machine without UEFI.
        :param console: the module that draws the console where it is loaded, such as "nouveau".
        """
        self._lab = lab
        self.name = name
        self.hardware = {
            "gpus": [gpu()] if gpus is None else list(gpus),
            "nvswitches": list(nvswitches),
            "rdma": list(rdma),
            "secure_boot": secure_boot,
            "console": console,
        }

    def install(self):
        """Make the node new and such a machine, with headers for its kernel and DKMS, and boot."""
        files = {
            f"{HOME}/{name}": (STANDIN / name).read_text()
            for name in ("kernel.py", "adapters.py", "modules.c")
        }
        files[f"{HOME}/own/Makefile"] = "obj-m := dummy.o\n"
        files[f"{HOME}/own/dummy.c"] = _OWN_MODULE
        script = _SET_UP
        if self.hardware["rdma"]:
            files |= {
                f"{HOME}/inbox/{path.name}": path.read_text()
                for path in (STANDIN / "inbox").iterdir()
            }
            script += _INBOX

        def prepare(_lab, _name):
            for path, text in files.items():
                self.put(path, text, 0o755)
            self.says(script, timeout_s=_INSTALL_TIMEOUT_S)

        self._lab.fresh(self.name, Image(json.dumps([files, script]), prepare))
        words = yaml.safe_load((STANDIN / "words.yml").read_text())
        self.put(f"{HOME}/words.json", json.dumps(words))
        self.put(f"{HOME}/machine.json", json.dumps(self.hardware))
        self.license_server("licensed")
        self._put_unit("machine.service")
        self.says("systemctl enable -q machine.service")
        self.reboot()

    def module(self, version=VERSION):
        """Build the driver's module by DKMS for the kernel that runs, and let go another's."""
        source = f"/usr/src/nvidia-{version}"
        for path in MODULE.iterdir():
            self.put(f"{source}/{path.name}", path.read_text().replace(VERSION, version))
        others = "ls /var/lib/dkms/nvidia 2>/dev/null | grep -v kernel-"
        self.says(
            f"for old in $({others}); do dkms remove nvidia/$old --all; done;"
            f" dkms install --force nvidia/{version} -k $(uname -r)",
            timeout_s=120,
        )

    def libcuda(self, version=VERSION):
        """Compile the library of CUDA on the node; return where it lies there."""
        path = f"/tmp/libcuda.so.{version}"
        self.put("/tmp/libcuda.c", (STANDIN / "libcuda.c").read_text())
        define = shlex.quote(f'-DVERSION="{version}"')
        self.says(f"gcc -shared -fPIC {define} -o {path} /tmp/libcuda.c")
        return path

    def userspace(self, version=VERSION, programs=("nvidia-smi",)):
        """Put the driver's libraries and some of its programs in place, with their units."""
        links = [
            f"rm -f {_LIBRARIES}/{name}.so.*; : >{_LIBRARIES}/{name}.so.{version};"
            f" ln -s {name}.so.{version} {_LIBRARIES}/{name}.so.1"
            for name in ("libcuda", "libnvidia-ml")
        ]
        self.says("; ".join(links))
        self.says(f"cp {self.libcuda(version)} {_LIBRARIES}/")
        for name in programs:
            text = (STANDIN / "bin" / name).read_text().replace("@VERSION@", version)
            self.put(f"/usr/bin/{name}", text, 0o755)
            if name in _UNIT_OF:
                self._put_unit(_UNIT_OF[name])
        self.says("systemctl daemon-reload")

    def loaded(self):
        """Return the names of the modules that are loaded."""
        return [line.split()[0] for line in self.says("cat /proc/modules").splitlines()]

    def has(self, **hardware):
        """Boot the machine with other hardware from now on, by the parameters of the class."""
        self.hardware.update(hardware)
        self.put(f"{HOME}/machine.json", json.dumps(self.hardware))
        self.reboot()

    def hold(self, holder):
        """Let a module be loaded that stands on the driver, such as gdrdrv, until the reboot."""
        rows = self.says("cat /proc/modules").splitlines()
        held = [row.replace("nvidia 16384 0 -", f"nvidia 16384 1 {holder},") for row in rows]
        first = f"{holder} 16384 0 - Live 0x0000000000000000 (OE)"
        self.says(f"printf '%s\\n' {shlex.join([first, *held])} >/run/machine/modules")

    def in_kernel_driver(self, initramfs=False):
        """Give the kernel a nouveau of its own, which the next boot loads.

        :param initramfs: whether it has an initramfs, with nouveau in it.
        """
        top = f"/lib/modules/{self.says('uname -r')}"
        self.put(f"{HOME}/in-kernel/Makefile", "obj-m := nouveau.o\n")
        self.put(f"{HOME}/in-kernel/nouveau.c", _OWN_MODULE)
        self.says(
            f"make -s -C {top}/build M={HOME}/in-kernel modules && install -D -m 0644"
            f" {HOME}/in-kernel/nouveau.ko {top}/kernel/drivers/gpu/nouveau.ko"
            " && depmod",
            timeout_s=120,
        )
        if initramfs:
            self.says(
                "echo CONFIG_RD_GZIP=y >/boot/config-$(uname -r)"
                " && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends"
                " initramfs-tools && echo nouveau >>/etc/initramfs-tools/modules"
                " && update-initramfs -c -k $(uname -r)",
                timeout_s=120,
            )

    def cuda_error(self, number):
        """Let CUDA answer so when it is to compute, 0 for no error."""
        self.put(f"{HOME}/cuda-error", f"{number}\n")

    def boots(self):
        """Return how often the machine was booted, as its journal has it."""
        return len(self.says("journalctl --list-boots --quiet").splitlines())

    def client(self, unit="train.service"):
        """Start a process that uses the first GPU, in a unit of its own."""
        uses = "exec 3</dev/nvidia0; exec sleep infinity"
        self.says(f"systemd-run --quiet --collect --unit={unit} sh -c {shlex.quote(uses)}")

    def license_server(self, answer):
        """Let the licence server answer so, a key of licensing.servers in words.yml."""
        self.put(f"{HOME}/license-server", f"{answer}\n")

    def reboot(self):
        """Reboot as an administrator would, and wait until all units have started or failed."""
        boot_id = self.says("cat /proc/sys/kernel/random/boot_id")
        self._lab.ssh(self.name, "sudo systemctl reboot")
        deadline = time.monotonic() + _BOOT_TIMEOUT_S
        while time.monotonic() < deadline:
            answer = self.tried(
                "cat /proc/sys/kernel/random/boot_id; systemctl is-system-running --wait"
            )
            now, _line, state = answer.stdout.strip().partition("\n")
            if now not in ("", boot_id) and state in ("running", "degraded"):
                return
            time.sleep(0.5)
        raise AssertionError(f"{self.name} did not come back within {_BOOT_TIMEOUT_S} s")

    def says(self, command, timeout_s=60):
        """Return what a shell command of root prints; an error of the test where it fails."""
        answer = self.tried(command, timeout_s)
        assert answer.returncode == 0, answer.stdout + answer.stderr
        return answer.stdout.strip()

    def tried(self, command, timeout_s=60):
        """Run a shell command as root and return its CompletedProcess."""
        return self._lab.ssh(self.name, f"sudo sh -c {shlex.quote(command)}", timeout_s)

    def put(self, path, text, mode=0o644):
        """Put a file onto the node."""
        textfile.put(textfile.inside(self._lab.tree(self.name), path), text, mode)

    def _put_unit(self, unit):
        self.put(f"/usr/lib/systemd/system/{unit}", (STANDIN / "units" / unit).read_text())
