"""NVIDIA's repository of RPMs, made on a node shaped as Enterprise Linux; see packages/el.yml."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

import yaml

from lab import rpms, textfile
from lab.paths import CHECKOUT

_STANDINS = CHECKOUT / "tests" / "standins"
_TABLE = yaml.safe_load((_STANDINS / "packages" / "el.yml").read_text(encoding="utf-8"))
FAULTS = frozenset(row["name"] for row in _TABLE["faults"])
#: Where the repository is for the node, and what the key of all packages is called in it.
PATH, KEY = "/srv/repository", "D42D0685.pub"
_BUILT = "/srv/built"
# The scripts of NVIDIA's spec, word for word in what they do.
_DKMS_POST = """\
dkms add -m {dkms} -v {version} -q || :
dkms build -m {dkms} -v {version} -q || :
dkms install -m {dkms} -v {version} -q --force || :
rm -rf /var/lib/dkms/{dkms}/original_module"""
_DKMS_PREUN = "dkms remove -m {dkms} -v {version} -q --all || :"
_DKMS_SOURCES = "/usr/src/{dkms}-{version}"
# systemd-rpm-macros: %systemd_post and %systemd_preun, without presets that enable anything.
_UNIT_PREUN = "[ $1 -ne 0 ] || systemctl --no-reload disable --now {unit} || :"
# Once, where the file is there: whoever repairs it meets no other fault.
_INTERRUPTION = "[ ! -e /run/interrupt ] || {{ rm /run/interrupt; kill -KILL $PPID; sleep 1; }}"
# What a package has more, or else, with a fault of those that are not of its modules.
_FAULTY = {
    "broken-pre": {"pre": 'echo "it does not work" >&2\nexit 1'},
    "needs-nobody": {"requires": ["nobody-has-it"]},
    "interrupted": {"post": _INTERRUPTION},
}


class Repository:
    """NVIDIA's repository, for a node that has rpmbuild.

    :param shell: a lab.shell.Shell of the node.
    :param tree: its root folder on this machine.
    :param distribution: what the node is shaped as, "el9".
    """

    def __init__(self, shell, tree, distribution):
        self._shell = shell
        self._tree = tree
        self._distribution = distribution
        self._builder = rpms.Builder(shell, tree)

    def begin(self):
        """Make it, without a package."""
        self._shell.says(f"mkdir -p {PATH}; cp {rpms.KEY} {PATH}/{KEY}")

    def publish(self, versions, faults=None, has_modules=True, trees=None):
        """Make it hold these versions of the driver and nothing else.

        :param faults: {name of a package: one of FAULTS}, of every version.
        :param trees: {name of a package: what its modules are called in DKMS}, where that is
            another name than the table has.
        :param has_modules: whether it tells of module streams, as that of Enterprise Linux 9 does.
        """
        self._shell.says(f"rm -rf {PATH}/*.rpm {PATH}/repodata")
        for version in versions:
            built = self._built(version, faults or {}, trees or {})
            self._shell.says(f"ln {built}/*.rpm {PATH}")
        command = f"createrepo_c -q {PATH}"
        if has_modules:
            told = _modules(versions, _TABLE["cuda"], self._distribution)
            described = f"{PATH}.modules.yaml"
            textfile.put(textfile.inside(self._tree, described), told)
            command += f" && modifyrepo_c --mdtype=modules {described} {PATH}/repodata"
        self._shell.says(command)

    def _built(self, version, faults, trees):
        """Return the folder with the packages of a version, built where they are not yet."""
        told = repr((sorted(faults.items()), sorted(trees.items())))
        name = hashlib.sha256(told.encode()).hexdigest()[:8]
        folder = f"{_BUILT}/{version}-{name}"
        if not textfile.inside(self._tree, folder).exists():
            branch = version.partition(".")[0]
            known = {"version": version, "evr": f"3:{version}", "branch": branch}
            ours = {"version": version, "release": f"1.{self._distribution}", "epoch": 3}
            # What lies at one place in two packages is built apart.
            apart = [row["name"] in trees for row in _TABLE["cuda"]]
            with tempfile.TemporaryDirectory() as temporary:
                rows = [
                    {**ours, **_row(row, version, faults, trees, Path(temporary, row["name"]))}
                    for row in _TABLE["cuda"]
                ]
                for is_apart in sorted(set(apart)):
                    some = [
                        row for row, is_it in zip(rows, apart, strict=True) if is_it == is_apart
                    ]
                    self._builder.build(some, f"{folder}.new", known)
            self._shell.says(f"mv {folder}.new {folder}")
        return folder


def faulty(row, fault):
    """Return a row of a table with a fault that is not of its modules; "" for none."""
    row = dict(row)
    for key, more in _FAULTY.get(fault, {}).items():
        row[key] = (
            _joined(row.get(key, ""), more) if isinstance(more, str) else [*row.get(key, ()), *more]
        )
    return row


def _row(row, version, faults, trees, folder):
    """Return a row of the table as packages are built of it, with what DKMS and systemd have.

    :param folder: where the source of its modules is put, if it has any.
    """
    fault = faults.get(row["name"], "")
    row = dict(row)
    if "dkms" in row:
        own = {"dkms": trees.get(row["name"], row["dkms"])}
        _put_module(folder, own["dkms"], version, "-open-" in row["name"], fault)
        row |= {"own": own, "folders": {_DKMS_SOURCES: folder}, "listed": [_DKMS_SOURCES]}
        row["post"] = _joined(row.get("post", ""), _DKMS_POST)
        row["preun"] = _joined(row.get("preun", ""), _DKMS_PREUN)
    if "unit" in row:
        row["own"] = {**row.get("own", {}), "unit": row["unit"]}
        row["preun"] = _joined(row.get("preun", ""), _UNIT_PREUN)
    return faulty(row, fault)


def _joined(*bodies):
    return "\n".join(filter(None, bodies))


def _put_module(source, dkms, version, is_open, fault):
    """Put the source of a kernel module into a folder, under its name in DKMS."""
    shutil.copytree(_STANDINS / "module", source)
    configuration = source / "dkms.conf"
    text = configuration.read_text(encoding="utf-8").replace("535.161.08", version)
    text = text.replace('PACKAGE_NAME="nvidia"', f'PACKAGE_NAME="{dkms}"')
    # dkms-nvidia.conf: DEST_MODULE_LOCATION of each is /extra.
    configuration.write_text(text.replace("/updates/dkms", "/extra"), encoding="utf-8")
    module = source / "nvidia.c"
    text = module.read_text(encoding="utf-8").replace("535.161.08", version)
    text = text if is_open else text.replace("Dual MIT/GPL", "NVIDIA")
    text += "#error this kernel is not supported\n" if fault == "broken-module" else ""
    module.write_text(text, encoding="utf-8")


def _modules(versions, rows, distribution):
    """Return what tells of module streams, as NVIDIA/cuda-repo-management@2944b7a4 shapes it.

    genmodules.py: a stream BRANCH-dkms and one BRANCH-open for each branch, which hold all versions
    of their branch and the newest modules; latest-dkms and open-dkms follow the newest branch. All
    that is no option is in the profile "default", desktop and all.
    """
    branches = {}
    for version in versions:
        branches.setdefault(version.partition(".")[0], []).append(version)
    newest = max(branches, key=int)
    streams = {f"{name}-{kind}": name for name in branches for kind in ("dkms", "open")}
    streams |= {"latest-dkms": newest, "open-dkms": newest}
    optional, groups = ["nvidia-fabric-manager"], ["nvidia-open", "cuda-drivers"]
    documents = []
    for stream, branch in streams.items():
        is_open = "open" in stream
        kmod = "kmod-nvidia-open-dkms" if is_open else "kmod-nvidia-latest-dkms"
        artifacts, profile = [], []
        for row in rows:
            if row["name"].startswith("kmod-") and row["name"] != kmod:
                continue
            if row["name"] == ("cuda-drivers" if is_open else "nvidia-open"):
                continue
            if row["name"] not in (*optional, *groups):
                profile.append(row["name"])
            epoch, arch = row.get("epoch", 3), row.get("arch", "x86_64")
            artifacts += [
                f"{row['name']}-{epoch}:{version}-1.{distribution}.{arch}"
                for version in branches[branch]
            ]
        documents.append({
            "document": "modulemd", "version": 2,
            "data": {
                "name": "nvidia-driver", "stream": stream, "version": 20250901000000,
                "context": hashlib.sha256(stream.encode()).hexdigest()[:10], "arch": "x86_64",
                "summary": "Stand-in", "description": "Stand-in",
                "license": {"module": ["MIT"]}, "artifacts": {"rpms": artifacts},
                "profiles": {
                    "default": {"rpms": profile}, "fm": {"rpms": [*profile, *optional]},
                    "ks": {"rpms": [*profile]},
                },
            },
        })  # fmt: skip
    documents.append({
        "document": "modulemd-defaults", "version": 1,
        "data": {
            "module": "nvidia-driver", "stream": "open-dkms",
            "profiles": {stream: ["default"] for stream in streams},
        },
    })  # fmt: skip
    return yaml.safe_dump_all(documents, explicit_start=True, explicit_end=True, sort_keys=False)
