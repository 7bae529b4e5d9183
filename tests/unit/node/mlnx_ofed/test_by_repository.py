"""The steps to DOCA-OFED, on small trees, with an apt that answers as it is told."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

import pytest
from doca_hosts import INBOX, NEEDED, PACKAGE, SERIES, UNINSTALLER, URL, Host, K, isolate
from trees import planted

from ansible_collections.gpunode.stack.plugins.module_utils._node.mlnx_ofed import (
    converge as ofed_converge,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.mlnx_ofed import (
    kernel_modules,
    note,
    package_sets,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.packages import (
    database,
    package_manager,
    pins,
    repositories,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import (
    text_files,
)

# What the exchange itself is told, and neither what fetches nor what brings back.
BROKEN = "--allow-downgrades --reinstall install"
FETCH, INSTALL = "fetch the packages of DOCA-OFED 25.10", "install DOCA-OFED 25.10"


@pytest.fixture
def host(tmp_path, monkeypatch):
    isolate(tmp_path, monkeypatch)
    return Host(tmp_path)


def sources():
    return [Path(path).exists() for path in repositories.paths(repositories.RDMA)]


def test_what_is_done_is_foretold_in_its_order(host):
    changes = host.converge(check_mode=True).changes
    source, keyring, *_of_dnf = repositories.paths(repositories.RDMA)
    assert changes == [
        f"write {source}, write {keyring}",
        FETCH,
        INSTALL,
        f"hold the packages of the RDMA stack by {package_sets.PREFERENCES}",
    ]
    assert (host.commands, sources()) == ([], [False] * 4)
    assert host.converge().changes == changes
    assert host.converge().changes == []


def test_all_is_fetched_before_anything_gives_way_and_in_the_repositorys_versions(host):
    host.has({"ofed-scripts": "24.10", **INBOX}, "mlnx_ofed", "24.10-1.1.4.0")
    planted(host.folder, {UNINSTALLER: ""})
    host.converge()
    done = [argv for argv in host.commands if "--simulate" not in argv]
    order = [
        next(index for index, argv in enumerate(done) if word in argv)
        for word in ("--download-only", UNINSTALLER)
    ]
    (installed,) = [argv for argv in host.told("doca-ofed=3.2.2-035000") if argv not in done[:1]][
        1:
    ]
    assert [*order, done.index(installed)] == sorted([*order, done.index(installed)])
    assert "--reinstall" in done[order[0]]
    assert {"rdma-core=2510.0.11-1", "libibverbs1=2510.0.11-1"} <= set(installed)
    assert host.facts["rdma_stack"]["version"] == "25.10-2.4.1"


def test_another_series_takes_the_place_of_one_by_packages_alone(host):
    host.has_doca("25.10", **{"mlnx-tools": "2510.0.11-1"})
    host.offers = SERIES["26.01"]
    changes = host.converge(gpunode_ofed_version="26.01").changes
    assert "install DOCA-OFED 26.01 in place of doca 25.10-2.4.1" in changes
    assert not host.told(UNINSTALLER)
    # What the other one has no more goes, in the same transaction.
    assert "mlnx-tools-" in host.told("doca-ofed=3.3.0-088000")[-1]
    assert "2601.0.7-1" in Path(package_sets.PREFERENCES).read_text()


def test_the_receipt_has_what_tells_of_the_repository(host, monkeypatch):
    monkeypatch.setattr(ofed_converge.manifest, "file", lambda path: {"path": path})
    found = {entry.get("path") for entry in host.converge().manifest}
    source, keyring, *_of_dnf = repositories.paths(repositories.RDMA)
    assert {source, keyring, package_sets.PREFERENCES} <= found


def test_the_lists_are_fetched_anew_for_an_exchange_and_once_at_most(host):
    host.converge()
    assert len(host.told("update")) == 1
    host.converge()
    assert len(host.told("update")) == 1
    host.offers = SERIES["26.01"]
    host.converge(gpunode_ofed_version="26.01")
    assert len(host.told("update")) == 2


def test_the_firmware_is_left_alone_unless_it_is_asked_for(host):
    host.has_doca("26.01", **{"mlnx-fw-updater": "26.01-1"})
    host.converge()
    assert not [argv for argv in host.commands if "mlnx-fw-updater" in " ".join(argv)]
    host.has_doca("26.01")
    host.converge(mlnx_ofed_firmware_update=True)
    assert host.told("mlnx-fw-updater=25.10-2.4.1.0")


def test_a_firmware_updater_of_the_series_before_stays(host):
    host.has_doca("25.10", **{"mlnx-fw-updater": "25.10-1"})
    host.offers = SERIES["26.01"]
    host.converge(gpunode_ofed_version="26.01")
    assert not host.told("mlnx-fw-updater-")


def test_what_was_fetched_of_the_stack_is_kept(host):
    def fetch(argv, environment):
        if "--download-only" in argv and "--simulate" not in argv:
            names = ("rdma-core_2510.0.11-1_amd64.deb", "dkms_3.0.10-8_all.deb")
            planted(host.folder, {f"{note.COMING}/{name}": "" for name in names})
        return Host.execute(host, argv, environment)

    host.execute = fetch
    host.converge()
    assert host.tree.names(f"{note.DIR}/packages") == ["rdma-core_2510.0.11-1_amd64.deb"]
    assert not host.tree.exists(note.COMING)


def test_what_a_killed_run_has_fetched_is_not_taken_for_this_ones(host):
    left = f"{note.COMING}/rdma-core_2507_amd64.deb"
    planted(host.folder, {left: ""})

    def execute(argv, environment):
        if "--download-only" in argv:
            assert not host.tree.exists(left)
        return Host.execute(host, argv, environment)

    host.execute = execute
    host.converge()
    assert host.told("--download-only")


def test_each_kernel_has_the_modules_of_what_came_and_none_of_those_before(host):
    planted(host.folder, {f"/boot/initrd.img-{K}": "", "/usr/sbin/update-initramfs": ""})
    host.converge()
    assert host.told("update-initramfs", K)


def test_only_what_the_repository_itself_has_counts_and_its_newest(host):
    host.older = {"doca-ofed": "3.2.1-044000", "rdma-core": "44.0-2"}
    host.converge()
    assert host.told("doca-ofed=3.2.2-035000", "rdma-core=2510.0.11-1")
    asked = [argv for argv in host.asked if argv[0] == "apt-cache"]
    assert asked[0][-1] == "pkgnames"
    known = {f"Dir::Etc::sourcelist={repositories.RDMA.source}", "Dir::Etc::sourceparts=-"}
    assert all({*known, "Dir::State::status=/dev/null"} <= set(argv) for argv in asked)


def test_a_repository_without_what_is_asked_for_is_refused_by_name(host):
    host.offers = SERIES["26.01"]
    with pytest.raises(Refusal, match="has no mlnx-fw-updater"):
        host.converge(gpunode_ofed_version="26.01", mlnx_ofed_firmware_update=True)
    assert sources() == [False] * 4


def test_another_version_than_the_packages_should_have_brought_is_a_failure(host):
    host._install = lambda _argv: host.has_doca("26.01")
    with pytest.raises(Refusal, match=r"doca 26\.01-1\.0\.0 is there after it"):
        host.converge()


@pytest.mark.parametrize(
    ("version", "series", "words"),
    [
        ("25.10", "26.01", "it has doca-ofed 3.3.0-088000 with modules 26.01-1.0.0"),
        ("25.10-1.7.1", "25.10", "with modules 25.10-2.4.1"),
        # No package tells, and the catalog knows the series of no such release of DOCA.
        ("26.10", "26.10", "with modules of no version that tells"),
    ],
)
def test_a_repository_without_the_series_leaves_the_host_as_it_was(host, version, series, words):
    host.offers = SERIES[series]
    with pytest.raises(Refusal, match=words):
        host.converge(gpunode_ofed_version=version)
    assert not host.told("install")
    assert sources() == [False] * 4
    assert not host.tree.exists(f"{note.DIR}/at-work")


def test_a_build_that_is_named_is_wanted(host):
    host.has_doca("25.10")
    assert INSTALL not in host.converge(gpunode_ofed_version="25.10-2.4.1").changes
    with pytest.raises(Refusal, match=r"with modules 25\.10-2\.4\.1"):
        host.converge(gpunode_ofed_version="25.10-1.7.1")


def test_where_no_package_tells_the_release_of_doca_does(host):
    host.offers = {**SERIES["25.10"], "mlnx-ofed-kernel-dkms": "26.10-1"}
    SERIES["untold"] = host.offers
    try:
        host.converge()
        assert host.facts["rdma_stack"] == {**host.facts["rdma_stack"], "version": ""}
        assert host.converge().changes == []
    finally:
        del SERIES["untold"]


@pytest.mark.parametrize("sign", ["update", "--download-only"])
def test_a_dead_mirror_leaves_the_host_as_it_was(host, sign):
    host.fails = {sign: "Failed to fetch http://m  404"}
    with pytest.raises(Refusal, match="404"):
        host.converge()
    assert sources() == [False] * 4
    named = host.told(f"doca-ofed={SERIES['25.10']['doca-ofed']}")
    assert all("--download-only" in argv for argv in named)
    assert not host.tree.exists(note.COMING)


def what_tells():
    """Return the texts of the source and of the preferences."""
    paths = (repositories.RDMA.source, package_sets.PREFERENCES)
    return [Path(path).read_text() for path in paths]


def breaking(host, series):
    """Let the exchange for another series fail half-way, and what was there come back."""

    def execute(argv, environment):
        done = Host.execute(host, argv, environment)
        if done.returncode:
            host.has_doca(series)
            host.fails = {}
        elif "doca-ofed=3.2.2-035000" in argv and "--simulate" not in argv:
            host.sources_then = text_files.read(repositories.RDMA.source)
            host.has_doca("25.10")
        return done

    host.fails = {BROKEN: "it does not work"}
    host.execute = execute


def test_what_is_kept_comes_back_where_the_exchange_fails(host):
    host.converge()
    before = what_tells()
    archive = f"{note.DIR}/packages/rdma-core_2510.0.11-1_amd64.deb"
    planted(host.folder, {archive: ""})
    host.offers = SERIES["26.01"]
    breaking(host, "26.01")
    said = {"gpunode_ofed_version": "26.01", "mlnx_ofed_repository_url": f"{URL}/26.01"}
    with pytest.raises(Refusal, match=r"doca 25\.10-2\.4\.1 is back"):
        host.converge(**said)
    back = host.told("doca-ofed=3.2.2-035000")[-1]
    assert str(host.tree.path(archive)) in back
    assert "libibverbs1=2510.0.11-1" in back
    assert what_tells() == before
    # What is not kept comes from where it is offered.
    assert host.sources_then == before[0]
    host.execute = functools.partial(Host.execute, host)
    assert host.converge().changes == []


def test_what_was_installed_before_a_run_was_killed_comes_back_as_well(host):
    host.converge()
    archive = f"{note.DIR}/packages/rdma-core_2510.0.11-1_amd64.deb"
    planted(host.folder, {archive: "", f"{note.DIR}/at-work": ""})
    host.has({"rdma-core": "44.0-2"})
    breaking(host, "25.10")
    with pytest.raises(Refusal, match=r"doca 25\.10-2\.4\.1 is back"):
        host.converge()
    back = host.told("doca-ofed=3.2.2-035000")[-1]
    assert {str(host.tree.path(archive)), "libibverbs1=2510.0.11-1"} <= set(back)
    assert "--reinstall" not in back


def test_what_somebody_took_away_comes_back_with_the_rest(host):
    host.converge()
    host.has_doca("25.10")
    status = host.folder / "var/lib/dpkg/status"
    lost = PACKAGE.format("libibverbs1", "2510.0.11-1")
    assert lost in status.read_text()
    status.write_text(status.read_text().replace(lost, ""))
    host.commands.clear()
    host.offers = SERIES["26.01"]
    breaking(host, "26.01")
    with pytest.raises(Refusal, match=r"doca 25\.10-2\.4\.1 is back"):
        host.converge(gpunode_ofed_version="26.01")
    assert host.told("rdma-core=2510.0.11-1", "libibverbs1=2510.0.11-1")


def test_a_stack_that_nobody_noted_comes_back_from_where_it_is_offered(host):
    host.has_doca("25.10")
    host.offers = SERIES["26.01"]
    breaking(host, "26.01")
    with pytest.raises(Refusal, match=r"doca 25\.10-2\.4\.1 is back"):
        host.converge(gpunode_ofed_version="26.01")
    assert host.told("rdma-core=2510.0.11-1", "libibverbs1=2510.0.11-1")
    assert sources() == [False] * 4


def test_a_package_that_was_taken_away_comes_again_by_its_name(host):
    host.converge()
    installed = {name: SERIES["25.10"][name] for name in NEEDED if name != "libibverbs1"}
    host.has(installed, "doca", "25.10-2.4.1")
    host.commands.clear()
    host.converge()
    assert host.told("libibverbs1=2510.0.11-1")


def test_an_exchange_that_was_cut_is_done_again(host):
    host.has_doca("25.10")
    assert INSTALL not in host.converge().changes
    planted(host.folder, {f"{note.DIR}/at-work": ""})
    assert f"{INSTALL} in place of doca 25.10-2.4.1" in host.converge().changes
    assert host.converge().changes == []


def test_a_half_installed_bundle_is_not_taken_for_doca(host):
    host.has({"ofed-scripts": "25.10", **INBOX}, "doca", "25.10-2.4.1")
    planted(host.folder, {UNINSTALLER: ""})
    host.converge()
    assert host.told(UNINSTALLER, "--force")


def test_a_bundle_of_the_same_version_is_not_taken_for_doca(host):
    packages = {name: SERIES["25.10"][name] for name in NEEDED}
    host.has(packages, "mlnx_ofed", "25.10-2.4.1")
    (exchange,) = [says for says in host.converge(check_mode=True).changes if INSTALL in says]
    assert exchange.endswith(" in place of mlnx_ofed 25.10-2.4.1")


def standing_on(host, *others):
    """Let packages of others go with those of the RDMA stack."""

    def execute(argv, environment):
        if "--simulate" in argv and package_manager.Apt.removing[0] in argv:
            told = "".join(f"Remv {name} [1]\n" for name in others)
            return subprocess.CompletedProcess(argv, 0, told, "")
        return Host.execute(host, argv, environment)

    host.execute = execute


def test_a_bundle_that_others_stand_on_is_not_removed(host):
    host.has({"ofed-scripts": "24.10", **INBOX}, "mlnx_ofed", "24.10-1.1.4.0")
    planted(host.folder, {UNINSTALLER: ""})
    standing_on(host, "render-farm")
    with pytest.raises(Refusal, match="stands on the packages that give way: render-farm"):
        host.converge()
    assert not host.told("--download-only")
    assert not host.told(UNINSTALLER)


def test_what_stands_on_the_distributions_own_stack_is_nothing_that_gives_way(host):
    standing_on(host, "render-farm")
    assert INSTALL in host.converge().changes


def test_a_tree_that_leads_to_no_sources_goes_before_the_packages_come(host):
    planted(host.folder, {"/var/lib/dkms/mlnx-ofed-kernel/25.07/build/make.log": ""})
    host.converge()
    (removed,) = host.told("dkms", "remove", "25.07")
    come = host.told(f"doca-ofed={SERIES['25.10']['doca-ofed']}")[-1]
    assert "--download-only" not in come
    assert host.commands.index(removed) < host.commands.index(come)


def test_what_is_half_installed_of_the_distribution_comes_in_the_repositorys_version(host):
    host.has({"rdma-core": "44.0-2"})
    status = host.folder / "var/lib/dpkg/status"
    half = PACKAGE.format("libibverbs1", "44.0-2").replace("ok installed", "ok half-installed")
    status.write_text(f"{status.read_text()}\n{half}")
    host.converge()
    assert host.told("libibverbs1=2510.0.11-1")


def test_another_stack_leaves_nothing_of_the_repository(host, monkeypatch):
    monkeypatch.setattr(database, "missing", lambda *_: [])
    host.converge()
    assert sources() == [True, True, False, False]
    host.facts["rdma_stack"].update(kind="doca")

    def purge(argv, environment):
        if "purge" in argv and "--simulate" not in argv:
            # From there apt would take what it is to remove.
            assert sources() == [False] * 4
            host.has(dict(row for row in SERIES["25.10"].items() if row[0] not in argv))
            if "rdma-core" in argv:
                host.has(INBOX)
        return Host.execute(host, argv, environment)

    host.execute = purge
    changes = host.converge(gpunode_ofed_kind="inbox").changes
    assert f"remove {repositories.RDMA.source}" in changes
    assert sources() == [False] * 4
    # As the vendor has it: its profiles first, what they brought then.
    first, last = host.told("purge")
    assert [name in first for name in ("doca-ofed", "rdma-core")] == [True, False]
    assert "rdma-core" in last


def test_a_removal_that_fails_half_way_is_followed_by_what_was_there(host):
    host.converge()
    before = what_tells()
    host.facts["rdma_stack"].update(kind="doca")

    def execute(argv, environment):
        simulated = "--simulate" in argv
        if "purge" in argv and not simulated and "doca-ofed" not in argv:
            return subprocess.CompletedProcess(argv, 100, "", "E: it does not work\n")
        done = Host.execute(host, argv, environment)
        if "purge" in argv and not simulated:
            host.has(dict(row for row in SERIES["25.10"].items() if row[0] != "doca-ofed"))
        elif "doca-ofed=3.2.2-035000" in argv and not simulated:
            host.has_doca()
        return done

    host.execute = execute
    with pytest.raises(Refusal, match=r"doca 25\.10-2\.4\.1 is back"):
        host.converge(gpunode_ofed_kind="inbox")
    assert what_tells() == before


def test_what_is_half_installed_goes_with_the_first_packages_of_the_stack(host, monkeypatch):
    monkeypatch.setattr(database, "missing", lambda *_: [])
    host.has_doca()
    status = Path(host.tree.path("/var/lib/dpkg/status"))
    whole = "Package: {}\nStatus: install ok installed"
    for name in ("doca-ofed", "mlnx-ofed-kernel-dkms"):
        text = status.read_text()
        half = whole.format(name).replace("ok installed", "ok half-configured")
        status.write_text(text.replace(whole.format(name), half))
    host.fails = {"purge": "it does not work"}
    with pytest.raises(Refusal, match="it does not work"):
        host.converge(gpunode_ofed_kind="inbox")
    (first,) = host.told("purge")
    assert first[-2:] == ["doca-ofed", "mlnx-ofed-kernel-dkms"]


def test_a_stack_that_stays_keeps_its_repository(host):
    host.converge()
    before = Path(repositories.RDMA.source).read_text()
    host.fails = {"purge": "it does not work"}
    host.facts["rdma_stack"].update(kind="doca")
    with pytest.raises(Refusal, match="it does not work"):
        host.converge(gpunode_ofed_kind="inbox")
    assert Path(repositories.RDMA.source).read_text() == before


def test_modules_that_dkms_was_made_to_forget_come_with_their_package(host):
    host.converge()
    host.facts["rdma_stack"]["kernels"] = []
    assert f"{INSTALL} in place of doca 25.10-2.4.1" in host.converge(check_mode=True).changes
    row = {"name": "mlnx-ofed-kernel", "version": "25.10", "kernel": "", "state": "added"}
    host.facts["driver"]["dkms"] = [row]
    assert host.converge(check_mode=True).changes == [f"build the RDMA modules for kernel {K}"]


def test_what_is_there_in_its_version_is_put_in_place_anew(host):
    host.converge()
    planted(host.folder, {f"{note.DIR}/at-work": ""})
    host.converge()
    assert host.told("--reinstall", f"doca-ofed={SERIES['25.10']['doca-ofed']}")


def test_what_is_unpacked_alone_is_completed_before_all_is_put_in_place_anew(host):
    host.converge()
    host.commands.clear()
    status = host.folder / "var/lib/dpkg/status"
    package = PACKAGE.format("doca-ofed", SERIES["25.10"]["doca-ofed"])
    torn = package.replace("install ok installed", "install ok unpacked")
    status.write_text(status.read_text().replace(package, torn))
    host.converge()
    wanted = f"doca-ofed={SERIES['25.10']['doca-ofed']}"
    done = [argv for argv in host.told(wanted) if "--simulate" not in argv]
    asked = [("--download-only" in argv, "--reinstall" in argv) for argv in done]
    # The first of those that install completes it here, as it does on a host.
    assert asked == [(True, False), (True, True), (False, False), (False, True)]


RPMS = {
    "doca-ofed": "3.2.2-035000",
    "mlnx-ofa_kernel": "25.10-OFED.25.10.2.4.1.1.el9",
    "mlnx-ofa_kernel-dkms": "25.10-OFED.25.10.2.4.1.1.el9",
    "mlnx-ofa_kernel-source": "25.10-OFED.25.10.2.4.1.1.el9",
    "rdma-core": "2510.0.11-1.el9",
    "libibverbs": "2510.0.11-1.el9",
}
OLD_RPMS = {**RPMS, "doca-ofed": "3.2.1-044000"}
OLD_RPMS |= dict.fromkeys(
    [name for name in RPMS if name.startswith("mlnx")], "25.10-OFED.25.10.1.7.1.1.el9"
)
INBOX_RPMS = {"rdma-core": "61.0-2.el9", "libibverbs": "61.0-2.el9"}


class ElHost(Host):
    """The same with rpm and dnf, whose transactions put in place what they name."""

    def __init__(self, folder):
        self.rows = []
        super().__init__(folder)
        self.facts.update(pkg_mgr="dnf", distribution="Rocky", distribution_major_version="9")
        self.offers = RPMS
        self.told_of = {}

    def has(self, packages, kind="inbox", version=""):
        planted(self.folder, {"/var/lib/rpm/rpmdb.sqlite": "", "/usr/bin/rpm": ""})
        planted(self.folder, {"/usr/bin/dnf": ""})
        self.rows = [*packages.items()]
        kernels = [] if kind == "inbox" else [K]
        self.facts["rdma_stack"].update(kind=kind, version=version, kernels=kernels)

    def has_rpms(self, packages):
        told = packages["mlnx-ofa_kernel"].split("OFED.")[1]
        self.has(packages, "doca", f"25.10-{told[6:11]}")

    def execute(self, argv, environment):
        self.commands.append(argv)
        text = " ".join(argv)
        if "--assumeno" in argv:
            return subprocess.CompletedProcess(argv, 1, "Operation aborted.\n", "")
        for sign, words in self.fails.items():
            if sign in text:
                return subprocess.CompletedProcess(argv, 1, "", f"Error: {words}\n")
        if argv[0] == "rpm":
            gone = argv[3:]
            self.rows = [row for row in self.rows if "-".join(row) not in gone]
        if "install" in argv and "--downloadonly" not in argv:
            is_old = f"doca-ofed-{OLD_RPMS['doca-ofed']}" in argv
            self.has_rpms(OLD_RPMS if is_old else RPMS)
        return subprocess.CompletedProcess(argv, 0, "", "")

    def run(self, argv, **_options):
        self.asked.append(list(argv))
        said = ""
        if "repoquery" in argv:
            rows = [*self.older.items(), *self.offers.items()]
            said = "".join(f"{name}\t{found}\n" for name, found in rows)
        elif argv[:2] == ["rpm", "-qa"]:
            said = "".join(f"{name}\t{found}\n" for name, found in self.rows)
        return subprocess.CompletedProcess(argv, 0, said.encode(), b"")


@pytest.fixture
def el(host, tmp_path, monkeypatch):
    monkeypatch.setattr(package_manager, "managers_own", package_manager.Dnf)
    monkeypatch.setattr(database, "missing", lambda *_: [])
    monkeypatch.setattr(package_sets, "PATHS", (package_sets.PREFERENCES, pins.VERSIONLOCK))
    found = ElHost(tmp_path / "el")
    found.has(INBOX_RPMS)
    return found


def transactions(host, *words):
    """Return what dnf was told, as (verb, names), and neither simulated nor fetched alone."""
    return [
        (verb, argv[argv.index(verb) + 2 :])
        for argv in host.told(*words)
        for verb in ("install", "reinstall", "remove")
        if verb in argv and not {"--assumeno", "--downloadonly"} & set(argv)
    ]


def exactly(packages):
    return {f"{name}-{version}" for name, version in packages.items()}


def test_dnf_is_told_exact_versions_of_the_repository_and_fetches_them_first(el):
    el.older = {"doca-ofed": "3.2.1-044000", "rdma-core": "2507mlnx58-1"}
    changes = el.converge().changes
    written = f"write {repositories.RDMA.dnf_repository}, write {repositories.RDMA.dnf_key}"
    assert changes[:3] == [written, FETCH, INSTALL]
    ((_verb, names),) = transactions(el)
    assert set(names) == exactly({name: RPMS[name] for name in [*INBOX_RPMS, "doca-ofed"]})
    fetched, done = (argv for argv in el.commands if "install" in argv and "--assumeno" not in argv)
    assert [("--downloadonly" in argv) for argv in (fetched, done)] == [True, False]
    for argv in (fetched, done):
        assert {"--disableplugin=versionlock", "--allowerasing"} <= set(argv)
        assert f"--setopt=destdir={el.tree.path(note.COMING)}" in argv
        # What doca-ofed needs is in the distribution as well.
        name = Path(repositories.RDMA.dnf_repository).stem
        assert f"--setopt={name}.priority=1" in argv
    (query,) = [argv for argv in el.asked if "repoquery" in argv]
    assert f"--repo={Path(repositories.RDMA.dnf_repository).stem}" in query
    assert el.converge().changes == []


def test_the_newest_that_a_repository_has_is_so_by_rpms_order(el):
    el.older = {"doca-ofed": "3.2.2~rc1-1", "rdma-core": "2510.0.11^git1-1.el9"}
    el.converge()
    ((_verb, names),) = transactions(el)
    assert "doca-ofed-3.2.2-035000" in names
    assert "rdma-core-2510.0.11^git1-1.el9" in names


def test_dnf_puts_in_place_anew_what_is_there_in_its_version(el):
    el.has_rpms({name: RPMS[name] for name in RPMS if name != "libibverbs"})
    planted(el.folder, {f"{note.DIR}/at-work": ""})
    el.converge()
    installed, again = transactions(el)
    assert installed[0] == "install"
    assert again[0] == "reinstall"
    assert set(again[1]) == exactly(RPMS) - {"libibverbs-2510.0.11-1.el9"}


def test_what_a_cut_transaction_left_twice_is_once_before_the_next(el):
    el.has_rpms(RPMS)
    el.rows.append(("rdma-core", "2507mlnx58-1.el9"))
    el.converge()
    erased = [argv for argv in el.commands if argv[0] == "rpm"]
    assert erased == [["rpm", "--erase", "--nodeps", "rdma-core-2507mlnx58-1.el9"]]


def test_what_the_other_series_has_no_more_goes_after_it_came(el):
    el.has_rpms({**OLD_RPMS, "mlnx-tools": "2510.0.16-1"})
    install = el.execute

    def execute(argv, environment):
        done = install(argv, environment)
        if "install" in argv and not {"--assumeno", "--downloadonly"} & set(argv):
            el.rows.append(("mlnx-tools", "2510.0.16-1"))
        return done

    el.execute = execute
    el.converge(gpunode_ofed_version="25.10-2.4.1")
    verb, names = transactions(el)[-1]
    assert (verb, names[-1]) == ("remove", "mlnx-tools")


def fail_exchange(el):
    """Have dnf fail once it has brought the packages of the newer release."""
    install = el.execute

    def execute(argv, environment):
        done = install(argv, environment)
        if "doca-ofed-3.2.2-035000" in argv and not {"--assumeno", "--downloadonly"} & set(argv):
            return subprocess.CompletedProcess(argv, 1, "", "Error: it does not work\n")
        return done

    el.execute = execute


def test_an_exchange_that_fails_goes_back_to_the_exact_versions_before(el):
    el.has_rpms(OLD_RPMS)
    fail_exchange(el)
    with pytest.raises(Refusal, match=r"doca 25\.10-1\.7\.1 is back"):
        el.converge(gpunode_ofed_version="25.10-2.4.1")
    verb, names = transactions(el)[-1]
    assert (verb, set(names)) == ("install", exactly(OLD_RPMS))
    assert sources() == [False] * 4


@pytest.mark.parametrize("before", [None, "", "theirs-0:1.0-1.*\n"])
def test_the_list_of_versions_that_dnf_fails_without_stays_after_an_exchange_that_fails(el, before):
    path = Path(pins.VERSIONLOCK)
    if before is not None:
        path.write_text(before)
    fail_exchange(el)
    failing = el.execute

    def execute(argv, environment):
        # As the package of dnf's plugin, which comes before the exchange, brings it.
        path.touch()
        return failing(argv, environment)

    el.execute = execute
    with pytest.raises(Refusal):
        el.converge(gpunode_ofed_version="25.10-2.4.1")
    assert path.read_text() == (before or "")


@pytest.mark.parametrize("lacks", [[], ["rdma-core"]])
def test_a_repository_that_is_away_is_passed_over_where_all_that_comes_back_is_kept(
    el, monkeypatch, lacks
):
    el.has_rpms(OLD_RPMS)
    kept = {name: f"/kept/{name}.rpm" for name in OLD_RPMS if name not in lacks}
    monkeypatch.setattr(note, "kept_packages", lambda *_: kept)
    fail_exchange(el)
    with pytest.raises(Refusal, match="it does not work"):
        el.converge(gpunode_ofed_version="25.10-2.4.1")
    (back,) = [argv for argv in el.told(kept["doca-ofed"]) if "--assumeno" not in argv]
    assert ("--setopt=*.skip_if_unavailable=True" in back) is (not lacks)
    came = [argv for argv in el.told("doca-ofed-3.2.2-035000") if "--assumeno" not in argv]
    assert not any("--setopt=*.skip_if_unavailable=True" in argv for argv in came)


@pytest.mark.parametrize(("kind", "calls"), [("el", 1), ("host", 0)])
def test_what_dkms_forgot_with_packages_of_rpm_is_added_once_they_came(
    request, monkeypatch, kind, calls
):
    found, told = request.getfixturevalue(kind), []
    monkeypatch.setattr(
        kernel_modules, "add_forgotten", lambda host: told.append(len(found.commands))
    )
    found.converge()
    assert len(told) == calls
    came = [at for at, argv in enumerate(found.commands) if "install" in argv]
    assert not told or told[0] > max(came)


def test_modules_are_built_anew_where_other_sources_came_and_only_there(host, monkeypatch):
    before, told = frozenset({("/var/lib/dkms/x.ko", 1, 1)}), []
    monkeypatch.setattr(kernel_modules, "builds", lambda _tree: before)
    monkeypatch.setattr(
        kernel_modules, "complete_all", lambda _host, _rows, outdated=None: told.append(outdated)
    )
    host.has_doca("25.10")
    host.converge()
    told.clear()
    # The same once more, since it was cut.
    planted(host.folder, {f"{note.DIR}/at-work": ""})
    host.converge()
    assert told == [kernel_modules.NO_BUILDS]
    host.offers = SERIES["26.01"]
    host.converge(gpunode_ofed_version="26.01")
    assert told[1:] == [before]


def test_what_an_exchange_that_was_cut_left_goes_before_and_after_what_was_there_comes_back(el):
    el.has_rpms(OLD_RPMS)
    install, new = el.execute, RPMS["mlnx-ofa_kernel"]

    def execute(argv, environment):
        is_done = not {"--assumeno", "--downloadonly"} & set(argv)
        if "doca-ofed-3.2.2-035000" in argv and is_done:
            el.rows += [("mlnx-ofa_kernel", new), ("mlnx-newer", "2510.0.16-1")]
            return subprocess.CompletedProcess(argv, 1, "", "Error: it does not work\n")
        rows = list(el.rows)
        done = install(argv, environment)
        if "install" in argv and is_done:
            el.rows += [row for row in rows if row[0] == "mlnx-newer"]
        return done

    el.execute = execute
    with pytest.raises(Refusal, match=r"doca 25\.10-1\.7\.1 is back"):
        el.converge(gpunode_ofed_version="25.10-2.4.1")
    assert el.told("rpm", "--erase", f"mlnx-ofa_kernel-{new}")
    back, gone = transactions(el)[-2:]
    assert (back[0], set(back[1])) == ("install", exactly(OLD_RPMS))
    assert (gone[0], gone[1][-1:]) == ("remove", ["mlnx-newer"])


def test_a_kernel_without_headers_is_refused_as_dkms_is_to_build_for_it(el):
    el.facts["kernels"][0].update(headers=False, release="5.14.0-570.12.1.el9_6.x86_64")
    with pytest.raises(Refusal, match=r"Install kernel-devel-matched-5\.14\.0-570"):
        el.converge(check_mode=True)
