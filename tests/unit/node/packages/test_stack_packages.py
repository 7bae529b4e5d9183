"""Packages of the two families, from recorded databases and answers."""

from __future__ import annotations

import subprocess

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trees import looked_at, planted

from ansible_collections.gpunode.stack.plugins.module_utils._node.packages import stack_packages
from ansible_collections.gpunode.stack.plugins.module_utils._node.system.root import Root
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import project

_NAMES = project.ROOT / "tests" / "standins" / "packages" / "debian.yml"
NAMES = yaml.safe_load(_NAMES.read_text(encoding="utf-8"))
STATUS = "/var/lib/dpkg/status"
DEBIAN = "http://deb.debian.org/debian"


def dpkg(**packages):
    """Return dpkg's database of some packages, {name with _ for -: version}."""
    return "\n".join(
        f"Package: {name.replace('_', '-')}\nStatus: install ok installed\nPriority: optional\n"
        f"Architecture: amd64\nVersion: {version}\nDescription: one\n of several lines\n"
        for name, version in packages.items()
    )


def policy(name, installed, *table):
    """Return what apt-cache policy prints of a package, in the lay-out of apt 2.6.

    :param table: (version, priority, [source lines]); the installed one is marked.
    """
    lines = [f"{name}:", f"  Installed: {installed}", f"  Candidate: {installed}"]
    lines.append("  Version table:")
    for version, priority, sources in table:
        mark = " *** " if version == installed else "     "
        lines += [f"{mark}{version} {priority}", *(f"        {line}" for line in sources)]
    return "\n".join(lines) + "\n"


def of_apt(status, answer):
    rows = looked_at(stack_packages.survey, {STATUS: status}, answers={"apt-cache": answer})
    return {
        row["name"]: (row["version"], row["offered"], row["offered_by_security"]) for row in rows
    }


# The versions of Debian 12 and its security archive.
OLD, NEW = "535.261.03-1", "535.309.01-0+deb12u1"
OWN = (OLD, 100, ["100 /var/lib/dpkg/status", f"500 {DEBIAN} bookworm/non-free amd64 Packages"])
SECURITY = (NEW, 500, [f"500 {DEBIAN}-security bookworm-security/non-free amd64 Packages"])


def test_a_newer_version_is_offered_with_the_archive_it_comes_from():
    answer = policy("nvidia-driver", OLD, SECURITY, OWN)
    assert of_apt(dpkg(nvidia_driver=OLD), answer) == {"nvidia-driver": (OLD, NEW, True)}


def test_a_newer_version_is_offered_whatever_pins_say():
    held = (NEW, -1, SECURITY[2])
    answer = policy("nvidia-driver", OLD, held, OWN).replace(
        "  Version table:", f"  Package pin: {OLD}\n  Version table:"
    )
    assert of_apt(dpkg(nvidia_driver=OLD), answer)["nvidia-driver"] == (OLD, NEW, True)


def test_an_update_for_security_counts_below_a_newer_branch():
    other = ("580.95.05-1", 600, ["600 https://example.com/cuda/repos/debian12/x86_64  Packages"])
    answer = policy("nvidia-driver", OLD, other, SECURITY, OWN)
    assert of_apt(dpkg(nvidia_driver=OLD), answer)["nvidia-driver"] == (OLD, "580.95.05-1", True)


def test_an_update_for_security_counts_above_another_newer_version():
    other = ("535.300.01-1", 500, [f"500 {DEBIAN} bookworm-updates/non-free amd64 Packages"])
    answer = policy("nvidia-driver", OLD, SECURITY, other, OWN)
    assert of_apt(dpkg(nvidia_driver=OLD), answer)["nvidia-driver"] == (OLD, NEW, True)


def test_an_update_of_the_distribution_is_none_of_security():
    plain = (NEW, 500, [f"500 {DEBIAN} bookworm-updates/non-free amd64 Packages"])
    answer = policy("nvidia-driver", OLD, plain, OWN)
    assert of_apt(dpkg(nvidia_driver=OLD), answer)["nvidia-driver"] == (OLD, NEW, False)


@pytest.mark.parametrize(
    "suite", ["noble-security/restricted", "buster/updates/main", "bookworm-security/main"]
)
def test_archives_for_security_are_known_by_their_suite(suite):
    table = (NEW, 500, [f"500 http://security.example.com/x {suite} amd64 Packages"])
    answer = policy("nvidia-driver", OLD, table, OWN)
    assert of_apt(dpkg(nvidia_driver=OLD), answer)["nvidia-driver"][2] is True


def test_older_and_equal_versions_are_not_offered():
    older = ("535.216.01-1", 500, SECURITY[2])
    answer = policy("nvidia-driver", OLD, OWN, older)
    assert of_apt(dpkg(nvidia_driver=OLD), answer)["nvidia-driver"] == (OLD, "", False)


def test_a_newer_version_that_the_archive_stopped_is_not_offered():
    stopped = (NEW, "500 (phased 0%)", SECURITY[2])
    between = ("535.300.01-1", "500 (phased 30%)", SECURITY[2])
    answer = policy("nvidia-driver", OLD, stopped, OWN)
    assert of_apt(dpkg(nvidia_driver=OLD), answer)["nvidia-driver"] == (OLD, "", False)
    answer = policy("nvidia-driver", OLD, stopped, between, OWN)
    found = of_apt(dpkg(nvidia_driver=OLD), answer)["nvidia-driver"]
    assert found == (OLD, "535.300.01-1", True)


def test_each_package_has_its_own_table():
    answer = policy("libcuda1", NEW, (NEW, 100, ["100 /var/lib/dpkg/status"]), OWN)
    answer += policy("nvidia-driver", OLD, SECURITY, OWN)
    rows = of_apt(dpkg(nvidia_driver=OLD, libcuda1=NEW), answer)
    assert rows == {"libcuda1": (NEW, "", False), "nvidia-driver": (OLD, NEW, True)}
    assert list(rows) == sorted(rows)


@pytest.mark.parametrize(
    "name",
    ["nvidia-driver", "nvidia-kernel-dkms", "libnvidia-ml1", "libcuda1", "nvidia-fabricmanager-535",
     "linux-modules-nvidia-535-server-6.8.0-31-generic", "cuda-drivers-550", "kmod-nvidia-open",
     "mlnx-ofa_kernel", "mlnx-ofed-kernel-dkms", "doca-ofed", "rdma-core", "libibverbs1",
     "nvidia-peer-memory-dkms", "nvidia_peer_memory", "ofed-scripts", "virtiofs-dkms", "mft-mlx5",
     "srp_daemon", "python3-pyverbs"],
)  # fmt: skip
def test_the_family_is_what_the_driver_and_rdma_bring(name):
    assert stack_packages._FAMILY.fullmatch(name)


@pytest.mark.parametrize("release", NAMES)
def test_all_that_debian_has_of_the_driver_is_of_the_family(release):
    names = NAMES[release]["family"] + NAMES[release]["companions"]
    assert [name for name in names if not stack_packages._FAMILY.fullmatch(name)] == []


def test_packages_are_told_by_name_whatever_the_family():
    status = dpkg(nvidia_driver=OLD, bash="5.2.15-2")
    found = looked_at(lambda tree: stack_packages.installed(tree, {"bash"}.__contains__),
                      {STATUS: status})  # fmt: skip
    assert found == {"bash": "5.2.15-2"}


@pytest.mark.parametrize(
    "name",
    ["nvidia-container-toolkit", "libnvidia-container1", "nvidia-cuda-toolkit", "linux-image-amd64",
     "libcudart12", "cuda-toolkit-12-4", "bash", "sharp"],
)  # fmt: skip
def test_cuda_and_containers_are_not_of_the_family(name):
    assert not stack_packages._FAMILY.fullmatch(name)


def test_a_package_whose_settings_alone_are_left_is_not_installed():
    status = dpkg(nvidia_driver=OLD).replace("install ok installed", "deinstall ok config-files")
    assert of_apt(status, "") == {}


def test_a_held_package_is_installed():
    status = dpkg(nvidia_driver=OLD).replace("install ok installed", "hold ok installed")
    assert of_apt(status, "") == {"nvidia-driver": (OLD, "", False)}


@pytest.mark.parametrize("files", [{}, {STATUS: dpkg(bash="5.2.15-2")}, {"/var/lib/rpm/rpmdb": ""}])
def test_nothing_is_offered_where_no_package_of_the_family_is(tmp_path, files):
    planted(tmp_path, files)
    asked = []

    def run(argv, **_options):
        asked.append(argv[0])
        return subprocess.CompletedProcess(argv, 0, b"bash\t5.1.8-9.el9\n", b"")

    assert stack_packages.survey(Root(str(tmp_path), run)) == []
    assert set(asked) <= {"rpm"}


RPMS = (
    "bash\t5.1.8-9.el9\nnvidia-driver\t3:550.54.14-1.el9\nnvidia-driver-libs\t3:550.54.14-1.el9\n"
)
# Lay-out of dnf 4: a name too long for its column breaks the line.
UPGRADES = (
    "Available Upgrades\n"
    "nvidia-driver.x86_64      3:550.163.01-1.el9      cuda-rhel9-x86_64\n"
    "nvidia-driver-libs.x86_64\n"
    "                          3:550.163.01-1.el9      cuda-rhel9-x86_64\n"
)
ADVISORIES = "RHSA-2025:0001 Important/Sec. nvidia-driver-libs-3:550.163.01-1.el9.x86_64\n"


def of_dnf(tmp_path, upgrades, advisories):
    planted(tmp_path, {"/var/lib/rpm/rpmdb.sqlite": ""})

    def run(argv, **_options):
        answer = RPMS if argv[0] == "rpm" else advisories if "updateinfo" in argv else upgrades
        return subprocess.CompletedProcess(argv, 0, answer.encode(), b"")

    rows = stack_packages.survey(Root(str(tmp_path), run))
    return {
        row["name"]: (row["version"], row["offered"], row["offered_by_security"]) for row in rows
    }


def test_dnf_offers_upgrades_and_names_those_for_security(tmp_path):
    assert of_dnf(tmp_path, UPGRADES, ADVISORIES) == {
        "nvidia-driver": ("3:550.54.14-1.el9", "3:550.163.01-1.el9", False),
        "nvidia-driver-libs": ("3:550.54.14-1.el9", "3:550.163.01-1.el9", True),
    }


def test_dnf_without_upgrades_offers_nothing(tmp_path):
    assert {row[1] for row in of_dnf(tmp_path, "", ADVISORIES).values()} == {""}


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=300))
def test_rubbish_in_the_database_and_in_answers_is_no_error(rubbish):
    status = dpkg(nvidia_driver=OLD).encode()
    answers = {"apt-cache": b"nvidia-driver:\n     9 500\n        500 x\n" + rubbish}
    looked_at(stack_packages.survey, {STATUS: status + b"\n" + rubbish}, answers=answers)
    answers = {"rpm": RPMS.encode() + rubbish, "dnf": UPGRADES.encode() + rubbish}
    looked_at(stack_packages.survey, {"/var/lib/rpm/x": rubbish}, answers=answers)


@pytest.mark.parametrize(("database", "program"), [(STATUS, "dpkg-query"), (None, "rpm")])
def test_a_file_that_no_package_has_placed_is_nobodys(tmp_path, database, program):
    files = {database: dpkg()} if database else {}
    owned = planted(tmp_path, files, answers={program: "libcuda1: /usr/lib/libcuda.so.1\n"})
    assert stack_packages.owns(owned, "/usr/lib/libcuda.so.535.161.08")
    assert not stack_packages.owns(planted(tmp_path, files), "/usr/lib/libcuda.so.535.161.08")
