"""This machine's pip settings, merged into one file for a node."""

from __future__ import annotations

import configparser
import io
import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

#: Where packages come from and how that place is reached. What pip does with
#: them (targets, caches, logs) is the machine's own affair.
_INHERITED = frozenset(
    (
        "index-url",
        "extra-index-url",
        "find-links",
        "no-index",
        "trusted-host",
        "cert",
        "client-cert",
        "proxy",
        "timeout",
        "default-timeout",
        "retries",
        "disable-pip-version-check",
    )
)
_INDEXES = frozenset(("index-url", "extra-index-url"))


def machine_files(environment, home):
    """Return the configuration files that pip reads on this machine, the strongest last."""
    named = environment.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return []
    user = environment.get("XDG_CONFIG_HOME") or f"{home}/.config"
    files = [
        "/etc/xdg/pip/pip.conf",
        "/etc/pip.conf",
        f"{home}/.pip/pip.conf",
        f"{user}/pip/pip.conf",
    ]
    return files + ([named] if named else [])


def merged(texts, environment):
    """Return {section: {key: value}} of the inherited settings, as pip would merge them.

    :param texts: contents of configuration files, the strongest last.
    :param environment: the machine's environment; PIP_* is stronger than any file.
    :raises configparser.Error: a file cannot be read by pip either.
    """
    settings = {"global": {}}
    for text in texts:
        parser = configparser.RawConfigParser()
        parser.read_string(text)
        for section in parser.sections():
            for key, value in parser.items(section):
                _set(settings, section, key, value)
    for name in sorted(environment):
        if name.startswith("PIP_") and environment[name]:
            key = name[len("PIP_") :]
            for section in settings.values():
                section.pop(_key(key), None)
            _set(settings, "global", key, environment[name])
    if environment.get("https_proxy"):
        settings["global"].setdefault("proxy", environment["https_proxy"])
    return {section: items for section, items in settings.items() if items}


def for_node(settings, exists=os.path.exists):
    """Return (text of the node's pip.conf, the machine's paths that it needs).

    A reference to a file or folder that this machine does not have is left
    out: pip passes over it here, and would there.
    """
    paths = set()
    parser = configparser.RawConfigParser()
    for section, items in settings.items():
        kept = {}
        for key, value in items.items():
            words = []
            for word in value.split():
                path = _local_path(word)
                if path is None:
                    words.append(word)
                elif exists(path):
                    words.append(path if word.startswith("~") else word)
                    paths.add(_needed(path) if key in _INDEXES else path)
            if words:
                kept[key] = " ".join(words)
        if kept:
            parser[section] = kept
    text = io.StringIO()
    parser.write(text)
    return text.getvalue(), sorted(paths)


def _set(settings, section, key, value):
    if _key(key) in _INHERITED:
        settings.setdefault(section, {})[_key(key)] = value


def _key(name):
    return name.lower().replace("_", "-")


def _local_path(word):
    """Return the path that a word of a value names on this machine, or None."""
    if word.startswith("file:"):
        return unquote(urlsplit(word).path).rstrip("/")
    if word.startswith(("/", "~")):
        return os.path.expanduser(word)
    return None


def _needed(index):
    """Return the folder that holds a local index and the files beside it that its pages link to."""
    parent = str(Path(index).parent)
    return index if parent == "/" else parent
