"""Repositories of RPMs, built and signed on a node that has rpmbuild; see packages/el.yml."""

from __future__ import annotations

import hashlib
import shutil

import yaml

from lab import textfile
from lab.paths import CHECKOUT

_STANDINS = CHECKOUT / "tests" / "standins"
_TABLE = yaml.safe_load((_STANDINS / "packages" / "el.yml").read_text(encoding="utf-8"))
FAULTS = frozenset(row["name"] for row in _TABLE["faults"])
#: Where NVIDIA's repository is for the node, and what the key of all packages is called in it.
PATH, KEY = "/srv/repository", "D42D0685.pub"
URL = f"file://{PATH}"
_WORK, _BUILT, _GNUPG = "/srv/build", "/srv/built", "/root/.gnupg"
_PROGRAM = "#!/bin/sh\nexit 0\n"
_TIMEOUT_S = 300
# A package of many has its own version, and what its files need is told by its row alone.
_PACKAGE = """
%package -n {name}
Version: {version}
Release: {release}
Summary: Stand-in
AutoReqProv: no
{relations}
%description -n {name}
Stand-in
%files -n {name}
{files}
"""
_SPEC = """
Name: standin
Version: 1
Release: 1
Summary: Stand-in
License: MIT
%description
Stand-in
%install
cp -a {tree}/. %{{buildroot}}
{packages}
"""
_BUILD = """
set -e
rpmbuild -bb --quiet --define '_topdir {work}/top' --define '_rpmdir {out}' \
    --define '_build_name_fmt %%{{NAME}}-%%{{VERSION}}-%%{{RELEASE}}.%%{{ARCH}}.rpm' \
    --define '_binary_payload w1.gzdio' --define 'debug_package %{{nil}}' \
    --define '__os_install_post %{{nil}}' --define '_build_id_links none' {work}/spec
GPG_TTY= rpmsign --define '__gpg /usr/bin/gpg' --define '_gpg_name standin@example.com' \
    --addsign {out}/*.rpm >/dev/null
"""
_SIGN = """
set -e
gpg --batch --quiet --passphrase '' \
    --quick-generate-key 'Stand-in <standin@example.com>' rsa2048 sign
mkdir -p {path}
gpg --armor --export >{path}/{key}
"""
# The scripts of NVIDIA's spec, word for word in what they do.
_DKMS_POST = """\
dkms add -m {dkms} -v {version} -q || :
dkms build -m {dkms} -v {version} -q || :
dkms install -m {dkms} -v {version} -q --force || :
rm -rf /var/lib/dkms/{dkms}/original_module"""
_DKMS_PREUN = "dkms remove -m {dkms} -v {version} -q --all || :"
# systemd-rpm-macros: %systemd_post and %systemd_preun, without presets that enable anything.
_UNIT_PREUN = "[ $1 -ne 0 ] || systemctl --no-reload disable --now {unit} || :"
# Once, where the file is there: whoever repairs it meets no other fault.
_INTERRUPTION = "[ ! -e /run/interrupt ] || {{ rm /run/interrupt; kill -KILL $PPID; sleep 1; }}"
_TAGS = ("requires", "provides", "conflicts", "obsoletes")


class Repositories:
    """What a node can be given packages from: its distribution's repository, and NVIDIA's.

    :param shell: a lab.shell.Shell of the node.
    :param tree: its root folder on this machine.
    :param distribution: what packages/el.yml calls it, "el9".
    """

    def __init__(self, shell, tree, distribution):
        self._shell = shell
        self._tree = tree
        self._distribution = distribution

    def sign_with_own_key(self):
        """Make the key that all packages are signed with, beside NVIDIA's repository."""
        self._shell.says(_SIGN.format(path=PATH, key=KEY), _TIMEOUT_S)

    def base(self, path, kernels):
        """Make the repository of the distribution.

        :param path: where it is for the node.
        :param kernels: releases without their architecture, such as "5.14.0-570.12.1.el9_6".
        """
        self._shell.says(f"mkdir -p {path}")
        self._build(self._rows("base"), path, {})
        for kernel in kernels:
            version, _dash, release = kernel.partition("-")
            known = {"release": kernel, "kernel_version": version, "kernel_release": release}
            self._build(self._rows("kernel"), path, known)
        self._shell.says(f"cp {PATH}/{KEY} {path}; createrepo_c -q {path}")

    def publish(self, versions, faults=None, has_modules=True, trees=None):
        """Make NVIDIA's repository hold these versions of the driver and nothing else.

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
            told = _modules(versions, self._rows("cuda"), self._distribution)
            textfile.put(textfile.inside(self._tree, f"{_WORK}/modules.yaml"), told)
            command += f" && modifyrepo_c --mdtype=modules {_WORK}/modules.yaml {PATH}/repodata"
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
            rows = [{**ours, **row} for row in self._rows("cuda")]
            rows = [
                {**row, "dkms": trees[row["name"]]} if row["name"] in trees else row for row in rows
            ]
            self._shell.says(f"mkdir -p {folder}.new")
            # What lies at one place in two packages is built apart.
            apart = [row for row in rows if row["name"] in trees]
            for some in filter(None, ([row for row in rows if row not in apart], apart)):
                self._build(some, f"{folder}.new", known, faults)
            self._shell.says(f"mv {folder}.new {folder}")
        return folder

    def _rows(self, family):
        """Return the rows of the packages that the distribution has of a family."""
        name, found = self._distribution, []
        for row in _TABLE[family]:
            if name in row.get("of", row.get("versions", [name])):
                own = row.get("versions", {}).get(name)
                found.append({**row, **(_numbers(own) if own else {})})
        return found

    def _build(self, rows, out, known, faults=None):
        """Build packages, all at once."""
        work = textfile.inside(self._tree, _WORK)
        # Of the call before; there is none at first.
        shutil.rmtree(work, ignore_errors=True)
        tree = work / "tree"
        tree.mkdir(parents=True)
        packages = ""
        for row in rows:
            fault = (faults or {}).get(row["name"], "")
            told = {**known, **row.get("own", {})}
            packages += _package(row, told, fault)
            self._place(tree, row, told, fault)
        textfile.put(work / "spec", _SPEC.format(tree=f"{_WORK}/tree", packages=packages))
        self._shell.says(_BUILD.format(work=_WORK, out=out), _TIMEOUT_S)

    def _place(self, tree, row, known, fault):
        """Put a package's files into the tree that all are taken from."""
        for path, text in row.get("files", {}).items():
            is_program = text == "program" or text.startswith("#!")
            place = textfile.inside(tree, path.format(**known))
            content = _PROGRAM if text == "program" else text
            textfile.put(place, content, 0o755 if is_program else 0o644)
        for path, target in row.get("links", {}).items():
            place = textfile.inside(tree, path.format(**known))
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(target.format(**known))
        for path, original in row.get("copies", {}).items():
            place, there = f"{_WORK}/tree{path.format(**known)}", original.format(**known)
            self._shell.says(f"mkdir -p $(dirname {place}); cp -a {there} {place}")
        if "dkms" in row:
            is_open = "-open-" in row["name"]
            _place_module(tree, row["dkms"], known["version"], is_open, fault == "broken-module")


def _numbers(own):
    """Return what a row has of a version and its release: "4.3.0-20.el9"."""
    version, _dash, release = own.partition("-")
    said = {"own": own, "major": version.partition(".")[0]}
    return {"version": version, "release": release, "own": said}


def _package(row, known, fault):
    """Return what a spec says of a package."""
    relations = [
        f"{tag.capitalize()}: {relation.format(**known)}"
        for tag in _TAGS
        for relation in row.get(tag, ())
    ]
    if fault == "needs-nobody":
        relations.append("Requires: nobody-has-it")
    if row.get("epoch"):
        relations.append(f"Epoch: {row['epoch']}")
    if row.get("arch") == "noarch":
        relations.append("BuildArch: noarch")
    paths = [*row.get("files", ()), *row.get("links", ()), *row.get("copies", ())]
    listed = [path.format(**known) for path in [*paths, *row.get("listed", ())]]
    if "dkms" in row:
        listed.append(f"/usr/src/{row['dkms']}-{known['version']}")
    text = _PACKAGE.format(
        name=row["name"],
        version=row["version"].format(**known),
        release=row["release"].format(**known),
        relations="\n".join(relations),
        files="\n".join(listed),
    )
    return text + _scripts(row, known, fault)


def _scripts(row, known, fault):
    """Return a package's scripts as a spec has them."""
    known = {**known, "dkms": row.get("dkms", ""), "unit": row.get("unit", "")}
    post, preun = [row.get("post", "")], [row.get("preun", "")]
    if "dkms" in row:
        post.append(_DKMS_POST)
        preun.append(_DKMS_PREUN)
    if "unit" in row:
        preun.append(_UNIT_PREUN)
    if fault == "interrupted":
        post.append(_INTERRUPTION)
    found = ""
    for script, parts in (
        ("pre", ['echo "it does not work" >&2\nexit 1'] if fault == "broken-pre" else []),
        ("post", post),
        ("posttrans", [row.get("posttrans", "")]),
        ("preun", preun),
    ):
        body = "\n".join(part for part in parts if part)
        if body:
            found += f"\n%{script} -n {row['name']}\n{body.format(**known)}\n"
    if "triggers" in row:
        trigger = f"%transfiletriggerin -n {row['name']} -- /usr/lib/systemd/system"
        found += f"\n{trigger}\n{row['triggers']}\n"
    return found


def _place_module(tree, dkms, version, is_open, is_broken):
    """Put the source of a kernel module into the tree, under its name in DKMS."""
    source = tree / "usr" / "src" / f"{dkms}-{version}"
    shutil.copytree(_STANDINS / "module", source)
    configuration = source / "dkms.conf"
    text = configuration.read_text(encoding="utf-8").replace("535.161.08", version)
    text = text.replace('PACKAGE_NAME="nvidia"', f'PACKAGE_NAME="{dkms}"')
    # dkms-nvidia.conf: DEST_MODULE_LOCATION of each is /extra.
    configuration.write_text(text.replace("/updates/dkms", "/extra"), encoding="utf-8")
    module = source / "nvidia.c"
    text = module.read_text(encoding="utf-8").replace("535.161.08", version)
    text = text if is_open else text.replace("Dual MIT/GPL", "NVIDIA")
    text += "#error this kernel is not supported\n" if is_broken else ""
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
