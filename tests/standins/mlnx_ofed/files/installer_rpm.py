#!/usr/bin/python3
"""mlnxofedinstall of a bundle of rpm packages, seen from outside; sources: bundle_el.yml."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True
# {order, words, required, options, removed, added, release}: put here when the bundle is made.
PACKAGE = {}
HOME = Path(os.path.realpath(__file__)).parent
STATE = Path("@STATE@")
SPEC = """
Name: {name}
Version: {version}
Release: {release}
Summary: Stand-in
License: MIT
AutoReqProv: no
Provides: kmod-mlnx-ofa_kernel
%description
Stand-in
%install
cp -a {tree}/. %{{buildroot}}
%files
/lib/modules/{kernel}/extra/mlnx-ofa_kernel
/usr/src/ofa_kernel/x86_64/{kernel}
"""
DEFINED = {
    "debug_package": "%{nil}",
    "__os_install_post": "%{nil}",
    "_build_id_links": "none",
    "_binary_payload": "w1.gzdio",
}


def note(**row):
    STATE.mkdir(parents=True, exist_ok=True)
    with open(STATE / "installer", "a", encoding="utf-8") as handle:
        print(json.dumps(row), file=handle)


def over(status):
    note(exit=status)
    sys.exit(status)


def say(name, **fields):
    row = PACKAGE["words"][name]
    print(row["says"].format(**fields), flush=True)
    return row.get("exit", 0)


def run(log_path, *argv):
    with open(log_path, "a", encoding="utf-8") as log:
        print("Running:", *argv, file=log, flush=True)
        return subprocess.run(argv, stdout=log, stderr=log, check=False).returncode


def is_there(name):
    return subprocess.run(["rpm", "-q", name], capture_output=True, check=False).returncode == 0


def first_of(name):
    return (HOME / name).read_text(encoding="utf-8").strip()


def parse(arguments):
    """Return what the options set; one that the table has not ends it."""
    given, left = {}, list(arguments)
    while left:
        word = left.pop(0)
        names = [name for name in PACKAGE["options"] if word == name]
        if not names and not re.match("--(without|with|enable|disable)-", word):
            print(f"\nUnsupported installation option: '{word}'")
            over(22)
        given[word] = left.pop(0) if names and PACKAGE["options"][word] and left else True
    return given


def file_of(name):
    return next(iter(sorted((HOME / "RPMS").glob(f"{name}-[0-9]*.rpm"))), None)


def main():
    note(argv=sys.argv[1:])
    given = parse(sys.argv[1:])
    kernel = given.get("--kernel", os.uname().release)
    logs = Path(given.get("--tmpdir", "/tmp"), f"MLNX_OFED_LINUX.{os.getpid()}.logs")
    logs.mkdir(parents=True)
    general = logs / "general.log"
    say("logs", logs=logs)
    lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    told = dict(line.split("=", 1) for line in lines if "=" in line)
    distro = given.get("--distro", "rhel" + told["VERSION_ID"].strip('"'))
    if distro != first_of("distro"):
        over(say("other_distro", distribution=first_of("distro")))
    missing = [name for name in PACKAGE["required"]["names"] if not is_there(name)]
    if missing:
        print(PACKAGE["required"]["says"].format(packages=" ".join(missing)), flush=True)
        over(PACKAGE["required"]["exit"])
    say("checking")
    added = None
    if kernel not in first_of(".supported_kernels").split():
        if "--add-kernel-support" not in given:
            over(say("unsupported", kernel=kernel))
        say("building")
        added = build(kernel, given["--kernel-sources"], logs)
        if added is None:
            status = say("build_failed", kernel=kernel)
            print(f"See {logs}/build.log", flush=True)
            over(status)
    remove_old(general)
    say("starting", version=first_of("mlnx"))
    for name in PACKAGE["order"]:
        path = file_of(name)
        if added and name in ("kmod-mlnx-ofa_kernel", "mlnx-ofa_kernel-devel"):
            path, added = (added, True) if added is not True else (None, True)
        if path is None:
            continue
        say("installing", package=name, version=path.name[len(name) + 1 :].partition("-")[0])
        if run(general, "rpm", "-ihv", "--nodeps", "--force", str(path)):
            status = say("failed", package=name)
            print(f"See {general}", flush=True)
            over(status)
    run(general, "depmod", kernel)
    shutil.rmtree("/usr/src/ofa_kernel/default", ignore_errors=True)
    link = Path("/usr/src/ofa_kernel/default")
    link.unlink(missing_ok=True)
    link.symlink_to(f"x86_64/{kernel}")
    rename()
    say("passed")
    if "--without-fw-update" not in given:
        (STATE / "firmware").write_text("updated\n", encoding="utf-8")
    say("to_load")
    over(0)


def remove_old(general):
    program = shutil.which("ofed_uninstall.sh", path="/usr/sbin")
    if program:
        say("uninstalling")
        subprocess.run([program, "--force"], stdout=subprocess.DEVNULL, check=False)
    found = [name for name in PACKAGE["removed"] if is_there(name)]
    if found:
        say("removing", packages=" ".join(found))
        run(general, "rpm", "--nosignature", "-e", "--allmatches", "--nodeps", *found)


def build(kernel, sources, logs):
    """Return the package with modules for a kernel, None where they do not build."""
    work, log = logs / "work", logs / "build.log"
    source, tree = work / "source", work / "tree"
    source.mkdir(parents=True)
    subprocess.run(
        ["tar", "xzf", next(HOME.glob("src/*.tgz")), "-C", source, "--strip-components=1"],
        check=True,
    )
    if run(log, "make", "-C", sources, f"M={source}", "modules"):
        return None
    for path in source.rglob("*.ko"):
        place = tree / f"lib/modules/{kernel}/extra/mlnx-ofa_kernel" / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    headers = tree / f"usr/src/ofa_kernel/x86_64/{kernel}"
    headers.mkdir(parents=True)
    for name in ("include", "compat"):
        shutil.copytree(source / name, headers / name)
    shutil.copy(source / "Module.symvers", headers)
    row = PACKAGE["added"]
    release = row["release"].replace("@KERNEL@", kernel.replace("-", "_"))
    text = SPEC.format(
        name=row["name"], version=row["version"], release=release, tree=tree, kernel=kernel
    )
    (work / "spec").write_text(text, encoding="utf-8")
    defined = [word for name, value in DEFINED.items() for word in ("--define", f"{name} {value}")]
    command = ["rpmbuild", "-bb", *defined, "--define", f"_topdir {work}/top", str(work / "spec")]
    if run(log, *command):
        return None
    return next((work / "top" / "RPMS").rglob("*.rpm"))


def rename():
    """Give ofed_info the bundle's name; until then it tells the one of its package."""
    path, version = Path("/usr/bin/ofed_info"), first_of("mlnx")
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"OFED-internal-[^:]+:", f"MLNX_OFED_LINUX-{version}:", text)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
