"""Makes what stands for DOCA-OFED for Debian; see doca.yml of tests/standins/mlnx_ofed."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from lab import textfile
from lab.command import run
from standins import mlnx_ofed, repository

TABLE = mlnx_ofed.table("doca")
VERSIONS = tuple(row["doca"] for row in TABLE["versions"])
FAULTS = frozenset(row["name"] for row in TABLE["faults"])
_DAMAGED = "mlnx-tools"
_MAKE = "./ofed_scripts/pre_build.sh $kernelver $kernel_source_dir"
# As dh_dkms has it.
_SCRIPTS = {
    "postinst": """\
#!/bin/sh
set -e
[ "$1" != configure ] || /usr/lib/dkms/common.postinst {name} {dkms} "" "" "$2"
""",
    "prerm": """\
#!/bin/sh
set -e
if [ "$(dkms status -m {name} -v {dkms})" ]; then
    dkms remove -m {name} -v {dkms} --all
fi
""",
}


def versions(doca):
    """Return what versions of packages are made of, for a version of DOCA that the table has."""
    row = next(row for row in TABLE["versions"] if row["doca"] == doca)
    return mlnx_ofed.versions(row["ofed"]) | row


def publish(archive, doca, faults=(), suite=repository.FLAT):
    """Make a suite of a Repository hold a version of DOCA and nothing else.

    :param archive: the Repository; NVIDIA's own has no suites.
    :param faults: of FAULTS.
    """
    archive.hold(suite, lambda pool: _build(pool, doca, faults), "NVIDIA", TABLE["label"])
    if "damaged" in faults:
        for path in archive.root.rglob(f"{_DAMAGED}_*.deb"):
            repository.damage(path)


def archive_package(pool, ofed, faults=()):
    """Build what the archive of Ubuntu 26.04 has of a series; see `archive` of doca.yml.

    :param pool: the folder that the package is put into.
    :param ofed: a version that the table has.
    :param faults: "broken-module" or none.
    """
    row = next(row for row in TABLE["archive"] if row["ofed"] == ofed)
    name, dkms = row["package"], row["version"].partition("-")[0]
    with tempfile.TemporaryDirectory() as temporary:
        tree = Path(temporary)
        source = tree / "usr" / "src" / f"{name}-{dkms}"
        known = mlnx_ofed.versions(ofed)
        before = mlnx_ofed.source_tree(source, known, faults)
        shutil.rmtree(source / "ofed_scripts")
        conf = (source / "dkms.conf").read_text(encoding="utf-8")
        for old, new in (
            ('"mlnx-ofed-kernel"', f'"{name}"'),
            (f'VERSION="{before}"', f'VERSION="{dkms}"'),
            (_MAKE, f"make -C $kernel_source_dir M=$dkms_tree/{name}/{dkms}/build modules"),
        ):
            assert old in conf, old
            conf = conf.replace(old, new)
        textfile.put(source / "dkms.conf", conf)
        for script, text in _SCRIPTS.items():
            filled = text.format(name=name, dkms=dkms)
            textfile.put(tree / "DEBIAN" / script, filled, 0o755)
        _pack(tree, pool, {"Package": name, "Version": row["version"], "Depends": "dkms"})


def host(folder, doca, distribution="debian125", faults=()):
    """Build doca-host, which brings a version of DOCA in a repository of its own.

    :param folder: where to.
    :return: its file.
    """
    known = versions(doca) | {"distribution": distribution}
    full = TABLE["host"]["full"].format(**known)
    place = TABLE["host"]["folder"].format(full=full)
    with tempfile.TemporaryDirectory() as temporary:
        tree = Path(temporary)
        held = textfile.inside(tree, place)
        (held / "pool").mkdir(parents=True)
        _build(held / "pool", doca, faults)
        index = {"Packages": repository.listing(held / "pool", held)}
        repository.describe(held, index, {"Origin": "NVIDIA", "Label": TABLE["label"]})
        line = TABLE["host"]["line"].format(folder=place)
        textfile.put(textfile.inside(tree, TABLE["host"]["list"]), line)
        if "damaged" in faults:
            repository.damage(next(held.rglob(f"{_DAMAGED}_*.deb")))
        return _pack(tree, folder, {"Package": "doca-host", "Version": full})


def _build(pool, doca, faults):
    """Build all packages of a version into a folder."""
    known = versions(doca)
    table = mlnx_ofed.table("packages")
    since = TABLE["without_ofed_info"]["since"]
    if _key(doca) >= _key(since):
        faults = {*faults, "ofed_info-missing"}
    exact = {row["name"]: f"{doca}-{known['build']}" for row in TABLE["profiles"]}
    for row in (*table["packages"], table["updater"]):
        mlnx_ofed.build(pool, row, known, faults)
        exact[row["name"]] = row["version"].format(**known)
    user = [row["name"] for row in table["packages"] if row["space"] == "user"]
    kernel = [row["name"] for row in table["packages"] if row["space"] == "kernel"]
    for row in TABLE["profiles"]:
        needed = []
        for name in row["depends"]:
            needed += {"*": user, "kernel": kernel}.get(name, [name])
        depends = [f"{name} (= {exact[name]})" for name in needed]
        with tempfile.TemporaryDirectory() as temporary:
            fields = {"Package": row["name"], "Version": f"{doca}-{known['build']}"}
            _pack(Path(temporary), pool, {**fields, "Depends": ", ".join(depends)})


def _pack(tree, folder, fields):
    fields = {**fields, "Architecture": "amd64", "Maintainer": "Nobody <nobody@example.com>"}
    control = "".join(f"{field}: {value}\n" for field, value in fields.items())
    textfile.put(tree / "DEBIAN" / "control", f"{control}Description: Stand-in\n")
    tree.chmod(0o755)
    path = Path(folder, f"{fields['Package']}_{fields['Version']}_amd64.deb")
    options = ("--root-owner-group", "-Znone")
    run(["env", "SOURCE_DATE_EPOCH=0", "dpkg-deb", *options, "--build", tree, path])
    return path


def _key(version):
    return [int(part) for part in version.split(".")]
