# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Drop-ins: files by which others change a unit of systemd without touching its file."""

from __future__ import annotations

import os
import re

from .. import urls
from . import commands, files
from .root import Root

# Where systemd looks for the files of system units, the first one first (systemd.unit(5)).
PLACES = (
    "/etc/systemd/system.control",
    "/run/systemd/system.control",
    "/run/systemd/transient",
    "/run/systemd/generator.early",
    "/etc/systemd/system",
    "/etc/systemd/system.attached",
    "/run/systemd/system",
    "/run/systemd/system.attached",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
    "/run/systemd/generator.late",
)
# Where systemctl(1), set-property, writes what it has set in a running unit already.
_AT_ONCE = PLACES[:2]
_SHOWN = 8
_LENGTH = 80
_SETTING = re.compile(r"([A-Z]\w*)\s*=\s*(.*)")
# What may hold a secret is told by its name alone.
_SILENT = re.compile(r"Environment|SetCredential\w*|Exec\w+|StandardInput(?:Text|Data)")


def of(unit: str, tree: Root | None = None) -> dict[str, str]:
    """Return {path: sha256} of the drop-ins that change a unit, in the order they apply.

    Those of its own folder, of folders of all units that begin alike ('web-.service.d'), and of all
    units of its type ('service.d'). Of two of one name the first one counts, as with systemd; one
    that sets nothing, such as a link to /dev/null, is none.

    :param unit: its name.
    :param tree: the files of the host.
    """
    tree = tree or Root()
    found: dict[str, str] = {}
    for folder in _folders(unit):
        for name in tree.names(folder):
            if name.endswith(".conf"):
                found.setdefault(name, os.path.join(folder, name))
    texts = {found[name]: tree.text(found[name]) for name in sorted(found)}
    return {path: files.sha256_of_text(text) for path, text in texts.items() if _settings(text)}


def is_of(unit: str, path: str) -> bool:
    """Say whether a drop-in is of this unit alone."""
    return os.path.basename(os.path.dirname(path)) == f"{unit}.d"


def holds_at_once(path: str) -> bool:
    """Say whether what a drop-in sets holds for a unit that ran before it was there."""
    return path.startswith(tuple(f"{place}/" for place in _AT_ONCE))


def says(path: str, tree: Root | None = None) -> str:
    """Return the path of a drop-in and what it sets, as one phrase, without secrets."""
    settings = _settings((tree or Root()).text(path))
    shown = [_shown(key, value) for key, value in settings[:_SHOWN]]
    more = [f"{len(settings) - _SHOWN} more"] if len(settings) > _SHOWN else []
    return f"{path} ({', '.join(shown + more)})" if shown else path


def _folders(unit: str) -> list[str]:
    name, _dot, kind = unit.rpartition(".")
    own = [unit]
    while "-" in name.rstrip("-"):
        name = name.rstrip("-").rpartition("-")[0] + "-"
        own.append(f"{name}.{kind}")
    places = [os.path.join(place, f"{folder}.d") for place in PLACES for folder in own]
    return places + [os.path.join(place, f"{kind}.d") for place in PLACES]


def _settings(text: str) -> list[tuple[str, str]]:
    """Return (key, value) of each setting in the text of a unit."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith(("#", ";"))]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    found = [_SETTING.fullmatch(line.strip()) for line in joined.splitlines()]
    return [(match.group(1), match.group(2)) for match in found if match]


def _shown(key: str, value: str) -> str:
    if _SILENT.fullmatch(key) and value:
        return f"{key}=..."
    value = commands.one_line(urls.shown(value))
    return f"{key}={value if len(value) <= _LENGTH else f'{value[:_LENGTH]}...'}"
