# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which sockets and devices the processes of a host have open."""

from __future__ import annotations

import contextlib
import functools
import os

# Other files are not kept in mind: who has many processes has far more of those.
_SOCKET, _DEVICES = "socket:[", "/dev/"


class OpenFiles:
    """What processes have open at the moment of the first question, for which each is looked at.

    That is most of what a look at a host takes that has many, so all questions of one look go to
    one of these.

    :param proc: where procfs is mounted; needs root to see every process.
    """

    def __init__(self, proc: str = "/proc") -> None:
        self._proc = proc

    def holders_of_socket(self, inode: str) -> list[int]:
        """Return the ids of the processes that have a socket open, by number."""
        return self._holders.get(f"{_SOCKET}{inode}]", [])

    def devices(self) -> dict[str, list[int]]:
        """Return {path below /dev: ids of the processes that have it open, by number}."""
        return {path: pids for path, pids in self._holders.items() if path.startswith(_DEVICES)}

    @functools.cached_property
    def _holders(self) -> dict[str, list[int]]:
        pids = []
        with contextlib.suppress(OSError, ValueError):
            pids = sorted(int(name) for name in os.listdir(self._proc) if _is_pid(name))
        found: dict[str, list[int]] = {}
        for pid in pids:
            for path in _open_files(os.path.join(self._proc, str(pid), "fd")):
                found.setdefault(path, []).append(pid)
        return found


def _is_pid(name: str) -> bool:
    return name.isascii() and name.isdigit() and len(name) < 10


def _open_files(folder: str) -> set[str]:
    """Return the sockets and devices that a process has open; none of one that is gone."""
    found = set()
    with contextlib.suppress(OSError):
        for descriptor in os.listdir(folder):
            # Closed meanwhile, or a file whose path is longer than the kernel tells.
            with contextlib.suppress(OSError):
                path = os.readlink(os.path.join(folder, descriptor))
                if path.startswith((_SOCKET, _DEVICES)):
                    found.add(path)
    return found
