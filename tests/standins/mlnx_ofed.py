"""Makes files that stand for MLNX_OFED_LINUX for Debian; see tests/standins/mlnx_ofed."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from pathlib import Path

import yaml

from lab import textfile
from lab.command import run
from lab.paths import CHECKOUT
from standins import peer_sources

STANDIN = CHECKOUT / "tests" / "standins" / "mlnx_ofed"
#: What a test can look at on a node: files `installer`, `uninstall`, `openibd` and `firmware`.
STATE = "/var/lib/mlnx-ofed-standin"
#: {folder below the sources: names of its modules}.
MODULES = {
    "compat": ["mlx_compat"],
    "drivers/infiniband/core": ["ib_core", "ib_uverbs"],
    "drivers/net/ethernet/mellanox/mlx5/core": ["mlx5_core"],
    "drivers/infiniband/hw/mlx5": ["mlx5_ib"],
}
_ROOT = ("--root-owner-group", "-Znone")
_TRUNCATED = 0.7


def table(name):
    """Return one of the tables: "options", "words", "faults" or "packages"."""
    return yaml.safe_load((STANDIN / f"{name}.yml").read_text(encoding="utf-8"))


FAULTS = frozenset(row["name"] for row in table("faults")["faults"])


def name_of(version, distribution="debian12.5", arch="x86_64"):
    """Return what the vendor calls the folder; the file has .tgz behind it."""
    return f"MLNX_OFED_LINUX-{version}-{distribution}-{arch}"


def make(
    folder, version, distribution="debian12.5", arch="x86_64", faults=(), requires=True, into=None
):
    """Make a bundle and return its file.

    :param folder: where to.
    :param version: such as "24.10-2.1.8.0".
    :param distribution: what the bundle is for; the installer compares it as a whole.
    :param faults: names of FAULTS, or a dict {"exit": 28}.
    :param requires: False leaves out the packages that the installer has apt bring though none of
        its own depends on them; they take a while.
    :param into: a folder that takes the bundle unpacked, and no file is made.
    """
    faults = dict(faults) if isinstance(faults, dict) else dict.fromkeys(faults, True)
    unknown = set(faults) - FAULTS
    if unknown:
        raise ValueError(f"no such fault: {', '.join(sorted(unknown))}")
    name = name_of(version, distribution, arch)
    with tempfile.TemporaryDirectory() as temporary:
        top = Path(temporary, name)
        _furnish(top, version, distribution, arch, faults, requires)
        if into:
            shutil.copytree(top, into, symlinks=True)
            return Path(into)
        path = Path(folder, f"{name}.tgz")
        with tarfile.open(path, "w:gz") as archive:
            archive.add(top, arcname=name)
    if "truncated" in faults:
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * _TRUNCATED)])
    return path


def versions(version):
    """Return what versions of packages are made of, and those that follow from the bundle's."""
    series, _dash, build = version.partition("-")
    patch = ".".join(build.split(".")[:3])
    known = {"ofed": version, "series": series, "patch": patch, "internal": f"{series}-{patch}"}
    known["plain"] = series.replace(".", "")
    known["digits"] = known["plain"] + patch.replace(".", "")
    packages = table("packages")
    row = next(row for row in packages["versions"] if _key(series) >= _key(row["since"]))
    known |= {name: row[name].format(**known) for name in ("scripts", "kernel")}
    rdma = packages["rdma"].get(series, packages["rdma"]["other"])
    return known | {name: text.format(**known) for name, text in rdma.items()}


def headers(version):
    """Return where the kernel headers of a version lie, KERNEL being a kernel's release."""
    by_arch = table("packages")["since"]["headers_by_arch"]
    return "x86_64/KERNEL" if _key(version) >= _key(by_arch) else "default"


def debs(version):
    """Return the folder of a bundle that has the packages."""
    flat = _key(version) >= _key(table("packages")["since"]["flat"])
    return "DEBS" if flat else "DEBS/UPSTREAM_LIBS"


def source_tree(folder, known, faults=()):
    """Make the sources of the kernel modules, as DKMS takes them; return their version in DKMS.

    :param known: what `versions` returns.
    """
    version, dkms = known["ofed"], known["kernel"].partition("-")[0]
    module = STANDIN / "module"
    has_ex = _key(version) >= _key(table("packages")["since"]["client_ex"])
    with tempfile.TemporaryDirectory() as temporary:
        made = peer_sources.ofed(Path(temporary, "ofed"), has_client_ex=has_ex)
        shutil.copytree(made / "include", Path(folder, "include"))
    if "other-symbols" in faults:
        header = Path(folder, "include", "rdma", "peer_mem.h")
        text = header.read_text(encoding="utf-8").replace("VER_MAX 16", "VER_MAX 32")
        header.write_text(text, encoding="utf-8")
    for place, names in MODULES.items():
        for name in names:
            text = (module / f"{name}.c").read_text(encoding="utf-8").replace("@OFED@", version)
            if "broken-module" in faults:
                text += "#error this kernel is not supported\n"
            textfile.put(Path(folder, place, f"{name}.c"), text)
        objects = " ".join(f"{name}.o" for name in names)
        textfile.put(Path(folder, place, "Kbuild"), f"obj-m := {objects}\n")
    places = " ".join(f"{place}/" for place in MODULES)
    textfile.put(
        Path(folder, "Kbuild"), f"subdir-ccflags-y := -I$(src)/include\nobj-m := {places}\n"
    )
    script = (module / "pre_build.sh").read_text(encoding="utf-8")
    script = script.replace("@HEADERS@", headers(version))
    textfile.put(Path(folder, "ofed_scripts", "pre_build.sh"), script, 0o755)
    text = (module / "dkms.conf").read_text(encoding="utf-8").replace("@DKMS@", dkms)
    textfile.put(Path(folder, "dkms.conf"), text)
    return dkms


def build(pool, row, known, faults=()):
    """Build a package of the table, and return its file.

    :param pool: the folder that the package is put into.
    :param known: what `versions` returns; "internal" is what ofed_info tells until an installer
        has renamed it.
    :param faults: of the bundle.
    """
    full = row["version"].format(**known)
    fields = {
        "Package": row["name"],
        "Version": full,
        "Architecture": row["arch"],
        "Maintainer": "Nobody <nobody@example.com>",
        **row.get("fields", {}),
    }
    control = "".join(f"{field}: {value}\n" for field, value in fields.items())
    control += "Description: Stand-in\n"
    path = Path(pool, f"{row['name']}_{full}_{row['arch']}.deb")
    with tempfile.TemporaryDirectory() as temporary:
        tree = Path(temporary)
        _place(tree, row, known["internal"], faults)
        after, before = [row.get("postinst", "")], [row.get("prerm", "")]
        if row.get("dkms"):
            _place_dkms(tree, known, faults, after, before)
        if row.get("dkms") and "package-fails" in faults:
            after.append('echo "ERROR: it does not work" >&2\nexit 1')
        textfile.put(tree / "DEBIAN" / "control", control)
        if row.get("conffiles"):
            listed = "".join(f"{path}\n" for path in row["conffiles"])
            textfile.put(tree / "DEBIAN" / "conffiles", listed)
        for script, when, parts in (
            ("postinst", "configure", after),
            ("prerm", "remove|upgrade|deconfigure", before),
        ):
            body = "\n".join(part for part in parts if part)
            if body:
                text = f'#!/bin/sh\nset -e\ncase "$1" in\n{when})\n{body}\n;;\nesac\n'
                textfile.put(tree / "DEBIAN" / script, text, 0o755)
        tree.chmod(0o755)
        run(["env", "SOURCE_DATE_EPOCH=0", "dpkg-deb", *_ROOT, "--build", tree, path])
    return path


def program(name, played=(), **package):
    """Return the text of a program that runs on the node."""
    text = (STANDIN / "files" / name).read_text(encoding="utf-8")
    for token, value in (("STATE", STATE), ("FAULTS", " ".join(sorted(played)))):
        text = text.replace(f"@{token}@", value)
    return text.replace("PACKAGE = {}", f"PACKAGE = {package!r}")


def _key(version):
    return [int(part) for part in version.replace("-", ".").split(".")]


def _words():
    return table("words")["words"]


def _uninstaller():
    options = table("options")["uninstall"]
    removed = table("words")["removed"]["names"]
    return program("uninstall.py", options=options, words=_words(), removed=removed)


def _place(tree, row, internal, faults):
    programs = table("packages")["programs"]
    for path, name in row.get("files", {}).items():
        if name == "ofed_info" and "ofed_info-missing" in faults:
            continue
        if name == "uninstall.py":
            text = _uninstaller()
        else:
            text = program(name, faults).replace("@INTERNAL@", internal)
        mode = 0o755 if name in programs else 0o644
        textfile.put(textfile.inside(tree, path), text, mode)


def _place_dkms(tree, known, faults, after, before):
    source = tree / "usr" / "src" / "source"
    dkms = source_tree(source, known, faults)
    name = f"mlnx-ofed-kernel-{dkms}"
    source.rename(source.with_name(name))
    source.with_name(f"ofa_kernel-{dkms}").symlink_to(name)
    after.append(
        f"/usr/lib/dkms/common.postinst mlnx-ofed-kernel {dkms} "
        '/usr/share/mlnx-ofed-kernel-dkms "" $2'
    )
    # The vendor's script does not mind either whether there was anything to remove.
    before.append(
        f'if [ "$(dkms status -m mlnx-ofed-kernel)" ]; then\n'
        f"  dkms remove -m mlnx-ofed-kernel -v {dkms} --all || true\nfi"
    )


def _furnish(top, version, distribution, arch, faults, requires):
    packages, known = table("packages"), versions(version)
    pool = top / debs(version)
    pool.mkdir(parents=True)
    for row in packages["packages"]:
        build(pool, row, known, faults)
    if "no-firmware" not in faults:
        build(pool, packages["updater"], known, faults)
    for name, text in (("mlnx", version), ("arch", arch)):
        textfile.put(top / name, f"{text}\n")
        textfile.put(top / f".{name}", f"{text}\n")
    textfile.put(top / "distro", f"{distribution}\n")
    textfile.put(top / "uninstall.sh", _uninstaller(), 0o755)
    rows = {row["name"]: row for row in table("faults")["faults"]}
    told = {
        name: {**rows[name], **({"exit": value} if name == "exit" else {})}
        for name, value in faults.items()
    }
    options = table("options")
    installer = program(
        "installer.py",
        options=options["options"],
        defaults=options["defaults"],
        packages=packages["packages"],
        required=table("words")["required"]["names"] if requires else [],
        debs=debs(version),
        faults=told,
    )
    textfile.put(top / "mlnxofedinstall", installer, 0o755)
    helper = program(
        "add_kernel_support.py",
        debs=debs(version),
        version=known["kernel"],
        faults=sorted(faults),
    )
    textfile.put(top / "mlnx_add_kernel_support.sh", helper, 0o755)
    _pack_sources(top / "src", known, faults)


def _pack_sources(place, known, faults):
    place.mkdir()
    with tempfile.TemporaryDirectory() as temporary:
        source_tree(Path(temporary, "source"), known, faults)
        with tarfile.open(place / f"MLNX_OFED_SRC-debian-{known['ofed']}.tgz", "w:gz") as archive:
            archive.add(Path(temporary, "source"), arcname="source")
