"""The steps to a route of peer memory, on small trees, with a DKMS that answers as it is told."""

from __future__ import annotations

import copy
import shutil
import subprocess
from pathlib import Path

import elf
import pytest
from trees import planted

from ansible_collections.gpunode.stack.plugins.module_utils._node.component import bring
from ansible_collections.gpunode.stack.plugins.module_utils._node.packages import (
    database,
    stack_packages,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.peer_memory import (
    boot,
    fit,
    nv_peer_mem,
    rpm_build,
    sources,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.peer_memory import (
    by_dkms as peer_by_dkms,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.peer_memory import (
    converge as peer_memory,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import wanted_state
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.stack import case
from standins import peer_sources

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
RPM = rpm_build.WORK_DIR
EXTRA = f"/lib/modules/{K}/extra/nv_peer_mem.ko"
NEXT = "6.1.0-99-amd64"
# Version and release of the package for a kernel.
OF_K, OF_NEXT = (f"1.1-0.{name.replace('-', '_')}" for name in (K, NEXT))
NEWER_AND_OLDER = (
    {"tag": "1.3-0", "needs_client_ex": True},
    {"tag": "1.1-0", "needs_client_ex": False},
)
BUILT = f"/var/lib/dkms/nv_peer_mem/1.1/{K}/x86_64/module/nv_peer_mem.ko"


class Host:
    """A host without a kernel of its own that has a driver and an RDMA stack."""

    def __init__(self, folder, **variables):
        self.folder = folder / "root"
        self.made = elf.module()
        self.ended = 0
        self.surveys = 0
        self.commands = []
        self.is_owned = ""
        self.consent = []
        # Where another module is made than for the rest.
        self.made_for = {}
        symvers = (peer_sources.STANDIN / "ofed" / "Module.symvers").read_text()
        files = {
            DRIVER: elf.module(exports=EXPORTS, info=INFO, layout="__kcrctab"),
            f"/usr/src/nvidia-{VERSION}/nvidia/nv-p2p.h": "",
            f"{OFED}/Module.symvers": symvers,
            f"{OFED}/include/rdma/peer_mem.h": "",
        }
        self.tree = planted(self.folder, files)
        archive = peer_sources.archive(folder / "a.tar.gz", "1.1-0")
        self.said = {"gpunode_peer_memory_route": "nv_peer_mem", "peer_memory_archives": {
            "1.1-0": f"file://{archive}"}, **variables}  # fmt: skip
        self.want()
        self.facts = {**copy.deepcopy(case.EMPTY), "pkg_mgr": "apt"}
        self.facts["kernels"] = [self.kernel()]
        self.facts["peer_memory"]["headers"] = True
        self.facts["driver"]["modules"] = [self.module("nvidia", DRIVER)]

    def want(self, **variables):
        """Have something more said of the host."""
        self.wanted = wanted_state.Site({**self.said, **variables}, "/").wanted("peer_memory")

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

    def survey(self):
        self.surveys += 1
        return self.facts

    def execute(self, argv, _environment):
        self.commands.append(argv[:2])
        if argv[1] == "build":
            planted(self.folder, {BUILT: self.made})
        planted(self.folder, dict(self.packed(argv)))
        return subprocess.CompletedProcess(argv, self.ended, "", "it says no\n")

    def run(self, argv, **_options):
        self.commands.append(argv)
        return subprocess.CompletedProcess(argv, 0, "dkms\tii \t\n", b"")

    def converge(self, check_mode=True):
        host = bring.Node(self.tree, self.survey, self.execute, self.run)
        asked = {"wanted": self.wanted, "consent": self.consent, "drain": []}
        return peer_memory.converge(host, asked, check_mode)

    def packed(self, argv):
        """Yield (path, content) of what a command of the way to an RPM makes."""
        if argv[0] == "unshare":
            yield f"{RPM}/packed/nvidia_peer_memory-1.1-0.src.rpm", ""
        for word in argv:
            if word.startswith("--define=KVERSION "):
                name = word.partition(" ")[2]
                yield f"{RPM}/{name}/topdir/RPMS/x86_64/nvidia_peer_memory-1.1-0.x86_64.rpm", ""
            if word.startswith("--root="):
                name = Path(word).parent.name
                path = EXTRA.replace(K, name)
                yield f"{RPM}/{name}/root{path}", self.made_for.get(name, self.made)

    def pack(self):
        """Have RPMs wanted."""
        self.wanted["delivery"] = "rpm"

    def have(self, *origins, versions=(OF_K,), path=EXTRA):
        """Have packages installed that say where they are from, and a module that would do."""
        rows = [row for row in self.facts["driver"]["modules"] if row["name"] == "nvidia"]
        rows.append(self.module("nv_peer_mem", path, GOOD, "1.1-0"))
        self.facts["driver"]["modules"] = rows
        told = "".join(
            f"{version}\t{origin}\t/etc/init.d/nv_peer_mem\n{version}\t{origin}\t{path}\n"
            for version, origin in zip(versions, origins, strict=True)
        )
        self.tree = planted(self.folder, answers={"env": told})

    def add_kernel(self):
        """Have another kernel, to which the driver has come as well."""
        self.facts["kernels"].append({**self.kernel(), "release": NEXT, "next": False})
        info = [(name, value.replace(K, NEXT)) for name, value in INFO]
        driver = elf.module(exports=EXPORTS, info=info, layout="__kcrctab")
        row = self.module("nvidia", DRIVER.replace(K, NEXT), driver)
        self.facts["driver"]["modules"].append({**row, "kernel": NEXT})

    def origin(self):
        return f"gpunode:{self.made_from()}"

    def made_from(self):
        row = next(row for row in self.wanted["tags"] if row["tag"] == "1.1-0")
        return sources.made_from(row["sha256"], self.wanted["patches"])

    def text(self, path):
        place = Path(self.tree.path(path))
        return place.read_text() if place.exists() else None


@pytest.fixture
def host(tmp_path, monkeypatch):
    made = Host(tmp_path)
    monkeypatch.setattr(nv_peer_mem, "CONF", str(tmp_path / "nv_peer_mem.conf"))
    monkeypatch.setattr(boot, "LOAD", str(tmp_path / "load.conf"))
    monkeypatch.setattr(boot, "PARAMETERS", str(tmp_path / "modprobe.conf"))
    monkeypatch.setattr(sources, "WORK_DIR", str(tmp_path / "work"))
    monkeypatch.setattr(database, "missing", lambda *_: [])
    monkeypatch.setattr(stack_packages, "owns", lambda _tree, _path: bool(made.is_owned))
    monkeypatch.setattr(peer_by_dkms.dkms, "_wait_for_others", lambda *_: None)
    return made


def test_what_is_done_is_foretold_in_its_order(host):
    assert host.converge().changes == [
        f"build nv_peer_mem 1.1-0 for kernel {K}",
        f"install nv_peer_mem 1.1-0 for kernel {K}",
        f"write {boot.LOAD}",
    ]
    assert host.commands == []


def test_it_is_foretold_too_where_the_driver_is_still_to_come(host):
    expected = host.converge().changes
    host.facts["driver"]["modules"] = []
    assert host.converge().changes == expected
    with pytest.raises(Refusal, match=r"nvidia\.ko, is not there"):
        host.converge(check_mode=False)


@pytest.mark.parametrize(("client_ex", "tag"), [(True, "1.3-0"), (False, "1.1-0"), (None, "1.1-0")])
def test_it_is_foretold_too_where_the_rdma_stack_is_still_to_come(host, client_ex, tag):
    host.facts["peer_memory"]["headers"] = False
    host.facts["rdma_devices"] = [{"name": "mlx5_0", "interfaces": []}]
    shutil.rmtree(host.tree.path(OFED))
    host.wanted["route"] = "auto"
    named = {"file": "file:///a.tar.gz", "sha256": "0" * 64}
    host.wanted["tags"] = [{**row, **named} for row in NEWER_AND_OLDER]
    assert host.converge().changes == []
    host.wanted["rdma_stack"].update(kind="mlnx_ofed", version="5.8-1", client_ex=client_ex)
    assert f"build nv_peer_mem {tag} for kernel {K}" in host.converge().changes


def test_without_the_rdma_stack_that_goes_in_the_same_run_there_is_no_route(host):
    host.facts["rdma_stack"]["kind"] = "mlnx_ofed"
    host.facts["rdma_devices"] = [{"name": "mlx5_0", "interfaces": []}]
    host.wanted["route"] = "auto"
    assert host.converge().changes
    host.wanted["rdma_stack"].update(kind="inbox")
    assert host.converge().changes == []


def test_a_kernel_that_is_not_in_service_decides_nothing_about_the_route(host):
    host.facts["rdma_devices"] = [{"name": "mlx5_0", "interfaces": []}]
    host.facts["driver"]["modules"][0].update(open=True, version="580.95.05")
    host.facts["kernels"].append({**host.kernel(), "release": "5.10.0-1-amd64", "next": False})
    host.wanted["route"] = "auto"
    assert host.converge().changes == []
    host.facts["kernels"][1]["next"] = True
    with pytest.raises(Refusal, match="nvidia_peermem for kernel"):
        host.converge()


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
    assert "nv_peer_mem\n" in Path(boot.LOAD).read_text()
    assert len(host.tree.names("/usr/src/nv_peer_mem-1.1/patches")) > 1


def test_an_archive_of_the_controller_is_asked_for_once(host):
    row = next(row for row in host.wanted["tags"] if row["tag"] == "1.1-0")
    row["file"] = row["file"].removeprefix("file://")
    result = host.converge(check_mode=False)
    assert result.needs == [row["file"]]
    assert host.commands == []


def test_without_an_archive_that_is_known_the_option_is_named(host):
    for row in host.wanted["tags"]:
        row["file"] = ""
    with pytest.raises(Refusal, match=r"Say peer_memory_archives: \{1\.1-0: FILE#sha256"):
        host.converge()


@pytest.mark.parametrize(
    ("manager", "package"), [("apt", "linux-headers"), ("dnf", "kernel-devel")]
)
def test_a_kernel_without_headers_is_named_in_the_words_of_its_distribution(host, manager, package):
    host.facts["kernels"] = [host.kernel(headers=False)]
    host.facts["pkg_mgr"] = manager
    with pytest.raises(Refusal, match=f"Install {package}-{K}"):
        host.converge()


def test_a_kernel_that_has_no_driver_yet_keeps_nobody_up(host):
    host.facts["kernels"].append({**host.kernel(), "release": "6.1.0-99-amd64"})
    assert f"build nv_peer_mem 1.1-0 for kernel {K}" in host.converge().changes


def test_a_module_that_comes_with_the_driver_is_held_against_the_rdma_stack(host):
    host.wanted["route"] = "nvidia_peermem"
    modules = host.facts["driver"]["modules"]
    with pytest.raises(Refusal, match="the driver that is there has not brought it"):
        host.converge()
    modules.append(host.module("nvidia_peermem", PEERMEM, NO_CLIENT))
    with pytest.raises(Refusal, match="it does not use ib_register_peer_memory_client"):
        host.converge()
    host.module("nvidia_peermem", PEERMEM, GOOD)
    assert host.converge().changes == [f"write {boot.LOAD}"]


def test_the_other_module_gives_way_unless_it_is_in_use(host):
    host.facts["peer_memory"].update(loaded=["nvidia_peermem"], in_use=["nvidia_peermem"])
    with pytest.raises(Refusal, match="unload nvidia_peermem: it is in use"):
        host.converge()
    host.facts["peer_memory"]["in_use"] = []
    changes = host.converge().changes
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
    assert host.converge().changes == [
        "remove nv_peer_mem 1.0 from DKMS",
        f"remove /lib/modules/{K}/extra/nv_peer_mem.ko",
    ]
    host.is_owned = "nvidia-peer-memory"
    with pytest.raises(Refusal, match="it belongs to a package"):
        host.converge()


def test_auto_takes_the_best_that_the_host_can_do(host):
    host.wanted["route"] = "auto"
    assert host.converge().changes == []
    host.facts["rdma_devices"] = [{"name": "mlx5_0"}]
    assert f"install nv_peer_mem 1.1-0 for kernel {K}" in host.converge().changes


def test_as_an_rpm_it_is_foretold_in_its_order(host, monkeypatch):
    host.pack()
    monkeypatch.setattr(database, "missing", lambda names, _run: names)
    assert host.converge().changes == [
        "install rpm, gcc, make, patch, binutils",
        f"build nv_peer_mem 1.1-0 for kernel {K}",
        f"install nv_peer_mem 1.1-0 for kernel {K}",
        f"write {boot.LOAD}",
    ]
    host.facts["pkg_mgr"] = "dnf"
    assert host.converge().changes[0].startswith("install rpm-build, gcc,")


def test_an_rpm_that_would_load_is_installed_and_none_of_its_scripts_run(host, monkeypatch):
    host.made = GOOD
    host.pack()
    seen = []
    execute = host.execute
    monkeypatch.setattr(
        host, "execute", lambda argv, env: seen.append((argv, env)) or execute(argv, env)
    )
    # Nothing of the facts changes here, and the proof at the end finds that.
    with pytest.raises(Refusal, match="after all was done there is still to build"):
        host.converge(check_mode=False)
    patches = len(host.wanted["patches"])
    verbs = [argv[:2] for argv, _env in seen]
    assert verbs == [
        *[["patch", "--strip=1"]] * patches,
        ["unshare", "--mount"],
        ["rpmbuild", "--rebuild"],
        ["rpm", "--install"],
        ["rpm", "--upgrade"],
        ["rpm", "--install"],
        ["depmod", K],
    ]
    rpms = [argv for argv, _env in seen if argv[0] == "rpm"]
    assert all("--noscripts" in argv for argv in rpms)
    # It is held against the driver in a root of its own, and tried before it is installed.
    assert ["--test" in argv for argv in rpms] == [False, True, False]
    build, environment = next((argv, env) for argv, env in seen if argv[0] == "rpmbuild")
    assert f"--define=KVERSION {K}" in build
    assert f"--define=_release {OF_K.partition('-')[2]}" in build
    assert f"--define=disturl {host.origin()}" in build
    assert environment["MAKEFLAGS"] == ""
    # Debian's rpm has its database there.
    assert {env["HOME"] for _argv, env in seen} == {"/root"}


def test_rpmbuild_is_told_what_dkms_would_be_told(host, monkeypatch):
    host.made = GOOD
    host.pack()
    host.wanted["driver"]["source"] = "/opt/driver"
    planted(host.folder, {"/opt/driver/nvidia/nv-p2p.h": ""})
    told = []
    execute = host.execute
    monkeypatch.setattr(host, "execute", lambda argv, env: told.append(env) or execute(argv, env))
    with pytest.raises(Refusal):
        host.converge(check_mode=False)
    assert "nv_sources=/opt/driver" in {env.get("MAKEFLAGS") for env in told}


def test_an_rpm_that_would_not_load_is_not_installed_and_leaves_nothing(host):
    host.made = BAD
    host.pack()
    with pytest.raises(Refusal, match="it would not load: it wants nvidia_p2p_dma_map_pages in"):
        host.converge(check_mode=False)
    # Into the root of its own.
    assert host.commands.count(["rpm", "--install"]) == 1
    assert not host.tree.exists(RPM)


def test_an_rpm_that_is_not_built_quotes_the_compiler_and_keeps_the_log(host, monkeypatch):
    host.pack()
    says = "nv.c:1: error: no such field\nerror: Bad exit status from /var/tmp/rpm-tmp.x (%build)\n"

    def execute(argv, environment):
        Host.execute(host, argv, environment)
        is_build = argv[0] == "rpmbuild"
        return subprocess.CompletedProcess(argv, int(is_build), says if is_build else "", "")

    monkeypatch.setattr(host, "execute", execute)
    log = f"/var/log/gpunode/rpmbuild-nvidia_peer_memory-1.1-0-{K}.log"
    with pytest.raises(Refusal, match=rf"nv\.c:1: error: no such field \({log}\)"):
        host.converge(check_mode=False)
    assert not host.tree.exists(RPM)
    assert "no such field" in host.text(log)


def test_what_came_as_an_rpm_rests_and_is_known_by_what_it_was_made_from(host):
    host.pack()
    host.have(host.origin())
    assert host.converge().changes == [f"write {boot.LOAD}"]
    host.have("gpunode:other")
    assert f"build nv_peer_mem 1.1-0 for kernel {K}" in host.converge().changes


@pytest.mark.parametrize("content", [b"", BAD])
def test_a_module_of_the_rpm_that_was_damaged_is_built_again(host, content):
    host.pack()
    host.have(host.origin())
    planted(host.folder, {EXTRA: content})
    assert f"build nv_peer_mem 1.1-0 for kernel {K}" in host.converge().changes


def test_the_archive_is_asked_for_once_more_where_the_rpm_is_damaged(host):
    host.pack()
    row = next(row for row in host.wanted["tags"] if row["tag"] == "1.1-0")
    row["file"] = row["file"].removeprefix("file://")
    host.have(host.origin())
    host.facts["driver"]["modules"].pop()
    assert host.converge(check_mode=False).needs == [row["file"]]


def test_each_way_makes_room_for_the_other_one_right_before_it_is_installed(host):
    host.have(host.origin())
    assert host.converge().changes == [
        f"build nv_peer_mem 1.1-0 for kernel {K}",
        f"remove the package nvidia_peer_memory-{OF_K}",
        f"install nv_peer_mem 1.1-0 for kernel {K}",
        f"write {boot.LOAD}",
    ]
    host.pack()
    host.tree = planted(host.folder)
    host.facts["driver"]["dkms"] = [
        {"name": "nv_peer_mem", "version": "1.1", "kernel": K, "state": "installed"}
    ]
    Path(nv_peer_mem.CONF).write_text("PATCH\n")
    assert host.converge().changes == [
        f"build nv_peer_mem 1.1-0 for kernel {K}",
        "remove nv_peer_mem 1.1 from DKMS",
        f"install nv_peer_mem 1.1-0 for kernel {K}",
        f"write {boot.LOAD}",
        f"remove {nv_peer_mem.CONF}",
    ]


def test_without_a_route_only_the_package_that_was_built_here_goes(host):
    host.wanted["route"] = "none"
    host.have(host.origin())
    assert host.converge().changes == [f"remove the package nvidia_peer_memory-{OF_K}"]
    with pytest.raises(Refusal, match="after all was done there is still to remove the package"):
        host.converge(check_mode=False)
    assert host.commands == [["rpm", "--erase"], ["depmod", K]]


@pytest.mark.parametrize(
    ("route", "delivery"), [("none", "dkms"), ("nv_peer_mem", "dkms"), ("nv_peer_mem", "rpm")]
)
def test_a_package_of_that_name_which_is_another_one_s_is_refused(host, route, delivery):
    host.wanted.update(route=route, delivery=delivery)
    host.have("(none)")
    with pytest.raises(Refusal, match="nv_peer_mem: it belongs to a package that gpunode has not"):
        host.converge()


def test_each_kernel_has_a_package_of_its_own_and_they_come_together(host, monkeypatch):
    info = [(name, value.replace(K, NEXT)) for name, value in INFO]
    host.made_for = {K: GOOD, NEXT: elf.module(imports=EXPORTS + CLIENTS, info=info)}
    host.add_kernel()
    host.pack()
    seen = []
    execute = host.execute
    monkeypatch.setattr(host, "execute", lambda argv, env: seen.append(argv) or execute(argv, env))
    with pytest.raises(Refusal, match="after all was done"):
        host.converge(check_mode=False)
    assert [argv[0] for argv in seen].count("unshare") == 1
    built = [argv for argv in seen if argv[0] == "rpmbuild"]
    assert [f"--define=KVERSION {name}" in argv for argv in built for name in (K, NEXT)] == [
        *(True, False),
        *(False, True),
    ]
    (put,) = [argv for argv in seen if "--replacefiles" in argv]
    assert [path.split("/")[-5] for path in put if path.endswith(".rpm")] == [K, NEXT]
    assert seen[-2:] == [["depmod", K], ["depmod", NEXT]]


def test_a_kernel_whose_module_would_not_load_keeps_all_packages_out(host):
    host.made = GOOD
    host.add_kernel()
    host.pack()
    with pytest.raises(Refusal, match=f"nv_peer_mem for kernel {NEXT}: it would not load: it is"):
        host.converge(check_mode=False)
    assert not [argv for argv in host.commands if argv[0] == "depmod"]


def test_the_package_of_a_kernel_that_is_no_more_goes(host):
    host.pack()
    gone = f"/lib/modules/{NEXT}/extra/nv_peer_mem.ko"
    told = [(OF_K, EXTRA), (OF_NEXT, gone)]
    host.have(host.origin())
    rows = [f"{version}\t{host.origin()}\t{path}\n" for version, path in told]
    host.tree = planted(host.folder, answers={"env": "".join(rows)})
    assert f"remove the package nvidia_peer_memory-{OF_NEXT}" in host.converge().changes
    with pytest.raises(Refusal, match="after all was done"):
        host.converge(check_mode=False)
    # There are no modules to list of a kernel that is no more.
    assert host.commands == [["rpm", "--erase"]]


def test_without_a_route_a_module_that_is_in_no_package_goes_beside_the_package(host):
    host.wanted["route"] = "none"
    host.have(host.origin())
    path = f"/lib/modules/{K}/updates/nv_peer_mem.ko"
    host.facts["driver"]["modules"].append(host.module("nv_peer_mem", path, GOOD, "1.1-0"))
    assert host.converge().changes == [
        f"remove the package nvidia_peer_memory-{OF_K}",
        f"remove {path}",
    ]


@pytest.mark.parametrize("count", [0, 2])
def test_sources_that_do_not_pack_one_package_are_refused(host, monkeypatch, count):
    host.pack()
    names = [f"{RPM}/packed/nvidia_peer_memory-1.{n}-0.src.rpm" for n in range(count)]
    monkeypatch.setattr(host, "packed", lambda _argv: [(name, "") for name in names])
    with pytest.raises(Refusal, match=f"{count} packages came of it in place of one"):
        host.converge(check_mode=False)


def test_a_step_to_the_package_that_fails_is_told_and_ends_it(host):
    host.pack()
    host.ended = 1
    with pytest.raises(Refusal, match=r"pack nvidia_peer_memory 1\.1-0: patch: it says no"):
        host.converge(check_mode=False)
    assert host.commands == [["patch", "--strip=1"]]


def test_the_folder_of_its_settings_goes_with_the_package_unless_others_use_it(host):
    host.wanted["route"] = "none"
    host.have(host.origin())
    folder = Path(host.tree.path("/etc/infiniband"))
    for others in (True, False):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "openib.conf").touch()
        if not others:
            (folder / "openib.conf").unlink()
        with pytest.raises(Refusal, match="after all was done"):
            host.converge(check_mode=False)
        assert folder.exists() is others


@pytest.fixture
def manifest(monkeypatch):
    """Have paths stand for the entries of a manifest, which are read from the host itself."""
    for kind in ("file", "tree", "absence"):
        monkeypatch.setattr(peer_memory.manifest, kind, lambda path, kind=kind: (kind, path))


@pytest.mark.usefixtures("manifest")
def test_of_what_rests_as_an_rpm_no_archive_is_asked_for(host):
    host.pack()
    row = next(row for row in host.wanted["tags"] if row["tag"] == "1.1-0")
    row["file"] = row["file"].removeprefix("file://")
    host.have(host.origin())
    done = host.converge(check_mode=False)
    assert done.changes == [f"write {boot.LOAD}"]
    # What it was built for is part of what is held against the host later.
    assert {("file", EXTRA), ("file", DRIVER), ("file", f"{OFED}/Module.symvers")} <= {
        *done.manifest
    }


def by_dkms(host, is_made=True):
    """Have DKMS that built and installed the module, of the wanted sources or of others."""
    folder = Path(host.tree.path("/usr/src/nv_peer_mem-1.1"))
    folder.mkdir(parents=True)
    sources.note(host.made_from() if is_made else "other", folder)
    path = f"/lib/modules/{K}/updates/dkms/nv_peer_mem.ko"
    host.facts["driver"]["modules"].append(host.module("nv_peer_mem", path, GOOD, "1.1-0"))
    host.facts["driver"]["dkms"] = [
        {"name": name, "version": version, "kernel": K, "state": "installed"}
        for name, version in (("nv_peer_mem", "1.1"), ("nvidia", VERSION))
    ]


@pytest.mark.usefixtures("manifest")
@pytest.mark.parametrize("is_made", [True, False])
def test_what_dkms_installed_rests_where_its_sources_are_the_wanted_ones(host, is_made):
    by_dkms(host, is_made)
    changes = host.converge().changes
    assert any(row.startswith("build") for row in changes) is not is_made
    if is_made:
        done = host.converge(check_mode=False)
        assert ("tree", "/usr/src/nv_peer_mem-1.1") in done.manifest


def test_a_host_is_looked_at_before_and_for_the_proof(host):
    host.made = GOOD
    host.converge()
    assert host.surveys == 1
    with pytest.raises(Refusal, match="after all was done"):
        host.converge(check_mode=False)
    assert host.surveys == 1 + 2


@pytest.mark.usefixtures("manifest")
def test_a_host_at_rest_is_looked_at_no_more_often(host, monkeypatch):
    by_dkms(host)
    assert host.converge(check_mode=False).changes
    host.surveys = 0
    read = []
    hold = fit.hold
    monkeypatch.setattr(fit, "hold", lambda *asked: read.append(asked[1]) or hold(*asked))
    assert host.converge(check_mode=False).changes == []
    assert host.surveys == 2
    # The module is held against driver and RDMA stack each time, and nothing else is.
    assert read == [f"/lib/modules/{K}/updates/dkms/nv_peer_mem.ko"] * 2


def test_without_a_route_dkms_keeps_the_driver(host):
    by_dkms(host)
    host.wanted["route"] = "none"
    assert host.converge().changes == ["remove nv_peer_mem 1.1 from DKMS"]


def test_a_module_of_dkms_does_not_stand_for_that_of_the_package(host):
    host.pack()
    host.have(host.origin())
    path = f"/lib/modules/{K}/updates/dkms/nv_peer_mem.ko"
    host.facts["driver"]["modules"][-1] = host.module("nv_peer_mem", path, GOOD, "1.1-0")
    host.facts["driver"]["dkms"] = [
        {"name": "nv_peer_mem", "version": "1.1", "kernel": K, "state": "installed"}
    ]
    assert host.converge().changes[:2] == [
        f"build nv_peer_mem 1.1-0 for kernel {K}",
        "remove nv_peer_mem 1.1 from DKMS",
    ]


def test_a_module_beside_that_of_dkms_is_refused(host):
    paths = [f"/lib/modules/{K}/{name}/nv_peer_mem.ko" for name in ("updates/dkms", "extra")]
    host.facts["driver"]["modules"] += [host.module("nv_peer_mem", path, GOOD) for path in paths]
    host.facts["driver"]["dkms"] = [
        {"name": "nv_peer_mem", "version": "1.1", "kernel": K, "state": "installed"}
    ]
    with pytest.raises(Refusal, match=f"would be there twice: {' and '.join(paths)}") as caught:
        host.converge()
    assert "Remove the one that DKMS has not put there" in caught.value.remedy


def test_what_a_killed_build_left_is_in_nobodys_way(host):
    host.made = GOOD
    host.pack()
    planted(host.folder, {f"{RPM}/packed/nvidia_peer_memory-1.0-9.src.rpm": ""})
    with pytest.raises(Refusal, match="after all was done there is still to build"):
        host.converge(check_mode=False)


def test_an_older_package_of_a_kernel_goes_once_the_new_one_is_there_and_not_before(
    host, monkeypatch
):
    host.made = GOOD
    host.pack()
    old = OF_K.replace("1.1-0", "1.0-9")
    host.have("gpunode:old", versions=(old,))
    assert not [row for row in host.converge().changes if row.startswith("remove the package")]
    seen = []
    execute = host.execute
    monkeypatch.setattr(host, "execute", lambda argv, env: seen.append(argv) or execute(argv, env))
    with pytest.raises(Refusal, match="after all was done"):
        host.converge(check_mode=False)
    erased = ["rpm", "--erase", "--nodeps", "--noscripts", f"nvidia_peer_memory-{old}"]
    assert seen[-2:] == [erased, ["depmod", K]]
    assert seen[-3][:2] == ["rpm", "--install"]
    # A run that was killed in between.
    host.have("gpunode:old", host.origin(), versions=(old, OF_K))
    assert f"remove the package nvidia_peer_memory-{old}" in host.converge().changes


def test_a_package_that_is_built_again_is_not_taken_for_an_older_one(host, monkeypatch):
    host.made = GOOD
    host.pack()
    host.have("gpunode:other_patches")
    with pytest.raises(Refusal, match="after all was done"):
        host.converge(check_mode=False)
    assert ["rpm", "--erase"] not in host.commands


def test_a_module_that_would_be_loaded_in_place_of_that_of_the_rpm_is_refused(host):
    host.pack()
    path = f"/lib/modules/{K}/updates/nv_peer_mem.ko"
    host.facts["driver"]["modules"].append(host.module("nv_peer_mem", path, GOOD, "1.1-0"))
    with pytest.raises(Refusal, match=f"would be there twice: {path} and {EXTRA}") as caught:
        host.converge()
    assert "Remove the one that RPM has not put there" in caught.value.remedy
    # What lies where the package puts it is overwritten.
    host.facts["driver"]["modules"].pop()
    host.facts["driver"]["modules"].append(host.module("nv_peer_mem", EXTRA, GOOD, "1.1-0"))
    assert f"install nv_peer_mem 1.1-0 for kernel {K}" in host.converge().changes


def test_no_package_is_built_where_modules_have_to_be_signed(host):
    host.pack()
    host.facts["secure_boot"]["enabled"] = True
    with pytest.raises(Refusal, match="Secure Boot is on, and rpmbuild signs no modules"):
        host.converge()
    host.wanted["route"] = "none"
    assert host.converge().changes == []


def test_a_module_that_the_firmware_would_keep_out_is_built_with_consent_alone(host):
    host.facts["secure_boot"].update(enabled=True, key_enrolled=False)
    for check_mode in (True, False):
        with pytest.raises(Refusal, match="mokutil") as caught:
            host.converge(check_mode)
        assert "gpunode_consent: [unenrolled_key]" in caught.value.remedy
    assert host.commands == []
    host.consent = ["unenrolled_key"]
    assert f"build nv_peer_mem 1.1-0 for kernel {K}" in host.converge().changes
    host.consent, host.wanted["route"] = [], "none"
    assert host.converge().changes == []


def loaded(host, uses, stale=()):
    """Have a kernel that runs with the driver and nv_peer_mem, which some use, loaded."""
    host.facts.update(own_kernel=True, kernel=K)
    host.facts["driver"]["loaded"] = {"version": VERSION, "open": False}
    name = "nv_peer_mem"
    in_use = [name] if uses else []
    host.facts["peer_memory"].update(loaded=[name], in_use=in_use, stale=list(stale))


def test_a_loaded_module_that_is_built_anew_gives_way_unless_it_is_in_use(host):
    loaded(host, uses=0)
    changes = host.converge().changes
    assert changes == [
        f"build nv_peer_mem 1.1-0 for kernel {K}",
        "unload nv_peer_mem",
        f"install nv_peer_mem 1.1-0 for kernel {K}",
        f"write {boot.LOAD}",
        "load nv_peer_mem",
    ]
    loaded(host, uses=1)
    stays = [row for row in changes if not row.endswith("load nv_peer_mem")]
    assert host.converge().changes == stays


def test_a_loaded_module_that_was_replaced_gives_way_once_nobody_uses_it(host):
    host.pack()
    host.have(host.origin())
    loaded(host, uses=2, stale=["nv_peer_mem"])
    rests = host.converge().changes
    assert not [row for row in rests if "load nv_peer_mem" in row]
    loaded(host, uses=0, stale=["nv_peer_mem"])
    assert host.converge().changes == ["unload nv_peer_mem", *rests, "load nv_peer_mem"]


@pytest.mark.parametrize(
    "changes",
    [
        {"rdma_stack": {"kind": "mlnx_ofed", "stale": True}},
        {"secure_boot": {"enabled": True, "key_enrolled": False}},
    ],
)
def test_a_module_that_would_not_be_let_in_leaves_the_one_that_is_loaded(host, changes):
    """The RDMA core that is loaded is another than it was built for, or its key is unknown."""
    loaded(host, uses=0)
    host.consent = ["unenrolled_key"]
    assert "unload nv_peer_mem" in host.converge().changes
    for name, values in changes.items():
        host.facts[name].update(values)
    done = host.converge().changes
    assert not [row for row in done if row.endswith("load nv_peer_mem")]


# What other kinds of hosts are and become, to be held against what was foretold.
OTHER_VERSION = "450.236.01"
OTHER_EXPORTS = [(symbol, version + 1) for symbol, version in EXPORTS]


def run_of(version):
    return {"gpunode_driver_file": f"/NVIDIA-Linux-x86_64-{version}.run#sha256={'0' * 64}"}


def packages_of(branch):
    return {"gpunode_driver_version": branch, "gpunode_driver_method": "package"}


def have_driver(host, version=VERSION, exports=(), is_open=False, by_run=True):
    """Have a driver in place of what there was, for each kernel."""
    others = [row for row in host.facts["driver"]["modules"] if row["name"] != "nvidia"]
    found = []
    for kernel in host.facts["kernels"]:
        release = kernel["release"]
        info = [
            ("version", version),
            ("vermagic", f"{release} SMP preempt mod_unload modversions "),
        ]
        content = elf.module(exports=exports or EXPORTS, info=info, layout="__kcrctab")
        row = host.module("nvidia", DRIVER.replace(K, release), content, version)
        found.append({**row, "kernel": release, "open": is_open})
    host.facts["driver"].update(modules=[*found, *others], runfile=version if by_run else "")
    host.facts["driver"]["dkms"] = [
        {**row, "version": version if row["name"] == "nvidia" else row["version"]}
        for row in host.facts["driver"]["dkms"]
    ]
    planted(host.folder, {f"/usr/src/nvidia-{version}/nvidia/nv-p2p.h": ""})


def have_stack(host, kind, version, registers=CLIENTS[0][1]):
    """Have a vendor's RDMA stack, whose clients register in a version."""
    host.facts["rdma_stack"].update(kind=kind, version=version)
    path = Path(host.tree.path(f"{OFED}/Module.symvers"))
    path.write_text(path.read_text().replace(f"{CLIENTS[0][1]:#010x}", f"{registers:#010x}"))


def without_driver(host):
    host.facts["driver"].update(runfile="", modules=host.facts["driver"]["modules"][1:])


def built(host, delivery):
    """Have the module for what is there, by a delivery, and nothing left to do."""
    if delivery == "rpm":
        host.said["peer_memory_delivery"] = "rpm"
        host.have(host.origin())
    else:
        by_dkms(host)
    host.want()
    done = host.converge()
    assert [row for row in done.changes if not row.startswith("write")] == []
    for row in done.diff:
        Path(row["after_header"]).write_text(row["after"])
    assert host.converge().changes == []


@pytest.fixture
def ran(host, monkeypatch):
    """Return what tells the changes of a run, of which nothing is done."""
    monkeypatch.setattr(peer_memory.steps, "run", lambda _steps: None)
    monkeypatch.setattr(peer_memory, "_refuse_unfinished", lambda *_: None)
    monkeypatch.setattr(peer_memory, "_manifest", lambda *_: [])
    return lambda: host.converge(check_mode=False).changes


def arrive(host):
    host.facts["kernels"].append({**host.kernel(), "release": NEXT, "next": False})


MLNX = {"gpunode_ofed_kind": "mlnx_ofed", "gpunode_peer_memory_tag": "1.1-0"}
DOCA = {**MLNX, "gpunode_ofed_kind": "doca"}
OLD_OFED, NEW_OFED = "5.8-1.1.2.1", "5.8-2.0.3.0"
# (what there is, what is said, what it brings before, the kernels that nv_peer_mem is built for).
EXCHANGES = {
    "another .run": (
        *(have_driver, run_of(OTHER_VERSION)),
        *(lambda host: have_driver(host, OTHER_VERSION, OTHER_EXPORTS), [K]),
    ),
    "another .run whose symbols are the same": (
        *(have_driver, run_of(OTHER_VERSION)),
        *(lambda host: have_driver(host, OTHER_VERSION), [K]),
    ),
    "the same .run": (have_driver, run_of(VERSION), have_driver, []),
    "a .run after another version was installed by hand": (
        *(lambda host: have_driver(host, OTHER_VERSION), run_of(VERSION), have_driver, [K]),
    ),
    "packages of another branch": (
        *(lambda host: have_driver(host, by_run=False), packages_of("535.161.08")),
        *(lambda host: have_driver(host, "535.183.01", by_run=False), [K]),
    ),
    "packages of the branch that is there": (
        *(lambda host: have_driver(host, by_run=False), packages_of("450.80.02")),
        *(lambda host: None, []),
    ),
    "open modules of the same version": (
        *(lambda host: have_driver(host, "535.161.08"),),
        *({**run_of("535.161.08"), "gpunode_driver_modules": "open"},),
        *(lambda host: have_driver(host, "535.161.08", is_open=True), [K]),
    ),
    "packages in place of a .run of the same version": (
        *(have_driver, {**packages_of(VERSION), "gpunode_consent": ["change_method"]}),
        *(lambda host: have_driver(host, by_run=False), [K]),
    ),
    "packages in place of a .run that nobody consented to": (
        *(have_driver, packages_of(VERSION), lambda host: None, []),
    ),
    "another MLNX_OFED": (
        *(lambda host: have_stack(host, "mlnx_ofed", OLD_OFED),),
        *({**MLNX, "gpunode_ofed_version": NEW_OFED},),
        *(lambda host: have_stack(host, "mlnx_ofed", NEW_OFED, 0x12345678), [K]),
    ),
    "another MLNX_OFED whose symbols are the same": (
        *(lambda host: have_stack(host, "mlnx_ofed", OLD_OFED),),
        *({**MLNX, "gpunode_ofed_version": NEW_OFED},),
        *(lambda host: have_stack(host, "mlnx_ofed", NEW_OFED), [K]),
    ),
    "the MLNX_OFED that is there": (
        *(lambda host: have_stack(host, "mlnx_ofed", OLD_OFED),),
        *({**MLNX, "gpunode_ofed_version": OLD_OFED}, lambda host: None, []),
    ),
    "another series of DOCA-OFED": (
        *(lambda host: have_stack(host, "doca", "25.07-0.9.7"),),
        *({**DOCA, "gpunode_ofed_version": "25.10"},),
        *(lambda host: have_stack(host, "doca", "25.10-1.7.1"), [K]),
    ),
    "a series of DOCA-OFED that is there": (
        *(lambda host: have_stack(host, "doca", "25.10-1.7.1"),),
        *({**DOCA, "gpunode_ofed_version": "25.10"}, lambda host: None, []),
    ),
}


@pytest.mark.parametrize("delivery", ["dkms", "rpm"])
@pytest.mark.parametrize("what", EXCHANGES)
def test_what_a_run_does_for_what_it_brings_before_is_foretold(host, ran, delivery, what):
    there, said, bring_it, releases = EXCHANGES[what]
    there(host)
    built(host, delivery)
    host.consent = said.get("gpunode_consent", [])
    host.want(**said)
    foretold = host.converge().changes
    bring_it(host)
    assert foretold == ran()
    expected = [f"build nv_peer_mem 1.1-0 for kernel {name}" for name in releases]
    assert [row for row in foretold if row.startswith("build")] == expected


@pytest.mark.parametrize("delivery", ["dkms", "rpm"])
@pytest.mark.parametrize("version", [VERSION, OTHER_VERSION])
def test_what_a_run_does_for_a_kernel_that_has_come_is_foretold(host, ran, delivery, version):
    have_driver(host)
    built(host, delivery)
    host.facts["kernels"].append({**host.kernel(), "release": NEXT, "next": False})
    # As long as nobody says what driver it is to have, it gets none here.
    assert host.converge().changes == []
    host.want(**run_of(version))
    foretold = host.converge().changes
    have_driver(host, version)
    assert foretold == ran()
    releases = NEXT if version == VERSION else f"{K}, {NEXT}"
    assert foretold[0] == f"build nv_peer_mem 1.1-0 for kernel {releases}"


@pytest.mark.usefixtures("manifest")
@pytest.mark.parametrize("policy", ["refuse", "report"])
def test_a_kernel_without_headers_is_served_where_the_driver_gets_some(host, policy):
    have_driver(host)
    built(host, "dkms")
    row = {**host.kernel(headers=False), "release": NEXT, "running": True}
    host.facts["kernels"].append(row)
    host.want(**run_of(VERSION), nvidia_driver_kernels_without_headers=policy)
    is_served = f"build nv_peer_mem 1.1-0 for kernel {NEXT}" in host.converge().changes
    assert is_served is (policy == "refuse")


@pytest.mark.parametrize("delivery", ["dkms", "rpm"])
@pytest.mark.parametrize("version", [VERSION, OTHER_VERSION])
def test_what_a_run_does_for_a_driver_that_comes_back_is_foretold(host, ran, delivery, version):
    have_driver(host)
    built(host, delivery)
    host.facts["driver"].update(runfile="", modules=host.facts["driver"]["modules"][1:])
    host.want(**run_of(version))
    foretold = host.converge().changes
    have_driver(host, version)
    assert foretold == ran()
    assert bool(foretold) is (version != VERSION)


def test_a_route_is_chosen_for_the_driver_that_comes(host):
    have_driver(host)
    host.facts["rdma_devices"] = [{"name": "mlx5_0", "interfaces": []}]
    host.said["gpunode_peer_memory_route"] = "auto"
    host.want(**run_of("580.95.05"), gpunode_driver_modules="open")
    foretold = host.converge().changes
    assert foretold == []
    host.want(**run_of(VERSION))
    assert f"build nv_peer_mem 1.1-0 for kernel {K}" in host.converge().changes


def running(host):
    """Have the host run with a GPU, the driver that is there and nv_peer_mem."""
    have_driver(host)
    built(host, "dkms")
    loaded(host, uses=0)
    host.facts["kernels"][0]["running"] = True
    gpu = {"address": "0000:3b:00.0", "driver": "nvidia", "architecture": "ampere"}
    host.facts["gpus"] = [gpu]
    # The one that is built is loaded as it is.
    assert host.converge().changes == []


@pytest.mark.parametrize(
    ("consent", "reloads"),
    [([], False), (["stop_gpu_clients"], True), (["stop_gpu_clients", "reboot"], False)],
)
def test_what_a_run_loads_after_a_driver_that_it_brings_is_foretold(host, ran, consent, reloads):
    """Without an exchange in memory it stays loaded with the driver that does, until a reboot."""
    running(host)
    host.consent = consent
    host.want(**run_of(OTHER_VERSION))
    foretold = host.converge().changes
    have_driver(host, OTHER_VERSION)
    if reloads:
        host.facts["driver"]["loaded"]["version"] = OTHER_VERSION
        host.facts["peer_memory"]["loaded"] = []
    assert foretold == ran()
    assert ("load nv_peer_mem" in foretold) is reloads
    assert "unload nv_peer_mem" not in foretold


@pytest.mark.parametrize(
    ("consent", "restarts"), [(["reboot"], False), (["restart_openibd", "reboot"], True)]
)
def test_what_a_run_loads_after_a_stack_that_it_brings_is_foretold(host, ran, consent, restarts):
    """Without a restart of openibd it stays loaded with the RDMA core that does."""
    have_stack(host, "mlnx_ofed", OLD_OFED)
    running(host)
    host.facts["rdma_stack"]["loaded"] = True
    host.consent = consent
    host.want(**MLNX, gpunode_ofed_version=NEW_OFED)
    foretold = host.converge().changes
    have_stack(host, "mlnx_ofed", NEW_OFED)
    host.facts["rdma_stack"]["stale"] = not restarts
    if restarts:
        host.facts["peer_memory"]["loaded"] = []
    assert foretold == ran()
    assert f"build nv_peer_mem 1.1-0 for kernel {K}" in foretold
    assert ("load nv_peer_mem" in foretold) is restarts


@pytest.mark.usefixtures("manifest")
@pytest.mark.parametrize(
    ("said", "facts"),
    [
        (run_of(OTHER_VERSION), {"gpu_clients": [{"process": "python3", "unit": "", "pid": 7}]}),
        ({**MLNX, "gpunode_ofed_version": NEW_OFED}, {"rdma_stack": {"loaded": True}}),
    ],
)
def test_nothing_is_foretold_of_what_waits_for_a_consent(host, said, facts):
    have_stack(host, "mlnx_ofed", OLD_OFED)
    running(host)
    for key, value in facts.items():
        host.facts[key] = {**host.facts[key], **value} if isinstance(value, dict) else value
    host.want(**said)
    assert host.converge().changes == []
    host.consent = ["stop_gpu_clients", "restart_openibd"]
    assert f"build nv_peer_mem 1.1-0 for kernel {K}" in host.converge().changes


@pytest.mark.usefixtures("manifest")
def test_a_kernel_gets_nothing_for_a_driver_that_waits_for_a_consent(host):
    running(host)
    host.facts["kernels"].append({**host.kernel(), "release": NEXT, "next": False})
    host.want(**packages_of(VERSION))
    assert host.converge().changes == []
    host.consent = ["change_method"]
    assert f"build nv_peer_mem 1.1-0 for kernel {K}, {NEXT}" in host.converge().changes


@pytest.mark.usefixtures("manifest")
def test_a_driver_that_lies_elsewhere_is_told_by_its_symbols_alone(host, ran):
    """A container's is loaded, or not yet, while the module rests."""
    path = "/var/k8s/nvidia.ko"
    driver = Path(host.tree.path(DRIVER)).read_bytes()
    planted(host.folder, {path: driver})
    host.facts["driver"]["modules"] = []
    host.said["peer_memory_driver_module"] = path
    built(host, "dkms")
    host.facts["driver"]["loaded"]["version"] = OTHER_VERSION
    assert ran() == []
    other = elf.module(exports=OTHER_EXPORTS, info=INFO, layout="__kcrctab")
    planted(host.folder, {path: other})
    assert f"build nv_peer_mem 1.1-0 for kernel {K}" in ran()


@pytest.mark.usefixtures("manifest")
def test_the_drivers_own_module_that_it_is_about_to_build_again_refuses_nothing(host):
    have_driver(host)
    host.said["gpunode_peer_memory_route"] = "nvidia_peermem"
    host.facts["driver"]["modules"].append(host.module("nvidia_peermem", PEERMEM, NO_CLIENT))
    host.want(**run_of(VERSION))
    assert host.converge().changes == [f"write {boot.LOAD}"]
    with pytest.raises(Refusal, match="it does not use ib_register_peer_memory_client"):
        host.converge(check_mode=False)
