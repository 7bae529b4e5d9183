# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Folders of a host that an application reads or writes besides its release and environment.

What is in them is people's: no run changes or removes it.
"""

from __future__ import annotations

import os
import pwd
import stat

from ..refusal import Refusal
from ..system import files, folders, safe_paths
from .wanted import Application

_ACL = "system.posix_acl_access"


def lacking(app: Application) -> list[str]:
    """Return the folders that an application writes to and that are to be made."""
    return [path for path in app["writable"] if not os.path.lexists(path)]


def obstacles(app: Application) -> list[Refusal]:
    """Return a Refusal for each folder that an application could not read or write."""
    found = [
        Refusal(
            f"readable {path} of application {app['name']}",
            "it is not there",
            "Bring it to the host before, or leave it out",
        )
        for path in app["readable"]
        if not os.path.exists(path)
    ]
    for path in app["writable"]:
        what = f"writable {path} of application {app['name']}"
        if os.path.lexists(path) and not os.path.isdir(path):
            found.append(
                Refusal(what, "it is not a folder", "Move it away or choose another folder")
            )
        elif os.path.isdir(path) and not _may_write(path, app["user"]):
            owner, group, mode = files.ownership(os.path.realpath(path))
            found.append(
                Refusal(
                    what,
                    f"user {app['user']} may not write there: it is {owner}'s and group {group}'s, "
                    f"mode {mode}",
                    f"Give it to the user (chown {app['user']} {path}), or choose another folder",
                )
            )
    return found


def make(app: Application, path: str) -> None:
    """Make a folder that the application alone may enter, and those above it that are lacking.

    :raises Refusal: a link of somebody else's is on the way.
    """
    folders.make(path)
    with safe_paths.held(path) as place:
        descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            account = pwd.getpwnam(app["user"])
            os.fchmod(descriptor, 0o700)
            os.fchown(descriptor, account.pw_uid, account.pw_gid)
        finally:
            os.close(descriptor)


def _may_write(path: str, user: str) -> bool:
    """Say whether a user may write to a folder, or an access control list may say so.

    What leads there does not count: the folder is shown to the application by itself.
    """
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        # It is made in a moment: it owns nothing.
        groups, uid = [], -1
    else:
        groups, uid = os.getgrouplist(user, account.pw_gid), account.pw_uid
    status = os.stat(path)
    if status.st_uid == uid:
        needed = stat.S_IWUSR | stat.S_IXUSR
    elif status.st_gid in groups:
        needed = stat.S_IWGRP | stat.S_IXGRP
    else:
        needed = stat.S_IWOTH | stat.S_IXOTH
    return status.st_mode & needed == needed or _has_list(path)


def _has_list(path: str) -> bool:
    try:
        return _ACL in os.listxattr(path)
    except OSError:
        # A file system without them, such as one of Windows.
        return False
