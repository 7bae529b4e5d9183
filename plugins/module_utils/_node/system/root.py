# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host's files and programs, read so that nothing which is missing or broken is an error.

What looks at a host takes a Root; a recorded tree and a table of recorded
answers then stand for a host that is not at hand.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Collection, Sequence
from typing import NamedTuple

from ..refusal import Refusal
from . import commands
from .commands import Run

PATIENCE_S = 10
#: Where programs are. sudo and cron may leave out where a driver's lie.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# No file that is read whole is larger; a log or a stray binary may be.
_TEXT_LIMIT = 64 << 20
# As many as the kernel follows, path_resolution(7).
_MOST_LINKS = 40


class Ended(NamedTuple):
    """How a program ended: its status, and what it printed.

    The status is None where it did not run to its end; then ``errors`` says why, and ``is_late``
    whether it only took too long.
    """

    status: int | None
    output: str
    errors: str
    is_late: bool = False


def without_waiting(path: str, flags: int) -> int:
    """Open a file as os.open does, but wait for nobody at a pipe: an ``opener`` for ``open``."""
    return os.open(path, flags | os.O_NONBLOCK)


class Root:
    """One host, as seen from a root folder.

    A path that no file can have, such as one with a NUL that a broken file named, is one
    where nothing is.

    :param root: the folder that stands for "/".
    :param run: what runs programs.
    """

    def __init__(self, root: str = "/", run: Run = commands.run) -> None:
        self.root = root
        self.run = run

    def path(self, path: str) -> str:
        """Return where a path of the host, given as absolute, lies for this process."""
        return path if self.root == "/" else self._below(self.resolve(path))

    def _below(self, path: str) -> str:
        """Return where a path lies whose links are not followed."""
        return path if self.root == "/" else os.path.join(self.root, path.lstrip("/"))

    def data(self, path: str, limit: int = _TEXT_LIMIT) -> bytes:
        """Return the first ``limit`` bytes of a file, b'' where it cannot be read."""
        try:
            # A pipe in a file's place keeps nobody waiting.
            with open(self.path(path), "rb", opener=without_waiting) as handle:
                return handle.read(limit) or b""
        except (OSError, ValueError):
            return b""

    def text(self, path: str) -> str:
        """Return the text of a file without surrounding blanks; '' where it cannot be read."""
        return self.data(path).decode("utf-8", "replace").strip("\0 \t\r\n")

    def lines(self, path: str) -> list[str]:
        """Return the lines of a text file that say something; [] where it cannot be read."""
        return [line for line in self.text(path).splitlines() if line.strip()]

    def number(self, path: str) -> int:
        """Return the decimal number that a file holds, 0 where it holds none."""
        try:
            return int(self.text(path))
        except ValueError:
            return 0

    def names(self, path: str) -> list[str]:
        """Return the sorted names in a folder; [] where it cannot be read."""
        try:
            return sorted(os.listdir(self.path(path)))
        except (OSError, ValueError):
            return []

    def target(self, path: str) -> str:
        """Return the last part of what a link points to; '' where it is no link."""
        folder, name = os.path.split(path)
        try:
            return os.path.basename(os.readlink(os.path.join(self.path(folder), name)))
        except (OSError, ValueError):
            return ""

    def exists(self, path: str) -> bool:
        """Say whether there is something at a path, links followed."""
        return os.path.exists(self.path(path))

    def resolve(self, path: str, short_of: Collection[str] = ()) -> str:
        """Return where a path leads once its links are followed, as the host itself follows them.

        Itself where they lead in a circle. An absolute link of a recorded tree stays inside it.

        :param short_of: folders that are not entered; a path into one leads to that.
        """
        done, rest, links = "", path.split("/"), 0
        while rest:
            part = rest.pop(0)
            if part == "..":
                done = os.path.dirname(done)
            elif part not in ("", "."):
                if f"{done}/{part}" in short_of:
                    return f"{done}/{part}"
                try:
                    target = os.readlink(self._below(f"{done}/{part}"))
                except (OSError, ValueError):
                    done = f"{done}/{part}"
                    continue
                links += 1
                if links > _MOST_LINKS:
                    return path
                done = "" if target.startswith("/") else done
                rest = target.split("/") + rest
        return done or "/"

    def has_program(self, name: str) -> bool:
        """Say whether there is a program of a name."""
        return any(self.exists(f"{folder}/{name}") for folder in PATH.split(":"))

    def ended(self, *argv: str, patience_s: float = PATIENCE_S) -> Ended:
        """Run a program and return how it Ended, after ``patience_s`` seconds at the most.

        A program that waits for a broken device cannot be killed, and waiting for its end would
        take as long as that: it is left to itself.
        """
        result: list[Ended] = []
        thread = threading.Thread(
            target=lambda: result.append(self._end(argv, patience_s)), daemon=True
        )
        thread.start()
        # Whoever runs it has the same patience, and a moment to clear up.
        thread.join(patience_s + 1)
        return result[0] if result else _late(patience_s)

    def answer(self, *argv: str, patience_s: float = PATIENCE_S) -> str:
        """Return what a program prints to its standard output.

        '' where it is missing, fails or takes longer than ``patience_s`` seconds.
        """
        ended = self.ended(*argv, patience_s=patience_s)
        return ended.output if ended.status == 0 else ""

    def _end(self, argv: Sequence[str], patience_s: float) -> Ended:
        try:
            answer = self.run(
                list(argv),
                capture_output=True,
                stdin=subprocess.DEVNULL,
                timeout=patience_s,
                env={**os.environ, "LC_ALL": "C", "PATH": PATH},
            )
        except subprocess.TimeoutExpired:
            return _late(patience_s)
        except (OSError, ValueError, Refusal) as error:
            return Ended(None, "", str(error))
        texts = (
            part[:_TEXT_LIMIT].decode("utf-8", "replace") for part in (answer.stdout, answer.stderr)
        )
        return Ended(answer.returncode, *texts)


def _late(patience_s: float) -> Ended:
    return Ended(None, "", f"no answer within {patience_s} s", is_late=True)
