#!/usr/bin/python3
"""nvidia-installer, as far as it can be told from outside; sources: options.yml and words.yml.

RUNFILE_ROOT stands for "/" where there is no node to try it on; then no module is unloaded.
"""

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import zlib
from pathlib import Path

# {version, options, words, since, unloaded, faults}: put here when the file is built.
PACKAGE = {}

DESCRIPTION = "NVIDIA Accelerated Graphics Driver for Linux-x86_64"
ROOT = os.environ.get("RUNFILE_ROOT", "/")
BACKUP = Path(ROOT, "var/lib/nvidia")
LIBRARIES = ("/usr/lib/x86_64-linux-gnu", "/usr/lib64")
# .manifest: type of a file -> its folder; NVIDIA/nvidia-installer@590.48.01:manifest.c, files.c.
# The type of the file of settings is not in the open sources.
FOLDERS = {
    "UTILITY_BINARY": "/usr/bin",
    "INSTALLER_BINARY": "/usr/bin",
    "UTILITY_BIN_SYMLINK": "/usr/bin",
    "NVIDIA_MODPROBE": "/usr/bin",
    "SYSTEMD_UNIT": "/usr/lib/systemd/system",
    "SETTINGS_TEMPLATE": "/etc/nvidia",
}


class Failure(Exception):
    """The installation has failed."""


class Canceled(Exception):
    """It ends without having failed, and with status 1 all the same."""


def key(version):
    return [int(part) for part in version.split(".")]


def has(ability):
    return key(PACKAGE["version"]) >= key(PACKAGE["since"][ability])


class Installer:
    def __init__(self, program, arguments):
        self.program = program
        self.log = None
        self.set = self.parse(arguments)
        uninstalls = os.path.basename(program) == "nvidia-uninstall" or "uninstall" in self.set
        self.uninstalls = uninstalls
        default = "nvidia-uninstall.log" if uninstalls else "nvidia-installer.log"
        self.log_path = self.set.get("log-file-name", f"/var/log/{default}")

    def parse(self, arguments):
        """Return {option: value}, True or False for one without an argument."""
        found, rest = {}, list(arguments)
        while rest:
            argument = rest.pop(0)
            name, equals, value = argument.lstrip("-").partition("=")
            row, negated = self.row(argument, name)
            if row is None:
                print(self.words("unrecognized", argument=argument), file=sys.stderr)
                self.invalid()
            if row.get("takes"):
                if not equals and not rest:
                    self.invalid()
                found[row["name"]] = value if equals else rest.pop(0)
            else:
                found[row["name"]] = not negated
        return found

    def row(self, argument, name):
        for row in PACKAGE["options"]:
            if argument.startswith("--") and name == row["name"]:
                return row, False
            if argument.startswith("--no-") and row["negatable"] and name == f"no-{row['name']}":
                return row, True
            if not argument.startswith("--") and name == row.get("short"):
                return row, False
        return None, False

    def invalid(self):
        print("ERROR: " + self.words("invalid"), file=sys.stderr)
        sys.exit(1)

    def words(self, name, **fields):
        fields.setdefault("program", self.program)
        return PACKAGE["words"][name].format(
            version=PACKAGE["version"], description=DESCRIPTION, **fields
        )

    # What it says: into the log, and unless it is to be silent, to whoever runs it.

    def say(self, level, text):
        prefix = {"log": "-> ", "message": "", "warning": "WARNING: ", "error": "ERROR: "}[level]
        print(prefix + text, file=self.log, flush=True)
        if level == "error" or not self.set.get("silent"):
            stream = sys.stderr if level in ("warning", "error") else sys.stdout
            print(f"\n{prefix}{text}\n", file=stream, flush=True)

    def answer(self, question, answer):
        self.say("log", f"{question} (Answer: {answer})")

    def command(self, *argv):
        self.say("log", f"Running `{' '.join(argv)}`")
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        for line in (done.stdout + done.stderr).splitlines():
            print(f"   {line}", file=self.log, flush=True)
        return done

    def main(self):
        if "version" in self.set or "help" in self.set:
            print(f"nvidia-installer:  version {PACKAGE['version']}")
            return 0
        path = Path(ROOT, self.log_path.lstrip("/"))
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "w", encoding="utf-8") as self.log:
            print(f"nvidia-installer log file '{self.log_path}'", file=self.log)
            print(f"installer version: {PACKAGE['version']}\n", file=self.log)
            print("nvidia-installer command line:", file=self.log)
            for argument in [self.program, *sys.argv[1:]]:
                print(f"    {argument}", file=self.log)
            print(file=self.log)
            os.chdir(os.path.dirname(os.path.realpath(self.program)))
            if os.geteuid() and ROOT == "/":
                self.say("error", self.words("not_root"))
                return 1
            try:
                return self.work()
            except Canceled:
                return 1
            except Failure as failure:
                if str(failure):
                    self.say("error", str(failure))
                self.say("error", self.words("failed", log=self.log_path))
                return 1

    def work(self):
        if "driver-info" in self.set or "sanity" in self.set:
            return self.report()
        if self.uninstalls:
            return self.uninstall()
        self.install()
        return 0

    # Installation

    def install(self):
        entries = self.manifest()
        self.check_loaded()
        self.say("log", self.words("begin"))
        found = installed()
        if found:
            self.answer(self.words("existing", found=found), "Continue installation")
        self.check_alternate()
        self.check_nouveau()
        modules = []
        if self.without_modules():
            self.say("warning", self.words("no_modules"))
        else:
            modules = self.build_modules()
        self.uninstall_existing()
        BACKUP.mkdir(mode=0o700, parents=True)
        digits = PACKAGE["version"].replace(".", "")
        write_new(BACKUP / "log", f"1.0-{digits} ({PACKAGE['version']})\n{DESCRIPTION}\n")
        placed = [self.place(number, entry) for number, entry in enumerate(entries)]
        self.place_modules(modules)
        self.say("log", self.words("files_complete"))
        if self.systemd():
            self.command("systemctl", "daemon-reload")
        whole = [self.is_there(path) for path in placed]
        self.say("log", self.words("sanity", result="passed" if all(whole) else "failed"))
        self.say("message", self.words("complete"))

    def manifest(self):
        """Return (file, mode, type, target) of what is to be placed."""
        try:
            lines = Path(".manifest").read_text(encoding="ascii").splitlines()[8:]
        except FileNotFoundError:
            raise Failure(self.words("no_package")) from None
        rows = [line.split() for line in lines]
        skipped = {"KERNEL_MODULE_SRC", "DKMS_CONF"}
        if not self.systemd():
            skipped.add("SYSTEMD_UNIT")
        if self.set.get("no-nvidia-modprobe"):
            skipped.add("NVIDIA_MODPROBE")
        return [
            (row[0], int(row[1], 8), row[2], row[-1] if row[2].endswith("SYMLINK") else "")
            for row in rows
            if row[2] not in skipped
        ]

    def systemd(self):
        return self.set.get("systemd", True) and (
            bool(shutil.which("systemctl")) and os.path.isdir("/run/systemd/system") and ROOT == "/"
        )

    def without_modules(self):
        return bool(self.set.get("no-kernel-module") or self.set.get("no-kernel-modules"))

    def loaded(self):
        try:
            lines = Path(ROOT, "proc/modules").read_text(encoding="ascii").splitlines()
        except FileNotFoundError:
            return []
        names = {line.split()[0] for line in lines}
        return [name for name in PACKAGE["unloaded"] if name.replace("-", "_") in names]

    def unload(self):
        for name in self.loaded() if ROOT == "/" else ():
            self.command("rmmod", name)

    def goes_on(self, name):
        """Say whether it goes on where the driver is loaded or nouveau has the GPU."""
        allowed = bool(self.set.get("allow-installation-with-running-driver"))
        if has("asks_while_loaded"):
            answer = "Continue installation" if allowed else "Abort installation"
            self.answer(self.words(name), answer)
        return has("asks_while_loaded") and allowed

    def check_loaded(self):
        if self.without_modules():
            self.say("log", self.words("not_asking_for_modules"))
            return
        self.unload()
        for module in self.loaded():
            level = "warning" if has("asks_while_loaded") else "error"
            self.say(level, self.words("loaded", module=module))
            if not self.goes_on("loaded_question"):
                raise Failure

    def check_alternate(self):
        if self.set.get("no-check-for-alternate-installs"):
            return
        if Path(ROOT, "usr/lib/nvidia/alternate-install-present").exists():
            self.answer(self.words("alternate"), "Abort installation")
            self.say("error", self.words("alternate_canceled", log=self.log_path))
            raise Canceled

    def check_nouveau(self):
        if self.set.get("no-nouveau-check"):
            return
        if os.path.isdir(Path(ROOT, "sys/bus/pci/drivers/nouveau")):
            self.say("warning" if has("asks_while_loaded") else "error", self.words("nouveau"))
            if not self.goes_on("loaded_question"):
                raise Failure

    def build_modules(self):
        """Build the modules for one kernel, and return the folder, kernel and names."""
        kernel = self.set.get("kernel-name") or os.uname().release
        source = self.set.get("kernel-source-path") or f"/lib/modules/{kernel}/build"
        if not os.path.isdir(source):
            raise Failure(self.words("no_kernel_source"))
        folder = self.set.get("kernel-module-build-directory", "kernel")
        if self.set.get("kernel-module-type") == "open":
            folder = "kernel-open"
        if not os.path.isdir(folder):
            raise Failure(f"There is no folder {folder} in this package")
        names = module_names()
        conf = Path(folder, "dkms.conf")
        conf.write_text(dkms_conf(conf.read_text(encoding="ascii"), names), encoding="ascii")
        if self.dkms():
            return [folder, kernel, names]
        done = self.command("make", "-C", folder, f"KERNEL_UNAME={kernel}", "modules")
        if done.returncode:
            step = ' while performing the step: "Building kernel modules"'
            raise Failure(f"An error occurred{step}. See {self.log_path} for details.")
        return [folder, kernel, names]

    def dkms(self):
        return self.set.get("dkms", has("dkms_by_default")) and bool(shutil.which("dkms"))

    def place_modules(self, built):
        if not built:
            return
        folder, kernel, names = built
        source = f"/usr/src/nvidia-{PACKAGE['version']}"
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file() and path.suffix not in (".o", ".ko", ".mod", ".cmd"):
                self.put(path, f"{source}/{path.relative_to(folder)}", 0o644)
        if self.dkms():
            row = ("-m", "nvidia", "-v", PACKAGE["version"])
            for verb in ("add", "build", "install"):
                which = () if verb == "add" else ("-k", kernel)
                if self.command("dkms", verb, *row, *which).returncode:
                    raise Failure(f"Failed to run `dkms {verb}`")
            return
        for name in names:
            target = f"/lib/modules/{kernel}/kernel/drivers/video/{name}.ko"
            self.put(Path(folder, f"{name}.ko"), target, 0o644)
        self.command("depmod", "-a", kernel)

    def place(self, number, entry):
        name, mode, kind, link = entry
        folder = FOLDERS.get(kind) or library_folder()
        target = f"{folder}/{os.path.basename(name)}"
        if "killed" in PACKAGE["faults"] and number == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        if link:
            path = Path(ROOT, target.lstrip("/"))
            make_folders(path.parent)
            path.unlink(missing_ok=True)
            path.symlink_to(link)
            append(f"0: {target}\n{link}\n")
        elif "disk-full" in PACKAGE["faults"] and number >= 2:
            reason = os.strerror(errno.ENOSPC)
            self.say("error", self.words("cannot_create", path=target, reason=reason))
            error = self.words("cannot_install", path=target)
            self.answer(self.words("continue_after_error", error=error), "Continue installation")
        else:
            self.put(Path(name), target, mode)
        return target

    def put(self, file, target, mode):
        path = Path(ROOT, target.lstrip("/"))
        make_folders(path.parent)
        path.unlink(missing_ok=True)
        shutil.copyfile(file, path)
        path.chmod(mode)
        append(f"1: {target}\n{zlib.crc32(path.read_bytes())}\n")

    def is_there(self, target):
        if os.path.lexists(Path(ROOT, target.lstrip("/"))):
            return True
        reason = os.strerror(errno.ENOENT)
        self.say("warning", self.words("not_found", path=target, reason=reason))
        return False

    # Uninstallation

    def uninstall_existing(self):
        program = Path(ROOT, "usr/bin/nvidia-uninstall")
        log = Path(self.log_path).parent / "nvidia-uninstall.log"
        arguments = (str(program), "-s", f"--log-file-name={log}")
        if program.exists() and self.command(*arguments).returncode == 0:
            return
        if installed():
            self.remove()

    def uninstall(self):
        found = installed()
        if not found:
            self.say("message", self.words("nothing_installed"))
            return 0
        self.remove()
        if self.systemd():
            self.command("systemctl", "daemon-reload")
        self.say("message", self.words("uninstalled", found=found))
        return 0

    def remove(self):
        found, entries = installed(), backup_entries()
        if not all(is_as_placed(*entry) for entry in entries):
            self.say("warning", self.words("altered", log=self.log_path))
        if shutil.which("dkms") and ROOT == "/":
            row = ("-m", "nvidia", "-v", found)
            if self.command("dkms", "status", *row).stdout.strip():
                self.say("log", self.words("dkms_removing"))
                self.command("dkms", "remove", *row, "--all")
        for kind, target, content in entries:
            if is_as_placed(kind, target, content):
                Path(ROOT, target.lstrip("/")).unlink()
        folders = BACKUP / "dirs"
        made = folders.read_text(encoding="utf-8").splitlines() if folders.exists() else []
        for folder in sorted(made, key=len, reverse=True):
            if os.path.isdir(folder) and not os.listdir(folder):
                os.rmdir(folder)
        shutil.rmtree(BACKUP)
        if not self.set.get("skip-module-unload"):
            self.unload()

    def report(self):
        found = installed()
        if not found:
            self.say("message", self.words("nothing_installed"))
            return 1
        self.say("message", self.words("installed", found=found))
        if "sanity" in self.set:
            sane = all(is_as_placed(*entry) for entry in backup_entries())
            self.say("message", self.words("sane" if sane else "insane", found=found))
            return 0 if sane else 1
        return 0


def installed():
    """Return the version that a .run installed, '' where none did."""
    try:
        first = (BACKUP / "log").read_text(encoding="utf-8").partition("\n")[0]
    except FileNotFoundError:
        return ""
    match = re.search(r"\(([0-9.]+)\)", first)
    return match.group(1) if match else ""


def backup_entries():
    """Return (kind, path, checksum or target) of what was placed."""
    lines = (BACKUP / "log").read_text(encoding="utf-8").splitlines()[2:]
    pairs = zip(lines[::2], lines[1::2], strict=False)
    return [(*first.split(": ", 1), second) for first, second in pairs]


def is_as_placed(kind, target, content):
    path = Path(ROOT, target.lstrip("/"))
    if kind == "0":
        return path.is_symlink() and os.readlink(path) == content
    return path.is_file() and str(zlib.crc32(path.read_bytes())) == content


def append(text):
    with open(BACKUP / "log", "a", encoding="utf-8") as handle:
        handle.write(text)


def write_new(path, text):
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as handle:
        handle.write(text)


def make_folders(folder):
    lacking = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    with open(BACKUP / "dirs", "a", encoding="utf-8") as handle:
        handle.writelines(f"{path}\n" for path in lacking)


def library_folder():
    there = [folder for folder in LIBRARIES if Path(ROOT, folder.lstrip("/")).is_dir()]
    return (there or LIBRARIES)[0]


def module_names():
    return Path(".manifest").read_text(encoding="ascii").splitlines()[3].split()


def dkms_conf(template, names):
    modules = "".join(
        f'BUILT_MODULE_NAME[{number}]="{name}"\n'
        f'DEST_MODULE_LOCATION[{number}]="/kernel/drivers/video"\n'
        for number, name in enumerate(names)
    )
    for token, value in (
        ("__VERSION_STRING", PACKAGE["version"]),
        ("__DKMS_MODULES", modules),
        ("__JOBS", str(os.cpu_count())),
        ("__EXCLUDE_MODULES", ""),
    ):
        template = template.replace(token, value)
    return template


if __name__ == "__main__":
    sys.exit(Installer(sys.argv[0], sys.argv[1:]).main())
