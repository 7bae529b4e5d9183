# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which paths are ours to remove because a killed run left them half-built.

Some things cannot be built aside and moved (a conda prefix has its own path
inside), so they are built in place. The note written before and removed after
is what tells our unfinished work from somebody else's folder. A removal is such
work, too: half of it is gone and the rest no longer looks like ours.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from . import files, folders, own_paths, safe_paths

_FOLDER = "building"


def _note_of(path: str, state_dir: str) -> str:
    return os.path.join(state_dir, _FOLDER, files.sha256_of_text(path))


def is_unfinished(path: str, state_dir: str = own_paths.STATE_DIR) -> bool:
    """Say whether ``path`` is a build of ours that did not end."""
    return os.path.exists(_note_of(path, state_dir))


@contextlib.contextmanager
def building(path: str, state_dir: str = own_paths.STATE_DIR) -> Iterator[None]:
    """Mark ``path`` as under construction; a failed build is removed, a killed one stays marked.

    What an earlier unfinished build left at ``path`` is removed first.
    """
    if is_unfinished(path, state_dir):
        _remove(path)
    note = _write_note(path, state_dir)
    try:
        yield
    except Exception:
        _remove(path)
        os.unlink(note)
        raise
    os.unlink(note)


def remove(path: str, state_dir: str = own_paths.STATE_DIR) -> None:
    """Remove what lies at ``path``; a run that is killed in between leaves it marked."""
    _write_note(path, state_dir)
    discard(path, state_dir)


def discard(path: str, state_dir: str = own_paths.STATE_DIR) -> None:
    """Remove a build that did not end, and the note about it."""
    _remove(path)
    os.unlink(_note_of(path, state_dir))


def _write_note(path: str, state_dir: str) -> str:
    note = _note_of(path, state_dir)
    os.makedirs(os.path.dirname(note), mode=0o755, exist_ok=True)
    files.write_text(note, path + "\n", mode=0o600)
    return note


def _remove(path: str) -> None:
    """Remove what lies at a path, and nothing that a link of another user would lead to."""
    if os.path.ismount(path):
        # The disk that is mounted there is not ours to take away.
        for name in os.listdir(path):
            _remove(os.path.join(path, name))
        return
    folder, name = os.path.split(path)
    with contextlib.suppress(FileNotFoundError), safe_paths.held(folder) as place:
        held = os.path.join(place, name)
        if os.path.isdir(held) and not os.path.islink(held):
            folders.remove(held)
        elif os.path.lexists(held):
            os.unlink(held)
