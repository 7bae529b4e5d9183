"""What a host keeps of its drivers: whole, for root alone, the installed one and the one before."""

from __future__ import annotations

import subprocess

import pytest
from trees import looked_at

from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import (
    driver_archive,
    installed_driver,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.nvidia_driver import (
    package_archives,
    package_choice,
    package_family,
    package_sets,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.packages import (
    package_manager,
    stack_packages,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import own_paths
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.inputs import catalog

ROWS = {row["name"]: row for row in catalog.rows("repositories")}
APT = package_manager.Apt()
FAMILY = package_family.of(ROWS, "debian")
STATUS = "/var/lib/dpkg/status"


class Host:
    """A host whose apt has fetched some packages, and offers others."""

    def __init__(self, folder, monkeypatch):
        self.folder = folder / "kept"
        self.coming = self.folder / "coming"
        self.offers = set()
        monkeypatch.setattr(package_archives, "COMING", str(self.coming))
        monkeypatch.setattr(own_paths, "CACHE_DIR", str(folder / "cache"))

    def execute(self, argv, _environment):
        """Answer as `apt-get download` does, which fetches all or nothing."""
        place, names = argv[1].partition("=")[2], argv[argv.index("download") + 1 :]
        if not self.offers.issuperset(names):
            return subprocess.CompletedProcess(argv, 100, "", "E: Version was not found")
        for name in names:
            self.put(place, *name.split("="))
        return subprocess.CompletedProcess(argv, 0, "", "")

    def put(self, place, name, version):
        quoted = version.replace(":", "%3a")
        with open(f"{place}/{name}_{quoted}_amd64.deb", "w", encoding="utf-8") as handle:
            handle.write(version)

    def keep(self, driver, *fetched, offers=(), **there):
        there = {name.replace("_", "-"): version for name, version in there.items()}
        (self.coming / "partial").mkdir(parents=True)
        for name in fetched:
            self.put(self.coming, name, there.get(name, "1"))
        self.offers = {f"{name}={there[name]}" for name in offers}
        package_archives.keep(driver, there, APT, self.execute, str(self.folder))

    def rows(self):
        rows = driver_archive.rows(folder=str(self.folder))
        return [(row["version"], row["path"], row["sha256"]) for row in rows]

    def names(self, driver):
        return sorted(path.name for path in (self.folder / driver).iterdir())


@pytest.fixture
def host(tmp_path, monkeypatch):
    return Host(tmp_path, monkeypatch)


def test_what_was_fetched_is_kept_and_only_what_lacks_is_fetched(host):
    there = {"libcuda1": "535.1-1", "nvidia_smi": "1:535.1-1"}
    host.keep("535.1", "libcuda1", "dkms", offers=["nvidia-smi"], **there)
    assert host.names("535.1") == ["libcuda1_535.1-1_amd64.deb", "nvidia-smi_1%3a535.1-1_amd64.deb"]
    assert host.rows() == [("535.1", str(host.folder / "535.1"), "")]
    assert not host.coming.exists()
    modes = {f"{path.stat().st_mode & 0o777:o}" for path in (host.folder / "535.1").iterdir()}
    assert (f"{(host.folder / '535.1').stat().st_mode & 0o777:o}", modes) == ("700", {"600"})


def test_what_cannot_be_had_whole_is_not_kept_and_no_reason_to_fail(host):
    host.keep("535.1", "libcuda1", libcuda1="535.1-1", nvidia_smi="535.1-1")
    assert host.rows() == []
    assert not (host.folder / "535.1").exists()


def test_the_installed_version_and_the_one_before_are_kept_and_what_is_no_drivers_stays(host):
    host.folder.mkdir()
    (host.folder / "aside").mkdir()
    for driver in ("470.1", "535.1", "535.1", "550.1"):
        host.keep(driver, "libcuda1", libcuda1=f"{driver}-1")
    assert [row[0] for row in host.rows()] == ["550.1", "535.1"]
    assert sorted(path.name for path in host.folder.iterdir()) == [
        "535.1",
        "550.1",
        "aside",
        "kept.json",
    ]


def test_the_way_back_is_by_what_is_kept(host):
    host.keep("535.1", "libcuda1", libcuda1="535.1-1")
    ran = []

    def execute(argv, _environment):
        ran.append(argv)
        return subprocess.CompletedProcess(argv, 0, "", "")

    archives = package_archives.kept("535.1", {"libcuda1": "535.1-1"}, APT, str(host.folder))
    choice = package_choice.Choice("535.1", {"libcuda1": "535.1-1"}, ["nvidia-open-kernel-dkms"])
    package_sets._put(choice, FAMILY, execute, APT, archives=archives)
    assert ran[-1][-2:] == [
        str(host.folder / "535.1" / "libcuda1_535.1-1_amd64.deb"),
        "nvidia-open-kernel-dkms-",
    ]
    assert package_archives.kept("550.1", {"libcuda1": "550.1-1"}, APT, str(host.folder)) == {}


@pytest.mark.parametrize("text", ["", "rubbish", "[1]", "{}", '[{"name": 1}]'])
def test_facts_of_a_broken_note_are_that_nothing_is_kept(text):
    assert looked_at(installed_driver.kept, {f"{driver_archive.DIR}/kept.json": text}) == []


def test_what_dpkg_did_not_bring_to_an_end_is_told_from_what_is_there_and_what_is_gone():
    states = {
        "libcuda1": "installed",
        "nvidia-smi": "half-configured",
        "nvidia-alternative": "triggers-awaited",
        "libnvidia-ml1": "unpacked",
        "nvidia-driver": "config-files",
        "bash": "half-configured",
    }
    status = "\n".join(
        f"Package: {name}\nStatus: install ok {state}\nVersion: 1\n"
        for name, state in states.items()
    )

    def belongs(name):
        return package_family.belongs(name, FAMILY)

    found = looked_at(lambda tree: stack_packages.unfinished(tree, belongs), {STATUS: status})
    assert found == dict.fromkeys(["libnvidia-ml1", "nvidia-alternative", "nvidia-smi"], "1")
    assert looked_at(lambda tree: stack_packages.unfinished(tree, belongs)) == {}


def test_the_journal_of_a_dpkg_that_was_killed_has_the_last_word():
    rows = [
        f"Package: nvidia-smi\nStatus: install ok {state}\nVersion: 1\n"
        for state in ("installed", "unpacked", "half-configured")
    ]
    journal = {f"/var/lib/dpkg/updates/000{place}": row for place, row in enumerate(rows[1:])}
    found = {STATUS: rows[0], **journal, "/var/lib/dpkg/updates/tmp.i": rows[0]}
    unfinished = looked_at(lambda tree: stack_packages.unfinished(tree, bool), found)
    assert unfinished == {"nvidia-smi": "1"}
    assert looked_at(lambda tree: stack_packages.installed(tree, bool), found) == {}
