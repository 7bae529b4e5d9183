# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Running commands, quick ones and those that take long and fill disks."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from typing import Any, Callable

from .. import urls
from ..refusal import Refusal
from . import disk

_TAIL = 5

# What runs a command, with the signature of run: its answer is text or bytes, as the options say.
Run = Callable[..., "subprocess.CompletedProcess[Any]"]
# What runs a command that takes long: (argv, its additional environment) -> its end, with text.
Execute = Callable[[Sequence[str], Mapping[str, str]], "subprocess.CompletedProcess[str]"]


def run(argv: Sequence[str], **options: Any) -> subprocess.CompletedProcess[Any]:
    """Run a command as subprocess.run does, whatever its status; see there for options and errors.

    The default of every function that lets its caller choose the runner.
    AnsibleModule.run_command, which Ansible would have us use, belongs to one module run:
    functions that are tested without a module cannot have it.
    """
    return subprocess.run(argv, check=False, **options)  # pylint: disable=ansible-bad-function


def run_long(
    what: str, argv: Sequence[str], environment: Mapping[str, str], execute: Execute, writes_to: str
) -> subprocess.CompletedProcess[str]:
    """Run a command that takes long and fills disks, whatever its status.

    :param what: what it does, for the messages.
    :param writes_to: the path whose file system it fills, for the messages.
    :returns: its CompletedProcess.
    :raises Refusal: it ran too long, or a file system was full.
    """
    try:
        result = execute(argv, environment)
    except subprocess.TimeoutExpired as error:
        raise Refusal(
            what,
            f"it did not end within {error.timeout:.0f} s",
            "Look at the network and the disk, and run again",
        ) from error
    if result.returncode != 0 and disk.is_full(result.stdout + result.stderr):
        raise disk.full(what, writes_to)
    return result


def lines_of(text: str) -> list[str]:
    """Return the lines of an output that say something, without any password in a URL."""
    return [line.strip() for line in urls.shown(text).splitlines() if line.strip()]


def last_words(result: subprocess.CompletedProcess[Any], text: str) -> str:
    """Return the end of an output as one line, or the status where there is none."""
    return " / ".join(lines_of(text)[-_TAIL:]) or f"it ended with status {result.returncode}"
