# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Folders of applications against what else of this project has folders on a host.

What lies in a release is no part of it, and goes with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Literal

from ansible_collections.gpunode.stack.plugins.module_utils._node.conda import builds
from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app import service
from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app.wanted import (
    Application,
    Identity,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import own_paths

_DATA: tuple[Literal["readable"], Literal["writable"]] = ("readable", "writable")
_OWN = (own_paths.STATE_DIR, own_paths.CACHE_DIR, own_paths.RUN_DIR, own_paths.ETC_DIR)

# Of the file system hierarchy (hier(7)): what the system runs from, and what many programs have a
# folder in.
_SYSTEM = ("/bin", "/boot", "/etc", "/lib", "/lib64", "/root", "/run", "/sbin", "/usr")
_SHARED = (
    *("/home", "/media", "/mnt", "/opt", "/srv", "/tmp", "/var"),
    *("/var/cache", "/var/lib", "/var/log", "/var/spool", "/var/tmp"),
)


def refuse_nested(
    apps: Sequence[Identity], env_dir: str, env_names: Iterable[str], conda: str
) -> None:
    """Refuse a folder that lies where another thing of this project comes and goes.

    :param apps: the applications that are to be there or to go.
    :param env_dir: the folder of environments.
    :param env_names: the names of those.
    :param conda: the prefix of Miniforge.
    :raises Refusal: one does.
    """
    asked = [(f"dir {app['dir']} of application {app['name']}", app["dir"]) for app in apps]
    held = [(f"conda_env_dir {env_dir}", env_dir), (f"miniforge_prefix {conda}", conda)]
    for what, folder in asked + held:
        for owner, place in _of_releases(apps):
            if _is_within(folder, place):
                raise _refused(what, f"it lies where {owner} has its releases")
    for what, folder in asked:
        if any(_is_within(folder, place) for place in _OWN):
            raise _refused(what, "it lies in a folder of gpunode's own")
        if _is_within(folder, conda):
            raise _refused(what, f"it lies in conda, {conda}")
        if _is_within(folder, env_dir) and folder != env_dir:
            first = PurePosixPath(folder).relative_to(env_dir).parts[0]
            if first in env_names or builds.name_of(first):
                raise _refused(what, f"it lies among the environments of {env_dir}")


def refuse_data(apps: Sequence[Application], env_dir: str, conda: str) -> None:
    """Refuse to open a folder to an application that is the system's, or comes and goes with it.

    :param apps: the applications that are to be there.
    :param env_dir: the folder of environments.
    :param conda: the prefix of Miniforge.
    :raises Refusal: one is.
    """
    ours = [*_OWN, env_dir, conda, *(place for _who, place in _of_releases(apps))]
    for app in apps:
        for option in _DATA:
            for path in app[option]:
                what = f"{option} {path} of application {app['name']}"
                if any(_is_within(path, place) for place in _OWN):
                    raise _refused(what, "it lies in a folder of gpunode's own")
        for path in app["writable"]:
            what = f"writable {path} of application {app['name']}"
            if path in _SHARED or any(_is_within(path, place) for place in _SYSTEM):
                raise _refused(what, "it is the system's, or all programs' together")
            for place in ours:
                if _is_within(path, place) or _is_within(place, path):
                    raise _refused(what, f"what it runs from, or another one, lies there: {place}")


def _of_releases(apps: Iterable[Identity]) -> Iterator[tuple[str, str]]:
    """Yield (who, folder) of what holds the releases of each application, or leads to one."""
    for app in apps:
        for place in (service.releases_in(app["dir"]), service.link_of(app)):
            yield f"application {app['name']}", place


def _is_within(path: str, folder: str) -> bool:
    return PurePosixPath(path).is_relative_to(folder)


def _refused(what: str, because: str) -> Refusal:
    return Refusal(what, because, "Choose another folder")
