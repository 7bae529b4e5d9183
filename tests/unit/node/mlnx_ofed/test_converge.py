"""The steps to an RDMA stack, on small trees, with an installer that answers as it is told."""

from __future__ import annotations

import copy
import subprocess
from pathlib import Path

import pytest
from trees import planted

from ansible_collections.gpunode.stack.plugins.module_utils._node.component import bring
from ansible_collections.gpunode.stack.plugins.module_utils._node.mlnx_ofed import (
    archive,
    by_bundle,
    package_sets,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.mlnx_ofed import (
    converge as ofed_converge,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.packages import database
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import files
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import wanted_state
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.stack import case

K = "6.1.0-56-amd64"
VERSION, OLD = "24.10-1.1.4.0", "23.10-3.2.1.1"
PACKAGE = "Package: {}\nStatus: install ok installed\nVersion: {}\n"
OURS = PACKAGE.format("ofed-scripts", "24.10.OFED.24.10.1.1.4")
DISTRIBUTIONS = PACKAGE.format("rdma-core", "44.0-2")
INSTALL = f"install MLNX_OFED {VERSION}"


class Host:
    """A host with a kernel of its own, the distribution's RDMA stack, and its modules loaded."""

    def __init__(self, folder):
        self.folder = folder / "root"
        self.bundle = self._bundle(folder)
        self.commands = []
        self.surveys = 0
        self.status = 0
        self.owned = {}
        self.builds = [K]
        self.brings = VERSION
        self.tree = planted(
            self.folder,
            {
                "/var/lib/dpkg/status": DISTRIBUTIONS,
                "/proc/modules": "ib_core 1 0 - Live 0x0\n",
                "/usr/bin/ofed_info": "",
                f"/lib/modules/{K}/build/scripts/x": "",
            },
        )
        self.facts = copy.deepcopy(case.EMPTY)
        self.facts |= {
            **{"own_kernel": True, "kernel": K, "architecture": "x86_64", "pkg_mgr": "apt"},
            **{"distribution": "Debian", "distribution_version": "12.5"},
        }
        self.facts["kernels"] = [self.kernel()]
        self.facts["rdma_stack"]["loaded"] = True
        self.said = {
            "gpunode_ofed_kind": "mlnx_ofed",
            "gpunode_ofed_version": VERSION,
            "gpunode_ofed_file": f"file://{self.bundle}#sha256={files.sha256_of_file(self.bundle)}",
            "mlnx_ofed_tmpdir": str(folder / "tmp"),
        }

    def kernel(self, release=K, headers=True):
        return {
            **{"release": release, "running": True, "next": True, "headers": headers},
            **{"compiler": "", "compiler_found": True},
        }

    @staticmethod
    def _bundle(folder):
        planted(
            folder / "packed",
            {
                "/x/mlnxofedinstall": "",
                "/x/.mlnx": VERSION,
                "/x/distro": "debian12.5",
                "/x/DEBS/ofed-scripts_1_all.deb": "",
            },
        )
        archive = folder / "bundle.tgz"
        subprocess.run(["tar", "czf", archive, "-C", folder / "packed", "x"], check=True)
        return archive

    def has(self, version, kernels=(K,), stale=False):
        """Let a version of MLNX_OFED be there."""
        self.brings = version
        self.facts["rdma_stack"].update(
            kind="mlnx_ofed", version=version, kernels=list(kernels), stale=stale
        )
        self.packages(OURS)

    def packages(self, rows):
        planted(self.folder, {"/var/lib/dpkg/status": rows})

    def symbols(self, text):
        """Let the symbols of the RDMA core have a text."""
        planted(self.folder, {f"/usr/src/ofa_kernel/{K}/Module.symvers": text})
        self.facts["peer_memory"]["headers"] = bool(text)

    def execute(self, argv, _environment):
        self.commands.append(argv)
        if argv[0] == "tar":
            return subprocess.run(argv, capture_output=True, text=True, check=False)
        if argv[0].endswith("mlnxofedinstall") and not self.status:
            self.has(self.brings, self.builds, stale=True)
        return subprocess.CompletedProcess(argv, self.status, "its words\n", "")

    def run(self, argv, **_options):
        """Answer as a commands.run of bytes."""
        said = f"MLNX_OFED_LINUX-{self.brings}:\n" if "ofed_info" in argv[0] else ""
        if argv[0] in self.owned:
            said = f"{self.owned[argv[0]]}\n"
        return subprocess.CompletedProcess(argv, 0, said.encode(), b"")

    def survey(self):
        self.surveys += 1
        return copy.deepcopy(self.facts)

    def converge(self, *consent, check_mode=True, **said):
        state = wanted_state.Site({**self.said, **said}, "/").wanted("mlnx_ofed")
        self.tree.run = self.run
        host = bring.Node(self.tree, self.survey, self.execute, self.run)
        asked = {"wanted": state, "consent": list(consent)}
        return ofed_converge.converge(host, asked, check_mode)

    def installs(self):
        return [argv for argv in self.commands if argv[0].endswith("mlnxofedinstall")]


@pytest.fixture
def host(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "_WORK_DIR", str(tmp_path / "work"))
    monkeypatch.setattr(package_sets, "PREFERENCES", str(tmp_path / "preferences"))
    monkeypatch.setattr(package_sets, "PATHS", (package_sets.PREFERENCES,))
    monkeypatch.setattr(database, "missing", lambda *_: [])
    apt = by_bundle.package_manager.Apt
    monkeypatch.setattr(by_bundle.package_manager, "managers_own", apt)
    monkeypatch.setattr(by_bundle.package_sets, "refuse_dependants", lambda *_: None)
    monkeypatch.setattr(by_bundle.ofed_bundle, "_INSTALLED", 0)
    return Host(tmp_path)


def test_what_is_done_is_foretold_in_its_order(host):
    changes = host.converge("restart_openibd").changes
    assert changes == [
        f"unpack the bundle of MLNX_OFED {VERSION}",
        INSTALL,
        f"hold the packages of the RDMA stack by {package_sets.PREFERENCES}",
        "restart openibd",
    ]
    assert host.commands == []
    assert host.converge("restart_openibd", check_mode=False).changes == changes


@pytest.mark.parametrize(
    ("consent", "surveys"),
    # The connection to the host is looked at again right before it could be cut.
    [([], 2), (["restart_openibd"], 3)],
)
def test_the_host_is_surveyed_before_and_after_what_is_done_and_once_at_rest(
    host, consent, surveys
):
    host.converge(*consent, check_mode=False)
    assert host.surveys == surveys
    host.has(VERSION)
    host.surveys = 0
    assert host.converge(check_mode=False).changes == []
    assert host.surveys == 1


def test_the_pins_that_change_are_shown_as_they_were(host):
    host.has(VERSION)
    for check_mode in (True, False):
        (diff,) = host.converge(check_mode=check_mode).diff
        assert (diff["before"], "ofed-scripts" in diff["after"]) == ("", True)


def test_a_stack_that_is_as_wanted_is_adopted_and_held(host):
    host.has(VERSION)
    assert host.converge(check_mode=False).changes == [
        f"hold the packages of the RDMA stack by {package_sets.PREFERENCES}"
    ]
    assert not host.installs()
    assert "24.10.OFED.24.10.1.1.4" in Path(package_sets.PREFERENCES).read_text()
    assert host.converge(check_mode=False).changes == []


def test_of_a_stack_that_was_adopted_each_package_is_looked_after(host):
    host.has(VERSION)
    host.converge(check_mode=False)
    host.packages(OURS + "\n" + DISTRIBUTIONS)
    assert INSTALL not in " ".join(host.converge().changes)
    host.packages(DISTRIBUTIONS)
    assert INSTALL in " ".join(host.converge().changes)


def test_symbols_that_were_there_and_are_gone_are_brought_back(host):
    host.has(VERSION)
    host.converge(check_mode=False)
    assert INSTALL not in " ".join(host.converge().changes)
    host.symbols("0x0\tib_register_peer_memory_client\tib_core\n")
    host.converge(check_mode=False)
    host.symbols("")
    assert INSTALL in " ".join(host.converge().changes)


def test_what_is_lacking_after_all_was_done_is_told(host):
    host.builds = []
    with pytest.raises(Refusal, match=f"there is still to {INSTALL}"):
        host.converge(check_mode=False)


def test_whoever_holds_the_lock_of_packages_is_waited_for_before_the_installer_runs(host):
    host.converge(check_mode=False)
    names = [argv[0].rpartition("/")[2] for argv in host.commands]
    assert names.index("apt-get") < names.index("mlnxofedinstall")


@pytest.mark.parametrize("version", ["24.10-1.1.4.01", "24.10-0.7.0.0", OLD])
def test_a_version_is_the_wanted_one_or_another(host, version):
    host.has(version)
    assert f"{INSTALL} in place of mlnx_ofed {version}" in host.converge().changes


def test_another_version_than_the_installer_should_have_brought_is_a_failure(host):
    host.brings = OLD
    with pytest.raises(Refusal, match=f"ofed_info says {OLD} after it"):
        host.converge(check_mode=False)


@pytest.mark.parametrize(
    ("consent", "lower"),
    [((), ["eno1"]), (("reboot",), ["eno1"]), (("restart_openibd",), ["bond0", "ib0"])],
)
def test_openibd_is_left_alone_without_consent_and_under_the_connection(host, consent, lower):
    host.facts["rdma_devices"] = [{"name": "mlx5_0", "interfaces": ["ib0"]}]
    host.facts["management"] = {
        "interface": lower[0],
        "lower": lower,
        "drivers": {},
        "found_by": "ssh",
    }
    assert "restart openibd" not in host.converge(*consent).changes


def test_modules_that_a_run_before_left_in_memory_give_way_with_consent(host):
    host.has(VERSION, stale=True)
    host.converge(check_mode=False)
    assert host.converge().changes == []
    assert host.converge("restart_openibd").changes == ["restart openibd"]


def test_what_did_not_come_again_after_openibd_is_a_warning(host, monkeypatch):
    monkeypatch.setattr(ofed_converge.openibd, "restart", lambda _host: ["nv_peer_mem is gone"])
    assert host.converge("restart_openibd", check_mode=False).warnings == ["nv_peer_mem is gone"]


def test_modules_give_not_way_to_those_that_the_firmware_would_keep_out(host):
    host.has(VERSION, stale=True)
    host.converge(check_mode=False)
    host.facts["secure_boot"].update(enabled=True, key_enrolled=False)
    assert host.converge("restart_openibd", "unenrolled_key").changes == []


def test_an_image_has_nothing_to_restart(host):
    host.facts["own_kernel"] = False
    assert "restart openibd" not in host.converge("restart_openibd").changes


def test_a_kernel_that_cannot_be_built_for_is_refused_before_anything_is_done(host):
    host.facts["kernels"].append(host.kernel("6.1.0-57-amd64", headers=False))
    with pytest.raises(Refusal, match=r"kernel 6\.1\.0-57-amd64: the kernel has no headers"):
        host.converge(check_mode=False)
    assert host.commands == []


def test_an_unknown_key_of_secure_boot_is_refused_before_anything_is_done(host):
    host.facts["secure_boot"].update(enabled=True, key_enrolled=False)
    with pytest.raises(Refusal, match="mokutil"):
        host.converge(check_mode=False)
    assert host.commands == []
    assert host.converge("unenrolled_key").changes


def test_firmware_is_left_alone_unless_it_is_asked_for(host):
    host.converge(check_mode=False)
    assert "--without-fw-update" in host.installs()[0]
    host.has(OLD)
    host.brings = VERSION
    host.converge(check_mode=False, mlnx_ofed_firmware_update=True)
    assert "--without-fw-update" not in host.installs()[1]


def test_a_kernel_that_is_no_packages_gets_its_modules_from_a_new_bundle(host):
    host.converge(check_mode=False)
    assert "--add-kernel-support" in host.installs()[0]
    host.owned = {"dpkg-query": "linux-kbuild: /x"}
    host.has(OLD)
    host.brings = VERSION
    host.converge(check_mode=False)
    assert "--add-kernel-support" not in host.installs()[1]


def test_without_dkms_the_next_kernel_alone_has_modules_to_wait_for(host):
    older = {**host.kernel("6.1.0-55-amd64"), "running": False, "next": False}
    host.facts["kernels"].append(older)
    host.has(VERSION)
    assert INSTALL not in " ".join(host.converge().changes)
    host.facts["driver"]["dkms"] = [
        {"name": "mlnx-ofed-kernel", "version": "24.10", "kernel": K, "state": "installed"}
    ]
    assert host.converge().changes[0].endswith("for kernel 6.1.0-56-amd64, 6.1.0-55-amd64")


def test_an_initramfs_is_made_anew_lest_the_modules_before_come_back_from_it(host):
    planted(host.folder, {f"/boot/initrd.img-{K}": "", "/usr/sbin/update-initramfs": ""})
    host.facts["kernels"].append({**host.kernel("6.1.0-55-amd64"), "running": False})
    host.converge(check_mode=False)
    made = [argv for argv in host.commands if argv[0] == "update-initramfs"]
    assert made == [["update-initramfs", "-u", "-k", K]]


def test_what_held_the_packages_before_is_back_with_them(host):
    pins = Path(package_sets.PREFERENCES)
    host.converge(check_mode=False)
    before = pins.read_text()
    host.has(VERSION)
    planted(host.folder, {"/var/lib/gpunode/mlnx_ofed/at-work": ""})
    real = Host.execute

    def execute(argv, environment):
        if argv[0].endswith("mlnxofedinstall"):
            pins.unlink(missing_ok=True)
            host.status = 1 - host.status
        return real(host, argv, environment)

    host.execute = execute
    with pytest.raises(Refusal, match="is back"):
        host.converge(check_mode=False)
    assert pins.read_text() == before


def test_a_failure_that_touched_nothing_says_so(host):
    host.brings, host.status = "", 172
    with pytest.raises(Refusal) as caught:
        host.converge(check_mode=False)
    assert "another distribution" in caught.value.because
    assert caught.value.remedy.startswith("Nothing was changed. ")
    assert not host.tree.exists("/var/lib/gpunode/mlnx_ofed/at-work")


def test_a_failure_in_the_midst_is_followed_by_the_bundle_that_is_kept(host):
    host.converge(check_mode=False)
    host.has(VERSION)
    planted(host.folder, {"/var/lib/gpunode/mlnx_ofed/at-work": ""})
    calls = []

    def execute(argv, environment):
        if argv[0].endswith("mlnxofedinstall"):
            calls.append(argv)
            host.status = 1 if len(calls) == 1 else 0
        return Host.execute(host, argv, environment)

    host.execute = execute
    with pytest.raises(Refusal, match=f"MLNX_OFED {VERSION} is back"):
        host.converge(check_mode=False)
    assert len(calls) == 2
