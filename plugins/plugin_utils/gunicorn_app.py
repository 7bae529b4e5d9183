# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wanted of the gunicorn applications of a host."""

from __future__ import annotations

import collections
import difflib
import hashlib
import ipaddress
import itertools
import os
import pathlib
import re

import jinja2

from ansible_collections.gpunode.stack.plugins.module_utils import (
    app_release,
    app_service,
    disk,
    files,
    listening,
    systemd,
)
from ansible_collections.gpunode.stack.plugins.module_utils.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.plugin_utils import app_source, entry_point

_TEMPLATES = (
    pathlib.Path(__file__).resolve().parents[2] / "roles/gunicorn_app/templates/etc/systemd/system"
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,30}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# What needs no quoting anywhere in a unit file.
_PATH = re.compile(r"(/[A-Za-z0-9._+@-]+)+")
_URL_PATH = re.compile(r"/[A-Za-z0-9._~/?&=+-]*")
_MEMORY = re.compile(r"[1-9][0-9]*[KMGT]?")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_OURS = ("PATH", systemd.UNIT_MARK, app_service.SECRETS_MARK)
_CONTROL_SOCKET_SINCE = (25, 1)
# Slow on purpose: digests of secrets are kept, and a weak secret must not be found by trying.
_STRETCH = 100_000


def is_wanted(site):
    """Say whether there is anything to do about applications on a host."""
    return bool(site.options("gunicorn_app")["list"])


def resolve(options, site):
    """Return the wanted state: for each application its release, its units and how it is proven.

    ``applications`` is a list of {name, user, dir, release, digest, size,
    prefix, listen, health_path, start_timeout_s, units, unit_digest,
    secrets_digest}: ``release`` is the folder on the host, ``digest`` that of
    its content, ``size`` its bytes, ``units`` {unit: text}.
    """
    if options["keep"] < 0:
        raise Refusal(
            f"gunicorn_app_keep {options['keep']}",
            "fewer than none cannot be kept",
            "Say 0 or more",
        )
    names = [item["name"] for item in options["list"]]
    for name in options["secrets"]:
        _known(name, names, "gunicorn_app_secrets", "gunicorn_app_list")
    environments = {item["name"]: item for item in site.wanted("conda_env")["environments"]}
    applications = [
        _application(item, options["secrets"].get(item["name"]) or {}, environments, site)
        for item in options["list"]
    ]
    for key in ("name", "dir"):
        _refuse_twice(key, [app[key] for app in applications])
    for one, other in itertools.combinations(applications, 2):
        if listening.overlap(listening.parse(one["listen"]), listening.parse(other["listen"])):
            raise Refusal(
                f"listen {other['listen']} of application {other['name']}",
                f"application {one['name']} has {one['listen']}",
                "Give each its own",
            )
    return {"applications": applications, "absent": [], "keep": options["keep"]}


def present(state):
    """Return the names of the applications that are to be in place."""
    return [app["name"] for app in state["applications"]]


def absent(state):
    """Return the names of the applications that are to be removed."""
    return [app["name"] for app in state["absent"]]


def probe(state):
    """Return what the plan must know of the host."""
    paths = [path for app in state["applications"] for path in (app["dir"], app["release"])]
    return {"paths": paths, "users": [app["user"] for app in state["applications"]]}


def refusals(state, facts):
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
    for app in state["applications"]:
        found += app_service.obstacles(app, facts["users"][app["user"]], facts["listening"])
        if facts["paths"][app["dir"]]["kind"] in ("file", "other"):
            found.append(
                Refusal(
                    f"dir {app['dir']} of application {app['name']}",
                    "it is not a folder",
                    "Move it away or choose another one",
                )
            )
    needs = [
        (f"application {app['name']}", app["release"], app["size"])
        for app in state["applications"]
        if facts["paths"][app["release"]]["kind"] == "absent"
    ]
    return found + disk.refusals(needs, facts["mounts"])


def summary(state):
    """Return for each application a line for people, and what a proof needs.

    ``port`` is the one that answers from outside of the host, None where none does.
    """
    return [
        {
            "says": f"application {app['name']} answers on {app['listen']} from {app['release']}",
            "port": _outside_port(app["listen"]),
            **{
                key: app[key]
                for key in ("name", "user", "release", "prefix", "listen", "health_path")
            },
        }
        for app in state["applications"]
    ]


def _outside_port(listen):
    address, port = listening.parse(listen)
    return port if port and not ipaddress.ip_address(address).is_loopback else None


def _application(item, secrets, environments, site):
    name = item["name"]
    what = f"application {name}"
    _demand(_NAME, name, "application name", "a name is made of letters, digits, '_' and '-'")
    user = item.get("user") or name
    _demand(
        _USER,
        user,
        f"user of {what}",
        "a user's name is made of lower-case letters, digits, '_' and '-'",
    )
    folder = os.path.normpath(item.get("dir") or f"/srv/{name}")
    _demand(
        _PATH, folder, f"dir of {what}", "it is an absolute path of letters, digits and '._+@-'"
    )
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
    for key in ("workers", "threads", "timeout_s", "start_timeout_s"):
        if item[key] < 1:
            raise Refusal(f"{key} {item[key]} of {what}", "it is less than 1", "Say 1 or more")
    try:
        listening.parse(item["listen"])
    except ValueError as error:
        raise Refusal(
            f"listen {item['listen']} of {what}", str(error), "Write it such as 0.0.0.0:9001"
        ) from error
    _check_variables(item["environment_variables"], f"environment_variables of {what}")
    _check_variables(secrets, f"gunicorn_app_secrets of {what}")
    environment = environments[
        _known(item["environment"], environments, f"environment of {what}", "conda_env_list")
    ]
    _demand(
        _PATH,
        environment["prefix"],
        f"prefix of {what}",
        "it is an absolute path of letters, digits and '._+@-'",
    )

    source = app_source.folder_of(item["source"], item.get("sha256"), site)
    app_release.check(source)
    entry_point.check(source, item["entry"], what)
    digest = app_release.digest_of(source)
    app_source.pack(source, digest)
    app = {
        "name": name,
        "user": user,
        "dir": folder,
        "listen": item["listen"],
        "release": os.path.join(folder, "releases", app_release.id_of(digest)),
        "digest": digest,
        "size": app_release.size_of(source),
        "prefix": environment["prefix"],
        "health_path": item["health_path"],
        "start_timeout_s": item["start_timeout_s"],
        "secrets_digest": _secrets_digest(name, secrets),
    }
    return {**app, **_units({**item, **app}, _gunicorn_version(environment, what))}


def _units(values, gunicorn_version):
    """Return {units, unit_digest}: the unit files, of which the service holds its own digest."""
    values = {
        **values,
        "has_control_socket": gunicorn_version >= _CONTROL_SOCKET_SINCE,
        "secrets_file": app_service.secrets_path(values["name"])
        if values["secrets_digest"]
        else "",
        "unit_mark": systemd.UNIT_MARK,
    }
    digest = files.sha256_of_text(_rendered("app.service.j2", {**values, "unit_digest": ""}))
    units = {
        app_service.socket_of(values): _rendered("app.socket.j2", values),
        app_service.service_of(values): _rendered(
            "app.service.j2", {**values, "unit_digest": digest}
        ),
    }
    return {"units": units, "unit_digest": digest}


def _rendered(template, values):
    engine = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    engine.filters["unit_quoted"] = unit_quoted
    return engine.get_template(template).render(values)


def unit_quoted(text):
    """Return a text in the double quotes of a unit file, which systemd reads back unchanged."""
    for character, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("%", "%%")):
        text = text.replace(character, escaped)
    return f'"{text}"'


def _gunicorn_version(environment, what):
    """Return the version of gunicorn that an environment is to hold, as a tuple of numbers."""
    for package in [*environment["dists"], *environment["lock"]]:
        if package["name"] == "gunicorn":
            return tuple(int(number) for number in re.findall(r"\d+", package["version"]))
    raise Refusal(
        f"environment {environment['name']} of {what}",
        "neither its lock nor its requirements name gunicorn",
        "Add gunicorn to the requirements",
    )


def _secrets_digest(name, secrets):
    """Return what tells these secrets from others without telling them; '' for none."""
    if not secrets:
        return ""
    text = "\0".join(f"{key}={value}" for key, value in sorted(secrets.items()))
    return hashlib.pbkdf2_hmac("sha256", text.encode(), name.encode(), _STRETCH).hex()


def _check_variables(variables, what):
    for key, value in variables.items():
        if not _VARIABLE.fullmatch(key) or key in _OURS:
            raise Refusal(
                f"{key} in {what}",
                "it is no name of a variable, or one that the unit sets itself",
                "Rename it",
            )
        if not isinstance(value, str) or "\0" in value:
            raise Refusal(f"{key} in {what}", "its value is not a text", "Put the value in quotes")


def _demand(pattern, value, what, rule):
    if not pattern.fullmatch(value) or ".." in value.split("/"):
        raise Refusal(f"{what}: '{value}'", rule, "Correct it in gunicorn_app_list")


def _known(name, names, what, where):
    """Return ``name`` when it is one of ``names``."""
    if name not in names:
        nearest = difflib.get_close_matches(name, names, n=1, cutoff=0)
        raise Refusal(
            f"{what}: {name}",
            f"there is none of that name in {where}",
            f"Did you mean {nearest[0]}?" if nearest else f"Describe it in {where}",
        )
    return name


def _refuse_twice(key, values):
    for value, count in collections.Counter(values).items():
        if count > 1:
            raise Refusal(
                f"{key} {value} in gunicorn_app_list",
                "two applications have it",
                "Give each its own",
            )
