"""Makes what stands for DOCA-OFED for Enterprise Linux, on a node; see mlnx_ofed/doca_el.yml."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from lab import rpms as lab_rpms
from lab import textfile
from standins import doca, mlnx_ofed, rpms

_TABLE = mlnx_ofed.table("doca_el")
FAULTS = frozenset(row["name"] for row in _TABLE["faults"])
#: Where the repository is for the node.
PATH = "/srv/doca"
_BUILT = "/srv/built-doca"
_DAMAGED, _BROKEN = "mlnx-tools", "mlnx-ofa_kernel"
_SOURCES, _CONF = "/usr/src/mlnx-ofa_kernel-{series}", "dkms.conf"


def versions(release):
    """Return what versions of packages are made of, for a version of DOCA that a table has."""
    own = next((row for row in _TABLE["versions"] if row["doca"] == release), None)
    known = mlnx_ofed.versions(own["ofed"]) | own if own else doca.versions(release)
    known["rdma_el"] = known["rdma"].partition("-")[0]
    known["tools_el"] = f"{known['plain']}.0.16"
    known["mft_el"] = known["mft"].partition("-")[0]
    return known


class Repository:
    """The repository of one release of DOCA, for a node that has rpmbuild.

    :param shell: a lab.shell.Shell of the node.
    :param tree: its root folder on this machine.
    :param distribution: what the node is shaped as, "el9".
    """

    def __init__(self, shell, tree, distribution):
        self._shell = shell
        self._tree = tree
        self._distribution = distribution

    def hold(self, release, faults=()):
        """Make it hold a release and nothing else.

        :param faults: of FAULTS.
        """
        built = self._built_of(release, frozenset(faults) - {"damaged"})
        shell = self._shell
        shell.says(f"rm -rf {PATH}; mkdir -p {PATH}; ln {built}/*.rpm {PATH}")
        shell.says(f"cp {lab_rpms.KEY} {PATH}/{rpms.KEY}; createrepo_c -q {PATH}")
        if "damaged" in faults:
            # Another inode: what is built stays whole.
            name = f"{PATH}/{_DAMAGED}-*.rpm"
            shell.says(f"cp {name} /srv/x && echo >>/srv/x && mv /srv/x $(ls {name})")
        shell.says("dnf -q clean expire-cache")

    def _built_of(self, release, faults):
        """Return the folder with the packages of a release, built where they are not yet."""
        name = hashlib.sha256(repr(sorted(faults)).encode()).hexdigest()[:8]
        folder = f"{_BUILT}/{release}-{name}"
        if not textfile.inside(self._tree, folder).exists():
            known = versions(release) | {"faults": faults, "dist": self._distribution}
            with tempfile.TemporaryDirectory() as temporary:
                sources = Path(temporary, "sources")
                _put_sources(sources, known)
                rows = _rows(known, faults, sources)
                lab_rpms.Builder(self._shell, self._tree).build(rows, f"{folder}.new", known)
            self._shell.says(f"mv {folder}.new {folder}")
        return folder


def _put_sources(folder, known):
    """Put the sources of the modules into a folder, as they are packaged for DKMS."""
    version = mlnx_ofed.source_tree(folder, known, known["faults"])
    conf = folder / _CONF
    text = conf.read_text(encoding="utf-8").replace("mlnx-ofed-kernel", "mlnx-ofa_kernel")
    text = text.replace(f'"{version}"', f'"{known["series"]}"')
    # On Enterprise Linux DKMS puts all below extra, whatever it is told.
    conf.write_text(text.replace('"/kernel/', '"/extra/'), encoding="utf-8")


def _rows(known, faults, sources):
    """Return the rows of rpms of a release.

    :param sources: the folder with the sources of the modules.
    """
    whole = {"version": known["doca"], "release": known["build"]}
    packages = (*_TABLE["packages"], _TABLE["updater"])
    rows = [row_of(row, known, faults, sources) for row in packages]
    return [*rows, *({**whole, **row} for row in _TABLE["profiles"])]


def row_of(row, known, faults, sources=None):
    """Return a row of rpms for one of a table, whose files are named after files in files/.

    :param sources: the folder with the sources of the modules, for a row with a tree of them.
    """
    files = {
        path: mlnx_ofed.program(name, faults).replace("@INTERNAL@", known["internal"])
        for path, name in row.get("files", {}).items()
    }
    conf = f"{_SOURCES}/{_CONF}"
    listed = {"source": [_SOURCES, f"%exclude {conf}"], "conf": [conf]}
    more = {"folders": {_SOURCES: sources}, "listed": listed[row["tree"]]} if "tree" in row else {}
    fault = "broken-pre" if row["name"] == _BROKEN and "broken-pre" in faults else ""
    return rpms.faulty({**row, "files": files, **more}, fault)
