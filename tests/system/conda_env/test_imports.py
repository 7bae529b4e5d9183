"""What an environment needs of its host is told and installed before a build goes into service."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from system import environments, playbooks
from system.playbooks import PROJECT

pytestmark = pytest.mark.lab

NODE = "node1"
LOCK = PROJECT / "inventory" / "lab" / "generated" / "ob_cuda.lock"
# Small, and links libGL.so.1 and libX11.so.6, which a bare Debian lacks.
GUI = (
    "dearpygui==1.9.1 "
    "--hash=sha256:64cba064a5b6dac96abd8fb88fdb61842ca75668bdca364fbd52b9151adc6eb9\n"
)
OPENCV = (
    "opencv-python==5.0.0.93 "
    "--hash=sha256:f8b6d0a212253dd26ad338c812f1f23ca118fdf05a9c8c6b9444f161aa8c5881\n"
)
PACKAGES = ["libgl1", "libx11-6"]
LINK = "/opt/gpunode/envs/gui"
# Words of find.
BUILDS = "/opt/gpunode/envs -mindepth 1 -maxdepth 1 -type d -name gui-*"


@dataclass
class Host:
    """A node with one environment, of Python and pip and what requirements say."""

    lab: object
    folder: Path

    def site(self, *arguments, requirements="", imports=(), packages=(), build=None):
        """Run site.yml for that environment alone."""
        item = {"name": "gui", "lock": str(self.folder / "lock"), "imports": list(imports)}
        if build:
            item = {"name": "gui", "build": build}
        if requirements:
            (self.folder / "requirements").write_text(requirements)
            item["requirements"] = str(self.folder / "requirements")
        variables = {
            "conda_env_list": [item],
            "conda_env_system_packages": list(packages),
            "gunicorn_app_list": [],
        }
        limit = ("--limit", NODE, "-e", json.dumps(variables))
        return playbooks.site(*limit, *arguments, log=self.folder / "ssh")

    def wanted(self, *arguments, packages=tuple(PACKAGES)):
        """Run site.yml with what can be imported once the packages are there."""
        return self.site(
            *arguments, requirements=GUI, imports=["json", "dearpygui.dearpygui"], packages=packages
        )

    def sh(self, command, timeout_s=60):
        """Run a command on the node as root and return what it says."""
        done = self.lab.ssh(NODE, f"sudo {command}", timeout_s=timeout_s)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture(scope="module")
def host(lab, tmp_path_factory):
    """A node with a first build in service, which needs nothing of the host."""
    environments.fresh(lab, NODE)
    folder = tmp_path_factory.mktemp("gui")
    lines = [
        line
        for line in LOCK.read_text().splitlines(keepends=True)
        if not line.startswith("http") or re.search(r"/(python|pip|python_abi)-[0-9]", line)
    ]
    (folder / "lock").write_text("".join(lines))
    host = Host(lab, folder)
    assert host.site().status == 0
    yield host
    lab.fresh(NODE)


@pytest.fixture(scope="module")
def failed(host):
    """A run with an environment that needs libraries which the node lacks, and what was before."""
    before = host.sh(f"readlink {LINK}")
    return host.wanted(packages=()), before


@pytest.fixture(scope="module")
def cured(failed, host):
    """Check mode and a run with the line that the failed run told to write."""
    return host.wanted("--check"), host.wanted()


def test_all_missing_libraries_are_told_by_soname_module_and_package(failed):
    run, _before = failed
    said = run.messages()
    assert run.status != 0
    assert "gui: dearpygui.dearpygui lacks libGL.so.1 (package libgl1)" in said
    assert "libX11.so.6 (package libx11-6), wanted by /opt/gpunode/envs/gui-" in said
    assert "`conda_env_system_packages: [libgl1, libx11-6]`" in said
    assert "Traceback" not in said
    assert "json:" not in said


def test_what_cannot_be_imported_is_built_and_not_put_into_service(failed, host):
    _run, before = failed
    assert host.sh(f"readlink {LINK}") == before
    assert len(host.sh(f"find {BUILDS}").split()) == 2


def test_the_packages_are_installed_and_the_build_is_taken_as_it_is(cured, host):
    predicted, real = cured
    assert real.status == 0, real.messages()
    assert predicted.changes(NODE) == real.changes(NODE)
    assert real.changes(NODE)[:2] == ["install libgl1", "install libx11-6"]
    assert [says.split()[0] for says in real.changes(NODE)[2:]] == ["point"]
    assert host.wanted().changed == {NODE: 0}


def test_what_the_environment_needs_stays_importable_for_anyone(cured, host):
    host.sh(f"-u nobody {LINK}/bin/python -c 'import dearpygui.dearpygui'")


# Holds what apt waits for; dpkg takes the same kind of lock.
_LOCKED = (
    "systemd-run --quiet --unit=locking python3 -c "
    '"import fcntl, time; lock = open(\\"/var/lib/dpkg/lock-frontend\\", \\"w\\"); '
    'fcntl.lockf(lock, fcntl.LOCK_EX); time.sleep(6)"'
)
DAMAGE = (
    "apt-get purge -qq -y libgl1",
    # dpkg takes this for the remains of a run of its own that was killed.
    "touch /var/lib/dpkg/updates/0000",
    _LOCKED,
    f"rm $(readlink -f {LINK})/.gpunode.lock",
)


def test_what_was_broken_by_hand_is_reported_and_repaired(cured, host):
    for command in DAMAGE:
        host.sh(f"sh -c '{command}'")
    predicted, repair = host.wanted("--check"), host.wanted()
    assert repair.status == 0, repair.messages()
    assert "package libgl1 is gone" in repair.messages()
    assert ".gpunode.lock is gone" in repair.messages()
    assert predicted.changes(NODE) == repair.changes(NODE)
    first, second = repair.changes(NODE)
    assert first == "install libgl1"
    assert re.fullmatch(r"write .*/gui-[0-9a-f]{12}/\.gpunode\.lock", second)
    assert host.wanted().changed == {NODE: 0}


def test_a_kept_build_is_gone_back_to_by_its_id_alone(cured, host):
    newer = host.sh(f"readlink {LINK}")
    builds = host.sh(f"find {BUILDS} -printf '%f\\n'").split()
    (older,) = set(builds) - {newer}
    back = {"build": older.removeprefix("gui-")}
    predicted, real = host.site("--check", "--diff", **back), host.site("--diff", **back)
    assert real.status == 0, real.messages()
    assert predicted.changes(NODE) == real.changes(NODE) == [f"point {LINK} to {older}"]
    assert predicted.diffs(NODE) == real.diffs(NODE)
    assert "dearpygui==1.9.1" in json.dumps(real.diffs(NODE))
    assert host.sh(f"readlink {LINK}") == older
    assert sorted(host.sh(f"find {BUILDS} -printf '%f\\n'").split()) == sorted([newer, older])
    unknown = host.site(build="0123456789ab")
    assert "gui-0123456789ab: it is not kept on the host" in unknown.messages()


@pytest.mark.parametrize(
    ("package", "words"),
    [
        ("linux-image-amd64", "it would touch the kernel of the host: linux-image-"),
        # Conflicts with what the node has.
        pytest.param(
            "sysvinit-core",
            "it would remove what others may need: systemd-sysv",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "libnowhere.0", "Unable to locate package libnowhere.0", marks=pytest.mark.slow
        ),
    ],
)
def test_packages_that_would_do_harm_are_refused_by_name(cured, host, package, words):
    before = host.sh("dpkg-query --show")
    run = host.wanted(packages=[*PACKAGES, package])
    assert run.status != 0
    assert words in run.messages()
    assert host.sh("dpkg-query --show") == before


@pytest.mark.slow
def test_opencv_without_its_libraries_is_told_and_cured(host):
    numpy = (PROJECT / "inventory" / "lab" / "files" / "ob_cuda.requirements.txt").read_text()
    requirements = OPENCV + re.search(r"^numpy==(?:.*\\\n)*.*\n", numpy, re.MULTILINE).group(0)
    wanted = {"requirements": requirements, "imports": ["cv2", "numpy"]}
    host.sh("apt-get purge -qq -y --auto-remove libgl1 libx11-6", timeout_s=120)
    told = host.site(**wanted)
    assert told.status != 0
    assert "gui: cv2 lacks " in told.messages()
    assert "libGL.so.1 (package libgl1)" in told.messages()
    packages = re.search(r"conda_env_system_packages: \[([^]]+)\]", told.messages()).group(1)
    cured = host.site(**wanted, packages=packages.split(", "))
    assert cured.status == 0, cured.messages()
    assert not [says for says in cured.changes(NODE) if says.startswith("build")]
