# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One application: what tells it from others, and what its options come to."""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ansible_collections.gpunode.stack.plugins.module_utils._node.conda.wanted import (
    Environment,
    KeptBuild,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app import (
    candidate,
    release,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app.wanted import (
    Application,
    Described,
    Identity,
    Release,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import transient_unit

from .. import project
from ..inputs import host_folder
from ..inputs.site import Site
from . import entry_point, exclusion, options, settings, sizing, units, variables
from . import source as app_source

# With what follows it, it is that of a unit, of files, and of a unix socket below /run, whose path
# has 107 bytes at the most (unix(7)). Some longer ones were taken before, and can still go.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_LONGEST_NAME = {"present": 80, "absent": 100}
# Their units would be taken for those of an application that was made by hand.
_DAEMONS = ("nvidia-persistenced", "nvidia-fabricmanager", "nvidia-gridd", "openibd")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,30}")
# By what serves an application.
_ENTRIES = {"gunicorn": "main:app", "python": "main.py"}


class _Files(NamedTuple):
    """The files of an application on the controller.

    :ivar folder: where they lie.
    :ivar leave_out: what in there is no part of the release.
    """

    folder: str
    leave_out: release.LeaveOut


def identity(item: Mapping[str, Any]) -> Identity:
    """Return what tells an application on a host from others."""
    name, user = item["name"], item.get("user") or item["name"]
    what = f"application {name}"
    _check_name(name, item["state"])
    options.demand(
        _USER,
        user,
        f"user of {what}",
        "a user's name is made of lower-case letters, digits, '_' and '-'",
    )
    folder = host_folder.checked(f"dir of {what}:", item.get("dir") or f"/srv/{name}")
    options.demand(
        options.PATH,
        folder,
        f"dir of {what}",
        "it is an absolute path of letters, digits and '._+@-'",
    )
    return {"name": name, "user": user, "dir": folder}


def _check_name(name: str, state: str) -> None:
    """Refuse a name that would be that of something else on the host, or is too long for it."""
    longest = _LONGEST_NAME[state]
    rule = f"a name is made of up to {longest} letters, digits, '_' and '-'"
    options.demand(_NAME, name, "application name", rule)
    if len(name) > longest:
        raise Refusal(f"application name: '{name}'", rule, "Correct it in gunicorn_app_list")
    if name.startswith(transient_unit.PREFIX):
        raise Refusal(
            f"application name: '{name}'",
            f"units whose names begin with {transient_unit.PREFIX} are this project's own",
            "Rename it in gunicorn_app_list",
        )
    if name in _DAEMONS:
        raise Refusal(
            f"application name: '{name}'",
            f"{name}.service is a daemon that this project looks after",
            "Rename it in gunicorn_app_list",
        )
    if name.endswith(candidate.SUFFIX):
        raise Refusal(
            f"application name: '{name}'",
            f"a name that ends in {candidate.SUFFIX} is that of another one's candidate",
            "Rename it in gunicorn_app_list",
        )


def wanted(item: Mapping[str, Any], secrets: Mapping[str, str], site: Site) -> Application:
    """Return what is wanted of an application.

    :param item: of gunicorn_app_list.
    :param secrets: its own, of gunicorn_app_secrets.
    :raises Refusal: something in there cannot be.
    """
    named = identity(item)
    what = f"application {named['name']}"
    options.check(item, what)
    decided, reasons = _decided(item, site)
    item = options.numbered({**item, **decided}, what)
    _check(item, secrets, what)
    environment = _environment_of(item["environment"], what, site)
    sent = None if item.get("release") else _files_of(item, site)
    app: Described = {
        **named,
        "server": item["server"],
        "listen": item["listen"],
        "health_path": item["health_path"],
        "health_headers": item["health_headers"],
        "start_timeout_s": item["start_timeout_s"],
        "prefix": environment["prefix"],
        "readable": [options.data_folder("readable", path, what) for path in item["readable"]],
        "writable": [options.data_folder("writable", path, what) for path in item["writable"]],
        "secrets_digest": variables.digest(secrets, named["name"]),
        **(_sent(sent, named) if sent else _kept(item, named, site)),
    }
    told = _told(item, app, environment, sent.folder if sent else None)
    if sent:
        app_source.pack(sent.folder, app["digest"], sent.leave_out)
    exposed = variables.exposed(item["environment_variables"])
    return {
        **app,
        **units.render({**item, **app, **told._asdict()}),
        "health_scheme": told.scheme,
        "decided": decided,
        "notices": [*reasons, *exposed, *told.notices],
    }


def _check(item: Mapping[str, Any], secrets: Mapping[str, str], what: str) -> None:
    """Refuse what an application is to be asked and told that cannot be."""
    options.check_listen(item, what)
    options.check_headers(item["health_headers"], f"health_headers of {what}")
    variables.check(item["environment_variables"], f"environment_variables of {what}")
    variables.check(secrets, f"gunicorn_app_secrets of {what}")


def _decided(item: Mapping[str, Any], site: Site) -> tuple[dict[str, str], list[str]]:
    """Return ({option: value}, sentences) of what an application leaves to its host to decide."""
    if item.get("workers") != sizing.AUTO:
        return {}, []
    facts = site.seen("gunicorn_app") if item["server"] == "gunicorn" else None
    if facts is None:
        # A program has none, and before the host was looked at nothing is done by it.
        return {"workers": "1"}, []
    number, why = sizing.workers(item, sizing.resources_of(facts))
    return {"workers": str(number)}, [f"workers: {sizing.AUTO} is {number} here: {why}"]


def _environment_of(name: str, what: str, site: Site) -> Environment | KeptBuild:
    """Return the wanted state of the environment that an application runs from."""
    state = site.wanted("conda_env")
    if name in [env["name"] for env in state["absent"]]:
        raise Refusal(
            f"environment {name} of {what}",
            "conda_env_list says that it is to be absent",
            "Keep it, name another one, or let the application be absent too",
        )
    environments = {env["name"]: env for env in state["environments"]}
    environment = environments[
        options.known(name, environments, f"environment of {what}", "conda_env_list")
    ]
    options.demand(
        options.PATH,
        environment["prefix"],
        f"prefix of {what}",
        "it is an absolute path of letters, digits and '._+@-'",
    )
    return environment


def _files_of(item: Mapping[str, Any], site: Site) -> _Files:
    """Return the files that an application's source has, once all of them can be sent."""
    folder = app_source.folder_of(item["source"], item.get("sha256"), site)
    leave_out = exclusion.of(folder, item["exclude"], item["gitignore"])
    release.check(folder, leave_out)
    return _Files(folder, leave_out)


def _sent(sent: _Files, app: Identity) -> Release:
    """Return the release that files make."""
    digest = release.digest_of(*sent)
    return {
        "release": _release_folder(app, release.id_of(digest)),
        "digest": digest,
        "size": release.size_of(*sent),
    }


def _kept(item: Mapping[str, Any], app: Identity, site: Site) -> Release:
    """Return a release that is named, of which only its id is known."""
    name = item["release"]
    if not release.is_id(name):
        raise Refusal(
            f"release {name} of application {item['name']}",
            "it is not the 12 digits of 0-9 and a-f that the folder of a release has as name",
            f"Name one that `{project.command('releases', site.inventory)}` lists",
        )
    return {"release": _release_folder(app, name), "digest": name, "size": 0}


def _release_folder(app: Identity, name: str) -> str:
    return os.path.join(app["dir"], "releases", name)


def _told(
    item: Mapping[str, Any],
    app: Described,
    environment: Environment | KeptBuild,
    source: str | None,
) -> settings.Told:
    """Return what the server is told, once it is known to have what it is to serve.

    :param source: the folder with its files on the controller, None for a kept release.
    """
    what, server = f"application {item['name']}", item["server"]
    names = _names_in(environment)
    default = _ENTRIES[server]
    if server == "gunicorn":
        _demand_gunicorn(environment, names, what)
        told = settings.resolve({**item, **app}, app["release"], source, default)
        settings.demand_packages(told.worker_class, item["environment"], names, what)
    else:
        told = settings.of_program(item, default)
    folders = [] if source is None else [pathlib.Path(source, path) for path in ("", *told.paths)]
    where = entry_point.Files(list(filter(pathlib.Path.is_dir, folders)), names)
    entry_point.check(where, told.entry, server, what)
    if server == "gunicorn" and entry_point.is_of_environment(where, told.entry):
        elsewhere = f"{told.entry} is not in its source, and is to come with {environment['name']}"
        told.notices.append(elsewhere)
    return told


def _demand_gunicorn(
    environment: Environment | KeptBuild, names: set[str] | None, what: str
) -> None:
    """Refuse an environment whose description lacks gunicorn; a kept build is known to its host."""
    if names is not None and "gunicorn" not in names:
        raise Refusal(
            f"environment {environment['name']} of {what}",
            "neither its lock nor its requirements name gunicorn",
            "Add gunicorn to the requirements, or serve it with server: python",
        )


def _names_in(environment: Environment | KeptBuild) -> set[str] | None:
    """Return the names of all that an environment holds; None for a build that is known by name."""
    if environment["lock"] is None:
        return None
    return {package["name"] for package in [*environment["dists"], *environment["lock"]]}
