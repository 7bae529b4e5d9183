"""Makes bundles of MLNX_OFED for Enterprise Linux, on a node; see mlnx_ofed/bundle_el.yml."""

from __future__ import annotations

from lab import rpms as lab_rpms
from lab import textfile
from standins import doca_rpms, mlnx_ofed, rpms

TABLE = mlnx_ofed.table("bundle_el")
FAULTS = frozenset(row["name"] for row in TABLE["faults"])
_DOCA = {row["name"]: row for row in mlnx_ofed.table("doca_el")["packages"]}
_SOURCE, _MADE = "/srv/ofed-source", "/srv/ofed-made"
_BUILD = """
set -e
make -s -C /srv/shape/kernels/{kernel} M={source} modules
(cd {source}; find . -name '*.ko') | while read -r path; do
    install -D -m 0644 {source}/$path {made}/modules/$path
done
mkdir -p {made}/headers
cp -r {source}/include {source}/compat {source}/Module.symvers {made}/headers
"""


class Bundles:
    """The bundles for a node that has rpmbuild and the headers of its kernels.

    :param shell: a lab.shell.Shell of the node.
    :param tree: its root folder on this machine.
    :param shape: the shape of the node.
    """

    def __init__(self, shell, tree, shape):
        self._shell = shell
        self._tree = tree
        self._shape = shape
        self._builder = lab_rpms.Builder(shell, tree)

    def make(self, version, distribution, faults=()):
        """Make a bundle; return its file, as it lies on this machine.

        :param version: such as "24.10-2.1.8.0".
        :param distribution: what it is for, "rhel9.6".
        :param faults: of FAULTS.
        """
        assert set(faults) <= FAULTS, faults
        name = mlnx_ofed.name_of(version, distribution)
        folder = f"/srv/bundles/{'-'.join(sorted(faults)) or 'whole'}"
        known = self._known(version, distribution) | {"faults": frozenset(faults)}
        top = f"{folder}/{name}"
        made = f"{_SOURCE} {_MADE}"
        self._shell.says(f"rm -rf {top} {made}; mkdir -p {top}/src {made}")
        source = textfile.inside(self._tree, _SOURCE)
        mlnx_ofed.source_tree(source, known, faults)
        self._shell.says(f"tar -C /srv -czf {top}/src/MLNX_OFED_SRC-{version}.tgz ofed-source")
        # What does not compile is in no bundle that is built already.
        has_kernel = not {"no-kernel", "broken-module"}.intersection(faults)
        kernels = [self._shape.kernel] if has_kernel else []
        for kernel in kernels:
            script = _BUILD.format(kernel=kernel, source=_SOURCE, made=_MADE)
            self._shell.says(script, timeout_s=300)
        rows = [self._row(name, known, kernels) for name in TABLE["order"]["packages"]]
        self._builder.build([row for row in rows if row], f"{top}/RPMS", known)
        texts = {
            "mlnx": version,
            ".mlnx": version,
            "arch": "x86_64",
            ".arch": "x86_64",
            "distro": distribution,
            ".supported_kernels": "\n".join(kernels),
        }
        for path, text in texts.items():
            textfile.put(textfile.inside(self._tree, f"{top}/{path}"), f"{text}\n")
        place = textfile.inside(self._tree, f"{top}/mlnxofedinstall")
        textfile.put(place, self._installer(known), 0o755)
        self._shell.says(f"tar -C {folder} -czf {top}.tgz {name}", timeout_s=120)
        return textfile.inside(self._tree, f"{top}.tgz")

    def offer_required(self):
        """Let the distribution have what the installer wants to find: a repository of its own."""
        place = "/srv/required"
        rows = [
            {"name": name, "version": "8.6.10", "release": f"7.{self._shape.name}"}
            for name in TABLE["required"]["names"]
        ]
        self._builder.build(rows, place, {})
        self._shell.says(f"createrepo_c -q {place}")
        text = f"[required]\nname=AppStream\nbaseurl=file://{place}\ngpgkey=file://{lab_rpms.KEY}\n"
        textfile.put(textfile.inside(self._tree, "/etc/yum.repos.d/required.repo"), text)

    def _known(self, version, distribution):
        known = mlnx_ofed.versions(version)
        major, _dot, minor = distribution.removeprefix("rhel").partition(".")
        dist = f"rhel{major}u{minor}"
        rdma, _dash, release = known["rdma"].partition("-")
        return known | {
            **{"dist": dist, "rdma_el": rdma, "rdma_release": f"{release}.{dist}"},
            **{"tools_el": known["series"], "mft_el": known["mft"].partition("-")[0]},
        }

    def _row(self, name, known, kernels):
        """Return the row of a package, {} for one of a kernel that the bundle has not."""
        own = next((row for row in TABLE["packages"] if row["name"] == name), None)
        if own is None:
            row = doca_rpms.row_of(_DOCA[name], known, known["faults"])
            is_failing = name == "perftest" and "package-fails" in known["faults"]
            row = rpms.faulty(row, "broken-pre" if is_failing else "")
            is_rdma = row["version"] == "{rdma_el}"
            return {**row, "release": known["rdma_release"]} if is_rdma else row
        part = "headers" if name == "mlnx-ofa_kernel-devel" else "modules"
        folder = textfile.inside(self._tree, f"{_MADE}/{part}")
        paths = [own["place"].format(kernel=kernel) for kernel in kernels]
        return {**own, "folders": dict.fromkeys(paths, folder), "listed": paths} if paths else {}

    def _installer(self, known):
        options = mlnx_ofed.table("options")["options"]
        added = {
            key: TABLE["added"][key].format(**known, kernel_el="@KERNEL@")
            for key in ("name", "version", "release")
        }
        return mlnx_ofed.program(
            "installer_rpm.py",
            order=TABLE["order"]["packages"],
            words=TABLE["words"],
            required=TABLE["required"],
            options={row["name"]: "takes" in row for row in options},
            removed=[*_DOCA, *(row["name"] for row in TABLE["packages"]), TABLE["added"]["name"]],
            added=added,
        )
