# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Running commands, quick ones and those that take long and fill disks."""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Any, Callable

from .. import urls
from ..refusal import Refusal
from . import disk

#: What a command may take of which nothing else is said, in seconds.
PATIENCE_S = 600
# The largest answers, lists of all packages on offer, have less than a tenth of it.
_LARGEST = 256 << 20
_CHUNK = 1 << 16
_TAIL = 5
_SHOWN = 300

# What runs a command, with the signature of run: its answer is text or bytes, as the options say.
Run = Callable[..., "subprocess.CompletedProcess[Any]"]
# What runs a command that takes long: (argv, its additional environment) -> its end, with text.
Execute = Callable[[Sequence[str], Mapping[str, str]], "subprocess.CompletedProcess[str]"]


class NotRun(Refusal):
    """A command was not run to its own end, which says nothing about what it works on."""


def run(argv: Sequence[str], **options: Any) -> subprocess.CompletedProcess[Any]:
    """Run a command as subprocess.run does, whatever its status; see there for options and errors.

    It may take PATIENCE_S unless a timeout is given. What it prints is held to a size where it is
    captured, and bytes in it that are no text do not keep the rest from being one.

    The default of every function that lets its caller choose the runner.
    AnsibleModule.run_command, which Ansible would have us use, belongs to one module run:
    functions that are tested without a module cannot have it.

    :raises Refusal: it printed more than anybody reads.
    """
    options = {"timeout": PATIENCE_S, **options}
    if options.pop("capture_output", False):
        return _captured(argv, **options)
    return subprocess.run(argv, check=False, **options)  # pylint: disable=ansible-bad-function


def _captured(
    argv: Sequence[str], timeout: float, text: bool = False, errors: str = "replace", **options: Any
) -> subprocess.CompletedProcess[Any]:
    deadline = time.monotonic() + timeout
    options.update(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with subprocess.Popen(argv, **options) as process:
        printed: dict[Any, bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}
        try:
            with selectors.DefaultSelector() as waiting:
                for pipe in printed:
                    waiting.register(pipe, selectors.EVENT_READ)
                while waiting.get_map():
                    left_s = deadline - time.monotonic()
                    if left_s <= 0:
                        raise subprocess.TimeoutExpired(argv, timeout)
                    for key, _events in waiting.select(left_s):
                        part = os.read(key.fd, _CHUNK)
                        printed[key.fileobj] += part
                        if not part:
                            waiting.unregister(key.fileobj)
                    if max(map(len, printed.values())) > _LARGEST:
                        raise Refusal(
                            os.path.basename(argv[0]),
                            f"it printed more than {_LARGEST >> 20} MiB, and was ended",
                            "See what it has to say on the host, and run again",
                        )
            status = process.wait(max(0, deadline - time.monotonic()))
        except BaseException:
            process.kill()
            raise
    answers: list[Any] = [bytes(data) for data in printed.values()]
    if text:
        answers = [
            data.decode("utf-8", errors).replace("\r\n", "\n").replace("\r", "\n")
            for data in answers
        ]
    return subprocess.CompletedProcess(argv, status, *answers)


def run_long(
    what: str, argv: Sequence[str], environment: Mapping[str, str], execute: Execute, writes_to: str
) -> subprocess.CompletedProcess[str]:
    """Run a command that takes long and fills disks, whatever its status.

    :param what: what it does, for the messages.
    :param writes_to: the path whose file system it fills, for the messages.
    :returns: its CompletedProcess.
    :raises NotRun: it ran too long, or a file system was full.
    """
    try:
        result = execute(argv, environment)
    except subprocess.TimeoutExpired as error:
        raise NotRun(
            what,
            f"it did not end within {error.timeout:.0f} s",
            "Look at the network and the disk, and run again",
        ) from error
    if result.returncode != 0 and disk.is_full(result.stdout + result.stderr):
        full = disk.full(what, writes_to)
        raise NotRun(full.what, full.because, full.remedy)
    return result


def one_line(text: str) -> str:
    """Return a text with '?' in place of what does not print: people see it among lines of ours."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def said(error: BaseException) -> str:
    """Return in one short line what an error says, which may quote whatever a server sends."""
    words = one_line(" ".join(str(error).split())) or type(error).__name__
    return words if len(words) <= _SHOWN else f"{words[:_SHOWN]}..."


def lines_of(text: str) -> list[str]:
    """Return the lines of an output that say something, without any password in a URL."""
    return [line.strip() for line in urls.shown(text).splitlines() if line.strip()]


def last_words(result: subprocess.CompletedProcess[Any], text: str) -> str:
    """Return the end of an output as one line, or the status where there is none."""
    return " / ".join(lines_of(text)[-_TAIL:]) or f"it ended with status {result.returncode}"
