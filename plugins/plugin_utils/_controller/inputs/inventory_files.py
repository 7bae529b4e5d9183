# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What Ansible would take for an inventory, and is none: locks, and folders of applications.

Of a folder that is named as inventory Ansible reads every file, folders in it too: lines become
hosts, and what is executable is run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator

from ansible.inventory.manager import IGNORED

from ansible_collections.gpunode.stack.plugins.module_utils._node.conda import lock_file
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import files

# Those of Ansible's own inventory plugins; a script that makes an inventory lies at the top.
_INVENTORIES = ("", ".yml", ".yaml", ".json", ".toml")
# At the top an inventory may have any name but one that says what else the file is.
_ANOTHER_NAME = re.compile(
    r".+\.(?:lock|run|tgz|gz|xz|bz2|zip|whl|deb|rpm|conda|pem|crt|cer|key|pub|gpg|asc|tok|in)"
    r"|(?:Mini(?:forge|conda|mamba)|Mambaforge|Anaconda)\d.*\.sh"
)
# A lock says in its first lines what it is, and so does what has begun with something else.
_HEAD = 4096
_ANOTHER_BEGINNING = re.compile(rb"-----BEGIN |[^\0]*\0")


def refusals(sources: Iterable[str], named: Iterable[str] = ()) -> list[Refusal]:
    """Return a Refusal for each thing that is no inventory and would be read as one.

    :param sources: those of the inventory in use, as Ansible has them; other than folders have
        nothing beside them read.
    :param named: paths that variables name: whatever lies there is no inventory.
    """
    places = [os.path.abspath(path) for path in named]
    found: dict[str, str] = {}
    for source in filter(os.path.isdir, sources):
        for path in _read(os.path.abspath(source)):
            place = next((place for place in places if _is_in(path, place)), None)
            if place or _is_stranger(path, os.path.abspath(source)):
                found.setdefault(place or path, source)
    return [
        Refusal(
            f"{path} in the inventory {source}",
            "Ansible reads each file there as an inventory: its lines become hosts, and what is "
            "executable is run",
            f"Name the file with the hosts as inventory, such as {_hosts_of(source)}, or move what "
            "is none out of that folder",
        )
        for path, source in found.items()
    ]


def _read(folder: str) -> Iterator[str]:
    """Yield the paths of what Ansible reads of a folder (inventory/manager.py, parse_source)."""
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if IGNORED.search(os.fsencode(name)):
            continue
        if os.path.isdir(path):
            yield from _read(path)
        else:
            yield path


def _is_in(path: str, place: str) -> bool:
    return path == place or path.startswith(place + os.sep)


def _is_stranger(path: str, source: str) -> bool:
    """Say whether a file is no inventory by its looks, whoever put it there."""
    if os.path.dirname(path) != source:
        ending = os.path.splitext(path)[1]
        return ending not in _INVENTORIES or os.access(path, os.X_OK)
    if _ANOTHER_NAME.fullmatch(os.path.basename(path)):
        return True
    try:
        with files.opened(path) as handle:
            head = handle.read(_HEAD)
    except OSError:
        return False
    return bool(_ANOTHER_BEGINNING.match(head)) or lock_file.HEADER.encode() in head.split()


def _hosts_of(source: str) -> str:
    names = ("hosts.yml", "hosts.yaml", "hosts.ini", "hosts")
    there = [name for name in names if os.path.isfile(os.path.join(source, name))]
    return os.path.join(source, (there or names)[0])
