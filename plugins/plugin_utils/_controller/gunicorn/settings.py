# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What gunicorn is told: by its command line, and by what an application brings along itself.

gunicorn reads an application's ``gunicorn.conf.py``, then the variable ``GUNICORN_CMD_ARGS``, and
lets its command line go before both. So what nobody asked for is left out of the command line
where the application says it, and whatever goes before its own word is named.
"""

from __future__ import annotations

import os
import pathlib
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ansible_collections.gpunode.stack.plugins.module_utils._node import near_miss
from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app import service
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal

from ..inputs import catalog
from . import python_source

_CONFIG = "gunicorn.conf.py"
_ARGUMENTS, _CONCURRENCY = "GUNICORN_CMD_ARGS", "WEB_CONCURRENCY"
# {setting: the option of an application that says it}
_OPTIONS = {
    "workers": "workers",
    "threads": "threads",
    "timeout": "timeout_s",
    "worker_class": "worker_class",
}
_DEFAULTS = {"workers": 2, "threads": 1, "timeout": 30}
# Those that are said in another way, or by the unit alone.
_ELSEWHERE = {
    **_OPTIONS,
    "bind": "listen",
    "user": "user",
    "wsgi_app": "entry",
    "raw_env": "environment_variables",
    "chdir": "PYTHONPATH in environment_variables",
}
_NEVER = {
    "daemon": "systemd looks after the process that it started, and no other",
    "pidfile": "systemd knows the process, and a candidate would find it taken",
}
# By one of these gunicorn speaks TLS and nothing else.
_TLS = ("certfile", "keyfile")
# gunicorn is to be the one that gives up.
_MARGIN_S = 5
_CLASS = re.compile(r"[A-Za-z_][\w.:#-]*")
_SHORT = {
    "-b": "bind", "-c": "config", "-D": "daemon", "-e": "raw_env", "-g": "group",
    "-k": "worker_class", "-n": "proc_name", "-p": "pidfile", "-t": "timeout",
    "-u": "user", "-w": "workers",
}  # fmt: skip
# What workers of a class need in the environment, by what is in the name or path of the class, such
# as gunicorn.workers.ggevent.GeventWorker.
_NEEDS = {
    r"\baiohttp\b": "aiohttp",
    r"eventlet": "eventlet",
    r"gevent(?!let)": "gevent",
    r"tornado": "tornado",
    r"\bmeinheld\b": "meinheld",
    r"\buvicorn_worker\b": "uvicorn-worker",
    r"\buvicorn\.": "uvicorn",
}


class Told(NamedTuple):
    """What gunicorn is told.

    :ivar worker_class: of which class its workers are, '' where that is not said or not known.
    :ivar workers: the number of workers as an argument, '' where the application says it itself.
    :ivar arguments: all other arguments but the address and the entry.
    :ivar stop_s: how long it may take to stop.
    :ivar entry: what it serves.
    :ivar paths: folders of the release, relative, in which modules lie as well.
    :ivar scheme: 'http' or 'https', by which it is asked.
    :ivar notices: what of the application's own settings does not hold.
    """

    worker_class: str
    workers: str
    arguments: list[str]
    stop_s: float
    entry: str
    paths: list[str]
    scheme: str
    notices: list[str]


class _Rule(NamedTuple):
    """A setting that the command line says, and what asks for it, in words."""

    name: str
    value: str
    by: str


class _Own(NamedTuple):
    """What an application says of itself.

    :ivar values: {setting: value, or UNKNOWN}.
    :ivar places: {setting: where it is said}.
    :ivar unread: what could not be read, '' for nothing.
    """

    values: dict[str, object]
    places: dict[str, str]
    unread: str

    def holds(self, name: str) -> bool:
        """Say whether a setting is left to the application; what bounds a stop is to be known."""
        value = self.values.get(name)
        return name in self.values and ("timeout" not in name or _number(value) is not None)

    def text(self, name: str) -> str:
        """Return a setting that is a text, else ''."""
        value = self.values.get(name)
        return value if isinstance(value, str) else ""


def resolve(item: Mapping[str, Any], release: str, source: str | None, entry: str) -> Told:
    """Return what gunicorn is told.

    :param item: the options of the application, with its ``user``.
    :param release: the folder on the host that it works in.
    :param source: the folder with its files on the controller, None where they are on a host alone.
    :param entry: what is served where neither the item nor the application says it.
    :raises Refusal: something is said that cannot be.
    """
    what = f"application {item['name']}"
    said = _said(item["settings"], what)
    own = _own(item, said, source, what)
    _refuse_own(own, said, what)
    ruled = [*_of_options(item, own), *_of_unit(item, own, said, release)]
    arguments = [
        argument
        for rule in ruled
        if rule.name not in ("workers", "bind") and rule.name not in said
        for argument in (_flag(rule.name), rule.value)
    ]
    for name, value in said.items():
        arguments += _arguments(name, value, what)
    scheme = item.get("health_scheme") or _scheme(own, said)
    further = [
        _Rule(name, str(value), f"settings: {{{name}: {value}}}") for name, value in said.items()
    ]
    return Told(
        item.get("worker_class") or own.text("worker_class"),
        next((rule.value for rule in ruled if rule.name == "workers"), ""),
        arguments,
        _graceful(item, own, said) + _MARGIN_S,
        item.get("entry") or own.text("wsgi_app") or entry,
        _paths(item, own, said),
        scheme,
        [
            *_notices(item, own, [*(rule for rule in ruled if rule.name not in said), *further]),
            *_unknown_scheme(item, own, scheme),
        ],
    )


def of_program(item: Mapping[str, Any], entry: str) -> Told:
    """Return what a program is told that serves by itself: nothing but which file it is.

    :param entry: the file that is run where the item names none.
    :raises Refusal: something is said that gunicorn alone understands.
    """
    for option in ("worker_class", "settings"):
        if item.get(option):
            raise Refusal(
                f"{option} of application {item['name']}",
                "it is told to gunicorn, and server: python has none",
                "Leave it out",
            )
    timeout = item["timeout_s"] or _DEFAULTS["timeout"]
    scheme = item.get("health_scheme") or "http"
    return Told("", "", [], timeout + _MARGIN_S, item.get("entry") or entry, [], scheme, [])


def demand_packages(worker_class: str, environment: str, names: set[str] | None, what: str) -> None:
    """Refuse workers of a class whose package an environment lacks.

    :param worker_class: of a Told.
    :param environment: the name of the environment.
    :param names: what that holds, None where it is not known.
    :raises Refusal: it is no class, or its package is lacking.
    """
    if worker_class and not _CLASS.fullmatch(worker_class):
        raise Refusal(
            f"worker_class '{worker_class}' of {what}",
            "it is neither one of gunicorn's nor the path of a class",
            "Write it such as gevent or uvicorn.workers.UvicornWorker",
        )
    for sign, package in _NEEDS.items():
        if re.search(sign, worker_class) and names is not None and package not in names:
            raise Refusal(
                f"worker_class {worker_class} of {what}",
                f"neither the lock nor the requirements of environment {environment} name "
                f"{package}",
                f"Add {package} to the requirements",
            )


def _rows() -> dict[str, Mapping[str, Any]]:
    return {row["name"]: row for row in catalog.rows("gunicorn_settings")}


def _flag(name: str) -> str:
    return _rows()[name]["option"]


def _said(settings: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Return the further settings of an application.

    :raises Refusal: one is none, or not said like this.
    """
    rows = _rows()
    for name in settings:
        where = f"settings of {what}: {name}"
        if name in _ELSEWHERE:
            raise Refusal(where, "an option of its own says it", f"Say it with {_ELSEWHERE[name]}")
        if name in _NEVER:
            raise Refusal(where, _NEVER[name], "Leave it out")
        if name not in rows:
            raise Refusal(
                where,
                "gunicorn has no such setting",
                near_miss.remedy(
                    name, rows, "See https://docs.gunicorn.org/en/stable/settings.html"
                ),
            )
        if "option" not in rows[name]:
            raise Refusal(
                where,
                "it is a function or a table, which no command line can say",
                f"Say it in {_CONFIG} beside the application",
            )
    return dict(settings)


def _arguments(name: str, value: Any, what: str) -> list[str]:
    """Return the arguments that say a setting.

    :raises Refusal: it has no such value.
    """
    row, where = _rows()[name], f"settings of {what}: {name}: {value}"
    option, takes = row["option"], row["takes"]
    values = value if isinstance(value, list) else [value]
    if any(isinstance(one, (dict, list)) or one is None for one in values):
        raise Refusal(where, "it is no plain value", "Write a text, a number, true or false")
    if "value" not in takes or (isinstance(value, bool) and "nothing" in takes):
        if takes != "several":
            if not isinstance(value, bool):
                raise Refusal(where, "it is on or off", "Write true or false")
            return [option] if value is (takes != "denial") else []
    elif isinstance(value, (list, bool)):
        raise Refusal(where, "it takes one value, a text or a number", "Write that alone")
    texts = [str(one) for one in values]
    if not all(text.isprintable() for text in texts):
        raise Refusal(where, "it has a control character in it", "Leave that out")
    return [f"{option}={text}" for text in texts]


def _own(item: Mapping[str, Any], said: Mapping[str, Any], source: str | None, what: str) -> _Own:
    variables = item["environment_variables"]
    values: dict[str, object] = {}
    places: dict[str, str] = {}
    unread = ""
    if _CONCURRENCY in variables:
        values["workers"], places["workers"] = variables[_CONCURRENCY], _CONCURRENCY
    arguments = dict(_of_arguments(variables.get(_ARGUMENTS, "")))
    named = said.get("config") or arguments.get("config")
    config = str(named or _CONFIG).removeprefix("file:")
    if source is None or config.startswith("python:"):
        unread = config
    else:
        path = pathlib.Path(source, config)
        if named and not path.is_file():
            place = "settings" if "config" in said else _ARGUMENTS
            raise Refusal(
                f"{place} of {what}: config: {config}",
                f"there is no {config} in {source}",
                "Name a file of the source by its path there",
            )
        if path.is_file():
            found = python_source.values_of(path)
            known = {name: value for name, value in found.items() if name in _rows()}
            values.update(known)
            places.update(dict.fromkeys(known, config))
            unread = config if python_source.names_of(path) is None else ""
    for name, value in arguments.items():
        values[name], places[name] = value, _ARGUMENTS
    return _Own(values, places, unread)


def _of_arguments(text: str) -> Iterator[tuple[str, object]]:
    """Yield (setting, value) of a command line."""
    names = {row["option"]: name for name, row in _rows().items() if "option" in row}
    try:
        words = shlex.split(text)
    except ValueError:
        return
    for at, word in enumerate(words):
        option, _equals, value = word.partition("=")
        name = names.get(option) or _SHORT.get(option)
        if name:
            alone = _rows()[name]["takes"] in ("nothing", "denial")
            following = words[at + 1] if at + 1 < len(words) else ""
            yield name, True if alone else value or following


def _refuse_own(own: _Own, said: Mapping[str, Any], what: str) -> None:
    """Refuse what an application says of itself and no command line takes back."""
    value = own.values.get("daemon")
    if value not in (None, False, "", python_source.UNKNOWN):
        raise Refusal(
            f"daemon {value} in {own.places['daemon']} of {what}",
            _NEVER["daemon"],
            "Take it out there",
        )
    group = own.values.get("group")
    if group not in (None, "") and "group" not in said:
        raise Refusal(
            f"group in {own.places['group']} of {what}",
            "the service runs as its user from the start, and cannot take on another group",
            "Take it out there, or say settings: {group: ...} with the user's own",
        )


def _of_options(item: Mapping[str, Any], own: _Own) -> Iterator[_Rule]:
    """Yield what the options of an application say, and their defaults where it says nothing."""
    for name, option in _OPTIONS.items():
        value = item.get(option)
        if value is not None:
            yield _Rule(name, str(value), f"{option}: {value}")
        elif name in _DEFAULTS and not own.holds(name):
            default = _DEFAULTS[name]
            yield _Rule(name, str(default), f"{option}, which is {default} where it is not said")


def _of_unit(
    item: Mapping[str, Any], own: _Own, said: Mapping[str, Any], release: str
) -> Iterator[_Rule]:
    """Yield what the unit decides, and its defaults where the application says nothing."""
    yield _Rule("bind", item["listen"], f"listen: {item['listen']}")
    graceful = f"{_graceful(item, own, said):.15g}"
    if not own.holds("graceful_timeout"):
        yield _Rule("graceful_timeout", graceful, f"the timeout of {graceful} s")
    loses_none = "keepalive 0, which loses no request; settings: {keepalive: ...} goes before it"
    yield _Rule("keepalive", "0", loses_none)
    for name, value in (("worker_tmp_dir", "/dev/shm"), ("accesslog", "-")):
        if name not in own.values:
            yield _Rule(name, value, value)
    pidfile = f"{service.runtime_folder(item['name'])}/gunicorn.pid"
    decided = [
        _Rule("user", item["user"], f"user: {item['user']}"),
        _Rule("chdir", release, "the folder of the release"),
        _Rule("pidfile", pidfile, f"a folder that the service may write to, {pidfile}"),
    ]
    yield from (rule for rule in decided if rule.name in own.values)
    below = _below(own.text("chdir"))
    if below:
        theirs = filter(None, [own.text("pythonpath"), os.path.join(release, below)])
        yield _Rule("pythonpath", ",".join(theirs), f"{below}, in which it would have been started")


def _below(path: str) -> str:
    """Return a path inside of the release, '' for the release itself and for any other."""
    path = os.path.normpath(path) if path else ""
    return "" if path in ("", ".") or path.startswith(("..", "/")) else path


def _paths(item: Mapping[str, Any], own: _Own, said: Mapping[str, Any]) -> list[str]:
    variables = item["environment_variables"].get("PYTHONPATH", "").split(os.pathsep)
    pythonpath = str(said.get("pythonpath") or own.text("pythonpath")).split(",")
    return list(filter(None, map(_below, [*variables, *pythonpath, own.text("chdir")])))


def _graceful(item: Mapping[str, Any], own: _Own, said: Mapping[str, Any]) -> float:
    """Return the seconds that a worker which is told to go has for its requests."""
    told = (said.get("graceful_timeout"), own.values.get("graceful_timeout"), item["timeout_s"])
    known = filter(None, map(_number, (*told, own.values.get("timeout"))))
    return next(known, _DEFAULTS["timeout"])


def _scheme(own: _Own, said: Mapping[str, Any]) -> str:
    """Return by what gunicorn is asked, as far as it is known before it runs."""
    told = [said.get(name) or own.values.get(name) for name in _TLS]
    is_known = any(value not in (None, "", python_source.UNKNOWN) for value in told)
    return "https" if is_known else "http"


def _unknown_scheme(item: Mapping[str, Any], own: _Own, scheme: str) -> list[str]:
    """Return a sentence where what gunicorn speaks cannot be known before it runs."""
    unknown = [name for name in _TLS if own.values.get(name) is python_source.UNKNOWN]
    return [
        f"{name} of {own.places[name]} is not known before it is run, and its health is asked over "
        "http: say health_scheme where it speaks TLS"
        for name in unknown[:1]
        if scheme == "http" and not item.get("health_scheme")
    ]


def _number(value: object) -> float | None:
    """Return what is a number above 0, None of anything else."""
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if number > 0 else None


def _notices(item: Mapping[str, Any], own: _Own, rules: Iterable[_Rule]) -> list[str]:
    found = []
    for rule in rules:
        value = own.values.get(rule.name, rule.value)
        if str(value) != rule.value:
            shown = "" if value is python_source.UNKNOWN else f" {value}"
            found.append(f"{rule.name}{shown} of {own.places[rule.name]} is overruled by {rule.by}")
    defaults = [
        f"{name} {value}"
        for name, value in _DEFAULTS.items()
        if item[_OPTIONS[name]] is None and not own.holds(name)
    ]
    if own.unread and defaults:
        found.append(
            f"what {own.unread} says is not known before it is run: "
            f"{', '.join(defaults)} go before it"
        )
    return found
