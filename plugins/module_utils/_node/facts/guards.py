# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What of a host's guards decides whether a service runs and is reached: SELinux and firewalld.

Both are read from files. What a running policy says of a path, and which interface is in which
zone, is not asked.
"""

from __future__ import annotations

import re

from ..facts_shape import Firewalld, Selinux
from ..system.root import Root

_ENFORCE = "/sys/fs/selinux/enforce"
_MODES = {"1": "enforcing", "0": "permissive"}
_CONFIG = "/etc/selinux/config"
# libselinux, selinux_getenforcemode(): the first line with one of these words counts.
_AT_BOOT = re.compile(r"SELINUX=\s*((?i:enforcing|permissive|disabled)).*")
# What semanage fcontext writes: a pattern, the kind of file perhaps, a context. selinux(8).
_LOCAL = "/etc/selinux/targeted/contexts/files/file_contexts.local"
_PROGRAMS = re.compile(r"(/\S*)\s+(?:--\s+|-d\s+)?\w+:\w+:bin_t(?::\S+)?")
# A pattern up to the first character that may stand for others; PCRE's, of which '.' is quoted.
_LITERAL = re.compile(r"(?:[^\\.^$*+?()\[\]{}|]|\\.)*")
# firewalld, firewall/core/io/firewalld_conf.py: the first line counts, else the fallback.
_DEFAULT_ZONE = re.compile(r"DefaultZone\s*=\s*(.+)")
_FALLBACK_ZONE = "public"
_ZONE = re.compile(r"[\w-]+")
# firewalld.zone(5) and firewalld.service(5); the order of attributes is free.
_ACCEPTS = re.compile(r"<zone\b[^>]*\btarget=[\"']ACCEPT[\"']")
_SERVICE = re.compile(r"<service\b[^>]*\bname=[\"']([\w.+-]+)[\"']")
_PORT = re.compile(r"<port\b[^>]*>")
_NUMBERS = re.compile(r"\bport=[\"']([0-9]+)(?:-([0-9]+))?[\"']")
_TCP = re.compile(r"\bprotocol=[\"']tcp[\"']")
_LAST_PORT = 65535
# Those of the operator go before those that were delivered.
_FOLDERS = ("/etc/firewalld", "/usr/lib/firewalld")


def selinux(tree: Root) -> Selinux:
    """Return the mode of SELinux, and what the host itself labels as programs.

    :param tree: the host.
    """
    mode = _MODES.get(tree.text(_ENFORCE)) or "".join(_said(tree, _CONFIG, _AT_BOOT)[:1]).lower()
    patterns = _said(tree, _LOCAL, _PROGRAMS)
    literal = {"".join(_LITERAL.findall(pattern)[:1]).replace("\\", "") for pattern in patterns}
    return {"mode": mode, "programs": sorted(literal - {"", "/"})}


def firewalld(tree: Root) -> Firewalld:
    """Return the default zone of a firewalld that runs, and the ports of TCP that it lets through.

    Those of the zones that the operator wrote count as well, whichever interface they are for.

    :param tree: the host.
    """
    ours, _delivered = _FOLDERS
    is_there = tree.exists(ours)
    if not is_there or tree.ended("systemctl", "is-active", "-q", "firewalld").status != 0:
        return {"zone": "", "ports": []}
    said = [*_said(tree, f"{ours}/firewalld.conf", _DEFAULT_ZONE), _FALLBACK_ZONE][0]
    default = said if _ZONE.fullmatch(said) else ""
    zones = [name[: -len(".xml")] for name in tree.names(f"{ours}/zones") if name.endswith(".xml")]
    texts = [_text(tree, "zones", name) for name in dict.fromkeys([default, *zones]) if name]
    ports = {span for text in texts for span in _spans(tree, text)}
    shown = [str(first) if first == last else f"{first}-{last}" for first, last in sorted(ports)]
    return {"zone": default, "ports": shown}


def _said(tree: Root, path: str, line: re.Pattern[str]) -> list[str]:
    """Return the first group of each line of a file that is of a form."""
    found = map(line.fullmatch, map(str.strip, tree.lines(path)))
    return [match.group(1) for match in found if match]


def _spans(tree: Root, text: str) -> list[tuple[int, int]]:
    """Return the first and last port of each span that a zone lets through."""
    if _ACCEPTS.search(text):
        return [(1, _LAST_PORT)]
    texts = [text, *(_text(tree, "services", name) for name in _SERVICE.findall(text))]
    rows = [row for each in texts for row in _PORT.findall(each) if _TCP.search(row)]
    spans = [(int(one), int(other or one)) for row in rows for one, other in _NUMBERS.findall(row)]
    return [(first, last) for first, last in spans if 1 <= first <= last <= _LAST_PORT]


def _text(tree: Root, kind: str, name: str) -> str:
    paths = [f"{folder}/{kind}/{name}.xml" for folder in _FOLDERS]
    return next((text for text in map(tree.text, paths) if text), "")
