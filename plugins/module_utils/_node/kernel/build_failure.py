# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is said where a kernel module cannot be built, be it by DKMS or by rpmbuild."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..packages import stack_packages
from ..refusal import Refusal
from ..system import commands, files
from ..system.root import Root
from . import headers

LOGS = "/var/log/gpunode"
_QUOTED = 2
# What a process ends with that the kernel killed for want of memory, as such and by a shell.
_KILLED = (-9, 137)


class Cause(NamedTuple):
    """Why a build failed.

    :ivar lines: what tells so, in its own words.
    :ivar remedy: what to do about it, '' where it is not known.
    """

    lines: list[str]
    remedy: str


_MEMORY = "Give the host more memory or swap"
# What tells, and what to do: the first that is there counts, since the others follow from it.
# pai#2040: cc: internal compiler error: Killed (program cc1). Headers: linux v6.1, Makefile and
# arch/x86/Makefile; dkms.in. NVIDIA/open-gpu-kernel-modules, kernel-open/conftest.sh: PREEMPT_RT.
# linux v6.1, scripts/mod/modpost.c, check_exports(): FATAL or ERROR, by version. What a compiler or
# a shell says comes before make's own words.
_SIGNS = (
    (r"\bKilled\b|virtual memory exhausted|: out of memory|[Cc]annot allocate memory", _MEMORY),
    (
        r"Kernel configuration is invalid|auto(?:conf\.h|\.conf)\b.*(?:missing|No such file)"
        r"|(?:scripts|tools)/\S+: (?:not found|No such file|cannot execute)|modules_prepare"
        r"|make oldconfig|not been (?:configured|prepared)|kernel headers for .* cannot be found",
        "Install {package} anew ({again}); of a kernel of your own, prepare the sources: make -C "
        "/lib/modules/{release}/build modules_prepare",
    ),
    (
        r"PREEMPT_RT (?:kernel|sanity check)|does not support real-time kernels",
        "Boot the host with another kernel than this real-time one, and remove {package}",
    ),
    (r"modpost: GPL-incompatible module", ""),
    (r"(?i:\berror:)|\bFATAL: |: not found", ""),
    (r"\*\*\*", ""),
)


def cause(text: str) -> Cause:
    """Return the Cause in what a build said; without lines where nothing tells.

    The remedy has places for a kernel's release and its package of headers.
    """
    lines = commands.lines_of(text)
    for sign, remedy in _SIGNS:
        found = [line for line in lines if re.search(sign, line)]
        if found:
            return Cause(list(dict.fromkeys(found))[:_QUOTED], remedy)
    return Cause([], "")


def failure(
    tree: Root,
    log: str,
    text: str,
    kernel: Mapping[str, Any],
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
    found = cause(text)
    found = found if found.lines else cause(words)
    because = " / ".join(found.lines) or commands.last_words(done, words)
    release, manager = kernel["release"], stack_packages.manager(tree)
    if found.remedy or done.returncode in _KILLED:
        remedy = (found.remedy or _MEMORY).format(
            release=release,
            package=headers.package(release, manager),
            again=headers.again(release, manager),
        )
    elif kernel["compiler"] and not kernel["compiler_found"]:
        because = f"{kernel['compiler']}, which built the kernel, is not there; {because}"
        remedy = f"Install {kernel['compiler']}"
    return Refusal(what, f"{because} ({path}); no module was replaced", f"{remedy}, and run again")
