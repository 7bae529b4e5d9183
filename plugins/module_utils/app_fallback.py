# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What was in service before a change, and the way back to it."""

from __future__ import annotations

import contextlib
import os

from ansible_collections.gpunode.stack.plugins.module_utils import app_service, files, systemd


def start_patience_s(app):
    """Return the seconds a restart may take: the old process ends, the new one says it is ready."""
    return app["start_timeout_s"] + app_service.STOP_S


class Before:
    """What an application's units and secrets were before a change, and the way back to it."""

    def __init__(self, app, run):
        self._run = run
        self._start_s = start_patience_s(app)
        self._units = app_service.own_units(app)
        paths = [*map(app_service.unit_path, self._units), app_service.secrets_path(app["name"])]
        self._contents = {path: _content(path) for path in paths}
        self._states = self._show()

    def bring_back(self):
        """Put everything back as it was, and say in one sentence how far that went.

        A socket that listens as it did before is not stopped: requests wait in its queue.
        """
        try:
            self._bring_back()
        except (systemd.UnitError, OSError) as error:
            return f"What was in service before could not be brought back ({error})"
        if self._were("ActiveState", "active"):
            return "What was in service before is in service again"
        return "Its units are gone again"

    def _show(self):
        return systemd.show(self._units, ("ActiveState", "UnitFileState"), self._run)

    def _were(self, key, value):
        return [unit for unit in self._units if self._states.get(unit, {}).get(key) == value]

    def _bring_back(self):
        active = self._were("ActiveState", "active")
        # systemd opens no socket while its service runs.
        stays = self._socket_stays()
        self._stop([unit for unit in self._units if not stays or unit not in active])
        for unit in set(self._units).difference(self._were("UnitFileState", "enabled")):
            if os.path.lexists(app_service.unit_path(unit)):
                systemd.tell("disable", unit, run=self._run)
        for path, content in self._contents.items():
            _put(path, content)
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

    def _socket_stays(self):
        """Say whether the socket listens as it did, or there was none."""
        unit = next(filter(_is_socket, self._units))
        path = app_service.unit_path(unit)
        if _content(path) != self._contents[path]:
            return False
        active = self._show().get(unit, {}).get("ActiveState") == "active"
        return active or unit not in self._were("ActiveState", "active")

    def _stop(self, units):
        """Stop those of some units that run."""
        now = self._show()
        running = [
            unit for unit in units if now.get(unit, {}).get("ActiveState", "inactive") != "inactive"
        ]
        if running:
            systemd.tell("stop", *running, timeout_s=app_service.STOP_S, run=self._run)


def _is_socket(unit):
    return unit.endswith(".socket")


def _content(path):
    """Return what is at ``path`` for :func:`_put`: (target, None), (bytes, mode), or None."""
    if os.path.islink(path):
        return os.readlink(path), None
    try:
        with open(path, "rb") as handle:
            return handle.read(), os.fstat(handle.fileno()).st_mode & 0o777
    except FileNotFoundError:
        return None


def _put(path, content):
    if content is None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    elif content[1] is None:
        files.point_link(path, content[0])
    else:
        with files.replacing(path, mode=content[1]) as handle:
            handle.write(content[0])
