"""The steps to the DOCA-OFED of Ubuntu's archive, on small trees, with an apt that answers."""

from __future__ import annotations

from pathlib import Path

import doca_hosts
import pytest
from trees import planted

from ansible_collections.gpunode.stack.plugins.module_utils._node.mlnx_ofed import (
    package_sets,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal

OF = {"26.01": "doca-ofed-26.01-dkms", "26.04": "doca-ofed-3.4-dkms"}
VERSIONS = {"26.01": "26.01.1.0.0.0.609.1-0ubuntu2", "26.04": "3.4.0+0.8.5.0-0ubuntu1~26.04.1"}
OWN = {"rdma-core": "61.0-2ubuntu3", "ibverbs-providers": "61.0-2ubuntu3"}
SOURCES = """\
Types: deb
URIs: http://archive.ubuntu.com/ubuntu
Suites: resolute resolute-updates resolute-security
Components: {}
"""
ALL = "main restricted universe multiverse"


class Host(doca_hosts.Host):
    """A host of Ubuntu 26.04, whose archive has both series."""

    def __init__(self, folder):
        super().__init__(folder)
        self.facts |= {
            **{"distribution": "Ubuntu", "distribution_version": "26.04"},
            **{"distribution_major_version": "26", "distribution_release": "resolute"},
        }
        self.said = {
            "gpunode_ofed_kind": "doca",
            "gpunode_ofed_version": "26.01",
            "mlnx_ofed_repository": "ubuntu",
        }
        self.offers = {**OWN, **{OF[series]: VERSIONS[series] for series in OF}}
        self.has(OWN)
        self.components(ALL)

    def components(self, names):
        path = "/etc/apt/sources.list.d/ubuntu.sources"
        planted(self.folder, {path: SOURCES.format(names)})

    def has_series(self, series, **others):
        told = series if series == "26.01" else ""
        self.has({**OWN, OF[series]: VERSIONS[series], **others}, "doca", told)

    def _install(self, argv):
        for series, name in OF.items():
            if any(part.startswith(f"{name}=") for part in argv):
                self.has_series(series)


@pytest.fixture
def host(tmp_path, monkeypatch):
    doca_hosts.isolate(tmp_path, monkeypatch)
    return Host(tmp_path)


def installed(host, series):
    (argv,) = [
        argv
        for argv in host.told(f"{OF[series]}={VERSIONS[series]}")
        if "--download-only" not in argv
    ]
    return argv


def test_what_is_done_is_foretold_and_the_hosts_own_sources_suffice(host):
    changes = host.converge(check_mode=True).changes
    assert changes == [
        "fetch the packages of DOCA-OFED 26.01",
        "install DOCA-OFED 26.01",
        f"hold the packages of the RDMA stack by {package_sets.PREFERENCES}",
    ]
    assert host.commands == []
    assert host.converge().changes == changes
    assert host.converge().changes == []


def test_a_host_without_universe_is_given_that_of_its_own_archive(host):
    host.components("main restricted")
    changes = host.converge().changes
    assert changes[0].startswith("write ")
    (source,) = Path(host.folder.parent).glob("a.sources")
    assert "Components: universe" in source.read_text()
    assert host.converge().changes == []


def test_libraries_of_the_distribution_that_are_there_are_neither_asked_for_nor_held(host):
    host.converge()
    assert not [part for part in installed(host, "26.01") if part.startswith("rdma-core")]
    held = Path(package_sets.PREFERENCES).read_text()
    assert "Package: doca-ofed-26.01-dkms\n" in held
    assert "rdma-core" not in held
    # An update of theirs is no damage.
    host.has_series("26.01", **{"rdma-core": "61.0-2ubuntu3.1"})
    assert host.converge().changes == []


def test_libraries_that_are_missing_come_along(host):
    host.has({"rdma-core": OWN["rdma-core"]})
    host.converge()
    assert "ibverbs-providers=61.0-2ubuntu3" in installed(host, "26.01")


@pytest.mark.parametrize(("series", "before"), [("26.04", "26.01"), ("26.01", "26.04")])
def test_another_series_takes_the_place_of_one_by_packages_alone(host, series, before):
    host.has_series(before)
    changes = host.converge(gpunode_ofed_version=series).changes
    assert any(
        words.startswith(f"install DOCA-OFED {series} in place of doca") for words in changes
    )
    assert f"{OF[before]}-" in installed(host, series)
    assert not host.told(doca_hosts.UNINSTALLER)
    assert host.converge(gpunode_ofed_version=series).changes == []


@pytest.mark.parametrize(
    ("packages", "kind", "version"),
    [
        ({"ofed-scripts": "24.10", "libibverbs1": "2410mlnx54-1"}, "mlnx_ofed", "24.10-1.1.4.0"),
        ({"doca-ofed": "3.4.0-085000", "libibverbs1": "2604.0.7-1"}, "doca", "26.04-0.8.5"),
    ],
)
def test_what_nvidia_brought_is_uninstalled_before(host, packages, kind, version):
    host.has(packages, kind, version)
    host.offers |= {"libibverbs1": "61.0-2ubuntu3"}
    planted(host.folder, {doca_hosts.UNINSTALLER: ""})
    host.converge()
    done = [argv for argv in host.commands if "--simulate" not in argv]
    uninstalled = next(at for at, argv in enumerate(done) if doca_hosts.UNINSTALLER in argv)
    assert uninstalled < done.index(installed(host, "26.01"))
    assert "libibverbs1-" not in " ".join(installed(host, "26.01"))


def test_what_canonical_brought_is_uninstalled_before_what_nvidia_brings(host):
    host.has_series("26.01")
    host.offers = doca_hosts.SERIES["25.10"]
    said = {"gpunode_ofed_version": "25.10", "mlnx_ofed_repository": "doca"}
    with pytest.raises(Refusal):
        host.converge(**said)
    purged = [argv for argv in host.commands if "purge" in argv and OF["26.01"] in argv]
    assert purged


def test_modules_that_canonical_has_built_give_way_to_those_that_are_built_here(host):
    built = "linux-modules-doca-ofed-26.01-generic"
    host.has({**OWN, built: "7.0.0-14.14"}, "doca", "26.01")
    host.converge()
    assert f"{built}-" in installed(host, "26.01")


def test_without_openibd_nothing_is_restarted_and_modules_wait_for_a_reboot(host):
    host.facts["own_kernel"], host.consent = True, ["restart_openibd"]
    host.facts["rdma_stack"]["loaded"] = True
    starts = ("start openibd", "restart openibd")
    assert not [words for words in host.converge().changes if words.startswith(starts)]
    host.facts["rdma_stack"].update(loaded=False, idle=["0000:01:00.0"])
    assert host.converge().changes == []


@pytest.mark.parametrize(
    ("offers", "version", "words"),
    [
        (OWN, "26.01", "the archive has no doca-ofed-26.01-dkms"),
        ({**OWN, OF["26.04"]: "3.5.0+1-0ubuntu1"}, "26.04", "it has|has doca-ofed-3.4-dkms 3.5"),
    ],
)
def test_an_archive_without_the_series_leaves_the_host_as_it_was(host, offers, version, words):
    host.offers = offers
    with pytest.raises(Refusal, match=words):
        host.converge(gpunode_ofed_version=version)
    assert not host.told("install")


def test_a_version_of_nvidias_repository_is_none_of_the_archives(host):
    host.has({"rdma-core": OWN["rdma-core"]})
    host.offers = {OF["26.01"]: VERSIONS["26.01"], "ibverbs-providers": "2604.0.7-1"}
    host.older = {"ibverbs-providers": "61.0-2ubuntu3"}
    host.converge()
    assert "ibverbs-providers=61.0-2ubuntu3" in installed(host, "26.01")
