#!/usr/bin/python3
"""ofed_uninstall.sh, which is uninstall.sh of the bundle; sources: words.yml, options.yml."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

# {options, words, removed}: put here when the bundle is made.
PACKAGE = {}
# The variable is for trying it on a machine that is no node.
STATE = Path(os.environ.get("MLNX_OFED_STANDIN_STATE", "@STATE@"))
LOG = "/tmp/ofed.uninstall.log"
COLORS = {"RED": "31", "GREEN": "32", "YELLOW": "33"}


def say(name, stream=sys.stdout, **fields):
    row = PACKAGE["words"][name]
    text = row["says"].format(**fields)
    if "color" in row:
        text = f"\033[{COLORS[row['color']]}m{text}\033[0m"
    print(text, file=stream, flush=True)
    return row.get("exit", 0)


def over(status):
    STATE.mkdir(parents=True, exist_ok=True)
    with open(STATE / "uninstall", "a", encoding="utf-8") as handle:
        print(json.dumps({"argv": sys.argv[1:], "exit": status}), file=handle)
    sys.exit(status)


def run(*argv):
    with open(LOG, "a", encoding="utf-8") as log:
        print("Running:", *argv, file=log, flush=True)
        return subprocess.run(argv, stdout=log, stderr=log, check=False).returncode


def installed(pattern):
    """Return the installed packages whose names match a pattern of dpkg-query."""
    told = subprocess.run(
        ["dpkg-query", "-l", pattern], capture_output=True, text=True, check=False
    ).stdout
    rows = [line.split() for line in told.splitlines() if re.match("[rhi][iU]", line)]
    return [row[1].partition(":")[0] for row in rows]


def dependants(name, seen):
    """Return what depends on a package, and what on that."""
    if name in seen:
        return []
    seen.add(name)
    told = subprocess.run(
        ["dpkg", "--purge", "--dry-run", name], capture_output=True, text=True, check=False
    )
    found = []
    for match in re.finditer(r"^\s*(\S+) depends on", told.stdout + told.stderr, re.MULTILINE):
        found += [*dependants(match.group(1), seen), match.group(1)]
    return found


def to_remove(skipped=""):
    """Return (packages by name, packages that depend on them, those that are not OFED's)."""
    named, above, seen = [], [], set()
    for name in PACKAGE["removed"]:
        if skipped and skipped in name:
            continue
        for found in installed(f"*{name}*"):
            if found not in named and not found.startswith("xen"):
                named.append(found)
                above += dependants(found, seen)
    above = sorted({name for name in above if name not in named and installed(name)})
    known = set(PACKAGE["removed"])
    foreign = [name for name in named + above if name not in known and "mlnx-ofed-" not in name]
    return named, above, foreign


def parse(arguments):
    given = {}
    for argument in arguments:
        row = next(
            (row for row in PACKAGE["options"] if argument in (row["name"], row.get("short"))), {}
        )
        given |= row.get("sets", {"help": True} if not row else {})
    return given


def main():
    given = parse(sys.argv[1:])
    if given.get("help"):
        print(f"\n Usage: {sys.argv[0]} [options]")
        for row in PACKAGE["options"]:
            print(f"           {row['name']}")
        over(0)
    Path(LOG).unlink(missing_ok=True)
    told = (
        subprocess.run(["ofed_info", "-s"], capture_output=True, text=True, check=False)
        if (Path("/usr/bin/ofed_info").exists())
        else None
    )
    name = told.stdout.strip().rstrip(":") if told else ""
    if not given.get("quiet"):
        say("uninstall_log", sys.stderr, log=LOG)
    if not given.get("force") and not given.get("dry_run"):
        print(
            PACKAGE["words"]["uninstall_question"]["says"].format(package=name), end="", flush=True
        )
        if sys.stdin.read(1) not in ("y", "Y"):
            over(say("uninstall_aborted"))
    say("uninstall_removing")
    if given.get("dry_run"):
        say("uninstall_dry")
    if given.get("unload_modules"):
        say("uninstall_unloading")
        if not given.get("dry_run") and run("/etc/init.d/openibd", "stop"):
            over(say("uninstall_unload_failed"))
    named, above, foreign = to_remove("mft" if given.get("keep_mft") else "")
    if foreign and not given.get("force"):
        over(say("uninstall_blocked", packages=" ".join(foreign)))
    say("uninstall_list", packages=" ".join(named + above))
    if not given.get("dry_run") and named:
        run("dpkg", "--configure", "-a")
        run("apt-get", "install", "-f", "-y")
        remove(named + above, over)
    over(0)


def remove(names, failed):
    """Take packages away, and then their settings."""
    if run("apt-get", "remove", "-y", *names):
        failed(say("failed_command", command=f"apt-get remove -y {' '.join(names)}"))
    for name in names:
        told = subprocess.run(
            ["dpkg-query", "-W", "-f", "${db:Status-Abbrev}", name],
            capture_output=True,
            text=True,
            check=False,
        ).stdout
        if told.startswith("rc") and run("apt-get", "remove", "--purge", "-y", name):
            failed(say("failed_command", command=f"apt-get remove --purge -y {name}"))


if __name__ == "__main__":
    main()
