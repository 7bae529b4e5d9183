"""Packages of the distribution: installed once, never at the price of a kernel or of others."""

from __future__ import annotations

import itertools
import shutil
import subprocess

import pytest
from trees import looked_at, planted

from ansible_collections.gpunode.stack.plugins.module_utils._node.packages import package_manager
from ansible_collections.gpunode.stack.plugins.module_utils._node.packages.package_manager import (
    Apt,
    Dnf,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal

# What dpkg-query says, and apt-get install --simulate of Debian 12.
INSTALLED = "ii \tlibc6\t\n"
SIMULATED = """\
Reading package lists...
The following NEW packages will be installed:
  libogg0 libsndfile1
0 upgraded, 2 newly installed, 0 to remove and 117 not upgraded.
Inst libogg0 (1.3.5-3 Debian:12.15/oldstable [amd64])
Inst libsndfile1 (1.2.0-1+deb12u1 Debian:12.15/oldstable [amd64])
Conf libogg0 (1.3.5-3 Debian:12.15/oldstable [amd64])
Conf libsndfile1 (1.2.0-1+deb12u1 Debian:12.15/oldstable [amd64])
"""
KERNEL = SIMULATED + "Inst linux-image-6.1.0-52-amd64 (6.1.170-1 Debian:12.15 [amd64])\n"
REMOVAL = SIMULATED + "Remv systemd-timesyncd [252.39-1~deb12u1]\n"
UNKNOWN = (100, "E: Unable to locate package libsndfile1")
# Such as another package only refers to.
UNAVAILABLE = (100, "E: Package 'libsndfile1' has no installation candidate")
# A package stands on one that no list on the host has.
UNMET = (
    100,
    "E: Unable to correct problems, you have held broken packages.",
    "The following packages have unmet dependencies:\n"
    " libsndfile1 : Depends: libogg0 (>= 1.3) but it is not installable\n",
)
STALE = (100, "E: Failed to fetch http://mirror.example/libogg0.deb  404  Not Found")
INTERRUPTED = (
    100,
    "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem.",
)
# apt of Debian 12, beside a package that a killed dpkg was unpacking.
TORN = (
    100,
    "E: The package nvidia-smi needs to be reinstalled, but I can't find an archive for it.",
)
# dpkg 1.21.22, src/main/configure.c, deferred_configure(), as a driver's package met it once.
INCONSISTENT = (
    100,
    "dpkg: error processing package nvidia-smi:amd64 (--configure):\n"
    " package is in a very bad inconsistent state; you should\n"
    " reinstall it before attempting configuration\n"
    "dpkg: dependency problems prevent configuration of libcuda1:\n"
    " libcuda1 depends on nvidia-smi; however:\n"
    "  Package nvidia-smi is not installed.\n"
    "dpkg: error processing package libcuda1 (--configure):\n"
    " dependency problems - leaving unconfigured\n"
    "Errors were encountered while processing:\n nvidia-smi\n libcuda1\n"
    "E: Sub-process /usr/bin/dpkg returned an error code (1)",
)
LOCKED = (
    100,
    "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 1234 (apt-get)",
)
# dpkg of Debian 12.
LOCKED_DPKG = (2, "dpkg: error: dpkg frontend lock was locked by another process with pid 1234")
# Headings and columns as dnf 4 prints them, dnf/cli/output.py, list_transaction().
TABLE = """\
Last metadata expiration check: 0:00:01 ago on Sun Nov 22 22:00:00 2026.
Dependencies resolved.
================================================================================
 Package            Arch      Version              Repository              Size
================================================================================
Installing:
 libglvnd-glx       x86_64    1:1.3.4-1.el9        appstream              140 k
     replacing  mesa-old.x86_64 1.0-1.el9
Installing dependencies:
 a-package-with-a-name-that-is-longer-than-its-column
                    x86_64    1.0-1.el9            appstream               10 k
Removing dependent packages:
 old-tool           x86_64    1.0-1.el9            @appstream              10 k

Transaction Summary
================================================================================
Install  2 Packages
Remove   1 Package

"""
ABORTED = (1, "Operation aborted.")


def done(status=0, stderr="", stdout=""):
    return subprocess.CompletedProcess([], status, stdout, stderr)


# dpkg 1.21.22, src/main/configure.c, deferred_configure(), as a package of DOCA-OFED met it once
# after a dpkg that was killed.
CONFIGURED = (
    100,
    "dpkg: error processing package ofed-scripts (--configure):\n"
    " package ofed-scripts is already installed and configured\n"
    "Errors were encountered while processing:\n ofed-scripts\n"
    "E: Sub-process /usr/bin/dpkg returned an error code (1)",
)


class Host:
    """Answers apt-get's and dpkg's commands in turn, and remembers what it was told."""

    def __init__(self, simulations=(SIMULATED,), installations=((0, ""),), cures=((0, ""),)):
        self.answers = {
            "simulate": iter([*simulations, *itertools.repeat(simulations[-1], 9)]),
            "install": iter([*installations, *itertools.repeat(installations[-1], 9)]),
            "cure": iter([*cures, *itertools.repeat(cures[-1], 9)]),
        }
        self.told = []
        self.is_installed = False

    def execute(self, argv, environment):
        assert environment["DEBIAN_FRONTEND"] == "noninteractive"
        if "--simulate" in argv:
            kind = "simulate"
        elif "install" in argv:
            kind = "install"
        else:
            kind = "cure"
        self.told.append(kind if kind != "cure" else " ".join(argv))
        answer = next(self.answers[kind])
        if isinstance(answer, str):
            return done(stdout=answer)
        self.is_installed |= kind == "install" and answer[0] == 0
        return done(*answer)

    def query(self, _argv, **_options):
        return done(stdout="ii \tlibsndfile1\t\n" if self.is_installed else INSTALLED)

    def install(self):
        package_manager.install(["libsndfile1"], self.execute, self.query, Apt())


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """Wait for nobody for long."""
    monkeypatch.setattr(package_manager, "_POLL_S", 0)


def test_a_host_without_a_manager_is_refused(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _program: None)
    with pytest.raises(Refusal, match="neither apt-get nor dnf"):
        package_manager.install(["libgl1"], Host().execute)


def test_an_installation_is_simulated_first():
    host = Host()
    host.install()
    assert host.told == ["simulate", "install"]


def test_apt_is_told_to_remove_nothing_unless_that_was_foreseen():
    assert "--no-remove" in Apt().transaction(Apt.installing, ["libgl1"], removes=False)
    assert "--no-remove" not in Apt().transaction(Apt.installing, ["libgl1"], removes=True)


@pytest.mark.parametrize(
    ("simulated", "words"),
    [
        (KERNEL, "touch the kernel of the host: linux-image-6.1.0-52-amd64"),
        (REMOVAL, "would remove what others may need: systemd-timesyncd"),
        (REMOVAL.replace("systemd-timesyncd", "linux-image-amd64"), "touch the kernel"),
    ],
)
def test_what_would_do_harm_is_refused_by_name_and_not_begun(simulated, words):
    host = Host([simulated])
    with pytest.raises(Refusal, match=words):
        host.install()
    assert host.told == ["simulate"]
    with pytest.raises(Refusal, match=words):
        package_manager.check(["libsndfile1"], host.execute, Apt())


def test_a_package_that_is_not_known_yet_is_no_harm():
    package_manager.check(["libsndfile1"], Host([UNKNOWN]).execute, Apt())


@pytest.mark.parametrize(
    ("host", "told"),
    [
        (
            Host(simulations=[UNKNOWN, SIMULATED]),
            ["simulate", "apt-get --quiet update", "simulate", "install"],
        ),
        (
            Host(simulations=[UNAVAILABLE, SIMULATED]),
            ["simulate", "apt-get --quiet update", "simulate", "install"],
        ),
        (
            Host(simulations=[UNMET, SIMULATED]),
            ["simulate", "apt-get --quiet update", "simulate", "install"],
        ),
        (
            Host(installations=[STALE, (0, "")]),
            ["simulate", "install", "apt-get --quiet update", "simulate", "install"],
        ),
        (
            Host(installations=[INTERRUPTED, (0, "")]),
            [
                "simulate",
                "install",
                "dpkg --force-confdef --force-confold --configure -a",
                "simulate",
                "install",
            ],
        ),
        (
            Host(installations=[INTERRUPTED, CONFIGURED, (0, "")]),
            [
                *("simulate", "install", "dpkg --force-confdef --force-confold --configure -a"),
                *("simulate", "install"),
                "dpkg --force-confdef --force-confold --configure --pending",
                *("simulate", "install"),
            ],
        ),
        (Host(installations=[LOCKED, LOCKED, (0, "")]), ["simulate", *["install"] * 3]),
    ],
)
def test_what_can_be_cured_is_cured_and_tried_again(host, told):
    host.install()
    assert host.told == told


DROPPING = "dpkg --force-depends --force-remove-reinstreq --remove nvidia-smi"


def test_what_a_killed_dpkg_left_half_unpacked_gives_way_where_it_may():
    host = Host(simulations=[TORN, SIMULATED], cures=[LOCKED_DPKG, (0, "")])
    may_go = {"nvidia-smi"}.__contains__
    package_manager.transact("it", Apt.installing, ["libcuda1"], Apt(), host.execute, may_go)
    assert host.told == ["simulate", DROPPING, DROPPING, "simulate", "install"]


def test_what_dpkg_would_not_configure_gives_way_where_it_may_and_comes_anew():
    host = Host(installations=[INCONSISTENT, (0, "")])
    may_go = {"nvidia-smi"}.__contains__
    package_manager.transact("it", Apt.installing, ["libcuda1"], Apt(), host.execute, may_go)
    assert host.told == ["simulate", "install", DROPPING, "simulate", "install"]


def test_what_others_left_half_unpacked_stays_and_the_way_out_is_told():
    host = Host(simulations=[TORN])
    with pytest.raises(Refusal) as caught:
        host.install()
    assert host.told == ["simulate"]
    assert f"`{DROPPING}`" in caught.value.remedy


def test_what_the_lists_bring_is_judged_as_well():
    host = Host(simulations=[SIMULATED, KERNEL], installations=[STALE])
    with pytest.raises(Refusal, match="kernel"):
        host.install()


def test_each_cure_is_tried_once_and_its_own_failure_is_told():
    host = Host(simulations=[UNKNOWN], cures=[(100, "E: The repository is not signed.")])
    with pytest.raises(Refusal) as caught:
        host.install()
    assert host.told == ["simulate", "apt-get --quiet update", "simulate"]
    assert caught.value.because == (
        "E: The repository is not signed. / E: Unable to locate package libsndfile1"
    )


def test_who_holds_a_lock_is_named_after_a_while(monkeypatch):
    monkeypatch.setattr(package_manager, "LOCK_WAIT_S", 0)
    with pytest.raises(Refusal, match=r"held by process 1234 \(apt-get\)"):
        Host(installations=[LOCKED]).install()


def test_a_package_that_is_not_there_afterwards_is_said():
    host = Host()
    host.query = lambda _argv, **_options: done(stdout=INSTALLED)
    with pytest.raises(Refusal, match="does not know it by that name"):
        host.install()


@pytest.mark.parametrize(
    ("manager", "name", "is_kernel"),
    [
        (Apt, "linux-image-6.1.0-52-amd64", True),
        (Apt, "linux-image-amd64", True),
        (Apt, "linux-modules-6.8.0-60-generic", True),
        (Apt, "linux-modules-doca-ofed-26.01-generic", False),
        (Apt, "linux-main-modules-doca-ofed-26.01-7.0.0-29-generic", False),
        (Apt, "linux-headers-6.1.0-52-amd64", False),
        (Apt, "linux-libc-dev", False),
        (Dnf, "kernel", True),
        (Dnf, "kernel-core", True),
        (Dnf, "kernel-modules-extra", True),
        (Dnf, "kernel-rt-core", True),
        (Dnf, "kernel-headers", False),
        (Dnf, "kernel-devel", False),
        (Dnf, "kernel-tools", False),
    ],
)
def test_a_kernel_is_told_from_what_goes_with_it(manager, name, is_kernel):
    assert bool(manager.kernel.fullmatch(name)) is is_kernel


def test_dnfs_table_is_read_however_it_is_folded():
    foreseen = Dnf().foreseen(done(*ABORTED, stdout=TABLE))
    assert foreseen.installed == [
        "libglvnd-glx",
        "a-package-with-a-name-that-is-longer-than-its-column",
    ]
    assert foreseen.removed == ["mesa-old", "old-tool"]


def test_dnf_that_failed_foresees_nothing():
    assert Dnf().foreseen(done(1, "Error: Unable to find a match: libnowhere")) is None


def test_dnf_is_asked_and_told_as_its_manual_says():
    assert Dnf().simulation(Dnf.installing, ["libSM"]) == [
        *("dnf", "--setopt=exit_on_lock=True", "--setopt=install_weak_deps=False", "install"),
        *("--assumeno", "libSM"),
    ]
    assert Dnf().transaction(Dnf.installing, ["libSM"], False)[-2:] == ["--assumeyes", "libSM"]


# dnf 4.14 on a node shaped as Enterprise Linux 9.
CONFLICT = """\
Error:
 Problem: conflicting requests
  - nothing provides dkms needed by kmod-nvidia-open-dkms-3:580.95.05-1.el9.noarch from gpunode
(try to add '--skip-broken' to skip uninstallable packages or '--nobest' to use others)
"""
FAILED_SCRIPT = """\
error: %prein(nvidia-modprobe-3:595.58.03-1.el9.x86_64) scriptlet failed, exit status 1
Error in PREIN scriptlet in rpm package nvidia-modprobe
"""


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (
            done(1, CONFLICT),
            "Problem: conflicting requests / - nothing provides dkms needed by "
            "kmod-nvidia-open-dkms-3:580.95.05-1.el9.noarch from gpunode",
        ),
        (
            done(1, "Error: Transaction failed\n", FAILED_SCRIPT),
            f"{' / '.join(FAILED_SCRIPT.splitlines())} / Error: Transaction failed",
        ),
        (done(1, "Error: Unable to find a match: dkms\n"), "Error: Unable to find a match: dkms"),
        (done(3, "", "Killed\n"), "Killed"),
    ],
)
def test_dnf_tells_why_it_cannot(answer, reason):
    assert package_manager.reason(answer, Dnf()) == reason


def test_no_more_of_it_is_quoted_than_can_be_read():
    lines = "".join(f"  - problem {number}\n" for number in range(99))
    assert package_manager.reason(done(1, f"Error: \n{lines}"), Dnf()).count(" / ") == 7


def waits(manager, monkeypatch):
    """Return what a manager is asked when others are to be waited for."""
    told = []

    def execute(argv, _environment):
        told.append(argv)
        return done()

    monkeypatch.setattr(package_manager, "managers_own", manager)
    package_manager.wait_for_others("it", execute)
    return told


def test_others_are_waited_for_by_what_takes_the_lock_and_does_nothing(monkeypatch):
    assert waits(Apt, monkeypatch)[0][-2:] == ("install", "--no-remove")
    (argv,) = waits(Dnf, monkeypatch)
    # No lock without a database. It has to run as it stands.
    assert subprocess.run(argv, capture_output=True, check=False).stderr == b""


@pytest.mark.parametrize(
    "says",
    [
        "Failed to obtain the transaction lock (logged in as: root).\nError: can't create "
        "transaction lock on /var/lib/rpm/.rpm.lock (Resource temporarily unavailable)",
        "/var/lib/dnf/rpmdb_lock.pid already locked by 1234",
        "BlockingIOError: [Errno 11] Resource temporarily unavailable",
    ],
)
def test_a_database_of_rpm_that_is_held_is_waited_for(says):
    assert Dnf.locked.search(says)


def test_dnf_offers_versions_as_rpm_orders_them():
    rows = "nvidia-driver-cuda\t3:580.95.05-1.el9\nnvidia-driver-cuda\t3:580.105.08-1.el9\n"
    answers = {"dnf": f"{rows}{rows}nvidia-driver-cuda\t3:580.105.08^git1-1.el9\nnoise\n"}
    found = looked_at(lambda tree: Dnf().offered(tree, ["nvidia-driver-cuda"]), answers=answers)
    assert found["nvidia-driver-cuda"] == [
        *("3:580.105.08^git1-1.el9", "3:580.105.08-1.el9", "3:580.95.05-1.el9")
    ]
    assert looked_at(lambda tree: Dnf().offered(tree, []), answers=answers) == {}


def test_apt_that_is_given_archives_alone_is_told_a_name_as_well():
    # It counts names, and with none of them does nothing where dependencies are broken.
    archives = ["/kept/mft_1%3a4.34.1-10_amd64.deb", "/kept/doca-ofed_3.2.1-044000_amd64.deb"]
    for argv in (
        Apt().simulation(Apt.installing, archives),
        Apt().transaction(Apt.installing, archives, removes=False),
    ):
        assert argv[-3:] == [*archives, "mft=1:4.34.1-10"]
    assert Apt().simulation(Apt.installing, [*archives, "dkms"])[-3:] == [*archives, "dkms"]
    assert Apt().simulation(Apt.installing, [])[-1] == "--simulate"


# dkms 3.0.10, dkms.in, invoke_command(), within apt on Debian 12 and within rpm.
MAKE_LOG = "/var/lib/dkms/nvidia/580.95.05/build/make.log"
BROKEN_BUILD = f"""\
Building module:
Cleaning build area...
make -j2 KERNELRELEASE=6.1.0-40-amd64...(bad exit status: 2)
Error! Bad return status for module build on kernel: 6.1.0-40-amd64 (x86_64)
Consult {MAKE_LOG} for more information.
"""
OF_DPKG = """\
dpkg: error processing package nvidia-dkms (--configure):
 installed nvidia-dkms package post-installation script subprocess returned error exit status 10
"""
OF_RPM = "error: %post(kmod-nvidia-dkms-580.noarch) scriptlet failed, exit status 10\n"


@pytest.mark.parametrize(
    ("manager", "says"), [(Apt(), OF_DPKG), (Dnf(), f"{OF_RPM}Error: Transaction failed\n")]
)
def test_the_log_of_a_build_that_a_transaction_names_is_followed(
    tmp_path, monkeypatch, manager, says
):
    logged = "  CC [M] nv.o\nnv.c:7:1: error: too few arguments\nmake: *** [x] Error 2\n"
    monkeypatch.setattr(package_manager, "_HOST", planted(tmp_path, {MAKE_LOG: logged}))
    reason = package_manager.reason(done(1, stdout=BROKEN_BUILD + says), manager)
    assert says.splitlines()[0] in reason
    assert reason.endswith(f"nv.c:7:1: error: too few arguments ({MAKE_LOG})")


def test_a_log_that_is_gone_or_tells_nothing_adds_no_words(tmp_path, monkeypatch):
    says = done(1, stdout=BROKEN_BUILD + OF_DPKG)
    monkeypatch.setattr(package_manager, "_HOST", planted(tmp_path))
    without = package_manager.reason(says, Apt())
    monkeypatch.setattr(package_manager, "_HOST", planted(tmp_path, {MAKE_LOG: "all is well\n"}))
    assert package_manager.reason(says, Apt()) == without
    assert without.startswith("Error! Bad return status")


def test_why_dpkg_fails_is_told_with_the_package():
    lines = [
        *("Setting up mft (4.34.1-10) ...", "dpkg: error processing package mft (--configure):"),
        *("package mft is not ready for configuration", "Processing triggers for man-db ..."),
        "E: Sub-process /usr/bin/dpkg returned an error code (1)",
    ]
    assert Apt().errors(lines) == [lines[1], lines[2], lines[4]]


def test_archives_of_rpms_are_known_with_their_epoch(tmp_path):
    path = tmp_path / "nvidia-driver-cuda-580.95.05-1.el9.x86_64.rpm"
    path.touch()

    def run(argv, **_options):
        assert argv[-1] == str(path)
        return done(stdout="nvidia-driver-cuda\t3:580.95.05-1.el9\n")

    assert Dnf().archives(str(tmp_path), run) == {
        "nvidia-driver-cuda": ("3:580.95.05-1.el9", str(path))
    }


@pytest.mark.parametrize("name", ["libgl1", "libglib2.0-0t64", "g++", "mesa-libGL", "R"])
def test_a_name_of_a_package_is_taken(name):
    assert package_manager.NAME.fullmatch(name)


@pytest.mark.parametrize("name", ["", "-y", "libgl1-", "lib gl1", "libgl1=1.0", "a/b", "lib*"])
def test_what_apt_would_read_as_something_else_is_not(name):
    assert not package_manager.NAME.fullmatch(name)


def test_what_a_package_stands_on_in_vain_is_named():
    with pytest.raises(Refusal, match="libsndfile1 : Depends: libogg0"):
        Host(simulations=[UNMET]).install()
