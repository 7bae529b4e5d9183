# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a long command does without, so that what it runs reaches no further than it must.

Builds and installers run code that came with a package, as root. The settings are those of
systemd.exec(5); where systemd does not run the host, or is too old for them, nothing is taken away,
and where it can make no namespaces, what takes none.

What puts things in place on the host keeps more. It runs programs of the host's, which SELinux
gives domains of their own: without new privileges they stay in that of the caller, and a domain
that is asked for, as rpm does for each script, is an error (Linux, security/selinux/hooks.c,
check_nnp_nosuid). Package managers and the installer of a bundle are not confined: what their
scripts touch is theirs, and what they mount would be mounted for themselves alone.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence

from . import files

# What takes no namespace of mounts or of the network.
_PLAIN = (
    *("NoNewPrivileges", "RestrictRealtime", "CapabilityBoundingSet", "Limit", "Device"),
    "SupplementaryGroups",
)
_ALWAYS = ("ProtectControlGroups=yes", "RestrictRealtime=yes")
# What builds or unpacks is for a capability of none of these.
_OF_BUILDS = (
    "NoNewPrivileges=yes",
    "ProtectKernelTunables=yes",
    "CapabilityBoundingSet=~CAP_SYS_BOOT CAP_SYS_PTRACE CAP_SYS_RAWIO CAP_SYS_TIME CAP_NET_ADMIN",
)
_HIDING = "PrivateTmp=yes"
_SYSTEM = "ProtectSystem=full"
# What each setting takes away, so that nothing may lie there that a command works on. The first one
# hides it, and the others let it be read.
_TAKEN = {
    _HIDING: ("/tmp", "/var/tmp"),
    _SYSTEM: ("/usr", "/boot", "/efi", "/etc"),
    "ProtectHome=read-only": ("/home", "/root", "/run/user"),
}
# A user that systemd makes for as long as a unit has it; units of one name have it together.
_OWN_USER = "DynamicUser=yes"
_WITHOUT_RIGHTS = (
    _OWN_USER,
    "User=gpunode-proof",
    "NoNewPrivileges=yes",
    "CapabilityBoundingSet=",
    "PrivateTmp=yes",
    "ProtectSystem=strict",
    "ProtectHome=read-only",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "RestrictNamespaces=yes",
    "LockPersonality=yes",
)


class Confined(list[str]):
    """A command line that needs less than all of the host.

    :ivar settings: of its unit, such as "PrivateTmp=yes".
    """

    def __init__(self, argv: Iterable[str], settings: Iterable[str]) -> None:
        super().__init__(argv)
        self.settings = list(settings)

    def without_namespaces(self) -> list[str]:
        """Return those settings for which systemd makes no namespace.

        A user of its own takes one; nobody's rights are as few.
        """
        plain = [setting for setting in self.settings if setting.startswith(_PLAIN)]
        return [*plain, *(["User=nobody"] if _OWN_USER in self.settings else [])]


def confined(
    argv: Sequence[str],
    works_in: Iterable[str],
    network: bool = False,
    writable: Iterable[str] = (),
    told_by: Iterable[str] = (),
    installs: bool = False,
) -> Confined:
    """Return a command line with what its unit does without.

    :param argv: the command.
    :param works_in: the paths that it works on. One below what would be taken away keeps that: a
        path of its own would be another mount, between which no hard link goes.
    :param network: whether it reaches the network.
    :param writable: paths of which it writes besides, although they lie below what is read alone.
    :param told_by: paths of files that tell it where to read; some may be missing.
    :param installs: whether it puts things in place on the host, by programs of the host's.
    """
    needed = [*works_in, *(part for part in argv if part.startswith("/"))]
    settings = [
        setting
        for setting, places in _TAKEN.items()
        if not any(_lies_in(path, places) for path in needed)
        and not (installs and setting == _SYSTEM)
    ]
    if any(_names(text, _TAKEN[_HIDING]) for text in (*argv, *_texts(told_by))):
        settings = [setting for setting in settings if setting != _HIDING]
    # A path may be missing.
    settings += [f"ReadWritePaths=-{path}" for path in writable]
    always = _ALWAYS if installs else (*_ALWAYS, *_OF_BUILDS)
    return Confined(argv, [*always, *settings, *(() if network else ("PrivateNetwork=yes",))])


def unprivileged(argv: Sequence[str], besides: Iterable[str] = ()) -> Confined:
    """Return a command line whose unit has no rights, and writes nothing but in a /tmp of its own.

    :param argv: the command.
    :param besides: what its unit needs, such as "LimitMEMLOCK=infinity".
    """
    return Confined(argv, [*_ALWAYS, *_WITHOUT_RIGHTS, *besides])


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
