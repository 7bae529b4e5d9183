#!/usr/bin/python3
"""mlnxofedinstall, as far as it can be told from outside; sources: options.yml, words.yml."""

import importlib.machinery
import importlib.util
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True
# {options, defaults, packages, updater, required, faults}: put here when the bundle is made.
PACKAGE = {}
HOME = Path(os.path.realpath(__file__)).parent


def neighbour(name):
    """Load a program of the bundle for its functions."""
    loader = importlib.machinery.SourceFileLoader("neighbour", str(HOME / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("neighbour", loader))
    loader.exec_module(module)
    return module


UNINSTALL = neighbour("uninstall.sh")
STATE = UNINSTALL.STATE


def note(**row):
    try:
        STATE.mkdir(parents=True, exist_ok=True)
        with open(STATE / "installer", "a", encoding="utf-8") as handle:
            print(json.dumps(row), file=handle)
    except PermissionError:
        pass


def over(status):
    note(exit=status)
    sys.exit(status)


def say(name, stream=sys.stdout, **fields):
    return UNINSTALL.say(name, stream, **fields)


def row_of(argument):
    for row in PACKAGE["options"]:
        name = row["name"]
        if argument in (name, row.get("short")) or (name[-1] == "*" and name[:-1] in argument):
            return row
    return None


def parse(arguments):
    """Return what the options set; what is not one of them ends it."""
    given = {**PACKAGE["defaults"], "without": [], "with": []}
    left = list(arguments)
    given["again"] = []
    while left:
        argument = left.pop(0)
        row = row_of(argument)
        if row is None:
            status = say("unsupported_option", argument=argument)
            say("unsupported_option_help", program=sys.argv[0])
            over(status)
        taken = [left.pop(0)] if row.get("takes") and left else []
        if "add-kernel-support" not in argument and argument != "--skip-repo":
            given["again"] += [argument, *taken]
        for key, value in row.get("sets", {}).items():
            if value == "package":
                given[key].append(re.sub("--(without|disable|with|enable)-", "", argument))
            else:
                given[key] = taken[0] if value == "value" and taken else value
    given["tmpdir"] = given["tmpdir"].rstrip("/") or "/"
    return given


def has(fault):
    return fault in PACKAGE["faults"]


def is_there(name):
    return bool(UNINSTALL.installed(name))


class Installer:
    def __init__(self, given):
        self.given = given
        self.quiet = bool(given.get("quiet"))
        self.arch = platform.machine()
        self.kernel = given.get("kernel") or os.uname().release
        self.sources = given.get("kernel_sources") or f"/lib/modules/{self.kernel}/build"
        self.dkms = given["dkms"]
        self.logs = f"{given['tmpdir']}/MLNX_OFED_LINUX.{os.getpid()}.logs"
        self.debs = HOME / PACKAGE["debs"]
        self.distro = ""

    def tell(self, name, **fields):
        if self.quiet:
            return UNINSTALL.PACKAGE["words"][name].get("exit", 0)
        return say(name, **fields)

    def run(self, *argv):
        """Run what has to succeed, into the general log."""
        if UNINSTALL.run(*argv):
            over(say("failed_command", command=" ".join(argv)))

    def main(self):
        if not self.given.get("build_only") and not self.given.get("print_available"):
            self.check_root()
        no_sources = self.given.get("kernel") and not self.given.get("kernel_sources")
        if no_sources and not os.path.isdir(self.sources):
            over(say("no_kernel_sources", kernel=self.kernel))
        os.makedirs(self.logs, exist_ok=True)
        UNINSTALL.LOG = f"{self.logs}/general.log"
        Path(UNINSTALL.LOG).write_text(f"Install command: {' '.join(sys.argv)}\n", encoding="utf-8")
        self.choose_dkms()
        self.check_bundle()
        if self.given.get("firmware_only"):
            over(self.update_firmware())
        if self.given.get("add_kernel_support") and not self.given.get("print_available"):
            self.add_kernel_support()
        asks_kernel = not any(
            self.given.get(key) for key in ("print_available", "user_space_only", "check_deps_only")
        )
        if not self.dkms and asks_kernel and not self.is_supported():
            status = say("dkms_disabled", kernel=self.kernel)
            if self.given.get("auto_add_kernel_support"):
                self.add_kernel_support()
            over(status)
        rows = self.selected()
        if self.given.get("print_available"):
            self.print_available(rows)
        say("logs", sys.stderr, logs=self.logs)
        say("general_log", sys.stderr, logs=self.logs)
        if not rows:
            over(say("nothing_selected"))
        if not self.given.get("check_deps_only"):
            self.ask(rows)
        self.check_requirements(rows)
        self.end_early()
        UNINSTALL.run("dpkg", "--configure", "-a", "--force-all")
        UNINSTALL.run("apt-get", "install", "-f", "-y")
        self.remove_old()
        self.install(rows)
        self.update_firmware()
        self.rename()
        self.tell("passed")
        if not self.given.get("user_space_only"):
            self.tell("to_load")
        over(0)

    def check_root(self):
        if os.geteuid():
            over(say("not_root", program=sys.argv[0]))

    def choose_dkms(self):
        forced = self.given.get("force_dkms")
        if not forced and not self.given.get("dkms_given") and self.is_supported():
            self.dkms = False
        scripts = f"{self.sources}/scripts"
        # Headers that are no package's are not for DKMS.
        if self.dkms and not forced and os.path.isdir(scripts):
            self.dkms = not UNINSTALL.run("dpkg", "-S", os.path.realpath(scripts))

    def check_bundle(self):
        self.distro = (self.given.get("distro") or running_distribution()).lower()
        if not re.match("debian|ubuntu", self.distro):
            over(say("not_supported", distro=self.distro))
        arch = first_of(".arch", "arch")
        if arch and arch != self.arch:
            over(say("other_arch", arch=arch))
        meant = first_of("distro")
        skip = self.given.get("skip_distro_check") or meant == "skip-distro-check"
        if not skip and meant != self.distro:
            over(say("other_distro", distribution=meant))

    def is_supported(self):
        """Say whether the bundle has modules for the kernel."""
        return any(self.debs.glob(f"mlnx-ofed-kernel-modules_*.kver.{self.kernel}_*.deb"))

    def selected(self):
        group = self.given["group"]
        rows = []
        for row in map(self.for_kernel, PACKAGE["packages"]):
            if self.given.get("user_space_only") and row["space"] == "kernel":
                continue
            if group == "kernel-only" and row["space"] != "kernel":
                if row["name"] not in ("ofed-scripts", "mlnx-tools"):
                    continue
            elif group not in ("all", "kernel-only") and group not in row["groups"]:
                continue
            rows.append(row)
        if self.given.get("config"):
            text = Path(self.given["config"]).read_text(encoding="utf-8")
            wanted = {line.partition("=")[0] for line in text.splitlines() if line.endswith("=y")}
            rows = [row for row in rows if row["name"] in wanted]
        return self.filtered(rows)

    def filtered(self, rows):
        names = {row["name"] for row in PACKAGE["packages"]} | {"mlnx-fw-updater"}
        names |= {"mlnx-ofed-kernel-modules"}
        for name in self.given["without"] + self.given["with"]:
            if name not in names:
                self.tell("unknown_package", package=name)
        gone = set(self.given["without"])
        for row in rows:
            if gone & set(re.split(r"[ ,|]+", row.get("fields", {}).get("Depends", ""))):
                gone.add(row["name"])
        return [row for row in rows if row["name"] not in gone]

    def for_kernel(self, row):
        if not row.get("dkms") or self.dkms:
            return row
        return {**row, "name": "mlnx-ofed-kernel-modules", "needs": []}

    def print_available(self, rows):
        config = Path(self.given["tmpdir"], f"ofed-{self.given['group']}.conf")
        config.write_text("".join(f"{row['name']}=y\n" for row in rows), encoding="utf-8")
        print("\nMLNX_OFED packages:", " ".join(row["name"] for row in rows))
        print(f"\033[32m\nCreated {config}\033[0m")
        over(0)

    def ask(self, rows):
        self.tell("list")
        if self.quiet:
            return
        for row in rows:
            print(row["name"])
        print(flush=True)
        self.tell("will_install")
        if not self.given.get("force"):
            question = UNINSTALL.PACKAGE["words"]["question"]
            print(question["says"], end="", flush=True)
            if sys.stdin.read(1) not in ("y", "Y"):
                over(question["exit"])

    def check_requirements(self, rows):
        if not self.given["depcheck"]:
            return
        self.tell("checking")
        needed = list(PACKAGE["required"])
        for row in rows:
            needed += row.get("needs", [])
        if has("missing-prerequisite"):
            needed.append("libmlnx-prerequisite0")
        missing = [name for name in dict.fromkeys(needed) if not is_there(name)]
        no_headers = self.dkms and not os.path.isdir(f"{self.sources}/scripts")
        no_headers = no_headers and any(row["space"] == "kernel" for row in rows)
        if no_headers and not self.given.get("user_space_only"):
            missing.append(f"linux-headers-{self.kernel}")
        if missing:
            status = say("missing")
            if no_headers:
                say("missing_headers", sources=self.sources)
            packages = " ".join(missing)
            if self.given.get("check_deps_only"):
                say("missing_run", packages=packages)
                over(status)
            say("missing_install", packages=packages)
            UNINSTALL.run("apt-get", "update")
            self.run("apt-get", "install", "-y", *missing)
        if self.given.get("check_deps_only"):
            over(say("all_there"))

    def end_early(self):
        for name, row in PACKAGE["faults"].items():
            if name == "exit":
                over(int(row["exit"]))
            if name in ("no-space", "no-hardware", "mst"):
                print(f"\033[31m{row['says']}\033[0m", flush=True)
                over(row["exit"])

    def remove_old(self):
        self.tell("removing")
        if has("package-conflict"):
            over(say("blocked", packages="rdma-client"))
        program = shutil.which("ofed_uninstall.sh")
        if program:
            self.tell("uninstalling")
            force = ["--force"] if self.given.get("force") else []
            with open(f"{self.logs}/ofed_uninstall.log", "w", encoding="utf-8") as log:
                status = subprocess.run(
                    [program, *force, "--keep-mft"],
                    input="y" * 80,
                    text=True,
                    stdout=log,
                    stderr=log,
                    check=False,
                ).returncode
            if status == 174:
                over(say("blocked", packages=""))
            if status:
                say("uninstall_failed")
                say("see", log=f"{self.logs}/ofed_uninstall.log")
                over(1)
        named, above, foreign = UNINSTALL.to_remove()
        if foreign and not self.given.get("force"):
            over(say("blocked", packages=" ".join(foreign)))
        if named:
            UNINSTALL.remove(named + above, over)
        for path in Path("/usr/src").glob("mlnx-ofed-kernel*"):
            # The vendor's is `rm -rf`, whose status is not looked at.
            shutil.rmtree(path, ignore_errors=True)

    def install(self, rows):
        self.tell("installing")
        for number, row in enumerate(rows):
            path = self.deb(row["name"])
            if path is None:
                continue
            version = path.name.split("_")[1].partition("-")[0]
            self.tell("installing_one", package=row["name"], version=version)
            if has("dies-half-way") and number == len(rows) // 2:
                UNINSTALL.run("dpkg", "--unpack", str(path))
                os.kill(os.getpid(), signal.SIGKILL)
            log = f"{self.logs}/{row['name']}.debinstall.log"
            general, UNINSTALL.LOG = UNINSTALL.LOG, log
            status = UNINSTALL.run("dpkg", "-i", "--force-confmiss", str(path))
            UNINSTALL.LOG = general
            if status:
                status = say("install_failed", package=row["name"])
                self.tell("collecting")
                say("see", log=log)
                over(status)
            self.check_modules(row, log)

    def deb(self, name):
        kernel = f"*.kver.{self.kernel}" if name.endswith("-modules") else "*"
        return next(iter(sorted(self.debs.glob(f"{name}_{kernel}_*.deb"))), None)

    def check_modules(self, row, log):
        if not row.get("modules"):
            return
        UNINSTALL.run("depmod", self.kernel)
        for name in row["modules"]:
            told = subprocess.run(
                ["modinfo", "-k", self.kernel, "-F", "filename", name],
                capture_output=True,
                text=True,
                check=False,
            ).stdout.strip()
            if told and os.path.isfile(told) and not self.is_of_kernel(told):
                continue
            status = say("modules_missing", package=row["name"])
            say("module_missing", module=name)
            self.tell("collecting")
            say("see", log=log)
            say("removing_new")
            self.run("/usr/sbin/ofed_uninstall.sh", "--force")
            over(status)

    def is_of_kernel(self, path):
        told = subprocess.run(["dpkg", "-S", path], capture_output=True, text=True, check=False)
        owner = told.stdout.partition(":")[0]
        return self.kernel in owner

    def update_firmware(self):
        """Install the updater of firmware; return the status of --fw-update-only."""
        if "mlnx-fw-updater" in self.given["without"]:
            return 0
        path = self.deb("mlnx-fw-updater")
        if path is None:
            return say("no_updater") if self.given["firmware"] else 0
        if is_there("mlnx-fw-updater"):
            UNINSTALL.run("dpkg", "--purge", "mlnx-fw-updater")
        log = f"{self.logs}/fw_update.log"
        environment = {
            **os.environ,
            "FW_UPDATE_FLAGS": f"--log {log} --tmpdir {self.given['tmpdir']}",
            "RUN_FW_UPDATER": "yes" if self.given["firmware"] else "no",
        }
        subprocess.run(["dpkg", "-i", str(path)], env=environment, check=False)
        text = Path(log).read_text(encoding="utf-8") if os.path.exists(log) else ""
        told = re.search(r"EXIT_STATUS:\s*(\d+)", text)
        return int(told.group(1)) if told else int(bool(self.given["firmware"]))

    def rename(self):
        """Give ofed_info the bundle's name; until then it tells the one of its package."""
        path = Path("/usr/bin/ofed_info")
        if not path.exists():
            return
        version = first_of(".mlnx", "mlnx")
        text = path.read_text(encoding="utf-8")
        internal = re.search(r"echo OFED-internal-(\S+):", text)
        if internal:
            told, inner = f"MLNX_OFED_LINUX-{version}", internal.group(1)
            text = text.replace(f"echo OFED-internal-{inner}:", f"echo {told}:")
            text = text.replace(f"echo {inner};", f"echo {version};")
            text = text.replace(f"\nOFED-internal-{inner}:", f"\n{told} (OFED-{inner}):")
            path.write_text(text, encoding="utf-8")

    def add_kernel_support(self):
        version = first_of(".mlnx", "mlnx")
        name = f"MLNX_OFED_LINUX-{version}-{self.distro}-ext"
        place = Path(self.given["tmpdir"], f"MLNX_OFED_LINUX-{version}-{self.kernel}")
        command = [str(HOME / "mlnx_add_kernel_support.sh"), "-m", str(HOME), "-k", self.kernel]
        command += ["-s", self.sources, "--make-tgz", "--name", name, "--yes"]
        command += ["--skip-repo"] * bool(self.given.get("skip_repo"))
        command += ["--force"] * bool(self.given.get("force"))
        command += [f"--without-{package}" for package in self.given["without"]]
        command += ["--distro", self.distro]
        environment = {**os.environ, "TMP": str(place)}
        status = subprocess.run(command, env=environment, check=False).returncode
        if status == 30:
            if self.given.get("build_only"):
                over(0)
            self.given["add_kernel_support"] = False
            return
        if status:
            over(say("build_failed", kernel=self.kernel))
        if self.given.get("build_only"):
            say("ready", path=place / f"{name}.tgz")
            over(0)
        self.remove_old()
        say("installing_new", path=place / name)
        # `rm -rf`, too.
        shutil.rmtree(place / name, ignore_errors=True)
        subprocess.run(["tar", "xzf", f"{name}.tgz"], cwd=place, check=True)
        again = [str(place / name / "mlnxofedinstall"), "--force", "--without-dkms"]
        again += self.given["again"]
        print(" ".join(again), flush=True)
        if subprocess.run(again, check=False).returncode:
            over(say("new_failed", bundle=name, kernel=self.kernel))
        over(0)


def first_of(*names):
    for name in names:
        path = HOME / name
        if path.is_file():
            return path.read_text(encoding="utf-8").strip()
    return ""


def running_distribution():
    values = dict(
        line.split("=", 1)
        for line in Path("/etc/os-release").read_text().splitlines()
        if "=" in line
    )
    name, version = (values.get(key, "").strip('"') for key in ("ID", "VERSION_ID"))
    if name == "debian":
        version = Path("/etc/debian_version").read_text().strip()
    return f"{name}{version}"


def main():
    note(argv=sys.argv[1:])
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    os.chdir(HOME)
    if not first_of(".mlnx", "mlnx"):
        over(say("no_version"))
    given = parse(sys.argv[1:])
    if given.get("help"):
        print(f"\nUsage: {sys.argv[0]} [-c <packages config_file>|--all|--hpc|--basic] [OPTIONS]")
        for row in PACKAGE["options"]:
            print(f"    {row['name']}")
        over(0)
    Installer(given).main()


if __name__ == "__main__":
    main()
