# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What modules on disk say of themselves."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..system import commands
from ..system.root import Root

_FIELD = re.compile(r"(\w+): *(.*)")
# What is packed has to be unpacked first.
_PATIENCE_S = 30


def described(tree: Root, paths: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return {path: {field: value}}, {} for a module that modinfo cannot describe.

    :raises commands.NotRun: it does not answer, which says nothing of the modules.
    """
    if not paths:
        return {}
    by_file: dict[str, dict[str, str]] = {tree.path(path): {} for path in paths}
    ended = tree.ended("modinfo", *by_file, patience_s=_PATIENCE_S)
    if ended.is_late:
        raise commands.NotRun(
            "modinfo",
            f"it had not answered after {_PATIENCE_S} s",
            "Look at the disk of /lib/modules with `dmesg`, and run again",
        )
    fields: dict[str, str] = {}
    for line in ended.output.splitlines():
        match = _FIELD.match(line)
        if match and match.group(1) == "filename":
            fields = by_file.get(match.group(2), {})
        elif match:
            fields[match.group(1)] = match.group(2)
    return {path: by_file[tree.path(path)] for path in paths}
