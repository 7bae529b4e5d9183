#!/usr/bin/python3
"""mlnx_add_kernel_support.sh: makes a bundle that has modules for one kernel; see words.yml."""

import importlib.machinery
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True
# {faults, debs, version, dkms}: put here when the bundle is made.
PACKAGE = {}
HOME = Path(os.path.realpath(__file__)).parent
_VALUES = {
    "-m": "bundle",
    "--mlnx_ofed": "bundle",
    "-k": "kernel",
    "--kernel": "kernel",
    "-s": "sources",
    "--kernel-sources": "sources",
    "-t": "tmpdir",
    "--tmpdir": "tmpdir",
    "-n": "name",
    "--name": "name",
    "--distro": "distro",
    "--ofed-sources": "tgz",
}
_FLAGS = ("--make-tgz", "-v", "--verbose", "-y", "--yes", "--force", "--skip-repo")
_SPACE_KB = 614400

loader = importlib.machinery.SourceFileLoader("neighbour", str(HOME / "uninstall.sh"))
UNINSTALL = importlib.util.module_from_spec(importlib.util.spec_from_loader("neighbour", loader))
loader.exec_module(UNINSTALL)
say = UNINSTALL.say


def parse(arguments):
    given = {}
    left = list(arguments)
    while left:
        argument = left.pop(0)
        if argument in _VALUES:
            given[_VALUES[argument]] = left.pop(0)
        elif argument in _FLAGS or argument.startswith("--without-"):
            given[argument] = True
        else:
            print(f"\n\tUsage: {sys.argv[0]} -m|--mlnx_ofed <path to MLNX_OFED directory>")
            sys.exit(1)
    return given


def build(given, work, log):
    """Build the modules, and the package that has them."""
    kernel, version = given["kernel"], PACKAGE["version"]
    tree = work / "source"
    subprocess.run(["tar", "xzf", next(HOME.glob("src/*_SRC*tgz")), "-C", work], check=True)
    root = work / "root"
    headers = root / "usr/src/ofa_kernel"
    command = ["./ofed_scripts/pre_build.sh", kernel, given["sources"], str(headers)]
    with open(log, "a", encoding="utf-8") as handle:
        done = subprocess.run(command, cwd=tree, stdout=handle, stderr=handle, check=False)
    if done.returncode or "add-kernel-support-fails" in PACKAGE["faults"]:
        sys.exit(say("helper_failed", command=f"install.pl --kernel {kernel}", log=log))
    for module in tree.rglob("*.ko"):
        target = root / "lib/modules" / kernel / "updates" / module.relative_to(tree)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(module, target)
    full = f"{version}.kver.{kernel.replace('_', '-')}"
    control = (
        f"Package: mlnx-ofed-kernel-modules\nVersion: {full}\nArchitecture: amd64\n"
        "Maintainer: Nobody <nobody@example.com>\nDepends: mlnx-ofed-kernel-utils\n"
        "Description: Stand-in\n"
    )
    (root / "DEBIAN").mkdir()
    (root / "DEBIAN" / "control").write_text(control, encoding="utf-8")
    place = next(headers.rglob("Module.symvers")).parent.relative_to(root)
    # As in the vendor's packages: the kernel may be gone by then.
    after = f"#!/bin/sh\nset -e\ndepmod {kernel} || true\n"
    if place.name != "default":
        after += "update-alternatives --install /usr/src/ofa_kernel/default ofa_kernel_headers "
        after += f"/{place} 30\n"
    for name, text in (("postinst", after), ("postrm", f"#!/bin/sh\ndepmod {kernel} || true\n")):
        (root / "DEBIAN" / name).write_text(text, encoding="utf-8")
        (root / "DEBIAN" / name).chmod(0o755)
    return root, f"mlnx-ofed-kernel-modules_{full}_amd64.deb"


def main():
    if os.geteuid():
        print(f"You must be root to run {os.path.basename(sys.argv[0])}")
        sys.exit(1)
    given = parse(sys.argv[1:])
    given.setdefault("kernel", os.uname().release)
    given.setdefault("sources", f"/lib/modules/{given['kernel']}/build")
    given.setdefault("bundle", str(HOME))
    given.setdefault("distro", "debian")
    tmp = Path(given.get("tmpdir") or os.environ.get("TMP") or "/tmp")
    there = next(path for path in (tmp, *tmp.parents) if path.is_dir())
    if shutil.disk_usage(there).free // 1024 < _SPACE_KB:
        sys.exit(say("helper_space", tmp=there))
    logs = tmp / f"mlnx_iso.{os.getpid()}_logs"
    work = tmp / f"mlnx_iso.{os.getpid()}"
    logs.mkdir(parents=True)
    work.mkdir(parents=True)
    log = logs / f"mlnx_ofed_iso.{os.getpid()}.log"
    say("helper_note", distro=given["distro"], tmp=tmp)
    if "-y" not in given and "--yes" not in given:
        print("Do you want to continue?[y/N]:", end="", flush=True)
        if sys.stdin.readline().strip() not in ("y", "Y"):
            sys.exit(0)
    say("helper_log", log=log)
    bundle = Path(given["bundle"])
    debs = bundle / PACKAGE["debs"]
    if any(debs.glob(f"mlnx-ofed-kernel-modules_*.kver.{given['kernel']}_*.deb")):
        shutil.rmtree(work)
        shutil.rmtree(logs)
        sys.exit(say("helper_supported", kernel=given["kernel"]))
    name = given.get("name") or f"{bundle.resolve().name}-ext"
    shutil.copytree(bundle, work / name, symlinks=True)
    say("helper_checking")
    say("helper_building")
    root, file = build(given, work, log)
    target = work / name / PACKAGE["debs"] / file
    subprocess.run(
        ["dpkg-deb", "-Znone", "--root-owner-group", "--build", root, target],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    if "distro" in given:
        (work / name / "distro").write_text("skip-distro-check\n", encoding="utf-8")
    subprocess.run(["tar", "czf", tmp / f"{name}.tgz", "-C", work, name], check=True)
    say("helper_created", path=tmp / f"{name}.tgz")
    shutil.rmtree(work)
    shutil.rmtree(logs)


if __name__ == "__main__":
    main()
