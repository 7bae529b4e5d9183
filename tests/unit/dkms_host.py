"""A small tree that stands for a host with the driver's modules, and its DKMS."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import installed_driver
from ansible_collections.gpunode.stack.plugins.module_utils._node.kernel import dkms
from ansible_collections.gpunode.stack.plugins.module_utils._node.nvidia_driver import (
    kernel_modules,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.system.root import Root

K1, K2 = "6.1.0-40-amd64", "6.1.0-56-amd64"
V1, V2 = "535.161.08", "590.48.01"
TEMPLATE = """\
PACKAGE_NAME="nvidia"
PACKAGE_VERSION="__VERSION_STRING"
__DKMS_MODULES
MAKE[0]="'make' -j__JOBS NV_EXCLUDE_BUILD_MODULES='__EXCLUDE_MODULES' modules"
"""
# /usr/src/nvidia-current-535.261.03/dkms.conf of Debian's nvidia-kernel-dkms 535.261.03-1.
DEBIANS = """\
PACKAGE_NAME="nvidia-current"
BUILT_MODULE_NAME[0]="nvidia"
DEST_MODULE_NAME[0]="$PACKAGE_NAME"
BUILT_MODULE_NAME[1]="nvidia-uvm"
DEST_MODULE_NAME[1]="$PACKAGE_NAME-uvm"
"""
# make.log of a real build by dkms 3.0.10, of sources that need a header of the compiler's.
MAKE_LOG = """\
DKMS make.log for nvidia-2.0 for kernel 6.1.0-56-cloud-amd64 (x86_64)
Wed Nov 25 20:49:54 UTC 2026
make: Entering directory '/usr/src/linux-headers-6.1.0-56-cloud-amd64'
  CC [M]  /var/lib/dkms/nvidia/2.0/build/nvidia.o
/var/lib/dkms/nvidia/2.0/build/nvidia.c:9:10: fatal error: stdarg.h: No such file or directory
    9 | #include <stdarg.h>
      |          ^~~~~~~~~~
compilation terminated.
make[1]: *** [Makefile.build:255: /var/lib/dkms/nvidia/2.0/build/nvidia.o] Error 1
make: *** [Makefile:2065: /var/lib/dkms/nvidia/2.0/build] Error 2
"""


def wanted(version=V1, is_open=None, signed=False, rdma=False, name="nvidia"):
    return kernel_modules.Modules(name, version, is_open, signed, rdma)


def row(release, compiler="gcc-12", found=True):
    return {"release": release, "compiler": compiler, "compiler_found": found}


def module(kernel, name="nvidia", version=V1, **fields):
    """Return a module's file: what modinfo prints of it."""
    told = {"name": name, "version": version, "license": "NVIDIA", "depends": "", **fields}
    told["vermagic"] = f"{kernel} SMP preempt mod_unload modversions"
    return "".join(f"{key}: {value}\n" for key, value in told.items())


class Host:
    """A host with a DKMS that does what dkms 3.0.10 of Debian 12 and 3.2.2 of Debian 13 did.

    Recorded by hand with a module of one file: what lies where after each verb, the status and
    words of a build that is there by half, of a build that fails, and of a tree without sources.
    """

    def __init__(self, root):
        self.root = Path(root)
        self.tree = Root(str(root), self.modinfo)
        self.asked = []
        self.fails = set()
        self.log = MAKE_LOG
        self.fields = {}
        for kernel in (K1, K2):
            self.write(f"/lib/modules/{kernel}/modules.dep", "")

    def path(self, path):
        return self.root / path.lstrip("/")

    def write(self, path, text):
        self.path(path).parent.mkdir(parents=True, exist_ok=True)
        self.path(path).write_text(text)

    def modinfo(self, argv, **_options):
        assert argv[0] == "modinfo"
        if argv[1] == "-k":
            files_found = list(self.path(f"/lib/modules/{argv[2]}/updates").rglob("nvidia.ko"))
            printed = "".join(self.version_of(path) for path in files_found)
        else:
            printed = "".join(f"filename: {path}\n{Path(path).read_text()}" for path in argv[1:])
        return subprocess.CompletedProcess(argv, 0, printed.encode(), b"")

    def version_of(self, path):
        return path.read_text().partition("version: ")[2].partition("\n")[0]

    def sources(self, version=V1, name="nvidia", text=None):
        folder = self.path(f"/unpacked/{version}/kernel")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "dkms.conf").write_text(text or TEMPLATE)
        (folder / "nvidia.c").write_text(version)
        kernel_modules.add(self.tree, wanted(version, name=name), str(folder), ["nvidia"])

    def execute(self, argv, _environment):
        verb = argv[1]
        name, version = argv[argv.index("-m") + 1], argv[argv.index("-v") + 1]
        kernel = argv[argv.index("-k") + 1] if "-k" in argv else None
        self.asked.append((verb, version, kernel))
        self.forced = "--force" in argv
        top = self.path(f"/var/lib/dkms/{name}/{version}")
        conf = f"/var/lib/dkms/{name}/{version}/source/dkms.conf"
        if top.exists() and not self.tree.exists(conf):
            return self.ended(4, f"Error! {name}/{version} is broken!")
        return getattr(self, verb)(name, version, kernel, top)

    def ended(self, status, words=""):
        return subprocess.CompletedProcess(["dkms"], status, "", words)

    def build(self, name, version, kernel, top):
        made = top / kernel / "x86_64"
        top.mkdir(parents=True, exist_ok=True)
        if not (top / "source").is_symlink():
            (top / "source").symlink_to(f"/usr/src/{name}-{version}")
        if made.exists():
            return self.ended(3, "Error! This module/version has already been built")
        (top / "build").mkdir(exist_ok=True)
        (top / "build" / "make.log").write_text(self.log)
        if kernel in self.fails:
            return self.ended(10, f"Error! Bad return status for module build on kernel: {kernel}")
        shutil.rmtree(top / "build")
        (made / "module").mkdir(parents=True)
        text = module(kernel, version=version, **self.fields)
        (made / "module" / "nvidia.ko").write_text(text)
        return self.ended(0)

    def install(self, name, version, kernel, top):
        place = self.path(f"/lib/modules/{kernel}/updates/dkms/nvidia.ko")
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.exists() and self.version_of(place) > version and not self.forced:
            return self.ended(6, "Error! Installation aborted.")
        shutil.copy(top / kernel / "x86_64" / "module" / "nvidia.ko", place)
        link = top.parent / f"kernel-{kernel}-x86_64"
        link.unlink(missing_ok=True)
        link.symlink_to(f"{version}/{kernel}/x86_64")
        return self.ended(0)

    def remove(self, _name, version, _kernel, top):
        for link in top.parent.glob("kernel-*"):
            if str(link.readlink()).startswith(f"{version}/"):
                kernel = str(link.readlink()).split("/")[1]
                self.path(f"/lib/modules/{kernel}/updates/dkms/nvidia.ko").unlink()
                link.unlink()
        shutil.rmtree(top)
        return self.ended(0)

    def put_in_place(self, version=V1, kernels=(K1, K2)):
        self.sources(version)
        kernel_modules.install(
            self.tree, wanted(version), [row(kernel) for kernel in kernels], self.execute
        )
        self.asked.clear()

    def build_anew(self, version, is_open=None):
        """Replace the sources of a version and build them, for all kernels or not at all."""
        with dkms.undone_on_failure(self.tree, "nvidia", version):
            self.sources(version, text=f"{TEMPLATE}# other\n")
            kernels = [row(K1), row(K2)]
            kernel_modules.build(self.tree, wanted(version, is_open), kernels, self.execute)

    def survey(self):
        return installed_driver.survey(self.tree)

    def all_of_it(self):
        """Return what DKMS, the sources and the modules are: {path: content}."""
        found = {}
        for top in ("/var/lib/dkms", "/usr/src", "/lib/modules"):
            for path in sorted(self.path(top).rglob("*")):
                if path.is_symlink():
                    found[str(path)] = f"-> {path.readlink()}"
                elif path.is_file():
                    found[str(path)] = path.read_text()
        return found
