"""The driver from packages: which version, and how a transaction that brings it is told."""

from __future__ import annotations

import subprocess

import pytest
from trees import looked_at

from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import driver_archive
from ansible_collections.gpunode.stack.plugins.module_utils._node.nvidia_driver import (
    package_archives,
    package_choice,
    package_family,
    package_sets,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.packages import (
    apt_transaction,
    package_manager,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import own_paths
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.inputs import catalog

ROWS = {row["name"]: row for row in catalog.rows("repositories")}
DEBIAN = package_family.of(ROWS, "debian")
CUDA = package_family.of(ROWS, "cuda")
# Debian 12, November 2026: its archive for security, its own, and backports.
PROPRIETARY = ["535.309.01-0+deb12u1", "535.261.03-1", "535.216.03-2~bpo12+1"]
OFFERS = {
    "nvidia-kernel-dkms": PROPRIETARY,
    "libcuda1": PROPRIETARY,
    "nvidia-smi": PROPRIETARY,
    # The fixes of the archive for security left these out.
    "nvidia-open-kernel-dkms": ["535.261.03-1"],
    "nvidia-persistenced": ["550.163.01-1", "535.171.04-1~deb12u1"],
}
NAMES = ["nvidia-kernel-dkms", "libcuda1", "nvidia-smi"]
OPEN = ["nvidia-open-kernel-dkms", "libcuda1", "nvidia-smi"]
STATUS = "/var/lib/dpkg/status"
APT = package_manager.Apt()


def dpkg(**packages):
    return "\n".join(
        f"Package: {name.replace('_', '-')}\nStatus: install ok installed\nVersion: {version}\n"
        for name, version in packages.items()
    )


def chosen(names=None, offers=None, branch="535", version="", family=DEBIAN):
    return package_choice.choose(names or NAMES, offers or OFFERS, branch, family, version)


# Which packages belong to the driver


@pytest.mark.parametrize(
    "name", ["libcuda1", "libnvidia-tesla-470-cuda1", "cuda-drivers", "libnvidia-nscq-535"]
)
def test_what_has_the_drivers_version_in_any_repository_belongs_to_it(name):
    assert package_family.belongs(name, DEBIAN)
    assert package_family.is_versioned(name, DEBIAN)


@pytest.mark.parametrize("name", ["nvidia-persistenced", "nvidia-settings", "nvidia-modprobe"])
def test_a_package_has_a_version_of_its_own_where_its_repository_says_so(name):
    assert package_family.belongs(name, DEBIAN)
    assert not package_family.is_versioned(name, DEBIAN)
    assert name not in DEBIAN.versioned
    assert package_family.is_versioned(name, CUDA)


@pytest.mark.parametrize("name", ["nvidia-container-toolkit", "nvidia-cuda-toolkit", "libnccl2"])
def test_what_merely_uses_the_driver_does_not_belong_to_it(name):
    assert not package_family.belongs(name, DEBIAN)


def test_what_is_installed_of_it_is_told_from_the_rest():
    status = dpkg(libcuda1="535.261.03-1", nvidia_persistenced="535.171.04-1", bash="5.2.15-2")
    found = looked_at(lambda tree: package_sets.installed(tree, DEBIAN), {STATUS: status})
    assert found == {"libcuda1": "535.261.03-1", "nvidia-persistenced": "535.171.04-1"}


# Which version


def test_the_newest_version_of_the_branch_is_chosen_for_all_packages():
    assert chosen() == package_choice.Choice("535.309.01", dict.fromkeys(NAMES, PROPRIETARY[0]), [])


def test_a_newer_version_that_one_of_the_packages_lacks_is_not_chosen():
    assert chosen(OPEN) == package_choice.Choice(
        "535.261.03", dict.fromkeys(OPEN, "535.261.03-1"), []
    )


def test_a_version_that_is_asked_for_is_chosen_and_no_other():
    assert chosen(version="535.216.03").packages["libcuda1"] == "535.216.03-2~bpo12+1"
    with pytest.raises(Refusal, match=r"driver 535\.104\.05 from packages: no version of it"):
        chosen(version="535.104.05")


def test_another_branch_is_none_of_the_one_that_is_wanted():
    offers = {name: ["550.163.01-2", "535.261.03-1"] for name in NAMES}
    assert chosen(offers=offers).driver == "535.261.03"
    assert chosen(offers=offers, branch="550").driver == "550.163.01"


def test_of_a_version_the_newest_revision_is_chosen():
    # The newest is offered first.
    offers = {name: ["535.161.08-10", "535.161.08-2", "535.161.08-1"] for name in NAMES}
    assert set(chosen(offers=offers).packages.values()) == {"535.161.08-10"}


def test_a_package_with_a_version_of_its_own_is_taken_from_the_same_branch():
    names = [*NAMES, "nvidia-persistenced"]
    assert chosen(names).packages["nvidia-persistenced"] == "535.171.04-1~deb12u1"
    offers = {**OFFERS, "nvidia-persistenced": ["550.163.01-1", "470.256.02-1"]}
    assert chosen(names, offers).packages["nvidia-persistenced"] == "550.163.01-1"


def test_what_lacks_which_package_is_said():
    with pytest.raises(Refusal, match=r"nvidia-smi none") as caught:
        chosen(offers={**OFFERS, "nvidia-smi": []})
    assert "libcuda1 535.309.01-0+deb12u1, 535.261.03-1" in str(caught.value)
    with pytest.raises(Refusal, match="nvidia-persistenced none"):
        chosen([*NAMES, "nvidia-persistenced"], {**OFFERS, "nvidia-persistenced": []})


def test_what_is_installed_besides_comes_along_where_it_can():
    there = {
        "libnvidia-ml1": "535.261.03-1",
        "nvidia-detect": "535.261.03-1",
        "nvidia-persistenced": "535.171.04-1~deb12u1",
    }
    offers = {"libnvidia-ml1": PROPRIETARY, "nvidia-detect": ["535.261.03-1"]}
    choice = package_choice.along(chosen(), there, offers, DEBIAN)
    assert choice.packages == {**chosen().packages, "libnvidia-ml1": PROPRIETARY[0]}


def test_modules_of_the_other_kind_go():
    there = {"nvidia-kernel-dkms": "535.261.03-1", "libcuda1": "535.261.03-1"}
    choice = package_choice.along(chosen(OPEN), there, OFFERS, DEBIAN, NAMES)
    assert choice.superseded == ["nvidia-kernel-dkms"]
    assert set(choice.packages) == set(OPEN)
    assert package_choice.along(chosen(OPEN), {}, {}, DEBIAN, NAMES).superseded == []


TESLA = {
    "nvidia-tesla-470-kernel-dkms": "470.256.02-1",
    "libnvidia-tesla-470-cuda1": "470.256.02-1",
}


def test_what_is_of_another_branch_goes_where_this_one_has_none_of_it():
    there = {**TESLA, "nvidia-persistenced": "470.256.02-1", "libnvidia-ml1": "470.256.02-1"}
    offers = {**OFFERS, **{name: ["470.256.02-1"] for name in TESLA}, "libnvidia-ml1": PROPRIETARY}
    choice = package_choice.along(chosen(), there, offers, DEBIAN)
    assert choice.superseded == sorted(TESLA)
    assert choice.packages == {**chosen().packages, "libnvidia-ml1": PROPRIETARY[0]}


def test_what_works_with_any_driver_is_no_stray_of_another_branch():
    there = {**TESLA, "nvidia-modprobe": "580.95.05-1", "libcuda1": PROPRIETARY[0]}
    assert package_choice.of_other_branches(there, "535", CUDA) == sorted(TESLA)
    assert package_choice.of_other_branches(there, "470", DEBIAN) == ["libcuda1"]


def test_a_package_whose_name_carries_the_branch_has_an_heir_in_another_one():
    there = {"libnvidia-nscq-550": "550.90.07-1"}
    offers = {**OFFERS, "libnvidia-nscq-535": ["535.309.01-1"]}
    choice = package_choice.along(chosen(), there, offers, CUDA)
    assert choice.packages["libnvidia-nscq-535"] == "535.309.01-1"
    assert choice.superseded == ["libnvidia-nscq-550"]
    assert package_choice.successor("libcuda1", "550.90.07-1", "535") == "libcuda1"
    assert package_choice.successor("nvidia-support", "20220217+3", "535") == "nvidia-support"


def test_a_branch_that_is_kept_whole_is_a_choice(tmp_path):
    place = tmp_path / "535.161.08"
    place.mkdir()
    for name in NAMES:
        (place / f"{name}_1%3a535.161.08-1_amd64.deb").touch()
    driver_archive.note("535.161.08", "535.161.08", folder=str(tmp_path))
    choice, places = package_archives.kept_choice(NAMES, "535", APT, str(tmp_path))
    assert choice == package_choice.Choice("535.161.08", dict.fromkeys(NAMES, "1:535.161.08-1"), [])
    assert places["libcuda1"] == str(place / "libcuda1_1%3a535.161.08-1_amd64.deb")
    assert package_archives.kept_choice(NAMES, "550", APT, str(tmp_path)) is None
    assert package_archives.kept_choice([*NAMES, "libcuda2"], "535", APT, str(tmp_path)) is None


def test_the_fabric_manager_has_exactly_the_drivers_version():
    names = package_choice.fabric_manager_names(ROWS["cuda"], "580")
    assert names[:2] == ["nvidia-fabricmanager-580", "nvidia-fabricmanager"]
    choice = package_choice.Choice("580.95.05", {}, [])
    offers = {"nvidia-fabricmanager": ["580.105.08-1", "580.95.05-1"]}
    found = package_choice.with_fabric_manager(choice, names, offers)
    assert found.packages == {"nvidia-fabricmanager": "580.95.05-1"}
    with pytest.raises(Refusal, match=r"nvidia-fabricmanager 580\.105\.08-1, 580\.95\.05-1"):
        package_choice.with_fabric_manager(choice._replace(driver="580.82.07"), names, offers)


def test_debian_has_no_fabric_manager():
    assert package_choice.fabric_manager_names(ROWS["debian"], "535") == []
    with pytest.raises(Refusal, match="this repository has none"):
        package_choice.with_fabric_manager(chosen(), [], {})


# How it is brought about


class Host:
    """Answers apt-get: what a simulation foresees, and whether the rest succeeds."""

    def __init__(self, tmp_path, foreseen="", status=0, stderr=""):
        self.foreseen = foreseen
        self.ending = (status, stderr)
        self.told = []
        self.preferences = ""
        self.status = tmp_path / "status"

    def execute(self, argv, _environment):
        self.told.append(argv)
        path = next((part for part in argv if part.startswith("Dir::Etc::preferences=")), None)
        if path:
            with open(path.partition("=")[2], encoding="utf-8") as handle:
                self.preferences = handle.read()
        if "--simulate" in argv:
            return subprocess.CompletedProcess(argv, 0, self.foreseen, "")
        return subprocess.CompletedProcess(argv, self.ending[0], "", self.ending[1])

    def does(self, function, *arguments, there=None):
        """Run a function on a host with some packages."""
        apt = package_manager.Apt()
        return looked_at(
            lambda tree: function(*arguments, tree, self.execute, apt),
            {STATUS: dpkg(**(there or {}))},
        )


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setattr(own_paths, "CACHE_DIR", str(tmp_path / "cache"))


INST = "".join(f"Inst {name} [535.104.05-1] (x)\n" for name in NAMES)
THERE = {name.replace("-", "_"): PROPRIETARY[0] for name in NAMES}


def test_packages_are_named_with_their_versions_under_preferences_of_their_own(tmp_path):
    host = Host(tmp_path, INST)
    with pytest.raises(Refusal, match="the host has something else afterwards"):
        host.does(package_sets.install, chosen(), DEBIAN)
    simulated, done = host.told
    assert [argv[-3:] for argv in (simulated, done)] == [
        [f"{name}={PROPRIETARY[0]}" for name in NAMES]
    ] * 2
    assert "--allow-downgrades" in done
    assert "Pin: version 535.309.01-*\nPin-Priority: 1001\n" in host.preferences


RPM = ("nvidia-driver-cuda", "3:580.95.05-1.el9")
RPMS = package_choice.Choice("580.95.05", dict([RPM]), ["libnvidia-sandboxutils"])


def dnf(told):
    """Return what runs dnf, and finds nothing in the way of it."""

    def execute(argv, _environment):
        told.append(argv)
        is_simulated = "--assumeno" in argv
        return subprocess.CompletedProcess(argv, is_simulated, "Operation aborted.\n", "")

    return execute


def rpm(**packages):
    """Return what makes a tree that of a host with these packages."""
    rows = "".join(f"{name.replace('_', '-')}\t{version}\n" for name, version in packages.items())
    return {"files": {"/var/lib/rpm/rpmdb.sqlite": ""}, "answers": {"rpm": rows}}


def test_dnf_passes_our_own_pins_and_fetches_once():
    told = []
    manager = package_manager.Dnf()
    there = rpm(nvidia_driver_cuda=RPM[1])
    package_sets.fetch(RPMS, CUDA, dnf(told), manager)
    looked_at(lambda tree: package_sets._put(RPMS, CUDA, dnf(told), manager), **there)
    _simulated, fetched, _simulated_again, done = told
    for argv in (fetched, done):
        assert {"--disableplugin=versionlock", "--allowerasing"} <= set(argv)
        assert f"--setopt=destdir={package_archives.COMING}" in argv
        assert argv[-1] == "nvidia-driver-cuda-3:580.95.05-1.el9"
        assert "--setopt=*.skip_if_unavailable=True" not in argv
    assert ["--downloadonly" in argv for argv in (fetched, done)] == [True, False]


def test_what_a_cut_transaction_left_in_two_versions_is_one_again():
    told = []
    rows = "nvidia-driver-cuda\t3:580.65.06-1.el9\nnvidia-driver-cuda\t3:580.95.05-1.el9\n"
    there = {"files": {"/var/lib/rpm/rpmdb.sqlite": ""}, "answers": {"rpm": rows}}
    assert looked_at(lambda tree: package_sets.installed(tree, CUDA), **there) == {}
    with pytest.raises(Refusal, match="the host has something else afterwards"):
        looked_at(
            lambda tree: package_sets.install(RPMS, CUDA, tree, dnf(told), package_manager.Dnf()),
            **there,
        )
    assert told[0] == ["rpm", "--erase", "--nodeps", "nvidia-driver-cuda-580.65.06-1.el9"]


def test_dnf_takes_what_lies_on_the_host_though_no_repository_can_be_reached():
    told = []
    archives = {RPM[0]: "/kept/x.rpm"}
    package_sets.fetch(RPMS, CUDA, dnf(told), package_manager.Dnf(), archives)
    assert told[-1][-1] == "/kept/x.rpm"
    assert "--setopt=*.skip_if_unavailable=True" in told[-1]


def test_dnf_removes_what_was_to_go_and_was_in_nobodys_way():
    told = []
    there = rpm(nvidia_driver_cuda="3:580.65.06-1.el9", libnvidia_sandboxutils="3:570.1.2-1.el9")
    with pytest.raises(Refusal, match="the host has something else afterwards"):
        looked_at(
            lambda tree: package_sets.install(RPMS, CUDA, tree, dnf(told), package_manager.Dnf()),
            **there,
        )
    assert ("remove" in told[-1], told[-1][-1]) == (True, "libnvidia-sandboxutils")


def test_nothing_is_done_where_all_is_there(tmp_path):
    host = Host(tmp_path)
    host.does(package_sets.install, chosen(), DEBIAN, there=THERE)
    assert host.told == []


def test_the_preferences_of_the_host_hold_for_everything_else(tmp_path, monkeypatch):
    text = "Package: *\nPin: origin m\n"
    monkeypatch.setattr(apt_transaction.text_files, "read", lambda _path: text)
    host = Host(tmp_path, INST)
    package_sets.fetch(chosen(), DEBIAN, host.execute, package_manager.Apt())
    assert host.preferences.endswith("\nPackage: *\nPin: origin m\n")
    assert "--download-only" in host.told[-1]


def test_a_part_of_the_driver_may_go_and_nothing_else(tmp_path):
    host = Host(tmp_path, INST + "Remv libnvidia-rtcore [535.104.05-1]\n")
    package_sets.fetch(chosen(), DEBIAN, host.execute, package_manager.Apt())
    assert "--no-remove" not in host.told[-1]
    host = Host(tmp_path, INST + "Remv ollama [0.1]\n")
    with pytest.raises(Refusal, match="remove what others may need: ollama"):
        package_sets.fetch(chosen(), DEBIAN, host.execute, package_manager.Apt())
    assert len(host.told) == 1


def test_a_kernel_is_never_brought_along(tmp_path):
    host = Host(tmp_path, INST + "Inst linux-image-6.1.0-56-amd64 (x)\n")
    with pytest.raises(Refusal, match="touch the kernel"):
        package_sets.fetch(chosen(), DEBIAN, host.execute, package_manager.Apt())


def test_what_a_script_of_a_package_says_is_told(tmp_path):
    stderr = (
        "ERROR: it does not work\n"
        "dpkg: error processing package nvidia-smi (--configure):\n"
        "E: Sub-process /usr/bin/dpkg returned an error code (1)\n"
    )
    host = Host(tmp_path, INST, 100, stderr)
    with pytest.raises(Refusal, match="ERROR: it does not work / dpkg: error processing"):
        host.does(package_sets.install, chosen(), DEBIAN)


def test_the_modules_sources_are_in_what_came_along_where_the_names_have_none(tmp_path):
    for name in ("dkms_3.0.10-8", "nvidia-dkms-535-server_535.309.01-1", "libcuda1_535.309.01-1"):
        (tmp_path / f"{name}_all.deb").touch()
    choice = package_choice.Choice("535.309.01", {"nvidia-headless-535-server": "535.309.01-1"}, [])
    found = package_archives.sources(choice, CUDA, APT, str(tmp_path))
    assert found == {"nvidia-dkms-535-server": "535.309.01-1"}
    found = package_archives.sources(chosen(), DEBIAN, APT, str(tmp_path / "nothing"))
    assert found == {"nvidia-kernel-dkms": PROPRIETARY[0]}


def test_what_is_half_installed_is_brought_to_its_end_though_all_is_there(tmp_path):
    host = Host(tmp_path, INST)
    half = "Package: libnvidia-ml1\nStatus: install ok half-configured\nVersion: 535.261.03-1\n"
    status = {STATUS: f"{dpkg(**THERE)}\n{half}"}
    apt = package_manager.Apt()
    choice = chosen()._replace(superseded=["libnvidia-ml1"])
    looked_at(lambda tree: package_sets.install(choice, DEBIAN, tree, host.execute, apt), status)
    assert host.told[-1][-1] == "libnvidia-ml1-"
    assert looked_at(lambda tree: package_sets.came(NAMES, DEBIAN, tree), status) == [
        "libnvidia-ml1"
    ]


def test_settings_are_purged_of_what_is_gone_and_of_nothing_else(tmp_path):
    host = Host(tmp_path, "Purg nvidia-kernel-support\n")
    rows = [
        f"Package: {name}\nStatus: deinstall ok config-files\nVersion: 1-1\n"
        for name in ("nvidia-kernel-support", "nginx")
    ]
    status = {STATUS: "\n".join([dpkg(**THERE), *rows])}
    apt = package_manager.Apt()
    names = [*NAMES, "nvidia-kernel-support"]
    looked_at(lambda tree: package_sets.forget(names, tree, host.execute, apt), status)
    assert host.told[-1][-2:] == ["purge", "nvidia-kernel-support"]
    host.told.clear()
    looked_at(lambda tree: package_sets.forget(NAMES, tree, host.execute, apt), status)
    assert host.told == []


def test_all_that_belongs_to_the_driver_is_purged(tmp_path):
    there = {**THERE, "nvidia_persistenced": "535.171.04-1", "nvidia_container_toolkit": "1.17"}
    host = Host(tmp_path, "".join(f"Purg {name}\n" for name in NAMES))
    host.does(package_sets.remove, DEBIAN, there=there)
    assert host.told[-1][-5:] == ["purge", *sorted([*NAMES, "nvidia-persistenced"])]


def test_a_removal_that_would_take_others_along_is_refused_by_name(tmp_path):
    host = Host(tmp_path, "Purg libcuda1\nPurg ollama\n")
    with pytest.raises(Refusal, match="remove what others may need: ollama"):
        host.does(package_sets.remove, DEBIAN, there=THERE)
    assert len(host.told) == 1


def test_whether_a_removal_does_harm_is_told_without_one(tmp_path):
    host = Host(tmp_path, "Purg libcuda1\n")
    host.does(package_sets.check_removal, DEBIAN, there=THERE)
    assert ["--simulate" in argv for argv in host.told] == [True]
    host = Host(tmp_path, "Purg libcuda1\nPurg ollama\n")
    with pytest.raises(Refusal, match="remove what others may need: ollama"):
        host.does(package_sets.check_removal, DEBIAN, there=THERE)


def test_a_host_without_packages_has_none_removed(tmp_path):
    host = Host(tmp_path)
    host.does(package_sets.remove, DEBIAN, there={"bash": "5.2.15-2"})
    assert host.told == []


def test_headers_are_those_of_the_kernel_and_no_metapackage():
    madison = "linux-headers-6.1.0-56-amd64 | 6.1.192-2 | http://m/d bookworm/main amd64 Packages\n"
    found = looked_at(
        lambda tree: package_sets.headers(tree, ["6.1.0-56-amd64", "6.1.0-9-amd64"]),
        answers={"apt-cache": madison},
    )
    assert found == {"6.1.0-56-amd64": "linux-headers-6.1.0-56-amd64"}


def test_headers_that_would_bring_a_kernel_are_refused(tmp_path):
    host = Host(tmp_path, "Inst linux-headers-6.12.1 (x)\nInst linux-image-6.12.1 (x)\n")
    with pytest.raises(Refusal, match=r"touch the kernel of the host: linux-image-6\.12\.1"):
        package_sets.install_headers(["linux-headers-6.12.1"], host.execute, package_manager.Apt())
