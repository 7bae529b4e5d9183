"""Whole hosts as fixtures; see tests/standins/hosts/README.md."""

from __future__ import annotations

import errno
import functools
import itertools
import os
import re
import subprocess
from pathlib import Path

from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import project
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.inputs import yaml_file

FOLDER = project.ROOT / "tests" / "standins" / "hosts"
NAMES = tuple(sorted(path.stem for path in FOLDER.glob("*.yml")))

# What a program says of a thing it does not know: (stdout, stderr, status).
_UNKNOWN = {
    "modinfo": ("", "modinfo: ERROR: Module {} not found.\n", 1),
    "systemctl": (
        "Id={}\nLoadState=not-found\nActiveState=inactive\nSubState=dead\nUnitFileState=\n",
        "",
        0,
    ),
}
_BETWEEN = {"systemctl": "\n"}
# How the kernel's messages are asked for, beside the match _TRANSPORT=kernel.
_KERNEL = ("-k", "--dmesg")
# What stands before a message, unless it is asked to be left out.
_STAMPS = {
    "dmesg": (r"^\[ *\d+\.\d+\] ", ("-t", "--notime")),
    "journalctl": (r"^\w{3} [ \d]\d [\d:]{8} \S+ [^:]+: ", ("-ocat", "--output=cat", "cat")),
}


def load(name):
    """Return a host of this name, as its file has it."""
    return yaml_file.load(FOLDER / f"{name}.yml")


def lay_down(host, folder):
    """Make a host's tree below a folder; return what runs its programs, as commands.run does."""
    for pattern in host.get("folders", ()):
        for path in each_path(pattern):
            _below(folder, path).mkdir(parents=True, exist_ok=True)
    for pattern, text in host.get("files", {}).items():
        for path in each_path(pattern):
            _place(folder, path).write_text(text, encoding="utf-8")
    for pattern, parts in host.get("binaries", {}).items():
        for path in each_path(pattern):
            _place(folder, path).write_bytes(bytes.fromhex("".join(parts)))
    for pattern, target in host.get("links", {}).items():
        for path in each_path(pattern):
            _place(folder, path).symlink_to(target)
    for program in {row["argv"][0] for row in host["answers"]}:
        _place(folder, f"/usr/bin/{program}").touch(mode=0o755)
    return functools.partial(_run, host["answers"], str(folder))


def each_path(pattern):
    """Return the paths that a path with {a,b} in it stands for, as in a shell."""
    parts = re.split(r"\{([^}]*)\}", pattern)
    choices = [part.split(",") if odd % 2 else [part] for odd, part in enumerate(parts)]
    return ["".join(chosen) for chosen in itertools.product(*choices)]


def _below(folder, path):
    return Path(folder) / path.lstrip("/")


def _place(folder, path):
    place = _below(folder, path)
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


def _run(rows, folder, argv, **options):
    """Answer for a program. Paths that it is given inside the tree are named as they were given."""
    call = [os.path.basename(argv[0]), *(word.replace(folder, "") for word in argv[1:])]
    if call[0] not in {row["argv"][0] for row in rows}:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), argv[0])
    fitting = [row for row in rows if call[: len(row["argv"])] == row["argv"]]
    if not fitting:
        raise LookupError(f"no answer is written down for {' '.join(call)}")
    row = max(fitting, key=lambda fit: len(fit["argv"]))
    if row.get("hangs"):
        raise subprocess.TimeoutExpired(argv, options.get("timeout"))
    stdout, stderr, status = _answer(row, call)
    for word, given in zip(call[1:], argv[1:], strict=True):
        if word != given:
            stdout = stdout.replace(word, given)
    if not options.get("text"):
        stdout, stderr = stdout.encode(), stderr.encode()
    return subprocess.CompletedProcess(argv, status, stdout, stderr)


def _answer(row, call):
    """Return (stdout, stderr, status) of a row for a call, in the form that was asked for."""
    if "of" in row:
        stdout, stderr, status = _of_each(row["of"], call[0], call[len(row["argv"]) :])
    else:
        stdout, stderr, status = row.get("stdout", ""), row.get("stderr", ""), row.get("status", 0)
    if call[0] == "rpm":
        stdout = _queried(stdout, call)
    stamp, bare = _STAMPS.get(call[0], ("", ()))
    if set(bare) & set(call):
        stdout = re.sub(stamp, "", stdout, flags=re.MULTILINE)
    return stdout, stderr, status


def _of_each(known, program, words):
    """Return (stdout, stderr, status) for the things that are named, in their order.

    A thing may be the value of an option, and a service is one without its suffix, too.
    """
    known = {name.removesuffix(".service"): text for name, text in known.items()}
    said = []
    for word in words:
        name = "kernel" if word in _KERNEL else word.rpartition("=")[2].removesuffix(".service")
        if name in known:
            said.append((known[name], "", 0))
        elif not word.startswith("-"):
            stdout, stderr, status = _UNKNOWN.get(program, ("", "", 0))
            said.append((stdout.format(word), stderr.format(word), status))
    stdouts, stderrs, statuses = zip(*said, strict=True) if said else ((), (), (0,))
    return _BETWEEN.get(program, "").join(stdouts), "".join(stderrs), max(statuses)


def _queried(listing, call):
    """Return what `rpm -qa --queryformat` makes of the lines of a plain `rpm -qa`."""
    rest = re.search(r"--(?:qf|queryformat)[ =](.*)", " ".join(call), re.DOTALL)
    if not rest:
        return listing
    # No package of these hosts has an epoch.
    form = re.sub(r"%\|EPOCH\?\{.*?\}:\{\}\|", "", rest[1])
    form = form.replace("\\n", "\n").replace("\\t", "\t")
    text = ""
    for line in listing.split():
        name, version, release = line.rsplit("-", 2)
        release, _dot, arch = release.rpartition(".")
        tags = {"NAME": name, "VERSION": version, "RELEASE": release, "ARCH": arch}
        tags |= {"EVR": f"{version}-{release}", "EPOCH": "(none)", "EPOCHNUM": "0"}
        text += re.sub(r"%\{(\w+)\}", lambda tag, tags=tags: tags[tag[1].upper()], form)
    return text
