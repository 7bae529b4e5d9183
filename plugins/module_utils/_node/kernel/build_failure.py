# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is said where a kernel module cannot be built, be it by DKMS or by rpmbuild."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from typing import Any

from ..refusal import Refusal
from ..system import commands, files
from ..system.root import Root

LOGS = "/var/log/gpunode"
_QUOTED = 2
# What a compiler or a shell says; make's own words only where there is nothing better.
_ERRORS = (re.compile(r"\berror:|: not found", re.IGNORECASE), re.compile(r"\*\*\*"))


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
    :param remedy: what to do where no compiler is lacking.
    """
    path = f"{LOGS}/{log}"
    os.makedirs(tree.path(LOGS), mode=0o755, exist_ok=True)
    files.write_text(tree.path(path), f"{text}\n", owner=None, group=None, mode=0o600)
    lines = commands.lines_of(text)
    errors = [line for sign in _ERRORS for line in lines if sign.search(line)]
    because = " / ".join(errors[:_QUOTED]) or commands.last_words(done, done.stderr or done.stdout)
    if kernel["compiler"] and not kernel["compiler_found"]:
        because = f"{kernel['compiler']}, which built the kernel, is not there; {because}"
        remedy = f"Install {kernel['compiler']}"
    return Refusal(what, f"{because} ({path}); no module was replaced", f"{remedy}, and run again")
