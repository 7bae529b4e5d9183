# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A gunicorn application on a host: its names and places, and what stands in its way.

``app`` is an application of the wanted state; where its name alone counts, anything that has one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ..facts_shape import Account, Listening
from ..refusal import Refusal
from ..system import accounts, listening, own_paths, systemd
from .wanted import Application, Identity, Release

SECRETS_DIR = own_paths.ETC_DIR
NOLOGIN = "/usr/sbin/nologin"
# The first words of each unit that we write.
OURS = "# Written by gpunode"
# The comment of an account that we made, and may remove again.
ACCOUNT_MARK = "gpunode"
# What the running process was started from is read in its environment.
SECRETS_MARK = "GPUNODE_SECRETS"
TEMPORARY = ".gpunode-"
# systemd ends what does not stop within its own time; this bounds only the wait for that.
STOP_S = 900


def service_of(app: Mapping[str, Any]) -> str:
    """Return the name of an application's service unit."""
    _socket, service = own_units(app)
    return service


def socket_of(app: Mapping[str, Any]) -> str:
    """Return the name of an application's socket unit."""
    socket, _service = own_units(app)
    return socket


def own_units(app: Mapping[str, Any]) -> list[str]:
    """Return the names of all units that an application may have, in the order of their start."""
    return systemd.units_of(app["name"])


def units_of(app: Application) -> list[str]:
    """Return the names of the units that an application is to have, in the order of their start."""
    return [unit for unit in own_units(app) if unit in app["units"]]


def unit_path(unit: str) -> str:
    """Return where a unit's file lies."""
    return os.path.join(systemd.UNIT_DIR, unit)


def secrets_path(name: str) -> str:
    """Return where an application's secrets lie."""
    return os.path.join(SECRETS_DIR, f"{name}.env")


def releases_of(app: Release) -> str:
    """Return the folder of an application's releases."""
    return os.path.dirname(app["release"])


def releases_in(folder: str) -> str:
    """Return the folder of releases below an application's ``dir``."""
    return os.path.join(folder, "releases")


def runtime_folder(name: str) -> str:
    """Return the folder below /run that an application has while it runs, and may write to."""
    return f"/run/gpunode-{name}"


def setting(text: str, key: str) -> str:
    """Return the value of the first line of a unit's text that sets ``key``, or ''."""
    found = re.search(rf"^{key}=(.*)$", text, re.MULTILINE)
    return found.group(1) if found else ""


def unix_socket_of(text: str) -> str:
    """Return the path of the unix socket that the text of a socket unit listens on, or ''."""
    listen = setting(text, "ListenStream")
    return listen if listen.startswith(os.sep) else ""


def link_of(app: Identity) -> str:
    """Return the link that shows people the release in service; nothing is started through it."""
    return os.path.join(app["dir"], "current")


def secrets_text(secrets: Mapping[str, str], digest: str) -> str:
    """Return the text of an EnvironmentFile=, '' where there are no secrets.

    :param secrets: {variable: value}.
    :param digest: what tells these secrets from others; goes into the text as a variable.
    """
    if not secrets:
        return ""
    lines = [
        f"{key}={_quoted(value)}\n"
        for key, value in sorted({**secrets, SECRETS_MARK: digest}.items())
    ]
    return "".join(lines)


def _quoted(value: str) -> str:
    """Return a value in the double quotes of an EnvironmentFile=, where it may hold newlines."""
    for character in '\\"`$':
        value = value.replace(character, f"\\{character}")
    return f'"{value}"'


def rows_besides(leaving: Collection[str], rows: Iterable[Listening]) -> list[Listening]:
    """Return the rows of listening.survey() without those of units that are to go.

    :param leaving: names of units; an address that they hold is free for another application.
    """
    return [row for row in rows if row["unit"] not in leaving]


def obstacles(
    app: Application,
    account: Account,
    rows: Iterable[Listening],
    unit_files: Mapping[str, str],
) -> list[Refusal]:
    """Return a Refusal for each thing on a host that an application cannot be set up against.

    :param account: the row of accounts.survey() for the application's user.
    :param rows: what listening.survey() found.
    :param unit_files: what systemd.files_of() found of the application's own units.
    """
    found = _foreign_units(app, unit_files)
    if account["sudo"]:
        found.append(
            Refusal(
                f"user {app['user']} of application {app['name']}",
                "it may become root on this host",
                f"Take it out of sudoers, doas.conf and {', '.join(accounts.ROOT_GROUPS)}, or name "
                "another user",
            )
        )
    # A service of the same name, ours or made by hand, is what we are about to replace.
    taken = listening.conflict(rows, app["listen"], own_units(app))
    if taken:
        found.append(
            Refusal(
                f"address {app['listen']} of application {app['name']}",
                f"it is taken by {listening.owner(taken)}",
                "Stop that process or let the application listen elsewhere",
            )
        )
    return found


def _foreign_units(app: Application, unit_files: Mapping[str, str]) -> list[Refusal]:
    """Return a Refusal for each unit by the name of one of an application's own, from elsewhere.

    One that was made by hand lies where ours does, and is taken over.

    :param unit_files: see :func:`obstacles`.
    """
    return [
        Refusal(
            f"application {app['name']}",
            f"{unit} is there already, from {unit_files[unit]}",
            "Rename the application in gunicorn_app_list",
        )
        for unit in own_units(app)
        if unit_files.get(unit, "") not in ("", unit_path(unit))
    ]
