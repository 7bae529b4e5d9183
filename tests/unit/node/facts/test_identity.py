"""Which distribution a host runs, and what manages its packages and services.

The right values are those that Ansible's own facts have for the same files, for which its tests of
``module_utils/facts/system/distribution`` are the source.
"""

from __future__ import annotations

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.facts import identity
from ansible_collections.gpunode.stack.plugins.module_utils._node.system.root import Root

# Name: os-release, other files, and distribution, release, version, major version, family.
HOSTS = {
    "Debian": (
        'NAME="Debian GNU/Linux"\nID=debian\nVERSION_ID="12"\nVERSION="12 (bookworm)"\n'
        "VERSION_CODENAME=bookworm\n",
        {"etc/debian_version": "12.9\n"},
        ("Debian", "bookworm", "12.9", "12", "Debian"),
    ),
    "Debian that is not released": (
        'NAME="Debian GNU/Linux"\nID=debian\nVERSION_CODENAME=forky\n',
        {"etc/debian_version": "forky/sid\n"},
        ("Debian", "forky", "", "", "Debian"),
    ),
    "Debian whose other file is of another release": (
        'NAME="Debian GNU/Linux"\nID=debian\nVERSION_ID="13"\nVERSION_CODENAME=trixie\n',
        {"etc/debian_version": "12.9\n"},
        ("Debian", "trixie", "13", "13", "Debian"),
    ),
    "Ubuntu": (
        'NAME="Ubuntu"\nID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"\n'
        'VERSION="24.04.1 LTS (Noble Numbat)"\nVERSION_CODENAME=noble\n',
        {"etc/debian_version": "trixie/sid\n"},
        ("Ubuntu", "noble", "24.04", "24", "Debian"),
    ),
    "Red Hat": (
        'NAME="Red Hat Enterprise Linux"\nID="rhel"\nID_LIKE="fedora"\nVERSION_ID="9.4"\n'
        'VERSION="9.4 (Plow)"\n',
        {},
        ("RedHat", "Plow", "9.4", "9", "RedHat"),
    ),
    "Rocky": (
        'NAME="Rocky Linux"\nID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="8.9"\n'
        'VERSION="8.9 (Green Obsidian)"\n',
        {"etc/redhat-release": "Rocky Linux release 8.9 (Green Obsidian)\n"},
        ("Rocky", "Green Obsidian", "8.9", "8", "RedHat"),
    ),
    "Alma": (
        'NAME="AlmaLinux"\nID="almalinux"\nID_LIKE="rhel centos fedora"\nVERSION_ID="10.0"\n'
        'VERSION="10.0 (Purple Lion)"\n',
        {},
        ("AlmaLinux", "Purple Lion", "10.0", "10", "RedHat"),
    ),
    "CentOS": (
        'NAME="CentOS Linux"\nID="centos"\nID_LIKE="rhel fedora"\nVERSION_ID="7"\n'
        'VERSION="7 (Core)"\n',
        {"etc/centos-release": "CentOS Linux release 7.9.2009 (Core)\n"},
        ("CentOS", "Core", "7.9", "7", "RedHat"),
    ),
    "Oracle": (
        'NAME="Oracle Linux Server"\nID="ol"\nID_LIKE="fedora"\nVERSION_ID="8.8"\nVERSION="8.8"\n',
        {"etc/oracle-release": "Oracle Linux Server release 8.8\n"},
        ("OracleLinux", "", "8.8", "8", "RedHat"),
    ),
    "Amazon": (
        'NAME="Amazon Linux"\nID="amzn"\nID_LIKE="fedora"\nVERSION_ID="2023"\nVERSION="2023"\n',
        {"etc/system-release": "Amazon Linux release 2023.6.20250115 (Amazon Linux)\n"},
        ("Amazon", "", "2023", "2023", "RedHat"),
    ),
    "Mint": (
        'NAME="Linux Mint"\nID=linuxmint\nID_LIKE="ubuntu debian"\nVERSION_ID="21.3"\n'
        'VERSION="21.3 (Virginia)"\nVERSION_CODENAME=virginia\n',
        {},
        ("Linux Mint", "virginia", "21.3", "21", "Debian"),
    ),
    "Leap": (
        'NAME="openSUSE Leap"\nID="opensuse-leap"\nID_LIKE="suse opensuse"\nVERSION_ID="15.6"\n',
        {},
        ("openSUSE Leap", "", "15.6", "15", "Suse"),
    ),
    "one that nobody knows, but for its family": (
        'NAME="GPU OS"\nID=gpuos\nID_LIKE="nothing ubuntu"\nVERSION_ID=7\n',
        {},
        ("GPU OS", "", "7", "7", "Debian"),
    ),
    "one that nobody knows": (
        'NAME="GPU OS"\nID=gpuos\nVERSION_ID=7\n',
        {},
        ("GPU OS", "", "7", "7", "GPU OS"),
    ),
    "nothing": ("", {}, ("", "", "", "", "")),
}


@pytest.mark.parametrize("name", HOSTS)
def test_a_distribution_is_called_as_ansible_calls_it(tmp_path, name):
    text, others, expected = HOSTS[name]
    (tmp_path / "etc").mkdir()
    for path, content in {"etc/os-release": text, **others}.items():
        (tmp_path / path).write_text(content)
    assert tuple(identity.distribution(Root(str(tmp_path))).values()) == expected


@pytest.mark.parametrize(
    ("family", "programs", "manager"),
    [
        ("Debian", ["usr/bin/apt-get"], "apt"),
        ("Debian", ["usr/bin/apt-get", "usr/bin/dnf", "usr/bin/zypper"], "apt"),
        ("RedHat", ["usr/bin/dnf"], "dnf"),
        ("RedHat", ["usr/bin/microdnf"], "dnf"),
        ("RedHat", ["usr/bin/dnf", "usr/bin/apt-get"], "dnf"),
        ("RedHat", ["usr/bin/dnf", "run/ostree-booted"], "atomic_container"),
        ("Suse", ["usr/bin/zypper"], "zypper"),
        ("Archlinux", ["usr/bin/pacman"], "pacman"),
        ("Alpine", ["sbin/apk"], "apk"),
        ("RedHat", ["usr/bin/yum"], "unknown"),
        ("GPU OS", [], "unknown"),
    ],
)
def test_a_familys_own_manager_of_packages_counts(tmp_path, family, programs, manager):
    for program in programs:
        (tmp_path / program).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / program).touch()
    assert identity.package_manager(Root(str(tmp_path)), family) == manager


def test_the_fifth_dnf_is_told_by_what_its_name_leads_to(tmp_path):
    folder = tmp_path / "usr" / "bin"
    folder.mkdir(parents=True)
    (folder / "dnf5").touch()
    (folder / "dnf").symlink_to("dnf5")
    assert identity.package_manager(Root(str(tmp_path)), "RedHat") == "dnf5"


@pytest.mark.parametrize(
    ("first", "is_booted", "init", "manager"),
    [
        ("systemd", False, None, "systemd"),
        ("init", True, None, "systemd"),
        ("init", False, "/lib/systemd/systemd", "systemd"),
        ("bash", False, "../lib/systemd/systemd", "systemd"),
        (None, False, "/lib/systemd/systemd", "systemd"),
        ("tini", False, "/lib/systemd/systemd", "tini"),
        ("runit", False, None, "runit"),
        ("init", False, "/sbin/openrc-init", "service"),
        (None, False, None, "service"),
    ],
)
def test_services_are_managed_by_the_first_process_or_by_what_will_be_it(
    tmp_path, first, is_booted, init, manager
):
    for folder in ("proc/1", "sbin"):
        (tmp_path / folder).mkdir(parents=True)
    if first:
        (tmp_path / "proc/1/comm").write_text(f"{first}\n")
    if is_booted:
        (tmp_path / "run/systemd/system").mkdir(parents=True)
    if init:
        (tmp_path / "sbin/init").symlink_to(init)
    assert identity.service_manager(Root(str(tmp_path))) == manager
