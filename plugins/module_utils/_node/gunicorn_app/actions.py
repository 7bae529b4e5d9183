# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the steps of an application do on a host: its account, releases, secrets and units."""

from __future__ import annotations

import contextlib
import grp
import os
import stat

from ..refusal import Refusal
from ..system import accounts, files, folders, safe_paths, systemd
from ..system.commands import Run
from . import observe, release, rollback, service
from .wanted import Application


def create_user(app: Application, has_group: bool, run: Run) -> None:
    """Create the system user, who owns nothing and cannot log in.

    :param has_group: whether there is a group of that name already.
    """
    group = ["--gid", app["user"]] if has_group else ["--user-group"]
    options = [
        *("--system", *group, "--no-create-home", "--home-dir", app["dir"]),
        *("--shell", service.NOLOGIN, "--comment", service.ACCOUNT_MARK),
    ]
    _account_tool(app, ["useradd", *options, app["user"]], run)


def forbid_login(app: Application, run: Run) -> None:
    """Give a service's account the shell that lets nobody in."""
    _account_tool(app, ["usermod", "--shell", service.NOLOGIN, app["user"]], run)


def _account_tool(app: Application, argv: list[str], run: Run) -> None:
    done = run(argv, capture_output=True, text=True)
    if done.returncode:
        raise Refusal(
            f"user {app['user']} of application {app['name']}",
            f"{argv[0]}: {done.stderr.strip()}",
            "Correct the account by hand or name another user",
        )


def make_releases(app: Application) -> None:
    """Make the folder of the releases: root writes, the application reads, nobody else.

    The folder above may be a user's, who could put a link in its place at any moment.

    :raises Refusal: a link lies there.
    """
    path = service.releases_of(app)
    folders.make(app["dir"])
    with safe_paths.held(app["dir"]) as above:
        folders.take_back(above)
    folders.make(path)
    with safe_paths.held(path) as place:
        descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            # The account may be there since a moment ago.
            os.fchown(descriptor, 0, grp.getgrnam(accounts.group_of(app["user"])).gr_gid)
            os.fchmod(descriptor, 0o750)
        finally:
            os.close(descriptor)


def place_release(app: Application, archives: dict[str, str]) -> None:
    """Unpack a release aside and move it to its place, after a changed one was moved away.

    :param archives: {digest of a release: path of its archive}.
    """
    folder, name = os.path.split(app["release"])
    with safe_paths.held(folder) as place:
        wanted = os.path.join(place, name)
        fresh, changed = (
            os.path.join(place, f"{service.TEMPORARY}{kind}-{name}") for kind in ("new", "old")
        )
        for leftover in (fresh, changed):
            _remove(leftover)
        release.unpack(archives[app["digest"]], fresh)
        found = release.digest_of(fresh)
        if found != app["digest"]:
            _remove(fresh)
            raise Refusal(
                f"release {app['release']}",
                f"its archive holds {found}, not {app['digest']}",
                "Run again; the application's folder was changed during the run",
            )
        os.utime(fresh, (observe.NEVER, observe.NEVER))
        if os.path.lexists(wanted):
            os.rename(wanted, changed)
        os.rename(fresh, wanted)
        _remove(changed)


def remove(path: str) -> None:
    """Remove a release folder, or what is left of one; of no other folder than it is told."""
    with contextlib.suppress(FileNotFoundError), safe_paths.held_above(path) as place:
        _remove(place)


def _remove(path: str) -> None:
    if os.path.lexists(path):
        folders.remove(path)


def write_secrets(app: Application, secrets: dict[str, str]) -> None:
    """Write the secrets, for root's eyes: systemd reads them before it drops privileges."""
    folders.make(service.SECRETS_DIR)
    text = service.secrets_text(secrets, app["secrets_digest"])
    files.write_text(service.secrets_path(app["name"]), text, mode=0o600)


def remove_secrets(app: Application) -> None:
    """Remove the secrets of an application that has none any more."""
    os.unlink(service.secrets_path(app["name"]))
    folders.remove_if_empty(service.SECRETS_DIR)


def remove_unit(unit: str, run: Run) -> None:
    """Stop and remove a unit that the application has no more."""
    systemd.tell("disable", "--now", unit, timeout_s=service.STOP_S, run=run)
    os.unlink(service.unit_path(unit))


def write_unit(unit: str, text: str) -> None:
    """Write a unit's file."""
    files.write_text(service.unit_path(unit), text, mode=0o644)


def open_socket(app: Application, run: Run) -> None:
    """Have systemd listen on the address; the service of this name is stopped before."""
    systemd.tell("stop", *service.units_of(app), timeout_s=service.STOP_S, run=run)
    systemd.tell("start", service.socket_of(app), run=run)


def restart(app: Application, run: Run) -> None:
    """Start or restart the service; the socket keeps requests waiting meanwhile."""
    patience_s = rollback.start_patience_s(app)
    systemd.tell("restart", service.service_of(app), timeout_s=patience_s, run=run)


def point_link(app: Application) -> None:
    """Show people which release is in service; its folder's time says since when."""
    with safe_paths.held_above(app["release"]) as place:
        os.utime(place)
    with safe_paths.held_above(service.link_of(app)) as place:
        files.point_link(place, app["release"])


def remove_socket(path: str) -> None:
    """Remove a unix socket, and the folder that systemd made for it, where that is empty."""
    with contextlib.suppress(FileNotFoundError), safe_paths.held_above(path) as place:
        # It may be another's by now, and then is no socket of ours.
        if stat.S_ISSOCK(os.lstat(place).st_mode):
            os.unlink(place)
    if path.startswith("/run/"):
        folders.remove_if_empty(os.path.dirname(path))
