"""What a node takes over from this machine so that it reaches what the machine reaches."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from lab import apt_settings, pip_settings
from lab.command import run

#: Where apt has its settings.
APT = "/etc/apt/"
_APT = Path(APT)
_UPSTREAM_RESOLVERS = Path("/run/systemd/resolve/resolv.conf")


@dataclass
class Inheritance:
    """What to put into a node's tree.

    :param files: path to (content, mode).
    :param folders: folders of this machine to show read-only in the node, at the same path.
    """

    files: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)

    def add_local(self, paths, base_tree):
        """Take over paths that some setting names, unless the base has its own file there."""
        for path in paths:
            if (base_tree / path.lstrip("/")).exists():
                continue
            if os.path.isdir(path):
                self.folders.append(path)
            elif os.path.isfile(path):
                mode = stat.S_IMODE(os.stat(path).st_mode)
                self.files[path] = (Path(path).read_bytes(), mode)


def gather(release, base_tree):
    """Read this machine and return what a node of ``release`` inherits.

    :raises LabError: the machine has no Debian source that could be adapted.
    """
    inherited = Inheritance()
    sources, configuration = apt_texts(release)
    pip_text, pip_paths = pip_settings.for_node(machine_pip_settings())
    inherited.files |= {
        "/etc/apt/sources.list.d/debian.sources": (sources.encode(), 0o644),
        "/etc/apt/apt.conf.d/90machine": (configuration.encode(), 0o644),
        "/etc/pip.conf": (pip_text.encode(), 0o644),
    }
    keyrings = [_APT / "trusted.gpg", *(_APT / "trusted.gpg.d").glob("*")]
    passwords = [_APT / "auth.conf", *(_APT / "auth.conf.d").glob("*")]
    for path in sorted(keyrings + passwords):
        inherited.add_local([str(path)], base_tree)
    inherited.add_local(apt_settings.local_paths(sources, configuration), base_tree)
    inherited.add_local(pip_paths, base_tree)
    return inherited


def apt_texts(release):
    """Return this machine's (Debian sources, apt.conf) for ``release``."""
    lists = [
        _APT / "sources.list",
        *(_APT / "sources.list.d").glob("*.list"),
        *(_APT / "sources.list.d").glob("*.sources"),
    ]
    texts = {str(path): path.read_text(encoding="utf-8") for path in lists if path.is_file()}
    sources = apt_settings.debian_sources(texts, os_release()["VERSION_CODENAME"], release)
    dump = run(["apt-config", "dump"]).stdout
    return sources, apt_settings.configuration(dump, os.environ)


def os_release():
    """Return this machine's /etc/os-release as a dict."""
    lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    pairs = (line.partition("=") for line in lines if "=" in line)
    return {key: value.strip('"') for key, _equals, value in pairs}


def resolver_text(text, upstream, fallback):
    """Return a node's resolv.conf.

    :param text: the machine's /etc/resolv.conf.
    :param upstream: systemd-resolved's list of the servers behind it, or "".
    :param fallback: address to ask where the machine knows only servers of its own.
    """
    lines = [line.split() for line in text.splitlines()]
    servers = _reachable(text) or _reachable(upstream) or [fallback]
    others = [" ".join(words) for words in lines if words[:1] in (["search"], ["options"])]
    return "".join(f"{line}\n" for line in [f"nameserver {one}" for one in servers] + others)


def machine_resolver_text(fallback):
    """Return :func:`resolver_text` for this machine."""
    upstream = _UPSTREAM_RESOLVERS
    return resolver_text(
        Path("/etc/resolv.conf").read_text(encoding="utf-8"),
        upstream.read_text(encoding="utf-8") if upstream.is_file() else "",
        fallback,
    )


def _reachable(text):
    """Return the name servers of a resolv.conf that a node with IPv4 only can reach."""
    words = [line.split() for line in text.splitlines()]
    servers = [each[1] for each in words if each[:1] == ["nameserver"] and len(each) > 1]
    return [server for server in servers if ":" not in server and not server.startswith("127.")]


def machine_pip_settings():
    """Return this machine's pip settings, {section: {key: value}}."""
    files = pip_settings.machine_files(os.environ, os.path.expanduser("~"))
    texts = [Path(name).read_text(encoding="utf-8") for name in files if os.path.isfile(name)]
    return pip_settings.merged(texts, os.environ)
