# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wanted of the gunicorn applications of a host."""

from __future__ import annotations

import collections
import ipaddress
import itertools
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape
from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app import (
    release,
    service,
    wanted,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import (
    Collected,
    Refusal,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import (
    disk,
    listening,
)

from .. import project
from ..gunicorn import application, guards, places
from ..gunicorn import options as app_options
from ..gunicorn import source as app_source
from ..inputs import sent_file
from ..inputs.site import Site

# What keeps a folder from being read or written: (option, kinds of paths, why, remedy).
_UNFIT: tuple[tuple[Literal["readable", "writable"], tuple[str, ...], str, str], ...] = (
    ("writable", ("file", "other"), "it is not a folder", "Move it away or choose another folder"),
    ("readable", ("absent",), "it is not there", "Bring it to the host before, or leave it out"),
)


def is_wanted(site: Site) -> bool:
    """Say whether there is anything to do about applications on a host."""
    return bool(site.options("gunicorn_app")["list"])


def resolve(options: Mapping[str, Any], site: Site) -> wanted.State:
    """Return the wanted state."""
    if options["keep"] < 0:
        raise Refusal(
            f"gunicorn_app_keep {options['keep']}",
            "fewer than none cannot be kept",
            "Say 0 or more",
        )
    applications, gone = _each(options, site)
    _refuse_together(applications, gone, site)
    return {
        "applications": applications,
        "absent": gone,
        "leaving": [unit for app in gone for unit in service.own_units(app)],
        "keep": options["keep"],
    }


def _each(
    options: Mapping[str, Any], site: Site
) -> tuple[list[wanted.Application], list[wanted.Identity]]:
    """Return (rows of those that are to be in place, rows of those that are to go).

    :raises Refusal: one cannot be as it is described, with all others that cannot.
    """
    collected = Collected()
    names = [item["name"] for item in options["list"]]
    for name in options["secrets"]:
        collected.ask(app_options.known, name, names, "gunicorn_app_secrets", "gunicorn_app_list")
    staying, going = (
        [item for item in options["list"] if item["state"] == state]
        for state in ("present", "absent")
    )
    unheard = app_source.fetch_missing(_wish(item) for item in staying if not item.get("release"))
    asked = [
        collected.ask(_application, item, options["secrets"], unheard, site) for item in staying
    ]
    leave = [collected.ask(application.identity, item) for item in going]
    collected.refuse()
    return [app for app in asked if app], [app for app in leave if app]


def _wish(item: Mapping[str, Any]) -> app_source.Wish:
    return item.get("source") or "", item.get("sha256")


def _application(
    item: Mapping[str, Any],
    secrets: Mapping[str, Mapping[str, str]],
    unheard: Mapping[app_source.Wish, Refusal],
    site: Site,
) -> wanted.Application:
    """Return what is wanted of an application, unless what it is made of could not be fetched."""
    if _wish(item) in unheard and not item.get("release"):
        raise unheard[_wish(item)]
    return application.wanted(item, secrets.get(item["name"]) or {}, site)


def _refuse_together(
    applications: Sequence[wanted.Application], gone: Sequence[wanted.Identity], site: Site
) -> None:
    """Refuse what each application could be by itself, and all together cannot."""
    _refuse_both({app["name"] for app in applications} & {app["name"] for app in gone})
    _refuse_twice("name", [app["name"] for app in [*applications, *gone]])
    _refuse_twice("dir", [app["dir"] for app in [*applications, *gone]])
    envs = site.options("conda_env")
    env_dir, conda = map(os.path.normpath, (envs["dir"], site.options("miniforge")["prefix"]))
    env_names = [env["name"] for env in envs["list"]]
    places.refuse_nested([*applications, *gone], env_dir, env_names, conda)
    places.refuse_data(applications, env_dir, conda)
    for one, other in itertools.combinations(applications, 2):
        if listening.overlap(listening.parse(one["listen"]), listening.parse(other["listen"])):
            raise Refusal(
                f"listen {other['listen']} of application {other['name']}",
                f"application {one['name']} has {one['listen']}",
                "Give each its own",
            )


def present(state: wanted.State) -> list[str]:
    """Return the names of the applications that are to be in place."""
    return [app["name"] for app in state["applications"]]


def absent(state: wanted.State) -> list[str]:
    """Return the names of the applications that are to be removed."""
    return [app["name"] for app in state["absent"]]


def probe(state: wanted.State) -> dict[str, list[str]]:
    """Return what the plan must know of the host."""
    applications = state["applications"]
    return {
        "paths": [
            path
            for app in applications
            for path in (app["dir"], app["release"], *app["readable"], *app["writable"])
        ],
        "users": [app["user"] for app in applications],
        "units": [unit for app in applications for unit in service.own_units(app)],
    }


def refusals(state: wanted.State, facts: facts_shape.Facts) -> list[Refusal]:
    """Return a Refusal for each thing that cannot work on this host."""
    found = []
    if facts["service_mgr"] != "systemd":
        found.append(
            Refusal(
                "gunicorn_app_list",
                "the host is not run by systemd",
                "Leave it empty for this host",
            )
        )
    rows = service.rows_besides(state["leaving"], facts["listening"])
    for app in state["applications"]:
        account = facts["users"][app["user"]]
        found += service.obstacles(app, account, rows, facts["units"])
        if facts["paths"][app["dir"]]["kind"] in ("file", "other"):
            found.append(
                Refusal(
                    f"dir {app['dir']} of application {app['name']}",
                    "it is not a folder",
                    "Move it away or choose another one",
                )
            )
        found += [
            Refusal(f"{option} {path} of application {app['name']}", because, remedy)
            for option, kinds, because, remedy in _UNFIT
            for path in app[option]
            if facts["paths"][path]["kind"] in kinds
        ]
    return found + _without_release(state["applications"], facts)


def _without_release(
    applications: Iterable[wanted.Application], facts: facts_shape.Facts
) -> list[Refusal]:
    """Return a Refusal for each release that lacks, and is neither kept nor has room to come."""
    lacking = [app for app in applications if facts["paths"][app["release"]]["kind"] == "absent"]
    not_kept = [
        Refusal(
            f"release {app['digest']} of application {app['name']}",
            f"the host does not keep it in {os.path.dirname(app['release'])}",
            f"Name one that `{project.command('releases')}` lists for this host, "
            "or serve the source",
        )
        for app in lacking
        if release.is_id(app["digest"])
    ]
    demands = [(f"application {app['name']}", app["release"], app["size"]) for app in lacking]
    return not_kept + disk.refusals(demands, facts["mounts"])


def notices(state: wanted.State, facts: facts_shape.Facts) -> list[dict[str, str]]:
    """Return {rule, says} of what people should know of applications, and what stops nothing."""
    return [
        {"rule": "application", "says": f"application {app['name']}: {says}"}
        for app in state["applications"]
        for says in [*app["notices"], *guards.notices(app, facts["selinux"], facts["firewalld"])]
    ]


def only_absent(state: wanted.State) -> wanted.State:
    """Return the wanted state without what is to be in place."""
    return {**state, "applications": []}


def without_absent(state: wanted.State) -> wanted.State:
    """Return the wanted state without what is to be removed."""
    return {**state, "absent": []}


def arguments(state: wanted.State, site: Site) -> dict[str, Any]:
    """Return what the module takes besides: the secrets, of which the state has digests alone."""
    given = site.options("gunicorn_app")["secrets"]
    names = [app["name"] for app in state["applications"] if app["secrets_digest"]]
    # One text: as a dict, each of its values would be blanked out of the module's answer.
    return {"secrets": json.dumps({name: given[name] for name in names})}


def sendable(state: wanted.State) -> dict[str, sent_file.File]:
    """Return the files of the controller that the host may ask for: archives of its releases."""
    return {
        app["digest"]: sent_file.File(
            f"release {app['digest']}", str(app_source.archive_of(app["digest"]))
        )
        for app in state["applications"]
        if not release.is_id(app["digest"])
    }


def summary(state: wanted.State) -> list[dict[str, Any]]:
    """Return for each application a line for people, and what a proof needs.

    ``port`` is the one that answers from outside of the host, None where none does.
    """
    return [
        {
            "says": f"application {app['name']} answers on {app['listen']} from {app['release']}",
            "port": _outside_port(app["listen"]),
            "name": app["name"],
            "user": app["user"],
            "release": app["release"],
            "prefix": app["prefix"],
            "listen": app["listen"],
            "health_path": app["health_path"],
            "health_headers": app["health_headers"],
            "health_scheme": app["health_scheme"],
            "units": sorted(app["units"]),
        }
        for app in state["applications"]
    ]


def _outside_port(listen: str) -> int | None:
    address, port = listening.parse(listen)
    return port if port and not ipaddress.ip_address(address).is_loopback else None


def _refuse_both(names: Iterable[str]) -> None:
    for name in sorted(names):
        raise Refusal(
            f"application {name} in gunicorn_app_list",
            "it is to be present and to be absent",
            "Keep one of the two",
        )


def _refuse_twice(key: str, values: Iterable[str]) -> None:
    for value, count in collections.Counter(values).items():
        if count > 1:
            raise Refusal(
                f"{key} {value} in gunicorn_app_list",
                "two applications have it",
                "Give each its own",
            )
