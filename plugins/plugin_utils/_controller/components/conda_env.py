# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wanted of the conda environments of a host."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape, urls
from ansible_collections.gpunode.stack.plugins.module_utils._node.conda import (
    builds,
    imports,
    lock_file,
    prefixes,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.conda.wanted import (
    Environment,
    KeptBuild,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.conda_env import wanted
from ansible_collections.gpunode.stack.plugins.module_utils._node.packages import package_manager
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import (
    Collected,
    Refusal,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import disk, systemd

from ..conda import channels, environment, mirrors, spec
from ..inputs import catalog, host_folder, sent_file
from ..inputs.site import Site

# What a lock will take is not in it: a floor under which no environment is begun.
_ROOM = disk.GIB


def is_wanted(site: Site) -> bool:
    """Say whether there is anything to do about environments on a host."""
    return bool(site.options("conda_env")["list"])


def resolve(options: Mapping[str, Any], site: Site) -> wanted.State:
    """Return the wanted state."""
    folder = host_folder.checked("conda_env_dir", options["dir"])
    if options["keep"] < 0:
        raise Refusal(
            f"conda_env_keep {options['keep']}", "fewer than none cannot be kept", "Say 0 or more"
        )
    collected = Collected()
    collected.ask(_check_names, [item["name"] for item in options["list"]])
    for name in options["system_packages"]:
        collected.ask(_check_package, name)
    collected.ask(mirrors.check, options["mirrors"])
    miniforge = collected.ask(site.wanted, "miniforge") or {}
    items = [item for item in options["list"] if item["state"] == "present"]
    asked = [
        collected.ask(environment.wanted, item, options["mirrors"], folder, site) for item in items
    ]
    collected.refuse()
    environments = [env for env in asked if env]
    return {
        "dir": folder,
        "remove_dir": not environments,
        "keep": options["keep"],
        "conda": miniforge["prefix"],
        "pip_config": miniforge["pip_config"],
        "system_packages": list(dict.fromkeys(options["system_packages"])),
        "libraries": catalog.rows("shared_libraries")
        if _imports(items) or any(map(imports.is_library, options["system_packages"]))
        else [],
        "environments": environments,
        "absent": [
            {"name": item["name"], "link": os.path.join(folder, item["name"]), "dir": folder}
            for item in options["list"]
            if item["state"] == "absent"
        ],
        "leaving": _units_leaving(site),
    }


def present(state: wanted.State) -> list[str]:
    """Return the names of the environments that are to be in place."""
    return [env["name"] for env in state["environments"]]


def absent(state: wanted.State) -> list[str]:
    """Return the names of the environments that are to be removed."""
    return [env["name"] for env in state["absent"]]


def probe(state: wanted.State) -> dict[str, list[str]]:
    """Return what the plan must know of the host."""
    paths = [path for env in state["environments"] for path in (env["prefix"], env["link"])]
    return {"paths": [state["dir"], *paths], "users": []}


def refusals(state: wanted.State, facts: facts_shape.Facts) -> list[Refusal]:
    """Return a Refusal for each thing that cannot work on this host."""
    found = []
    if facts["paths"][state["dir"]]["kind"] not in ("absent", "directory"):
        found.append(
            Refusal(
                f"conda_env_dir {state['dir']}",
                "it is there and is not a folder",
                "Move it away or choose another one",
            )
        )
    managers = package_manager.MANAGERS
    if state["system_packages"] and facts["pkg_mgr"] not in managers:
        found.append(
            Refusal(
                f"conda_env_system_packages {', '.join(state['system_packages'])}",
                f"the host's packages are managed by {facts['pkg_mgr']}, which is none of "
                f"{', '.join(managers)}",
                "Install them by hand and leave them out for this host",
            )
        )
    keys = imports.catalog_keys(facts)
    found += imports.without_package(state["system_packages"], state["libraries"], keys)
    for env in state["environments"]:
        found += _unfit(env, facts)
    return found + disk.refusals(_room_needed(state, facts), facts["mounts"])


def _unfit(env: Environment | KeptBuild, facts: facts_shape.Facts) -> Iterator[Refusal]:
    """Yield a Refusal for each thing that keeps one environment from this host."""
    what = f"environment {env['name']}"
    platform = environment.platform_of(facts["architecture"])
    there = prefixes.verdict(facts["paths"][env["prefix"]])
    is_named = env["lock"] is None
    if is_named and there != "conda":
        yield builds.not_kept(env)
    if not is_named and env["platform"] not in (lock_file.NOARCH, platform):
        yield Refusal(
            what,
            f"its lock is for another platform, {env['platform']}; the host is {platform}",
            f"Make a lock for {platform}",
        )
    if there == "foreign":
        yield prefixes.foreign(what, env["prefix"], "conda_env_dir")
    if facts["paths"][env["link"]]["kind"] not in ("absent", "link"):
        yield Refusal(
            what,
            f"{env['link']} is not a link, and the link to the environment is to lie there",
            "Move it away or choose another name",
        )


def only_absent(state: wanted.State) -> wanted.State:
    """Return the wanted state without what is to be in place."""
    return {**state, "environments": []}


def without_absent(state: wanted.State) -> wanted.State:
    """Return the wanted state without what is to be removed."""
    return {**state, "absent": []}


def arguments(_state: wanted.State, _site: Site) -> dict[str, Any]:
    """Return what the module takes besides: nothing."""
    return {}


def sendable(_state: wanted.State) -> dict[str, sent_file.File]:
    """Return the files of the controller that the host may ask for: none."""
    return {}


def summary(state: wanted.State) -> list[dict[str, Any]]:
    """Return a line for people about each environment of a converged host."""
    return [
        {"says": f"environment {env['name']} in {env['prefix']}"} for env in state["environments"]
    ]


def orders(site: Site, upgrade: Collection[str] = ()) -> list[dict[str, Any]]:
    """Return what it takes to solve each environment of a host that has packages.

    :param upgrade: names of those to be solved again though nothing else asks for it.

    Each is an order of conda/spec.py, and what the node is to solve it with: ``conda``,
    ``pip_config``, ``has_passwords`` (whether conda's channels do), ``channels`` (see
    channels.addresses), and ``prefix``, where the
    environment is built for a while. That is named like a build of it, so that what a killed run
    leaves is collected with those.
    """
    options = site.options("conda_env")
    listed = [item for item in options["list"] if item.get("state") != "absent"]
    _check_names([item["name"] for item in listed])
    found = []
    for item in (spec.imported(item, site) for item in listed):
        if not item.get("packages"):
            continue
        order = spec.order(item, site, is_upgrade=item["name"] in upgrade)
        miniforge = site.wanted("miniforge")
        build = builds.folder_of(item["name"], builds.id_from(order["spec"]))
        order["node"] = {
            "conda": miniforge["prefix"],
            "pip_config": miniforge["pip_config"],
            "has_passwords": urls.has_password(miniforge["condarc"]),
            "prefix": os.path.join(os.path.normpath(options["dir"]), build),
        }
        order["channels"] = channels.addresses(order["spec"]["channels"], site.options("miniforge"))
        found.append(order)
    return found


def _room_needed(state: wanted.State, facts: facts_shape.Facts) -> list[tuple[str, str, int]]:
    return [
        (f"environment {env['name']}", env["prefix"], _ROOM)
        for env in state["environments"]
        if env["lock"] is not None
        and prefixes.verdict(facts["paths"][env["prefix"]]) in ("free", "unfinished")
    ]


def _check_names(names: Sequence[str]) -> None:
    collected = Collected()
    for name in names:
        collected.ask(environment.check_name, name)
    collected.refuse()
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Refusal(
            f"conda_env_list: {', '.join(twice)}",
            "two environments have that name",
            "Give each its own name",
        )


def _check_package(name: str) -> None:
    if not package_manager.NAME.fullmatch(name):
        raise Refusal(
            f"conda_env_system_packages: '{name}'",
            "it is no name of a package: letters, digits, '+', '.', '_' and '-' inside",
            "Name the package alone, without version or architecture",
        )


def _imports(items: Iterable[Mapping[str, Any]]) -> list[str]:
    return [module for item in items for module in item["imports"]]


def _units_leaving(site: Site) -> list[str]:
    """Return the units of the applications that go before environments do."""
    leaving = [
        item for item in site.options("gunicorn_app")["list"] if item.get("state") == "absent"
    ]
    return [unit for item in leaving for unit in systemd.units_of(item["name"])]
