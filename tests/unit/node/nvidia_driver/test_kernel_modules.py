"""The driver's modules by DKMS, on a small tree that stands for a host."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from pathlib import Path

import elf
import pytest
from trees import planted

from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import installed_driver
from ansible_collections.gpunode.stack.plugins.module_utils._node.nvidia_driver import (
    kernel_modules,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import files
from ansible_collections.gpunode.stack.plugins.module_utils._node.system.root import Tree

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
        self.tree = Tree(str(root), self.modinfo)
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
        with kernel_modules.undone_on_failure(self.tree, "nvidia", version):
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


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


@pytest.fixture
def marks(tmp_path):
    """Sources that were put there are told from others by a mark, where it can be set."""
    try:
        os.setxattr(tmp_path, "user.test", b"")
    except OSError:
        pytest.skip("this file system has no extended attributes")


def rows(driver, *keys):
    return [tuple(entry[key] for key in keys) for entry in driver]


def test_sources_become_what_the_installer_would_make_of_them(host):
    folder = host.path("/unpacked/kernel")
    folder.mkdir(parents=True)
    (folder / "dkms.conf").write_text(TEMPLATE)
    kernel_modules.add(host.tree, wanted(), str(folder), ["nvidia", "nvidia-uvm"])
    text = host.path(f"/usr/src/nvidia-{V1}/dkms.conf").read_text()
    assert f'PACKAGE_VERSION="{V1}"' in text
    assert 'BUILT_MODULE_NAME[1]="nvidia-uvm"\nDEST_MODULE_LOCATION[1]="/kernel/' in text
    assert "NV_EXCLUDE_BUILD_MODULES=''" in text
    assert "__" not in text
    assert kernel_modules.module_files(text, "nvidia") == {
        "nvidia": "nvidia",
        "nvidia-uvm": "nvidia_uvm",
    }


def test_sources_that_are_there_are_left_and_half_of_some_are_replaced(host):
    host.sources()
    place = host.path(f"/usr/src/nvidia-{V1}")
    before = place.stat().st_ino
    host.sources()
    assert place.stat().st_ino == before
    (place / "nvidia.c").unlink()
    host.write(f"/usr/src/nvidia-{V1}.gpunode-new/half.c", "")
    host.sources()
    assert not (place / "half.c").exists()
    assert (place / "nvidia.c").exists()
    assert [path.name for path in host.path("/usr/src").iterdir()] == [place.name]


def test_files_of_a_package_may_have_other_names_than_its_modules():
    assert kernel_modules.module_files(DEBIANS, "nvidia-current") == {
        "nvidia-current": "nvidia",
        "nvidia-current-uvm": "nvidia_uvm",
    }


def test_modules_are_built_for_every_kernel_and_none_is_installed(host):
    host.sources()
    kernel_modules.build(host.tree, wanted(), [row(K1), row(K2)], host.execute)
    assert rows(host.survey()["dkms"], "kernel", "state") == [(K1, "built"), (K2, "built")]
    assert host.survey()["modules"] == []


def test_a_kernel_is_always_named(host):
    host.put_in_place()
    host.sources(V2)
    kernel_modules.install(host.tree, wanted(V2), [row(K1), row(K2)], host.execute)
    assert [kernel for verb, _version, kernel in host.asked if not kernel] == []


def test_what_is_built_and_installed_is_not_built_again(host):
    host.put_in_place()
    kernel_modules.build(host.tree, wanted(), [row(K1), row(K2)], host.execute)
    kernel_modules.install(host.tree, wanted(), [row(K1), row(K2)], host.execute)
    assert host.asked == []


@pytest.mark.parametrize("versions", [(V1, V2), (V2, V1)])
def test_another_version_takes_the_place_in_every_kernel_in_both_directions(host, versions):
    before, after = versions
    host.put_in_place(before)
    host.sources(after)
    kernel_modules.install(host.tree, wanted(after), [row(K1), row(K2)], host.execute)
    assert rows(host.survey()["modules"], "kernel", "version") == [(K1, after), (K2, after)]
    kernel_modules.prove(host.tree, wanted(after), [K1, K2])


def test_a_module_that_dkms_put_away_for_later_does_not_come_back(host):
    """v3.2.2 keeps a module that it finds without being its own, and restores it at the end."""
    old = f"/var/lib/dkms/nvidia/original_module/{K1}/x86_64/nvidia.ko"
    host.write(old, module(K1, version="440.33.01"))
    host.put_in_place(V1)
    assert not host.path(old).exists()


def test_a_downgrade_that_dkms_only_says_it_made_is_made(host):
    """v3.0.10 without --force: it ends with 0, its link leads to the new one, the file is old."""
    host.put_in_place(V2, [K1])
    host.sources(V1)
    kernel_modules.build(host.tree, wanted(V1), [row(K1)], host.execute)
    link = host.path(f"/var/lib/dkms/nvidia/kernel-{K1}-x86_64")
    link.unlink()
    link.symlink_to(f"{V1}/{K1}/x86_64")
    assert rows(host.survey()["dkms"], "version", "state") == [(V1, "installed"), (V2, "built")]
    assert kernel_modules.lacking(host.tree, host.survey(), wanted(V1), [K1]) == [K1]
    kernel_modules.install(host.tree, wanted(V1), [row(K1)], host.execute)
    assert kernel_modules.lacking(host.tree, host.survey(), wanted(V1), [K1]) == []


def test_a_build_that_fails_leaves_everything_as_it_was_and_says_why(host):
    host.put_in_place(V1)
    before = host.all_of_it()
    host.fails = {K2}
    with pytest.raises(Refusal) as failure:
        host.build_anew(V2)
    assert host.all_of_it() == before
    assert K2 in failure.value.what
    assert "stdarg.h: No such file or directory" in failure.value.because
    assert "*** [Makefile.build" not in failure.value.because.partition(" / ")[0]
    log = host.path(f"/var/log/gpunode/make-nvidia-{V2}-{K2}.log")
    assert log.read_text().strip() == MAKE_LOG.strip()


def test_a_tree_of_the_same_version_comes_back_when_the_other_type_does_not_build(host):
    host.put_in_place(V1)
    before = host.all_of_it()
    host.fails = {K2}
    with pytest.raises(Refusal):
        host.build_anew(V1, is_open=True)
    assert host.all_of_it() == before


class Killed(BaseException):
    """What ends a run without its clearing up."""


def test_what_a_killed_build_changed_comes_back_when_the_next_one_fails(host, monkeypatch):
    host.put_in_place(V1)
    before = host.all_of_it()

    def killed(argv, _environment):
        raise Killed(argv)

    with monkeypatch.context() as patch:
        patch.setattr(host, "execute", killed)
        with pytest.raises(Killed):
            host.build_anew(V1, is_open=True)
    assert host.all_of_it() != before
    host.fails = {K1}
    with pytest.raises(Refusal):
        host.build_anew(V1, is_open=True)
    assert host.all_of_it() == before


def test_an_undoing_that_was_killed_is_begun_again(host, monkeypatch):
    host.put_in_place(V1)
    before = host.all_of_it()
    host.fails = {K1}

    def killed(_path):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(kernel_modules, "_discard", killed)
        with pytest.raises(Killed):
            host.build_anew(V1, is_open=True)
    with pytest.raises(Refusal):
        host.build_anew(V1, is_open=True)
    assert host.all_of_it() == before


def test_what_a_killed_build_changed_comes_back_before_another_version_is_built(host):
    host.put_in_place(V1)
    before = host.all_of_it()
    aside = host.path(kernel_modules.ASIDE)
    shutil.copytree(
        host.path(f"/var/lib/dkms/nvidia/{V1}"), aside / f"nvidia-{V1}" / "tree", symlinks=True
    )
    shutil.copytree(host.path(f"/usr/src/nvidia-{V1}"), aside / f"nvidia-{V1}" / "sources")
    (aside / "nvidia-1.2.part").mkdir()
    shutil.rmtree(host.path(f"/usr/src/nvidia-{V1}"))
    with kernel_modules.undone_on_failure(host.tree, "nvidia", V2):
        pass
    assert host.all_of_it() == before
    assert list(aside.iterdir()) == []


@pytest.mark.parametrize("half", ["log", "module"])
def test_a_build_that_was_killed_is_built_anew(host, half):
    """Either folder alone: `dkms build` and `dkms install` end with 3 then, and remove nothing."""
    host.sources()
    host.path(f"/var/lib/dkms/nvidia/{V1}/{K1}/x86_64/{half}").mkdir(parents=True)
    kernel_modules.build(host.tree, wanted(), [row(K1)], host.execute)
    assert kernel_modules.is_built(host.tree, wanted(), K1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        module(K2),
        module(K1, version=V2),
        module(K1).replace("vermagic", "parm"),
    ],
)
def test_a_module_that_is_none_of_this_kernel_and_version_is_built_anew(host, text):
    host.sources()
    kernel_modules.build(host.tree, wanted(), [row(K1)], host.execute)
    host.write(f"/var/lib/dkms/nvidia/{V1}/{K1}/x86_64/module/nvidia.ko", text)
    assert not kernel_modules.is_built(host.tree, wanted(), K1)
    kernel_modules.build(host.tree, wanted(), [row(K1)], host.execute)
    assert kernel_modules.is_built(host.tree, wanted(), K1)


def test_a_module_that_is_missing_among_others_makes_it_half_built(host):
    folder = host.path("/unpacked/kernel")
    folder.mkdir(parents=True)
    (folder / "dkms.conf").write_text(TEMPLATE)
    kernel_modules.add(host.tree, wanted(), str(folder), ["nvidia", "nvidia-uvm"])
    host.execute(["dkms", "build", "-m", "nvidia", "-v", V1, "-k", K1], {})
    assert not kernel_modules.is_built(host.tree, wanted(), K1)
    uvm = module(K1, "nvidia_uvm", license="Dual MIT/GPL")
    host.write(f"/var/lib/dkms/nvidia/{V1}/{K1}/x86_64/module/nvidia-uvm.ko", uvm)
    assert kernel_modules.is_built(host.tree, wanted(), K1)
    assert kernel_modules.is_built(host.tree, wanted(is_open=False), K1)


@pytest.mark.parametrize(
    ("fields", "lacks"),
    [
        ({"is_open": True}, {"license": "Dual MIT/GPL"}),
        ({"signed": True}, {"signer": "DKMS module signing key"}),
    ],
)
def test_modules_of_another_kind_are_built_anew_in_the_same_version(host, fields, lacks):
    host.put_in_place(V1)
    asked = wanted(V1, **fields)
    assert kernel_modules.lacking(host.tree, host.survey(), asked, [K1, K2]) == [K1, K2]
    host.fields = lacks
    kernel_modules.install(host.tree, asked, [row(K1), row(K2)], host.execute)
    assert kernel_modules.lacking(host.tree, host.survey(), asked, [K1, K2]) == []
    kernel_modules.prove(host.tree, asked, [K1, K2])


@pytest.mark.parametrize(
    ("depends", "version", "rdma", "lacks"),
    [
        (["nvidia"], 1, True, [K1]),
        (["nvidia", "ib_core"], 1, True, []),
        (["nvidia", "ib_core"], 2, True, [K1]),
        (["nvidia"], 2, False, []),
    ],
)
def test_peer_memory_that_was_built_without_the_rdma_stack_that_is_there_is_lacking(
    tmp_path, depends, version, rdma, lacks
):
    client, path = "ib_register_peer_memory_client", f"/lib/modules/{K1}/updates/nvidia-peermem.ko"
    symvers = f"0x00000001\t{client}\tib_core\tEXPORT\t\n"
    planted_files = {
        "/usr/src/ofa_kernel/default/include/rdma/peer_mem.h": "",
        "/usr/src/ofa_kernel/default/Module.symvers": symvers,
        path: elf.module(imports=[(client, version)]),
    }
    tree = planted(tmp_path, planted_files)
    module = {"kernel": K1, "version": V1, "open": False, "signer": "", "path": path}
    driver = {
        "dkms": [{"name": "nvidia", "version": V1, "kernel": K1, "state": "installed"}],
        "modules": [
            {**module, "name": "nvidia", "depends": []},
            {**module, "name": "nvidia_peermem", "depends": depends},
        ],
    }
    assert kernel_modules.lacking(tree, driver, wanted(rdma=rdma), [K1]) == lacks


def test_a_compiler_that_is_not_there_is_named(host):
    host.sources()
    host.fails = {K1}
    host.log = "make: gcc-12: No such file or directory\nmake: *** [Makefile:1: x] Error 127\n"
    with pytest.raises(Refusal) as failure:
        kernel_modules.build(host.tree, wanted(), [row(K1, found=False)], host.execute)
    assert "gcc-12, which built the kernel, is not there" in failure.value.because
    assert failure.value.remedy == "Install gcc-12, and run again"


def test_a_disk_that_a_build_fills_is_named(host):
    host.sources()
    host.fails = {K1}
    host.log = "fatal error: error writing to /tmp/x.s: No space left on device\n"
    with pytest.raises(Refusal, match="file system of /var/lib/dkms is full"):
        kernel_modules.build(host.tree, wanted(), [row(K1)], host.execute)


def test_sources_for_which_there_is_no_room_leave_those_that_are_there(host, monkeypatch):
    host.sources()
    before = files.sha256_of_tree(str(host.path("/usr/src")))

    def full(*_arguments, **_settings):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files, "write_text", full)
    with pytest.raises(Refusal, match=r"file system of .* is full"):
        host.sources()
    assert files.sha256_of_tree(str(host.path("/usr/src"))) == before


def test_a_build_without_sources_is_refused_before_dkms_is_asked(host):
    with pytest.raises(Refusal, match="holds no sources for DKMS"):
        kernel_modules.build(host.tree, wanted(), [row(K1)], host.execute)
    assert host.asked == []


def test_where_no_kernel_has_headers_there_is_nothing_to_build_from(host):
    kernel_modules.install(host.tree, wanted(), [], host.execute)
    assert host.asked == []


def test_a_build_that_ends_well_and_built_nothing_is_none(host):
    host.sources()

    def does_nothing(argv, _environment):
        return subprocess.CompletedProcess(argv, 0, "", "")

    with pytest.raises(Refusal, match="build the modules of nvidia"):
        kernel_modules.build(host.tree, wanted(), [row(K1)], does_nothing)


def test_a_kernel_that_dkms_does_not_install_for_is_named(host):
    host.sources()

    def does_not_install(argv, environment):
        if argv[1] == "install":
            return subprocess.CompletedProcess(argv, 6, "", "Error! Problems with depmod detected.")
        return host.execute(argv, environment)

    with pytest.raises(Refusal, match=f"for kernel {K1}: Error! Problems with depmod"):
        kernel_modules.install(host.tree, wanted(), [row(K1)], does_not_install)


def test_a_compiler_is_not_blamed_where_it_is_there(host):
    host.sources()
    host.fails = {K1}
    with pytest.raises(Refusal) as failure:
        kernel_modules.build(host.tree, wanted(), [row(K1), row(K2)], host.execute)
    assert "gcc-12" not in str(failure.value)
    assert failure.value.remedy.startswith("Choose a driver")


def test_each_kernel_that_is_wrong_is_named_by_the_proof(host):
    host.put_in_place(V1, [K1])
    with pytest.raises(Refusal, match=f"kernel {K2} has them not in place"):
        kernel_modules.prove(host.tree, wanted(), [K1, K2])
    host.write(f"/lib/modules/{K1}/updates/dkms/nvidia.ko", module(K2))
    with pytest.raises(Refusal, match=f"nvidia.ko is for {K2}"):
        kernel_modules.prove(host.tree, wanted(), [K1])


def test_a_module_that_would_be_loaded_in_its_place_is_named_by_the_proof(host, monkeypatch):
    host.put_in_place(V1, [K1])
    monkeypatch.setattr(host, "version_of", lambda _path: V2)
    with pytest.raises(Refusal, match=f"kernel {K1} would load {V2}"):
        kernel_modules.prove(host.tree, wanted(), [K1])


def test_a_kernel_of_which_there_are_only_headers_loads_nothing(host, monkeypatch):
    host.put_in_place(V1, [K1])
    host.path(f"/lib/modules/{K1}/modules.dep").unlink()
    monkeypatch.setattr(host, "version_of", lambda _path: "")
    kernel_modules.prove(host.tree, wanted(), [K1])


def test_further_trees_of_the_driver_are_told_and_no_others(host):
    host.put_in_place(V1)
    host.sources(V2)
    kernel_modules.install(host.tree, wanted(V2), [row(K1), row(K2)], host.execute)
    host.write("/usr/src/nvidia-current-470.1/dkms.conf", DEBIANS)
    host.path("/var/lib/dkms/nvidia-current/470.1").mkdir(parents=True)
    host.path("/var/lib/dkms/nvidia-current/470.1/source").symlink_to(
        "/usr/src/nvidia-current-470.1"
    )
    # GPUDirect Storage, a driver of its own.
    host.write("/usr/src/nvidia-fs-2.17.5/dkms.conf", 'BUILT_MODULE_NAME[0]="nvidia-fs"\n')
    host.path("/var/lib/dkms/nvidia-fs/2.17.5").mkdir(parents=True)
    host.path("/var/lib/dkms/nvidia-fs/2.17.5/source").symlink_to("/usr/src/nvidia-fs-2.17.5")
    assert kernel_modules.others(host.tree, wanted(V2)) == [
        ("nvidia", V1),
        ("nvidia-current", "470.1"),
    ]


@pytest.mark.usefixtures("marks")
def test_a_tree_goes_with_its_modules_and_the_sources_that_were_put_there_for_it(host):
    host.put_in_place(V1)
    kernel_modules.remove(host.tree, "nvidia", V1, host.execute)
    assert host.survey()["modules"] == []
    assert not host.path("/var/lib/dkms/nvidia").exists()
    assert not host.path(f"/usr/src/nvidia-{V1}").exists()
    assert host.asked == [("remove", V1, None)]


def test_the_sources_of_a_package_are_left_to_it(host):
    host.write(f"/usr/src/nvidia-{V1}/dkms.conf", 'BUILT_MODULE_NAME[0]="nvidia"\n')
    kernel_modules.install(host.tree, wanted(), [row(K1)], host.execute)
    kernel_modules.remove(host.tree, "nvidia", V1, host.execute)
    assert host.path(f"/usr/src/nvidia-{V1}/dkms.conf").exists()
    assert kernel_modules.others(host.tree, wanted(V2)) == []


@pytest.mark.usefixtures("marks")
def test_sources_that_an_uninstaller_left_when_it_took_the_tree_go(host):
    host.put_in_place(V1)
    host.execute(["dkms", "remove", "-m", "nvidia", "-v", V1, "--all"], {})
    host.asked.clear()
    assert kernel_modules.others(host.tree, wanted(V2)) == [("nvidia", V1)]
    kernel_modules.remove(host.tree, "nvidia", V1, host.execute)
    assert kernel_modules.others(host.tree, wanted(V2)) == []
    assert (list(host.path("/usr/src").iterdir()), host.asked) == ([], [])


@pytest.mark.usefixtures("marks")
@pytest.mark.parametrize("lost", [f"/usr/src/nvidia-{V1}", f"/var/lib/dkms/nvidia/{V1}/source"])
def test_a_tree_whose_sources_are_lost_goes_all_the_same(host, lost):
    """DKMS ends with 3 or 4 and touches nothing."""
    host.put_in_place(V1)
    place = host.path(lost)
    place.unlink() if place.is_symlink() else shutil.rmtree(place)
    assert ("nvidia", V1) in kernel_modules.others(host.tree, wanted(V2))
    kernel_modules.remove(host.tree, "nvidia", V1, host.execute)
    assert host.survey()["modules"] == []
    assert kernel_modules.others(host.tree, wanted(V2)) == []


def test_what_dkms_leaves_of_a_tree_goes_as_well(host):
    """v3.0.10: what a killed build left in a kernel's folder keeps the tree from being deleted."""
    host.sources()
    host.execute(["dkms", "build", "-m", "nvidia", "-v", V1, "-k", K1], {})

    def leaves_it(argv, _environment):
        return subprocess.CompletedProcess(argv, 0, "", "")

    kernel_modules.remove(host.tree, "nvidia", V1, leaves_it)
    assert not host.path("/var/lib/dkms/nvidia").exists()


def test_a_tree_that_dkms_does_not_remove_is_a_refusal(host):
    host.put_in_place(V1)

    def refuses(argv, _environment):
        return subprocess.CompletedProcess(argv, 1, "", "Error! not today")

    with pytest.raises(Refusal, match="not today"):
        kernel_modules.remove(host.tree, "nvidia", V1, refuses)
    assert host.survey()["modules"] != []


def test_a_dkms_of_somebody_else_is_waited_for_and_then_named(host, monkeypatch):
    host.sources()
    host.write("/proc/77/cmdline", "/bin/bash\0/usr/sbin/dkms\0autoinstall\0")
    monkeypatch.setattr(kernel_modules, "WAIT_S", 0)
    with pytest.raises(Refusal, match="process 77 runs dkms"):
        kernel_modules.build(host.tree, wanted(), [row(K1)], host.execute)
    assert host.asked == []
    waited = []

    def ends(_seconds):
        waited.append(1)
        shutil.rmtree(host.path("/proc/77"))

    monkeypatch.setattr(kernel_modules, "WAIT_S", 60)
    monkeypatch.setattr(kernel_modules.time, "sleep", ends)
    kernel_modules.build(host.tree, wanted(), [row(K1)], host.execute)
    assert waited == [1]


def test_an_editor_of_a_file_called_dkms_is_no_dkms(host):
    host.sources()
    host.write("/proc/77/cmdline", "vim\0-R\0/usr/sbin/dkms\0")
    kernel_modules.build(host.tree, wanted(), [row(K1)], host.execute)


def test_the_copy_that_is_kept_aside_goes_when_all_is_well(host):
    with kernel_modules.undone_on_failure(host.tree, "nvidia", V1):
        host.sources()
    assert list(host.path(kernel_modules.ASIDE).iterdir()) == []
    assert files.sha256_of_tree(str(host.path(f"/usr/src/nvidia-{V1}")))
