"""This machine's apt settings, rewritten for a node's Debian release."""

from __future__ import annotations

import re

from lab.errors import LabError

#: What comes after a release's name in the names of Debian's own suites.
_SUITE_ENDINGS = ("", "-updates", "-security", "/updates", "-backports", "-proposed-updates")
#: Names a source may use for whatever release is stable at the time.
_MOVING_NAMES = ("stable", "oldstable")
_FIELD_OF_OPTION = {"arch": "Architectures", "lang": "Languages", "target": "Targets"}
#: How a mirror is reached and believed. All else, hooks above all, names what a bare host lacks.
_INHERITED_CONFIGURATION = (
    "Acquire::http::",
    "Acquire::https::",
    "Acquire::Check-",
    "Acquire::Retries",
    "Acquire::Force",
    "Acquire::Allow",
    "Acquire::Languages",
)
#: A program on this machine that finds the proxy.
_PROGRAM_SETTINGS = ("proxy-auto-detect", "proxyautodetect")


def debian_sources(texts, codename, release):
    """Return the machine's Debian sources for ``release``, in deb822 form.

    A source counts as Debian's when it is enabled, offers `main` and has a
    suite named after the machine's release.

    :param texts: dict of file name to content, `.list` or `.sources`.
    :param codename: the machine's own release, such as "bookworm".
    :param release: the node's release.
    :raises LabError: the machine has no such source.
    """
    stanzas = []
    for name in sorted(texts):
        parse = _stanzas if name.endswith(".sources") else _lines
        for fields in parse(texts[name]):
            adapted = _adapted(fields, codename, release)
            if adapted and adapted not in stanzas:
                stanzas.append(adapted)
    if not stanzas:
        raise LabError(
            f"none of {', '.join(sorted(texts)) or '/etc/apt/sources.list*'} names a Debian source "
            f"of {codename} with component main. The nodes take their packages from where this "
            "machine does: give it one"
        )
    return "\n".join(_deb822(fields) for fields in stanzas)


def configuration(dump, environment):
    """Return the apt.conf that a node inherits.

    :param dump: the output of `apt-config dump` on the machine.
    :param environment: the machine's environment; apt takes proxies from it.
    """
    lines = [
        line
        for line in dump.splitlines()
        if line.startswith(_INHERITED_CONFIGURATION) and not _names_a_program(line)
    ]
    for scheme in ("http", "https"):
        proxy = environment.get(f"{scheme}_proxy")
        name = f"Acquire::{scheme}::Proxy"
        if proxy and not any(line.startswith(f"{name} ") for line in lines):
            lines.append(f'{name} "{proxy}";')
    return "".join(f"{line}\n" for line in lines)


def local_paths(sources, conf):
    """Return the paths of this machine that sources or configuration name.

    :param sources: text in deb822 form.
    :param conf: text of an apt.conf in the form of `apt-config dump`.
    """
    found = re.findall(r"(?:file|copy):(?://)?(/\S+)", sources)
    for value in re.findall(r"^Signed-By: *(\S.*)$", sources, re.MULTILINE):
        found += [word for word in re.split(r"[\s,]+", value) if word.startswith("/")]
    found += re.findall(r'"(/[^"]*)";$', conf, re.MULTILINE)
    return sorted(set(found))


def _names_a_program(line):
    return line.split()[0].lower().endswith(_PROGRAM_SETTINGS)


def _deb822(fields):
    return "".join(f"{key}: {value}\n" for key, value in fields.items())


def _stanzas(text):
    """Yield the fields of each paragraph of a deb822 file, comments left out."""
    for paragraph in re.split(r"\n[ \t]*\n", text):
        fields, key = {}, None
        for line in paragraph.splitlines():
            if line.startswith("#") or not line.strip():
                continue
            if line[0] in " \t" and key:
                fields[key] += f"\n{line.rstrip()}"
            else:
                key, _colon, value = line.partition(":")
                key = "-".join(word.capitalize() for word in key.strip().split("-"))
                key = {"Uris": "URIs"}.get(key, key)
                fields[key] = value.strip()
        if fields:
            yield fields


def _lines(text):
    """Yield the entries of a one-line-style file as deb822 fields."""
    for line in text.splitlines():
        entry = re.match(r"\s*(deb)\s+(?:\[([^]]*)\]\s+)?(\S+)\s+(\S+)\s*([^#]*)", line)
        if entry:
            kind, options, uri, suite, components = entry.groups()
            fields = {"Types": kind, "URIs": uri, "Suites": suite, "Components": components.strip()}
            for option in (options or "").split():
                name, _equals, value = option.partition("=")
                field = _FIELD_OF_OPTION.get(
                    name, "-".join(word.capitalize() for word in name.split("-"))
                )
                fields[field] = value.replace(",", " ")
            yield fields


def _adapted(fields, codename, release):
    """Return a source's fields for ``release``, or None where it is not Debian's or not in use."""
    enabled = fields.get("Enabled", "yes").lower() in ("yes", "true", "1")
    offered = "main" in fields.get("Components", "").split()
    suites = [
        suite
        for suite in (_suite(word, codename, release) for word in fields.get("Suites", "").split())
        if suite
    ]
    if not (enabled and offered and suites and "deb" in fields.get("Types", "").split()):
        return None
    return {**fields, "Types": "deb", "Suites": " ".join(suites)}


def _suite(name, codename, release):
    """Return the name that a suite of the machine's release has in ``release``, or None."""
    for known in (codename, *_MOVING_NAMES):
        for ending in _SUITE_ENDINGS:
            if name == known + ending:
                return release + ending
    return None
