# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a long command does without, so that what it runs reaches no further than it must.

Builds and installers run code that came with a package, as root. The settings are those of
systemd.exec(5); where systemd does not run the host, or is too old for them, nothing is taken away.
Package managers and installers of vendors are not confined: what their scripts touch is theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

# None of what is confined here is for a capability of these.
_ALWAYS = (
    "NoNewPrivileges=yes",
    "ProtectControlGroups=yes",
    "ProtectKernelTunables=yes",
    "RestrictRealtime=yes",
    "CapabilityBoundingSet=~CAP_SYS_BOOT CAP_SYS_PTRACE CAP_SYS_RAWIO CAP_SYS_TIME CAP_NET_ADMIN",
)
# What each setting takes away, so that nothing may lie there that a command works on.
_TAKEN = {
    "PrivateTmp=yes": ("/tmp", "/var/tmp"),
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
) -> Confined:
    """Return a command line with what its unit does without.

    :param argv: the command.
    :param works_in: the paths that it works on. One below what would be taken away keeps that: a
        path of its own would be another mount, between which no hard link goes.
    :param network: whether it reaches the network.
    :param writable: paths of which it writes besides, although they lie below what is read alone.
    """
    needed = [*works_in, *(part for part in argv if part.startswith("/"))]
    settings = [
        setting
        for setting, places in _TAKEN.items()
        if not any(_lies_in(path, places) for path in needed)
    ]
    # A path may be missing.
    settings += [f"ReadWritePaths=-{path}" for path in writable]
    return Confined(argv, [*_ALWAYS, *settings, *(() if network else ("PrivateNetwork=yes",))])


def _lies_in(path: str, places: Iterable[str]) -> bool:
    return any(f"{path}/".startswith(f"{place}/") for place in places)
