# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is said where a kernel module cannot be built, be it by DKMS or by rpmbuild."""

from __future__ import annotations

import os
import subprocess

from ..facts_shape import Kernel
from ..packages import stack_packages
from ..refusal import Refusal
from ..system import build_log, commands, files
from ..system.root import Root
from . import headers

LOGS = "/var/log/gpunode"
# What a process ends with that the kernel killed for want of memory, as such and by a shell.
_KILLED = (-9, 137)


def failure(
    tree: Root,
    log: str,
    text: str,
    kernel: Kernel,
    what: str,
    done: subprocess.CompletedProcess[str],
    remedy: str,
) -> Refusal:
    """Return the Refusal that says why a module could not be built, and keep what was said.

    :param log: the name of the file below LOGS that keeps it.
    :param text: what compiler and make said.
    :param kernel: the row of kernels.survey.
    :param what: what was done, for the message.
    :param done: how it ended.
    :param remedy: what to do where nothing better is known.
    """
    path = f"{LOGS}/{log}"
    os.makedirs(tree.path(LOGS), mode=0o755, exist_ok=True)
    files.write_text(tree.path(path), f"{text}\n", owner=None, group=None, mode=0o600)
    words = done.stderr or done.stdout
    found = build_log.cause(text)
    found = found if found.lines else build_log.cause(words)
    because = " / ".join(found.lines) or commands.last_words(done, words)
    release, manager = kernel["release"], stack_packages.manager(tree)
    if found.remedy or done.returncode in _KILLED:
        remedy = (found.remedy or build_log.MEMORY).format(
            release=release,
            package=headers.package(release, manager),
            again=headers.again(release, manager),
            compiler=f"{kernel['compiler'] or 'the compiler'}, with which the kernel was built",
        )
    elif kernel["compiler"] and not kernel["compiler_found"]:
        because = f"{kernel['compiler']}, which built the kernel, is not there; {because}"
        remedy = f"Install {kernel['compiler']}"
    return Refusal(what, f"{because} ({path}); no module was replaced", f"{remedy}, and run again")
