# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What was in service before a change, and the way back to it.

It is noted on the host before the change and until its proof: a run that is killed in between
leaves units that nobody has proven, and the next one must not take these for what served.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable
from typing import Any, Optional

from ..system import files, folders, own_paths, systemd
from ..system.commands import Run
from . import service
from .wanted import Application

# What is at a path: a link's target and None, a text and its mode; None for nothing.
_Content = Optional[list[Any]]
# That of each path, and what systemd says of each unit.
_Noted = tuple[dict[str, _Content], dict[str, dict[str, str]]]

# What is about to be started again served a moment ago.
_AT_WORK = ("active", "reloading", "activating")


def start_patience_s(app: Application) -> float:
    """Return the seconds a restart may take: the old process ends, the new one says it is ready."""
    return app["start_timeout_s"] + service.STOP_S


def note_of(name: str) -> str:
    """Return where it is noted what an application was before a change that is not proven yet."""
    return os.path.join(own_paths.STATE_DIR, f"{name}.before")


class Before:
    """What an application's units and secrets were before a change, and the way back to it.

    :ivar is_noted: whether a change was begun and not proven, by this run or one that was killed.
    """

    def __init__(self, app: Application, run: Run) -> None:
        self._run = run
        self._start_s = start_patience_s(app)
        self._units = service.own_units(app)
        self._note = note_of(app["name"])
        self._paths = [*map(service.unit_path, self._units), service.secrets_path(app["name"])]
        noted = self._read()
        self.is_noted = noted is not None
        self._contents: dict[str, _Content]
        self._states: dict[str, dict[str, str]]
        self._contents, self._states = noted or self._snapshot()

    def note(self) -> None:
        """Note it on the host, before anything of it is changed."""
        if not self.is_noted:
            os.makedirs(os.path.dirname(self._note), mode=0o755, exist_ok=True)
            # It holds the secrets.
            files.write_text(self._note, json.dumps([self._contents, self._states]), mode=0o600)
            self.is_noted = True

    def forget(self) -> None:
        """Remove the note, once what is in service now is proven, or it is as it was before."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._note)
        self.is_noted = False

    def bring_back(self) -> str:
        """Put everything back as it was, and say in one sentence how far that went.

        A socket that listens as it did before is not stopped: requests wait in its queue.
        """
        try:
            self._bring_back()
            self.forget()
        except (systemd.UnitError, OSError) as error:
            return f"What was in service before could not be brought back ({error})"
        if self._served():
            return "What was in service before is in service again"
        if any(self._contents[service.unit_path(unit)] for unit in self._units):
            return "Its units are as they were before"
        return "Its units are gone again"

    def _read(self) -> _Noted | None:
        """Return what the note says, None where there is none, or somebody broke it."""
        try:
            contents, states = files.read_json(self._note)
            is_sound = (
                contents.keys() == set(self._paths)
                and all(map(_is_content, contents.values()))
                and all(
                    isinstance(value, str) for state in states.values() for value in state.values()
                )
            )
        except (OSError, ValueError, TypeError, AttributeError):
            return None
        return (contents, states) if is_sound else None

    def _snapshot(self) -> _Noted:
        return {path: _content(path) for path in self._paths}, self._show()

    def _show(self) -> dict[str, dict[str, str]]:
        return systemd.show(self._units, ("ActiveState", "UnitFileState"), self._run)

    def _served(self) -> list[str]:
        """Return the units that were at work."""
        return [
            unit
            for unit in self._units
            if self._states.get(unit, {}).get("ActiveState") in _AT_WORK
        ]

    def _were(self, key: str, value: str) -> list[str]:
        return [unit for unit in self._units if self._states.get(unit, {}).get(key) == value]

    def _bring_back(self) -> None:
        active = self._served()
        # systemd opens no socket while its service runs.
        stays = self._socket_stays()
        self._stop([unit for unit in self._units if not stays or unit not in active])
        for unit in set(self._units).difference(self._were("UnitFileState", "enabled")):
            if os.path.lexists(service.unit_path(unit)):
                systemd.tell("disable", unit, run=self._run)
        for path, content in self._contents.items():
            _put(path, content)
        folders.remove_if_empty(service.SECRETS_DIR)
        systemd.tell("daemon-reload", run=self._run)
        for unit in self._units:
            # A unit that is not failed cannot be reset, which is as good.
            with contextlib.suppress(systemd.UnitError):
                systemd.tell("reset-failed", unit, run=self._run)
        for unit in active:
            # What runs now was started from the text that is taken back; a socket stays open.
            verb = "start" if _is_socket(unit) else "restart"
            systemd.tell(verb, unit, timeout_s=self._start_s, run=self._run)
        for unit in self._were("UnitFileState", "enabled"):
            systemd.tell("enable", unit, run=self._run)

    def _socket_stays(self) -> bool:
        """Say whether the socket listens as it did, or there was none."""
        unit = next(filter(_is_socket, self._units))
        path = service.unit_path(unit)
        if _content(path) != self._contents[path]:
            return False
        active = self._show().get(unit, {}).get("ActiveState") == "active"
        return active or unit not in self._served()

    def _stop(self, units: Iterable[str]) -> None:
        """Stop those of some units that run."""
        now = self._show()
        running = [
            unit for unit in units if now.get(unit, {}).get("ActiveState", "inactive") != "inactive"
        ]
        if running:
            systemd.tell("stop", *running, timeout_s=service.STOP_S, run=self._run)


def before_the_switch(before: Before, is_mended: bool) -> str:
    """Say how a failure before the switch leaves what is in service.

    Where a killed run has switched and proven nothing, this is the moment to go back.

    :param is_mended: whether the release in service had been changed, and was put right.
    """
    if before.is_noted:
        return before.bring_back()
    if is_mended:
        return (
            "What had been changed in the release in service was put right, "
            "nothing else in service was touched"
        )
    return "Nothing in service was touched"


def _is_socket(unit: str) -> bool:
    return unit.endswith(".socket")


def _is_content(content: object) -> bool:
    """Say whether what somebody noted is a _Content."""
    if not isinstance(content, list):
        return content is None
    return [type(part) for part in content] in ([str, int], [str, type(None)])


def _content(path: str) -> _Content:
    """Return what is at ``path`` for :func:`_put`: [target, None], [text, mode], or None."""
    if os.path.islink(path):
        return [os.readlink(path), None]
    try:
        with files.opened(path) as handle:
            text = handle.read(files.TEXT_LIMIT).decode(errors="surrogateescape")
            return [text, os.fstat(handle.fileno()).st_mode & 0o777]
    except FileNotFoundError:
        return None


def _put(path: str, content: _Content) -> None:
    # What did not change needs no room on a disk that is full.
    if content == _content(path):
        return
    if content is None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        return
    folders.make(os.path.dirname(path))
    if content[1] is None:
        files.point_link(path, content[0])
    else:
        with files.replacing(path, mode=content[1]) as handle:
            handle.write(content[0].encode(errors="surrogateescape"))
