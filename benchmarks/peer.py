"""What runs are held against: pyinfra, ensuring what gpunode left on the lab's hosts.

A benchmark in which the peer changed something, or looked at less, says nothing: both are refused.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from lab.paths import CHECKOUT

PINS = CHECKOUT / "benchmarks" / "pyinfra" / "requirements.txt"
#: Where inventory.py looks for what is to be on the hosts.
OUTPUT = CHECKOUT / "tests" / "output" / "bench"
_STATE_DIR = "var/lib/gpunode"
# What an operation says of a manifest's entry, by its kind. Of an environment's packages the names
# are facts that the deploy file asks for; the other kinds are about processes, which it starts anew
# where it changed what they run.
_NAMED_BY = {
    **dict.fromkeys(("file", "tree", "directory", "link", "environment"), "{path}"),
    **dict.fromkeys(("unit", "user"), "{name}"),
    "drop_ins": "/etc/systemd/system/{name}.d",
}

#: The command; -y: without a first pass that only foretells, which a run of ours has not either.
COMMAND = [
    str(CHECKOUT / ".venv-pyinfra" / "bin" / "pyinfra"),
    *("--json", "-y", "benchmarks/pyinfra/inventory.py", "benchmarks/pyinfra/deploy.py"),
]


def take_state(tree):
    """Have the peer's deploy file know what is on a converged node.

    :param tree: the node's root folder, seen from here.
    :returns: the entries of all manifests on it.
    """
    receipts = sorted((tree / _STATE_DIR).glob("*.json"))
    notes = [json.loads(path.read_text(encoding="utf-8")) for path in receipts]
    entries = [entry for note in notes for entry in note.get("manifest", [])]
    shutil.rmtree(OUTPUT, ignore_errors=True)
    copies = OUTPUT / "placed"
    for entry in entries:
        if entry["kind"] in ("file", "tree"):
            _copy(tree / entry["path"].lstrip("/"), copies / entry["path"].lstrip("/"))
    placed = {"copies": str(copies), **_names(tree, entries)}
    OUTPUT.mkdir(parents=True, exist_ok=True)
    (OUTPUT / "placed.json").write_text(json.dumps(placed, indent=1), encoding="utf-8")
    return entries


def _copy(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    copy = shutil.copytree if source.is_dir() else shutil.copyfile
    copy(source, target)


def _names(tree, entries):
    """Return what hosts have under names that gpunode made, which a deploy file cannot know."""
    by_kind = {entry["kind"]: entry for entry in entries}
    environment = Path(by_kind["environment"]["path"])
    prefix = tree / environment.relative_to("/")
    (packages,) = prefix.glob("lib/python3.*/site-packages")
    return {
        "conda_record": by_kind["presence"]["path"],
        "environment": str(environment),
        "conda_records": sorted(path.name for path in (prefix / "conda-meta").glob("*.json")),
        "site_packages": f"/{packages.relative_to(tree)}",
        "dist_infos": sorted(path.name for path in packages.glob("*.dist-info")),
        "release": by_kind["tree"]["path"],
    }


def operations(text):
    """Return the operations of a run, as pyinfra says them in JSON.

    :param text: what it printed to stdout.
    """
    return json.loads(text)["results"]["operations"]


def flaws(done, hosts, entries):
    """Return a sentence for each reason why a run of the peer does not count.

    :param done: its CompletedProcess.
    :param hosts: how many it was to look at.
    :param entries: what it was to look at on each, see :func:`take_state`.
    """
    if done.returncode:
        return [f"pyinfra ended with status {done.returncode}: {done.stderr[-2000:]}"]
    made = operations(done.stdout)
    arguments = [str(argument) for operation in made for argument in operation["args"]]
    asked = {argument.partition("=")[2] for argument in arguments}
    found = []
    for operation in made:
        if len(operation["no_change"]) != hosts:
            which = f"{operation['name']} {' '.join(map(str, operation['args']))}"
            others = {key: operation[key] for key in ("hosts", "success", "error")}
            found.append(f"{which} is to find nothing to do on {hosts} hosts: {others}")
    for entry in entries:
        named = _NAMED_BY.get(entry["kind"], "").format(**entry)
        if named and named not in asked:
            found.append(f"pyinfra did not look at {entry['kind']} {named}")
    return found
