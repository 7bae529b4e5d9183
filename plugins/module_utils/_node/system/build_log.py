# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Why a kernel module could not be built, in the words of compiler, make and shell."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from . import commands, disk

_QUOTED = 2


class Cause(NamedTuple):
    """Why a build failed.

    :ivar lines: what tells so, in its own words.
    :ivar remedy: what to do about it, '' where it is not known.
    """

    lines: list[str]
    remedy: str


#: What to do where a compiler was killed.
MEMORY = "Give the host more memory or swap"
# By dash, bash, and make.
_ABSENT = r"(?:(?:sh|bash): (?:line )?[0-9]+|make(?:\[[0-9]+\])?): {}: (?:[Cc]ommand )?{}"
_NOT_THERE = "(?:not found|No such file)"
# What tells, and what to do: the first that is there counts, since the others follow from it.
# pai#2040: cc: internal compiler error: Killed (program cc1). Compilers, and PREEMPT_RT:
# NVIDIA/open-gpu-kernel-modules, kernel-open/conftest.sh; options that gcc 12 has and 11 has not.
# Headers: linux v6.1, Makefile and arch/x86/Makefile; dkms.in; nvidia-installer, kernel.c.
# linux v6.1, scripts/mod/modpost.c, check_exports(): FATAL or ERROR, by version. scripts/
# sign-file.c: where a kernel's own key is not there, as is usual, it says so and harms nothing.
# What a compiler or a shell says comes before make's own words.
_SIGNS = (
    (r"\bKilled\b|virtual memory exhausted|: out of memory|[Cc]annot allocate memory", MEMORY),
    ("|".join(map(re.escape, disk.FULL)), "Free room on /usr, /var and /tmp"),
    (
        r"Failed CC version check|error: unrecognized command[ -]line option"
        r"|error: unknown argument: |gcc/plugin versions|cannot load plugin|"
        + _ABSENT.format(r"(?:\S*-)?(?:gcc|cc|clang)(?:-[0-9]+)?", _NOT_THERE),
        "Install {compiler}",
    ),
    (
        r"version [`']GLIBC_\S+' not found",
        "Boot the host with a kernel of its own release: {package} is made for a later one",
    ),
    (
        r"Kernel configuration is invalid|auto(?:conf\.h|\.conf)\b.*(?:missing|No such file)"
        r"|(?:scripts|tools)/\S+: (?:not found|No such file|cannot execute|Exec format error"
        r"|Permission denied)|modules_prepare|make oldconfig|not been (?:configured|prepared)"
        r"|kernel headers for .* cannot be found|find the kernel source tree"
        r"|fatal error: generated/\S+: No such file"
        r"|kernel header file .* does not exist|/lib/modules/\S+/build: No such file"
        r"|No rule to make target ['`](?:modules'|scripts/|tools/|arch/)|no makefile found",
        "Install {package} anew ({again}); of a kernel of your own, prepare the sources: make -C "
        "/lib/modules/{release}/build modules_prepare",
    ),
    (
        r"PREEMPT_RT (?:kernel|sanity check)|does not support real-time kernels",
        "Boot the host with another kernel than this real-time one, and remove {package}",
    ),
    (r"modpost: GPL-incompatible module", ""),
    (_ABSENT.format(r"(?P<tool>[\w.+-]+)", _NOT_THERE), "Install {tool}"),
    (r"\bplease install (?P<tool>libelf[\w, -]*\w)", "Install {tool}"),
    (r"\bld: cannot find -l(?P<tool>[\w+.-]*\w)", "Install the library {tool}, to build with"),
    (r"(?i:(?<!SSL )\berror:)|\bFATAL: |: not found", ""),
    (r"SSL error:|\bsign-file: ", "Look at the key that modules are signed with"),
    (r"\*\*\*", ""),
)


def cause(text: str) -> Cause:
    """Return the Cause in what a build said; without lines where nothing tells.

    The remedy has places for a kernel's release, its compiler and its package of headers.
    """
    lines = commands.lines_of(text)
    for sign, remedy in _SIGNS:
        found = {line: match for line in lines if (match := re.search(sign, line))}
        if found:
            tool = next(iter(found.values())).groupdict().get("tool", "")
            return Cause(list(found)[:_QUOTED], remedy.replace("{tool}", tool))
    return Cause([], "")


def told(logs: Mapping[str, str]) -> str:
    """Return what the last of some logs says that tells why a build failed, with its path.

    :param logs: {path: text}.
    :return: '' where none tells.
    """
    for path, text in reversed(list(logs.items())):
        lines = cause(text).lines
        if lines:
            return f"{' / '.join(lines)} ({path})"
    return ""
