# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a long command does without, so that what it runs reaches no further than it must.

Builds and installers run code that came with a package, as root. The settings are those of
systemd.exec(5); where systemd does not run the host, or is too old for them, nothing is taken away.
Package managers and installers of vendors are not confined: what their scripts touch is theirs.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence

from . import files

# None of what is confined here is for a capability of these.
_ALWAYS = (
    "NoNewPrivileges=yes",
    "ProtectControlGroups=yes",
    "ProtectKernelTunables=yes",
    "RestrictRealtime=yes",
    "CapabilityBoundingSet=~CAP_SYS_BOOT CAP_SYS_PTRACE CAP_SYS_RAWIO CAP_SYS_TIME CAP_NET_ADMIN",
)
_HIDING = "PrivateTmp=yes"
# What each setting takes away, so that nothing may lie there that a command works on. The first one
# hides it, and the others let it be read.
_TAKEN = {
    _HIDING: ("/tmp", "/var/tmp"),
    "ProtectSystem=full": ("/usr", "/boot", "/efi", "/etc"),
    "ProtectHome=read-only": ("/home", "/root", "/run/user"),
}


class Confined(list[str]):
    """A command line that needs less than all of the host.

    :ivar settings: of its unit, such as "PrivateTmp=yes".
    """

    def __init__(self, argv: Iterable[str], settings: Iterable[str]) -> None:
        super().__init__(argv)
        self.settings = list(settings)


def confined(
    argv: Sequence[str],
    works_in: Iterable[str],
    network: bool = False,
    writable: Iterable[str] = (),
    told_by: Iterable[str] = (),
) -> Confined:
    """Return a command line with what its unit does without.

    :param argv: the command.
    :param works_in: the paths that it works on. One below what would be taken away keeps that: a
        path of its own would be another mount, between which no hard link goes.
    :param network: whether it reaches the network.
    :param writable: paths of which it writes besides, although they lie below what is read alone.
    :param told_by: paths of files that tell it where to read; some may be missing.
    """
    needed = [*works_in, *(part for part in argv if part.startswith("/"))]
    settings = [
        setting
        for setting, places in _TAKEN.items()
        if not any(_lies_in(path, places) for path in needed)
    ]
    if any(_names(text, _TAKEN[_HIDING]) for text in (*argv, *_texts(told_by))):
        settings = [setting for setting in settings if setting != _HIDING]
    # A path may be missing.
    settings += [f"ReadWritePaths=-{path}" for path in writable]
    return Confined(argv, [*_ALWAYS, *settings, *(() if network else ("PrivateNetwork=yes",))])


def _lies_in(path: str, places: Iterable[str]) -> bool:
    return any(f"{path}/".startswith(f"{place}/") for place in places)


def _texts(paths: Iterable[str]) -> Iterator[str]:
    for path in paths:
        with contextlib.suppress(OSError, ValueError):
            yield files.read_text(path)


def _names(text: str, places: Iterable[str]) -> bool:
    """Say whether a text names something in a place, be it by an address such as file:///tmp/x."""
    begin = r"(?:(?<![\w.~-])|(?<=file://localhost))"
    return any(re.search(rf"{begin}{place}/", text) for place in places)
