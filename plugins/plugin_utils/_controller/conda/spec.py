# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Environments from a spec: what was asked for, the files it is solved into, whether they agree.

A spec is a dict of ``channels`` (in order), ``packages`` and ``pip`` (sorted). Both files begin
with the spec they were solved for, a comment per item; the requirements also name the lock.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.gpunode.stack.plugins.module_utils._node import urls
from ansible_collections.gpunode.stack.plugins.module_utils._node.conda import lock_file
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import files

from .. import project
from ..inputs.site import Site
from . import environment_file, package_changes, pip_requirements

_TITLE = "# Solved by `make lock`, not to be edited; docs/environments.md says how to upgrade it."
# What an item of each list is called in the header, and by people.
_KINDS = {"channels": "channel", "packages": "package", "pip": "pip requirement"}
_LOCK = "lock sha256"
_LINE = re.compile(rf"# ({'|'.join([*_KINDS.values(), _LOCK])}): (.+)")
_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==(\S+)", re.MULTILINE)
# What a node's answer has in each row, None being no text; the largest environments have some
# thousand packages.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_CONDA_NAME = re.compile(r"[a-z0-9_][a-z0-9._-]*")
# PEP 440, appendix B, as pip writes one.
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]*")
# What is behind a channel, and nothing that leads out of it; an epoch is quoted there.
_IN_CHANNEL = re.compile(
    r"(?:noarch|[a-z]+-[a-z0-9_]+)/(?:[A-Za-z0-9_.!+=~-]|%21|%2[Bb])+\.(?:conda|tar\.bz2)"
)
_ANSWER = {
    "packages": {
        "url": re.compile(r"[a-z]+://[!-~]+"),
        "name": _CONDA_NAME,
        "sha256": re.compile(r"(?:[0-9a-f]{64})?"),
        "md5": re.compile(r"(?:[0-9a-f]{32})?"),
    },
    "dists": {"name": _NAME, "version": _VERSION, "sha256": re.compile(r"[0-9a-f]{64}")},
}
_MOST = 20_000
_SHOWN = 200


def located(item: Mapping[str, Any], site: Site) -> Mapping[str, Any]:
    """Return an item of the list with the paths of its files, which exist as they are asked for.

    :param item: an item of conda_env_list, with packages or with a lock made elsewhere.
    :param site: the host's Site.
    :raises Refusal: neither is named, or the files are not what the spec is solved into.
    """
    what = f"environment {item['name']}"
    item = imported(item, site)
    if not item.get("packages"):
        _refuse_half_a_spec(what, item)
        return item
    wish = order(item, site)
    if wish["why"]:
        raise Refusal(
            what, "; ".join(wish["why"]), f"Run `{project.command('lock', site.inventory)}`"
        )
    lock, *requirements = wish["files"]
    return {**item, "lock": lock, **({"requirements": requirements[0]} if requirements else {})}


def imported(item: Mapping[str, Any], site: Site) -> Mapping[str, Any]:
    """Return an item with what the environment.yml that it names asks for, if it names one.

    :raises Refusal: that cannot be read, or the item asks for something besides.
    """
    path = item.get("environment_file")
    if not path:
        return item
    what = f"environment {item['name']}"
    besides = [key for key in ("packages", "channels", "pip") if item.get(key)]
    if besides:
        raise Refusal(
            what,
            f"{' and '.join(besides)} and an environment_file are said, which asks for the same",
            "Keep one of the two",
        )
    try:
        return {**item, **environment_file.read(site.read_text(path, what))}
    except ValueError as error:
        raise Refusal(f"{what}: {path}", str(error), "Correct it and run again") from error


def order(item: Mapping[str, Any], site: Site, is_upgrade: bool = False) -> dict[str, Any]:
    """Return what it takes to solve an item with packages, a dict that JSON can carry.

    It has ``name``, ``spec``, ``files`` (the controller paths of the lock and, with a pip part, of
    the requirements), and ``why``: sentences that say why it is to be solved, none where the files
    are what the spec was solved into.

    :param is_upgrade: newer versions are asked for.
    :raises Refusal: the spec cannot be, or a file in its place was not made by solving.
    """
    what = f"environment {item['name']}"
    spec = _spec(what, item, site)
    named = [item.get("lock") or f"files/{item['name']}.lock"]
    if spec["pip"]:
        named.append(item.get("requirements") or f"files/{item['name']}.requirements.txt")
    # Where a link leads, since it is to stay one when the file is written anew.
    paths = [os.path.realpath(site.path(path)) for path in named]
    texts = {path: site.read_text(path, what) for path in paths if os.path.exists(path)}
    for path, text in texts.items():
        if not _is_ours(text):
            raise Refusal(
                what,
                f"{path} does not say what it was solved for, and solving would overwrite it",
                f"Move it away and run `{project.command('lock', site.inventory)}`, "
                "or leave the packages out",
            )
    return {
        "name": item["name"],
        "spec": spec,
        "files": paths,
        "why": _reasons(spec, paths, texts) or ["newer versions are asked for"] * is_upgrade,
    }


def lock_text(spec: Mapping[str, Any], packages: Iterable[Mapping[str, Any]]) -> str:
    """Return the lock of a solved spec.

    :param packages: dicts with ``url``, ``name``, and ``sha256`` or ``md5``.
    """
    lines = [
        f"{package['url']}#sha256:{package['sha256']}"
        if package.get("sha256")
        else f"{package['url']}#{package['md5']}"
        for package in sorted(packages, key=lambda package: package["name"])
    ]
    return "\n".join([_TITLE, *_header(spec), lock_file.HEADER, *lines, ""])


def requirements_text(
    spec: Mapping[str, Any], lock: str, dists: Iterable[Mapping[str, Any]]
) -> str:
    """Return the requirements of a solved spec.

    :param lock: the text of the lock they were solved with.
    :param dists: dicts with ``name``, ``version`` and ``sha256``.
    """
    pins = [
        f"{dist['name']}=={dist['version']} \\\n    --hash=sha256:{dist['sha256']}"
        for dist in sorted(dists, key=lambda dist: dist["name"])
    ]
    digest = f"# {_LOCK}: {files.sha256_of_text(lock)}"
    return "\n".join([_TITLE, *_header(spec), digest, *pins, ""])


def choose(
    orders: Mapping[str, Sequence[Mapping[str, Any]]],
) -> tuple[dict[str, list[str]], list[Refusal]]:
    """Return ({host: [name]}, [Refusal]): whose environments are solved where, each file once.

    :param orders: {host: [order]} in the order of the play; those without a reason to be solved
        only take part in the comparison.
    """
    solves: dict[str, list[str]] = {}
    first: dict[str, tuple[str, Any]] = {}
    refusals: dict[str, Refusal] = {}
    for host, wish in _wishes(orders):
        content = (wish["spec"], wish["files"])
        known = [path for path in wish["files"] if path in first]
        for path in wish["files"]:
            other_host, other = first.setdefault(path, (host, content))
            if other != content:
                refusals[path] = _disagreement(path, other_host, host)
        if wish["why"] and not known:
            solves.setdefault(host, []).append(wish["name"])
    return solves, list(refusals.values())


def unknown(
    orders: Mapping[str, Sequence[Mapping[str, Any]]], upgrade: Iterable[str]
) -> list[Refusal]:
    """Return a Refusal for each environment that is to be upgraded and that no host solves.

    :param orders: {host: [order]}.
    :param upgrade: names of environments.
    """
    known = sorted({wish["name"] for _host, wish in _wishes(orders)})
    return [
        Refusal(
            f"lock_upgrade {name}",
            "no host that was reached has an environment of that name with packages",
            f"There are {', '.join(known)}" if known else "Leave it out",
        )
        for name in upgrade
        if name not in known
    ]


def _wishes(
    orders: Mapping[str, Sequence[Mapping[str, Any]]],
) -> list[tuple[str, Mapping[str, Any]]]:
    return [(host, wish) for host, own in orders.items() for wish in own]


def _disagreement(path: str, one: str, other: str) -> Refusal:
    hosts = one if one == other else f"{one} and {other}"
    return Refusal(
        path,
        f"{hosts} would have two different specs solved into it",
        "Name another file for one of them with lock and requirements, or make the specs the same",
    )


def texts(order: Mapping[str, Any], solution: Mapping[str, Any]) -> list[str]:
    """Return the texts of an order's files.

    :param solution: ``packages`` and ``dists``, as the node found them.
    :raises ValueError: the node found what no lock or requirements can say, or what lies in none
        of the channels that were asked for.
    """
    _check_answer(solution)
    lock = lock_text(order["spec"], solution["packages"])
    packages = lock_file.parse(lock)
    _check_packages(packages, solution["packages"], order["channels"])
    versions = {package["name"]: package["version"] for package in packages}
    if not order["spec"]["pip"]:
        return [lock]
    if "python" not in versions:
        raise ValueError("there is no python among them, to which pip is to add")
    requirements = requirements_text(order["spec"], lock, solution["dists"])
    pip_requirements.parse(requirements, versions["python"], "")
    return [lock, requirements]


def _check_answer(solution: Mapping[str, Any]) -> None:
    """Raise a ValueError where a node's answer is not what solving gives: a host may be hostile.

    What it says becomes lines of files that other hosts are built from.
    """
    for kind, fields in _ANSWER.items():
        rows = solution.get(kind)
        if not isinstance(rows, list) or len(rows) > _MOST:
            raise ValueError(f"{kind} is no list of at most {_MOST}")
        for row in rows:
            for field, pattern in fields.items():
                text = row.get(field) if isinstance(row, dict) else row
                said = "" if text is None else text
                if not (isinstance(said, str) and pattern.fullmatch(said)):
                    shown = json.dumps(text)[:_SHOWN]
                    raise ValueError(f"{kind} has a {field} that is none: {shown}")


def _check_packages(
    packages: Iterable[lock_file.Package],
    answered: Iterable[Mapping[str, Any]],
    channels: Sequence[str],
) -> None:
    """Raise a ValueError where a package lies in no channel that was asked for, or is another.

    :param packages: what the lock says of each.
    :param answered: what the node does, each with its address.
    """
    names = {package["url"]: package["name"] for package in answered}
    for package in packages:
        url, name = package["url"], names[package["url"]]
        ends = (url[len(channel) :] for channel in channels if url.startswith(channel))
        if not any(map(_IN_CHANNEL.fullmatch, ends)):
            raise ValueError(
                f"{urls.shown(url)} lies in none of the channels that were asked for: "
                f"{', '.join(map(urls.shown, channels))}"
            )
        if package["name"] != name:
            raise ValueError(f"{urls.shown(url)} is {package['name']} and no {name}")


def announcement(
    orders: Mapping[str, Sequence[Mapping[str, Any]]],
    solves: Mapping[str, Sequence[str]],
    unreachable: Iterable[str],
) -> str:
    """Return for people what is solved where and why.

    :param orders: {host: [order]} of all hosts that were reached.
    :param solves: {host: [name]}; see :func:`choose`.
    :param unreachable: hosts that did not answer.
    """
    lines = [
        urls.shown(f"{wish['name']} is to be solved on {host}: {'; '.join(wish['why'])}")
        for host, wish in _wishes(orders)
        if wish["name"] in solves.get(host, [])
    ]
    locks = sorted({wish["files"][0] for _host, wish in _wishes(orders)})
    state = f"as asked for: {', '.join(locks)}" if locks else "no environment has packages"
    lines = lines or [f"nothing to solve, {state}"]
    return "\n".join(lines + [f"{host}: not reached, left out" for host in unreachable])


def report(order: Mapping[str, Any], before: Sequence[str], after: Sequence[str]) -> str:
    """Return for people what a solution changed.

    :param before: the texts of the order's files as they were, "" where there was none.
    :param after: the texts that took their place.
    """
    old, new = _contents(before), _contents(after)
    changes = package_changes.sentences(old, new) or ["no package changed"]
    head = f"{order['name']}: {len(new)} packages in {' and '.join(order['files'])}"
    return "\n".join([head, *(f"    {line}" for line in changes)])


def _contents(texts: Sequence[str]) -> dict[str, str]:
    """Return {name: version, as people read it} of all that a lock and its requirements name."""
    lock, *requirements = texts
    try:
        packages = lock_file.parse(lock)
    except ValueError:
        # There was none, or not a whole one.
        packages = []
    found = {package["name"]: f"{package['version']} ({package['build']})" for package in packages}
    pins = [pin for text in requirements for pin in _PIN.findall(text)]
    return {**found, **{f"{name} (pip)": version for name, version in pins}}


def _refuse_half_a_spec(what: str, item: Mapping[str, Any]) -> None:
    alone = [key for key in ("channels", "pip") if item.get(key)]
    if alone:
        raise Refusal(
            what,
            f"{' and '.join(alone)} is said without packages, and nothing is solved for it",
            "Say the packages too, or name a lock alone",
        )
    if not item.get("lock"):
        raise Refusal(
            what,
            "it has neither packages nor a lock",
            "Say the packages to solve a lock from, or name a lock",
        )


def _spec(what: str, item: Mapping[str, Any], site: Site) -> dict[str, list[str]]:
    channels = item.get("channels") or site.options("miniforge")["channels"]
    spec = {
        # Only what is named is asked, with or without that word of conda's.
        "channels": [_plain(what, "channel", text) for text in channels if text != "nodefaults"],
        "packages": sorted({_plain(what, "package", text) for text in item["packages"]}),
        "pip": sorted({_plain(what, _KINDS["pip"], text) for text in item.get("pip") or []}),
    }
    if not spec["channels"]:
        raise Refusal(
            f"{what}: channels", "nodefaults alone names none", "Name the channel to take from"
        )
    options = site.options("miniforge")
    indexes = [options["pip_index_url"] or "", *options["pip_extra_index_urls"]]
    return {**spec, "pip": [text for text in spec["pip"] if _is_wish(what, text, indexes)]}


def _is_wish(what: str, text: str, indexes: Sequence[str]) -> bool:
    try:
        return pip_requirements.is_wish(text, indexes)
    except ValueError as error:
        raise Refusal(
            f"{what}: {_KINDS['pip']} {text}", str(error), "Write it as name>=version"
        ) from error


def _plain(what: str, kind: str, text: object) -> str:
    """Return an item of a spec with its blanks set alike; it becomes an argument and a comment."""
    plain = " ".join(str(text).split())
    # What is for pip itself is told by its own rules.
    if not plain or (plain.startswith("-") and kind != _KINDS["pip"]):
        raise Refusal(
            f"{what}: {kind} '{plain}'", "it is empty or begins with '-'", "Write its name"
        )
    if urls.has_password(plain):
        raise Refusal(
            f"{what}: {kind} {urls.shown(plain)}",
            "a secret in it would stand in the lock and in the host's logs",
            "Name the channel, and say its address with miniforge_custom_channels",
        )
    return plain


def _header(spec: Mapping[str, Any]) -> list[str]:
    return [f"# {name}: {text}" for kind, name in _KINDS.items() for text in spec[kind]]


def _said(text: str) -> dict[str, list[str]]:
    """Return {name: [what a file's header says of it]}."""
    said: dict[str, list[str]] = {name: [] for name in [*_KINDS.values(), _LOCK]}
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match:
            said[match.group(1)].append(match.group(2))
    return said


def _is_ours(text: str) -> bool:
    return bool(_said(text)["package"])


def _reasons(spec: Mapping[str, Any], paths: Sequence[str], texts: Mapping[str, str]) -> list[str]:
    """Return why a spec is to be solved; see :func:`order`."""
    lacking = [f"{path} is not there yet" for path in paths if path not in texts]
    if lacking:
        return lacking
    lock, *requirements = paths
    said = _said(texts[lock])
    differing = [
        sentence
        for kind, name in _KINDS.items()
        for sentence in _differences(name, spec[kind], said[name])
    ]
    if differing:
        return [f"{lock} was solved for something else: {', '.join(differing)}"]
    digest = files.sha256_of_text(texts[lock])
    return [
        f"{path} was not solved with {lock} as it is now"
        for path in requirements
        if _said(texts[path])[_LOCK] != [digest]
    ]


def _differences(name: str, asked: Sequence[str], solved: Sequence[str]) -> list[str]:
    found = [f"{name} {text} is asked for and not in it" for text in asked if text not in solved]
    found += [f"{name} {text} is in it and not asked for" for text in solved if text not in asked]
    if not found and asked != solved:
        found = [f"the {name}s are asked for in the order {', '.join(asked)}"]
    return found
