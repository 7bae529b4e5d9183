"""A node that is an image for hosts with RDMA devices, and DOCA-OFED for it in a repository."""

from __future__ import annotations

import base64

from standins import doca
from standins.repository import Repository
from system import playbooks
from system.mlnx_ofed import doca_state
from system.mlnx_ofed.rdma_image import Rdma

OLD, NEW, UNTOLD = "3.1.0", "3.2.1", "4.0.0"
SERIES = {OLD: "25.07", NEW: "25.10", UNTOLD: "26.10"}
INFO = {OLD: "OFED-internal-25.07-0.9.7:", NEW: "OFED-internal-25.10-1.7.1:"}
PLACE, PORT = "/srv/doca", 8098
URL = f"http://127.0.0.1:{PORT}"
SOURCE = "/etc/apt/sources.list.d/gpunode-rdma.sources"
KEYRING = "/etc/apt/keyrings/gpunode-rdma.asc"


class Doca(Rdma):
    """The node, its repository, and what is asked of its RDMA stack."""

    def __init__(self, lab, node, folder):
        super().__init__(lab, node, folder)
        self.archive = Repository(lab.tree(node), path=PLACE)
        self._log = folder / "ssh"
        key = base64.b64decode("".join(self.archive.key.splitlines()[2:-2]))
        (self.archive.root / "doca_keyring.gpg").write_bytes(key)
        self.serve()

    def serve(self):
        server = f"python3 -m http.server --bind 127.0.0.1 --directory {PLACE} {PORT}"
        self.says(f"systemd-run --quiet --collect --unit=mirror {server}")
        self.says(f"until (echo >/dev/tcp/127.0.0.1/{PORT}) 2>/dev/null; do sleep 0.2; done")

    def converge(self, *arguments, version=NEW, fingerprint="", **variables):
        signed = {"fingerprint": fingerprint or self.archive.fingerprint}
        series = SERIES.get(version, version)
        said = doca_state.arguments(self.node, URL, series, signed, **variables)
        return playbooks.run(doca_state.PLAY, *said, *arguments, log=self._log)

    def rests(self, **said):
        done = self.converge(**said)
        assert done.status == 0, done.messages()
        return done.changes(self.node) == []

    def sources(self):
        return self.says(f"cat {SOURCE} {KEYRING} 2>/dev/null; true")

    def mark(self, package, status):
        """Have dpkg's records say of a package what a dpkg that was killed leaves there."""
        named = f"/^Package: {package}$/,/^$/"
        self.says(f"sed -i '{named}s/^Status: .*/Status: {status}/' /var/lib/dpkg/status")
        assert package in self.says("dpkg --audit")

    def publish(self, version=NEW, faults=()):
        doca.publish(self.archive, version, faults)
