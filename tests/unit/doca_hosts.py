"""A host of apt on a small tree, whose apt answers as it is told of DOCA-OFED."""

from __future__ import annotations

import copy
import subprocess

from openpgp_key import FINGERPRINT, KEY
from trees import planted

from ansible_collections.gpunode.stack.plugins.module_utils._node.component import bring
from ansible_collections.gpunode.stack.plugins.module_utils._node.mlnx_ofed import (
    converge as ofed_converge,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.mlnx_ofed import (
    package_sets,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.packages import (
    package_manager,
    pins,
    repositories,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import (
    own_paths,
    text_files,
)
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import wanted_state
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.stack import case

K = "6.1.0-56-amd64"
UNINSTALLER = "/usr/sbin/ofed_uninstall.sh"
URL = "https://mirror.example.com/doca"
PACKAGE = "Package: {}\nStatus: install ok installed\nVersion: {}\n"
INBOX = {"rdma-core": "44.0-2", "libibverbs1": "44.0-2"}
SERIES = {
    "25.10": {
        "doca-ofed": "3.2.2-035000",
        "mlnx-ofed-kernel-dkms": "25.10.OFED.25.10.2.4.1.1-1",
        "rdma-core": "2510.0.11-1",
        "libibverbs1": "2510.0.11-1",
        "mlnx-fw-updater": "25.10-2.4.1.0",
    },
    "26.01": {
        "doca-ofed": "3.3.0-088000",
        "mlnx-ofed-kernel-dkms": "26.01.OFED.26.01.1.0.0.1-1",
        "rdma-core": "2601.0.7-1",
        "libibverbs1": "2601.0.7-1",
    },
    "26.10": {"doca-ofed": "4.0.0-010000", "mlnx-ofed-kernel-dkms": "26.10-1"},
}
# What doca-ofed depends on.
NEEDED = ("doca-ofed", "mlnx-ofed-kernel-dkms", "rdma-core", "libibverbs1")


class Host:
    """A host of Debian with the distribution's RDMA stack, and a repository of one release."""

    def __init__(self, folder):
        self.folder = folder / "root"
        self.commands = []
        self.tree = planted(self.folder, {f"/lib/modules/{K}/build/scripts/x": ""})
        self.facts = copy.deepcopy(case.EMPTY)
        self.facts |= {
            **{"own_kernel": True, "kernel": K, "architecture": "x86_64", "pkg_mgr": "apt"},
            **{"distribution": "Debian", "distribution_version": "12.5"},
            **{"distribution_major_version": "12", "distribution_release": "bookworm"},
        }
        row = {"release": K, "running": True, "next": True, "headers": True}
        self.facts["kernels"] = [{**row, "compiler": "", "compiler_found": True}]
        self.said = {
            "gpunode_ofed_kind": "doca",
            "gpunode_ofed_version": "25.10",
            "mlnx_ofed_repository_url": URL,
            "mlnx_ofed_repository_key": FINGERPRINT,
        }
        self.offers = SERIES["25.10"]
        self.older = {}
        self.asked = []
        self.fails = {}
        self.consent = []
        self.has(INBOX)

    def has(self, packages, kind="inbox", version=""):
        """Let packages be installed, and the stack be one."""
        rows = [PACKAGE.format(*row) for row in packages.items()]
        planted(self.folder, {"/var/lib/dpkg/status": "\n".join(rows)})
        kernels = [] if kind == "inbox" else [K]
        self.facts["rdma_stack"].update(kind=kind, version=version, kernels=kernels)

    def has_doca(self, series="25.10", **others):
        told = SERIES[series]["mlnx-ofed-kernel-dkms"].partition("OFED.")[2]
        packages = {name: SERIES[series][name] for name in NEEDED if name in SERIES[series]}
        version = f"{series}-{told[6:11]}" if told else ""
        self.has({**packages, **others}, "doca", version)

    def execute(self, argv, _environment):
        self.commands.append(argv)
        text = " ".join(argv)
        for sign, words in self.fails.items():
            if sign in text and "--simulate" not in text:
                return subprocess.CompletedProcess(argv, 100, "", f"E: {words}\n")
        if argv[0] == UNINSTALLER:
            self.has(INBOX)
        elif "install" in argv and not {"--simulate", "--download-only"} & set(argv):
            self._install(argv)
        return subprocess.CompletedProcess(argv, 0, "", "")

    def _install(self, argv):
        if any(part.startswith("doca-ofed=") for part in argv):
            series = next(key for key, row in SERIES.items() if row == self.offers)
            self.has_doca(series)

    def run(self, argv, **_options):
        """Answer as a commands.run of bytes."""
        said = ""
        self.asked.append(list(argv))
        if "pkgnames" in argv:
            said = "\n".join(self.offers)
        elif "madison" in argv:
            rows = [*self.older.items(), *self.offers.items()]
            said = "".join(f"{name} | {found} | {URL} Packages\n" for name, found in rows)
        return subprocess.CompletedProcess(argv, 0, said.encode(), b"")

    def converge(self, check_mode=False, **said):
        state = wanted_state.Site({**self.said, **said}, "/").wanted("mlnx_ofed")
        self.tree.run = self.run
        host = bring.Node(self.tree, lambda: copy.deepcopy(self.facts), self.execute, self.run)
        asked = {"wanted": state, "consent": self.consent}
        return ofed_converge.converge(host, asked, check_mode)

    def told(self, *words):
        """Return the commands that have some words and are no simulation."""
        return [
            argv for argv in self.commands if set(words) <= set(argv) and "--simulate" not in argv
        ]


def isolate(tmp_path, monkeypatch):
    """Have all that is written lie in a folder."""
    files = repositories.Files(
        *(str(tmp_path / name) for name in ("a.sources", "a.asc", "a.repo", "a.key")),
        "DOCA-OFED",
        "mlnx_ofed_repository_url",
    )
    monkeypatch.setattr(repositories, "RDMA", files)
    monkeypatch.setattr(repositories, "key", lambda *_: KEY)
    monkeypatch.setattr(package_sets, "PREFERENCES", str(tmp_path / "preferences"))
    monkeypatch.setattr(package_sets, "PATHS", (package_sets.PREFERENCES,))
    monkeypatch.setattr(pins, "VERSIONLOCK", str(tmp_path / "versionlock.list"))
    monkeypatch.setattr(own_paths, "CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(package_manager, "managers_own", package_manager.Apt)
    monkeypatch.setattr(text_files.files, "ownership", lambda _path: ("root", "root", "0644"))
    write = text_files.files.write_text
    monkeypatch.setattr(
        text_files.files,
        "write_text",
        lambda path, text, owner=None, group=None, mode=0o644: write(path, text, None, None, mode),
    )
