"""The steps to a route of peer memory, on small trees, with a DKMS that answers as it is told."""

from __future__ import annotations

import copy
import subprocess
from pathlib import Path

import elf
import pytest
from trees import planted

from ansible_collections.gpunode.stack.plugins.module_utils import (
    nv_peer_mem,
    peer_boot,
    peer_by_dkms,
    peer_memory,
    stack_host,
    stack_packages,
)
from ansible_collections.gpunode.stack.plugins.module_utils.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.plugin_utils import stack_case, wanted
from lab import peer_sources

K = "6.1.0-56-amd64"
VERSION = "450.248.02"
DRIVER = f"/lib/modules/{K}/updates/dkms/nvidia.ko"
PEERMEM = f"/lib/modules/{K}/updates/dkms/nvidia-peermem.ko"
OFED = "/usr/src/ofa_kernel/default"
INFO = [("version", VERSION), ("vermagic", f"{K} SMP preempt mod_unload modversions ")]
EXPORTS = [("nvidia_p2p_get_pages", 0x5B3F3E79), ("nvidia_p2p_dma_map_pages", 0x1CF161A5)]
CLIENTS = [
    ("ib_register_peer_memory_client", 0x95D78B19),
    ("ib_unregister_peer_memory_client", 0xBDE5C050),
]
GOOD = elf.module(imports=EXPORTS + CLIENTS, info=INFO)
# What a build without our patches takes for the versions.
BAD = elf.module(imports=[(symbol, 0x10C) for symbol, _v in EXPORTS] + CLIENTS, info=INFO)
NO_CLIENT = elf.module(imports=EXPORTS, info=INFO)
BUILT = f"/var/lib/dkms/nv_peer_mem/1.1/{K}/x86_64/module/nv_peer_mem.ko"


class Host:
    """A host without a kernel of its own that has a driver and an RDMA stack."""

    def __init__(self, folder, **variables):
        self.folder = folder / "root"
        self.made = elf.module()
        self.ended = 0
        self.commands = []
        self.is_owned = ""
        symvers = (peer_sources.STANDIN / "ofed" / "Module.symvers").read_text()
        files = {
            DRIVER: elf.module(exports=EXPORTS, info=INFO, layout="__kcrctab"),
            f"/usr/src/nvidia-{VERSION}/nvidia/nv-p2p.h": "",
            f"{OFED}/Module.symvers": symvers,
            f"{OFED}/include/rdma/peer_mem.h": "",
        }
        self.tree = planted(self.folder, files)
        archive = peer_sources.archive(folder / "a.tar.gz", "1.1-0")
        said = {"gpunode_peer_memory_route": "nv_peer_mem", "peer_memory_archives": {
            "1.1-0": f"file://{archive}"}, **variables}  # fmt: skip
        self.wanted = wanted.Site(said, "/").wanted("peer_memory")
        self.facts = copy.deepcopy(stack_case.EMPTY)
        self.facts["kernels"] = [self.kernel()]
        self.facts["peer_memory"]["headers"] = True
        self.facts["driver"]["modules"] = [self.module("nvidia", DRIVER)]

    def kernel(self, headers=True):
        return {
            **{"release": K, "running": False, "next": True, "headers": headers},
            **{"compiler": "", "compiler_found": True},
        }

    def module(self, name, path, content=None, version=VERSION):
        if content is not None:
            planted(self.folder, {path: content})
        row = {"kernel": K, "name": name, "path": path, "version": version}
        return {**row, "open": False, "depends": [], "signer": ""}

    def execute(self, argv, _environment):
        self.commands.append(argv[:2])
        if argv[1] == "build":
            planted(self.folder, {BUILT: self.made})
        return subprocess.CompletedProcess(argv, self.ended, "", "it says no\n")

    def run(self, argv, **_options):
        self.commands.append(argv)
        return subprocess.CompletedProcess(argv, 0, "dkms\tii \t\n", b"")

    def converge(self, check_mode=True, file=None):
        host = stack_host.Host(self.tree, lambda: self.facts, self.execute, self.run)
        return peer_memory.converge(self.wanted, host, file, check_mode)

    def text(self, path):
        place = Path(self.tree.path(path))
        return place.read_text() if place.exists() else None


@pytest.fixture
def host(tmp_path, monkeypatch):
    made = Host(tmp_path)
    monkeypatch.setattr(nv_peer_mem, "CONF", str(tmp_path / "nv_peer_mem.conf"))
    monkeypatch.setattr(peer_boot, "LOAD", str(tmp_path / "load.conf"))
    monkeypatch.setattr(peer_boot, "PARAMETERS", str(tmp_path / "modprobe.conf"))
    monkeypatch.setattr(peer_memory, "_WORK_DIR", str(tmp_path / "work"))
    monkeypatch.setattr(peer_memory.distribution_packages, "missing", lambda *_: [])
    monkeypatch.setattr(stack_packages, "owns", lambda _tree, _path: bool(made.is_owned))
    monkeypatch.setattr(peer_by_dkms.driver_modules, "_wait_for_others", lambda *_: None)
    return made


def test_what_is_done_is_foretold_in_its_order(host):
    assert host.converge()["changes"] == [
        f"build nv_peer_mem 1.1-0 for kernel {K}",
        f"install nv_peer_mem 1.1-0 for kernel {K}",
        f"write {peer_boot.LOAD}",
    ]
    assert host.commands == []


def test_it_is_foretold_too_where_the_driver_is_still_to_come(host):
    expected = host.converge()["changes"]
    host.facts["driver"]["modules"] = []
    assert host.converge()["changes"] == expected
    with pytest.raises(Refusal, match=r"nvidia\.ko, is not there"):
        host.converge(check_mode=False)


def test_a_build_that_would_not_load_is_not_installed_and_leaves_nothing(host):
    host.made = BAD
    with pytest.raises(Refusal, match="it would not load: it wants nvidia_p2p_dma_map_pages in"):
        host.converge(check_mode=False)
    assert ["dkms", "build"] in host.commands
    assert ["dkms", "install"] not in host.commands
    assert not Path(nv_peer_mem.CONF).exists()
    assert not host.tree.exists(BUILT)
    assert host.tree.names("/usr/src") == [f"nvidia-{VERSION}", "ofa_kernel"]


def test_a_build_that_fails_leaves_nothing(host):
    host.ended = 10
    with pytest.raises(Refusal, match="it says no"):
        host.converge(check_mode=False)
    assert host.tree.names("/usr/src") == [f"nvidia-{VERSION}", "ofa_kernel"]
    assert not Path(nv_peer_mem.CONF).exists()


def test_what_fits_and_would_load_is_built_and_installed(host):
    host.made = GOOD
    # Nothing of the facts changes here, and the proof at the end finds that.
    with pytest.raises(Refusal, match="after all was done there is still to build"):
        host.converge(check_mode=False)
    assert [argv for argv in host.commands if argv[0] == "dkms"] == [
        ["dkms", "build"],
        ["dkms", "install"],
    ]
    assert "PATCH[0]=" in Path(nv_peer_mem.CONF).read_text()
    assert "nv_peer_mem\n" in Path(peer_boot.LOAD).read_text()
    assert len(host.tree.names("/usr/src/nv_peer_mem-1.1/patches")) > 1


def test_an_archive_of_the_controller_is_asked_for_once(host):
    row = next(row for row in host.wanted["tags"] if row["tag"] == "1.1-0")
    row["file"] = row["file"].removeprefix("file://")
    result = host.converge(check_mode=False)
    assert (result["needs"], result["sha256"]) == (row["file"], row["sha256"])
    assert host.commands == []


def test_without_an_archive_that_is_known_the_option_is_named(host):
    for row in host.wanted["tags"]:
        row["file"] = ""
    with pytest.raises(Refusal, match=r"Say peer_memory_archives: \{1\.1-0: FILE#sha256"):
        host.converge()


def test_a_kernel_without_headers_is_named(host):
    host.facts["kernels"] = [host.kernel(headers=False)]
    with pytest.raises(Refusal, match=f"Install linux-headers-{K}"):
        host.converge()


def test_a_kernel_that_has_no_driver_yet_keeps_nobody_up(host):
    host.facts["kernels"].append({**host.kernel(), "release": "6.1.0-99-amd64"})
    assert f"build nv_peer_mem 1.1-0 for kernel {K}" in host.converge()["changes"]


def test_a_module_that_comes_with_the_driver_is_held_against_the_rdma_stack(host):
    host.wanted["route"] = "nvidia_peermem"
    modules = host.facts["driver"]["modules"]
    with pytest.raises(Refusal, match="the driver that is there has not brought it"):
        host.converge()
    modules.append(host.module("nvidia_peermem", PEERMEM, NO_CLIENT))
    with pytest.raises(Refusal, match="it does not use ib_register_peer_memory_client"):
        host.converge()
    host.module("nvidia_peermem", PEERMEM, GOOD)
    assert host.converge()["changes"] == [f"write {peer_boot.LOAD}"]


def test_the_other_module_gives_way_unless_it_is_in_use(host):
    host.facts["peer_memory"]["loaded"] = ["nvidia_peermem"]
    planted(host.folder, {"/proc/modules": "nvidia_peermem 1 1 - Live 0x0\n"})
    with pytest.raises(Refusal, match="unload nvidia_peermem: it is in use"):
        host.converge()
    planted(host.folder, {"/proc/modules": "nvidia_peermem 1 0 - Live 0x0\n"})
    changes = host.converge()["changes"]
    says = [next(row for row in changes if row.startswith(word)) for word in ("build", "unload")]
    assert "unload nvidia_peermem" in says
    # What is in memory gives way once all is built, and before anything takes its place.
    install = next(row for row in changes if row.startswith("install nv_peer_mem"))
    assert [*says, install] == [row for row in changes if row in (*says, install)]


@pytest.mark.parametrize("route", ["none", "dmabuf"])
def test_without_a_module_all_of_it_goes(host, route):
    host.wanted["route"] = route
    host.facts["driver"]["modules"].append(
        host.module("nv_peer_mem", f"/lib/modules/{K}/extra/nv_peer_mem.ko", GOOD, "1.1-0")
    )
    host.facts["driver"]["dkms"] = [
        {"name": "nv_peer_mem", "version": "1.0", "kernel": "6.1.0-1-amd64", "state": "built"}
    ]
    assert host.converge()["changes"] == [
        "remove nv_peer_mem 1.0 from DKMS",
        f"remove /lib/modules/{K}/extra/nv_peer_mem.ko",
    ]
    host.is_owned = "nvidia-peer-memory"
    with pytest.raises(Refusal, match="it belongs to a package"):
        host.converge()


def test_auto_takes_the_best_that_the_host_can_do(host):
    host.wanted["route"] = "auto"
    assert host.converge()["changes"] == []
    host.facts["rdma_devices"] = [{"name": "mlx5_0"}]
    assert f"install nv_peer_mem 1.1-0 for kernel {K}" in host.converge()["changes"]
