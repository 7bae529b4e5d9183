# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wanted of the gunicorn applications of a host."""

from __future__ import annotations

import collections
import hashlib
import ipaddress
import itertools
import json
import os
import pathlib
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ansible_collections.gpunode.stack.plugins.module_utils._node import near_miss, urls
from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app import (
    candidate,
    release,
    service,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import (
    Collected,
    Refusal,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import (
    disk,
    listening,
    systemd,
    transient_unit,
)

from .. import project
from ..gunicorn import entry_point, exclusion, guards, places, settings, sizing, units
from ..gunicorn import source as app_source
from ..inputs import host_folder, sent_file
from ..inputs.site import Site

# With what follows it, it is that of a unit, of files, and of a unix socket below /run, whose path
# has 107 bytes at the most (unix(7)). Some longer ones were taken before, and can still go.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_LONGEST_NAME = {"present": 80, "absent": 100}
# Their units would be taken for those of an application that was made by hand.
_DAEMONS = ("nvidia-persistenced", "nvidia-fabricmanager", "nvidia-gridd", "openibd")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,30}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# What needs no quoting anywhere in a unit file.
_PATH = re.compile(r"(/[A-Za-z0-9._+@-]+)+")
_URL_PATH = re.compile(r"/[A-Za-z0-9._~/?&=+-]*")
# systemd's env_value_is_valid() (src/basic/env-util.c): valid UTF-8, and of control characters
# none but tabs and newlines.
_NOT_IN_VARIABLES = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
# RFC 9110, 5.6.2.
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_FRAMING = ("connection", "content-length", "expect", "te", "transfer-encoding", "upgrade")
_CREDENTIALS = ("authorization", "cookie", "proxy-authorization")
_MEMORY = re.compile(r"[1-9][0-9]*[KMGT]?")
# How variables with secrets are called.
_SECRET = re.compile(
    r"(?:PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|(?:API|ACCESS|SECRET|PRIVATE|ENCRYPTION)_?KEY)$"
    r"|_(?:PASS|PWD)$",
    re.IGNORECASE,
)
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,9}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_OURS = ("PATH", systemd.UNIT_MARK, service.SECRETS_MARK)
# By what serves an application.
_ENTRIES = {"gunicorn": "main:app", "python": "main.py"}
# What keeps a folder from being read or written: (option, kinds of paths, why, remedy).
_UNFIT = (
    ("writable", ("file", "other"), "it is not a folder", "Move it away or choose another folder"),
    ("readable", ("absent",), "it is not there", "Bring it to the host before, or leave it out"),
)
# Slow on purpose: digests of secrets are kept, and a weak secret must not be found by trying.
_STRETCH = 100_000


def is_wanted(site: Site) -> bool:
    """Say whether there is anything to do about applications on a host."""
    return bool(site.options("gunicorn_app")["list"])


def resolve(options: Mapping[str, Any], site: Site) -> dict[str, Any]:
    """Return the wanted state: what is to be served and how it is proven, and what is to go.

    ``applications`` is a list of {name, server, user, dir, release, digest,
    size, prefix, listen, health_path, health_headers, health_scheme,
    start_timeout_s, readable, writable, units, unit_digest, candidate,
    secrets_digest, decided, notices}: ``release`` is the folder on the host,
    ``digest`` that of its content, or its first digits where a kept release
    was named, ``size`` its bytes, and the units are those of gunicorn/units.py.
    ``decided`` is {option: what the host made of it}, see inputs/asked.py.
    ``absent`` is a list of {name, user, dir}, and ``leaving`` are their units.
    """
    if options["keep"] < 0:
        raise Refusal(
            f"gunicorn_app_keep {options['keep']}",
            "fewer than none cannot be kept",
            "Say 0 or more",
        )
    collected = Collected()
    names = [item["name"] for item in options["list"]]
    for name in options["secrets"]:
        collected.ask(_known, name, names, "gunicorn_app_secrets", "gunicorn_app_list")
    wanted, unwanted = (
        [item for item in options["list"] if item["state"] == state]
        for state in ("present", "absent")
    )
    asked = [
        collected.ask(_application, item, options["secrets"].get(item["name"]) or {}, site)
        for item in wanted
    ]
    leave = [collected.ask(identity, item) for item in unwanted]
    collected.refuse()
    applications, gone = ([app for app in apps if app] for apps in (asked, leave))
    _refuse_both({app["name"] for app in applications} & {app["name"] for app in gone})
    for key in ("name", "dir"):
        _refuse_twice(key, [app[key] for app in [*applications, *gone]])
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
    leaving = [unit for app in gone for unit in service.own_units(app)]
    return {
        "applications": applications,
        "absent": gone,
        "leaving": leaving,
        "keep": options["keep"],
    }


def present(state: Mapping[str, Any]) -> list[str]:
    """Return the names of the applications that are to be in place."""
    return [app["name"] for app in state["applications"]]


def absent(state: Mapping[str, Any]) -> list[str]:
    """Return the names of the applications that are to be removed."""
    return [app["name"] for app in state["absent"]]


def probe(state: Mapping[str, Any]) -> dict[str, list[str]]:
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


def refusals(state: Mapping[str, Any], facts: Mapping[str, Any]) -> list[Refusal]:
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
    lacking = [
        app for app in state["applications"] if facts["paths"][app["release"]]["kind"] == "absent"
    ]
    found += [
        Refusal(
            f"release {app['digest']} of application {app['name']}",
            f"the host does not keep it in {os.path.dirname(app['release'])}",
            f"Name one that `{project.command('releases')}` lists for this host, "
            "or serve the source",
        )
        for app in lacking
        if release.is_id(app["digest"])
    ]
    needs = [(f"application {app['name']}", app["release"], app["size"]) for app in lacking]
    return found + disk.refusals(needs, facts["mounts"])


def notices(state: Mapping[str, Any], facts: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return {rule, says} of what people should know of applications, and what stops nothing."""
    return [
        {"rule": "application", "says": f"application {app['name']}: {says}"}
        for app in state["applications"]
        for says in [*app["notices"], *guards.notices(app, facts["selinux"], facts["firewalld"])]
    ]


def only_absent(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the wanted state without what is to be in place."""
    return {**state, "applications": []}


def without_absent(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the wanted state without what is to be removed."""
    return {**state, "absent": []}


def arguments(state: Mapping[str, Any], site: Site) -> dict[str, Any]:
    """Return what the module takes besides: the secrets, of which the state has digests alone."""
    given = site.options("gunicorn_app")["secrets"]
    names = [app["name"] for app in state["applications"] if app["secrets_digest"]]
    # One text: as a dict, each of its values would be blanked out of the module's answer.
    return {"secrets": json.dumps({name: given[name] for name in names})}


def sendable(state: Mapping[str, Any]) -> dict[str, sent_file.File]:
    """Return the files of the controller that the host may ask for: archives of its releases."""
    return {
        app["digest"]: sent_file.File(
            f"release {app['digest']}", str(app_source.archive_of(app["digest"]))
        )
        for app in state["applications"]
        if not release.is_id(app["digest"])
    }


def summary(state: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return for each application a line for people, and what a proof needs.

    ``port`` is the one that answers from outside of the host, None where none does.
    """
    return [
        {
            "says": f"application {app['name']} answers on {app['listen']} from {app['release']}",
            "port": _outside_port(app["listen"]),
            **{
                key: app[key]
                for key in (
                    *("name", "user", "release", "prefix"),
                    *("listen", "health_path", "health_headers", "health_scheme"),
                )
            },
            "units": sorted(app["units"]),
        }
        for app in state["applications"]
    ]


def _outside_port(listen: str) -> int | None:
    address, port = listening.parse(listen)
    return port if port and not ipaddress.ip_address(address).is_loopback else None


def identity(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return {name, user, dir}: what tells an application on a host from others."""
    name = item["name"]
    what = f"application {name}"
    longest = _LONGEST_NAME[item["state"]]
    rule = f"a name is made of up to {longest} letters, digits, '_' and '-'"
    _demand(_NAME, name, "application name", rule)
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
    user = item.get("user") or name
    _demand(
        _USER,
        user,
        f"user of {what}",
        "a user's name is made of lower-case letters, digits, '_' and '-'",
    )
    folder = host_folder.checked(f"dir of {what}:", item.get("dir") or f"/srv/{name}")
    _demand(
        _PATH, folder, f"dir of {what}", "it is an absolute path of letters, digits and '._+@-'"
    )
    return {"name": name, "user": user, "dir": folder}


def _application(item: Mapping[str, Any], secrets: Mapping[str, str], site: Site) -> dict[str, Any]:
    app = identity(item)
    name = item["name"]
    what = f"application {name}"
    _demand(
        _URL_PATH,
        item["health_path"],
        f"health_path of {what}",
        "it is a plain URL path that begins with '/'",
    )
    if item.get("memory_max"):
        _demand(
            _MEMORY,
            item["memory_max"],
            f"memory_max of {what}",
            "it is a number of bytes, or one with K, M, G or T",
        )
    if item.get("sha256"):
        _demand(
            _SHA256, item["sha256"], f"sha256 of {what}", "a sha256 is 64 digits of 0-9 and a-f"
        )
    decided, reasons = _decided(item, site)
    item = {**item, **decided}
    if item.get("workers") is not None:
        item["workers"] = _whole_number(item["workers"], f"workers {item['workers']} of {what}")
    for key in ("workers", "threads", "timeout_s", "start_timeout_s"):
        if item.get(key) is not None and item[key] < 1:
            raise Refusal(f"{key} {item[key]} of {what}", "it is less than 1", "Say 1 or more")
    _check_listen(item, what)
    _check_headers(item["health_headers"], f"health_headers of {what}")
    _check_variables(item["environment_variables"], f"environment_variables of {what}")
    _check_variables(secrets, f"gunicorn_app_secrets of {what}")
    environment = _environment_of(item["environment"], what, site)
    source = None
    if not item.get("release"):
        source = app_source.folder_of(item["source"], item.get("sha256"), site)
        leave_out = exclusion.of(source, item["exclude"], item["gitignore"])
        release.check(source, leave_out)
    app.update(
        server=item["server"],
        listen=item["listen"],
        prefix=environment["prefix"],
        health_path=item["health_path"],
        health_headers=item["health_headers"],
        start_timeout_s=item["start_timeout_s"],
        readable=[_data_folder("readable", path, what) for path in item["readable"]],
        writable=[_data_folder("writable", path, what) for path in item["writable"]],
        secrets_digest=_secrets_digest(name, secrets),
        **(_kept(item, app, site) if source is None else _sent(source, app, leave_out)),
    )
    told = _told(item, app, environment, source)
    if source is not None:
        app_source.pack(source, app["digest"], leave_out)
    rendered = units.render({**item, **app, **told._asdict()})
    return {
        **app,
        **rendered,
        "health_scheme": told.scheme,
        "decided": decided,
        "notices": [*reasons, *_exposed(item["environment_variables"]), *told.notices],
    }


def _decided(item: Mapping[str, Any], site: Site) -> tuple[dict[str, str], list[str]]:
    """Return ({option: value}, sentences) of what an application leaves to its host to decide."""
    if item.get("workers") != sizing.AUTO:
        return {}, []
    facts = site.seen("gunicorn_app") if item["server"] == "gunicorn" else None
    if facts is None:
        # A program has none, and before the host was looked at nothing is done by it.
        return {"workers": "1"}, []
    number, why = sizing.workers(item, sizing.host_of(facts))
    return {"workers": str(number)}, [f"workers: {sizing.AUTO} is {number} here: {why}"]


def _exposed(variables: Mapping[str, str]) -> list[str]:
    """Return a sentence for each variable with a secret, which anyone on the host can read.

    It may be none, such as the user alone of an address, or a word that is no secret here: so it is
    told and not refused.
    """
    found = {
        name: "has what may be a password or token in an address"
        if urls.has_password(value)
        else "is called like a secret"
        for name, value in variables.items()
        if urls.has_password(value) or _is_called_secret(name, value)
    }
    return [
        f"{name} in environment_variables {why}, and anyone on the host can read it: say it in "
        "gunicorn_app_secrets"
        for name, why in found.items()
    ]


def _is_called_secret(name: str, value: str) -> bool:
    # A path is where a secret lies, and none itself.
    return bool(_SECRET.search(name)) and bool(value) and not value.startswith("/")


def _whole_number(said: str, what: str) -> int:
    if not _WHOLE_NUMBER.fullmatch(said):
        raise Refusal(
            what,
            f"it is neither a whole number nor {sizing.AUTO}",
            f"Say how many, or {sizing.AUTO} to have it decided by the host",
        )
    return int(said)


def _told(
    item: Mapping[str, Any],
    app: Mapping[str, Any],
    environment: Mapping[str, Any],
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


def _check_listen(item: Mapping[str, Any], what: str) -> None:
    """Refuse an address that is none, or that the server cannot have."""
    listen, where = item["listen"], f"listen {item['listen']} of {what}"
    try:
        address, port = listening.parse(listen)
    except ValueError as error:
        raise Refusal(where, str(error), "Write it such as 0.0.0.0:9001") from error
    folder = service.runtime_folder(item["name"])
    is_within = address.startswith(folder + os.sep)
    if is_within and item["server"] == "gunicorn":
        raise Refusal(
            where,
            f"{folder} comes and goes with the service, and the socket is to stay",
            f"Write it such as /run/{item['name']}/http.sock",
        )
    if not port and not is_within and item["server"] == "python":
        raise Refusal(
            where,
            f"the program has to make the socket itself, and may do so in {folder} alone",
            f"Let it listen on {folder}/http.sock",
        )


def _data_folder(option: str, path: str, what: str) -> str:
    """Return the path of a folder that an application reads or writes, normalised."""
    found = host_folder.checked(f"{option} of {what}:", path)
    _demand(_PATH, found, f"{option} of {what}", "a path is made of letters, digits and '._+@-'")
    return found


def _check_headers(headers: Mapping[str, Any], what: str) -> None:
    for name, value in headers.items():
        if not _HEADER.fullmatch(name) or name.lower() in _FRAMING:
            raise Refusal(
                f"{name} in {what}",
                "it is no name of a header, or one that frames the request",
                "Leave it out",
            )
        if name.lower() in _CREDENTIALS:
            raise Refusal(
                f"{name} in {what}",
                "a password or token in it would be shown in logs",
                "Name a health_path that needs no login",
            )
        if not isinstance(value, str) or not (value.isascii() and value.isprintable()):
            raise Refusal(
                f"{name} in {what}", "its value is no text of ASCII", "Put the value in quotes"
            )


def _sent(source: str, app: Mapping[str, Any], leave_out: release.LeaveOut) -> dict[str, Any]:
    """Return {release, digest, size} of the release that a source makes."""
    digest = release.digest_of(source, leave_out)
    return {
        "release": _release_folder(app, release.id_of(digest)),
        "digest": digest,
        "size": release.size_of(source, leave_out),
    }


def _names_in(environment: Mapping[str, Any]) -> set[str] | None:
    """Return the names of all that an environment holds; None for a build that is known by name."""
    if environment["lock"] is None:
        return None
    return {package["name"] for package in [*environment["dists"], *environment["lock"]]}


def _kept(item: Mapping[str, Any], app: Mapping[str, Any], site: Site) -> dict[str, Any]:
    """Return {release, digest, size} of a release that is named, of which only its id is known."""
    name = item["release"]
    if not release.is_id(name):
        raise Refusal(
            f"release {name} of application {item['name']}",
            "it is not the 12 digits of 0-9 and a-f that the folder of a release has as name",
            f"Name one that `{project.command('releases', site.inventory)}` lists",
        )
    return {"release": _release_folder(app, name), "digest": name, "size": 0}


def _release_folder(app: Mapping[str, Any], name: str) -> str:
    return os.path.join(app["dir"], "releases", name)


def _environment_of(name: str, what: str, site: Site) -> dict[str, Any]:
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
        _known(name, environments, f"environment of {what}", "conda_env_list")
    ]
    _demand(
        _PATH,
        environment["prefix"],
        f"prefix of {what}",
        "it is an absolute path of letters, digits and '._+@-'",
    )
    return environment


def _demand_gunicorn(environment: Mapping[str, Any], names: set[str] | None, what: str) -> None:
    """Refuse an environment whose description lacks gunicorn; a kept build is known to its host."""
    if names is not None and "gunicorn" not in names:
        raise Refusal(
            f"environment {environment['name']} of {what}",
            "neither its lock nor its requirements name gunicorn",
            "Add gunicorn to the requirements, or serve it with server: python",
        )


def _secrets_digest(name: str, secrets: Mapping[str, str]) -> str:
    """Return what tells these secrets from others without telling them; '' for none."""
    if not secrets:
        return ""
    text = "\0".join(f"{key}={value}" for key, value in sorted(secrets.items()))
    return hashlib.pbkdf2_hmac("sha256", text.encode(), name.encode(), _STRETCH).hex()


def _check_variables(variables: object, what: str) -> None:
    if not isinstance(variables, dict):
        raise Refusal(what, "it is not variables with their values", "Write them as NAME: value")
    for key, value in variables.items():
        if not _VARIABLE.fullmatch(key) or key in _OURS:
            raise Refusal(
                f"{key} in {what}",
                "it is no name of a variable, or one that the unit sets itself",
                "Rename it",
            )
        if not isinstance(value, str):
            raise Refusal(f"{key} in {what}", "its value is not a text", "Put the value in quotes")
        strange = _NOT_IN_VARIABLES.search(value)
        if strange:
            raise Refusal(
                f"{key} in {what}",
                f"its value has the character U+{ord(strange.group()):04X} in it, which systemd "
                "takes in no variable",
                "Remove it (an editor of Windows ends lines with U+000D), or give it in base64",
            )


def _demand(pattern: re.Pattern[str], value: str, what: str, rule: str) -> None:
    if not pattern.fullmatch(value) or ".." in value.split("/"):
        raise Refusal(f"{what}: '{value}'", rule, "Correct it in gunicorn_app_list")


def _known(name: str, names: Collection[str], what: str, where: str) -> str:
    """Return ``name`` when it is one of ``names``."""
    if name not in names:
        raise Refusal(
            f"{what}: {name}",
            f"there is none of that name in {where}",
            near_miss.remedy(name, names, f"Describe it in {where}"),
        )
    return name


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
