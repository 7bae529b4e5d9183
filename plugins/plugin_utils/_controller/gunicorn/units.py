# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The units of an application: its service and socket, and the service of its candidate."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import jinja2

from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app import (
    candidate as app_candidate,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app import (
    service as app_service,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app.wanted import Units
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import files, systemd

from .. import project

# What systemd reads as one argument without quotes.
_PLAIN = re.compile(r"[A-Za-z0-9_.:,=/@+()\[\]-]+")
# What the environment's Python does before it becomes the program that the arguments name behind
# the prefix. A shell would keep variables such as IFS from what it starts, and C.UTF-8 is set by
# Python itself at times: so the unit's are read as the kernel has them. conda 24, activate.py and
# core/prefix_data.py: variables of packages, those of the environment, and then the scripts. A file
# of these that is broken, however, is told in the journal and keeps no application from its start.
_ACTIVATE = """\
import glob, json, os, subprocess, sys
prefix, *command = sys.argv[1:]
def read(rows):
    return dict(row.split(b"=", 1) for row in rows.split(b"\\0") if b"=" in row)
with open("/proc/self/environ", "rb") as handle:
    said = read(handle.read())
found = {}
for path in sorted(glob.glob(prefix + "/etc/conda/env_vars.d/*")) + [prefix + "/conda-meta/state"]:
    if os.path.exists(path):
        try:
            with open(path, encoding="utf-8") as handle:
                known = json.load(handle)
            known = known.get("env_vars", {}) if path.endswith("/state") else known
            pairs = {os.fsencode(name): os.fsencode(str(known[name])) for name in known}
            if any(not name or b"=" in name or b"\\0" in name + pairs[name] for name in pairs):
                raise ValueError("it has what is no variable")
            found.update(pairs)
        except Exception as error:
            print(path + ":", error, file=sys.stderr)
found = {name: found[name] for name in found if found[name] != b"***unset***"}
found.update(said)
scripts = sorted(glob.glob(prefix + "/etc/conda/activate.d/*.sh"))
if scripts:
    shell = 'exec 3>&1 1>&2; for f; do . "$f"; done; /usr/bin/env -0 >&3'
    shell = ["/bin/bash", "--noprofile", "--norc", "-c", shell, "activate"] + scripts
    told = read(subprocess.Popen(shell, env=found, stdout=subprocess.PIPE).communicate()[0])
    for own in b"_", b"SHLVL", b"PWD", b"OLDPWD":
        told.pop(own, None)
    found.update(told)
    found.update(said)
    found[b"PATH"] = told.get(b"PATH", said.get(b"PATH", os.defpath.encode()))
os.execve(command[0], command, found)
"""
_TEMPLATES = project.ROOT / "roles/gunicorn_app/templates/etc/systemd/system"


def render(values: Mapping[str, Any]) -> Units:
    """Return the units of an application.

    The candidate's service differs from the application's only in having one worker, another
    address and no restart; there is none where the application asks for none, and for
    ``server: python``, which binds an address of its own choice and so cannot run twice.

    :param values: the options of the application and what was resolved from them.
    """
    by_gunicorn = values["server"] == "gunicorn"
    name = values["name"]
    service = {
        **values,
        "candidate": False,
        "socket": app_service.socket_of(values) if by_gunicorn else "",
        "bind": "",
        # Of its own: a unix socket at /run/<name>/ would be removed with a folder of the service.
        "runtime_directory": os.path.basename(app_service.runtime_folder(name)),
        "secrets_file": app_service.secrets_path(name) if values["secrets_digest"] else "",
        "unit_mark": systemd.UNIT_MARK,
        "unit_digest": "",
    }
    digest = files.sha256_of_text(_rendered("app.service.j2", service))
    service["unit_digest"] = digest
    units = {app_service.service_of(values): _rendered("app.service.j2", service)}
    if by_gunicorn:
        # In the order of their start.
        units = {app_service.socket_of(values): _rendered("app.socket.j2", values), **units}
    wants_candidate = by_gunicorn and values["candidate"]
    return {
        "units": units,
        "unit_digest": digest,
        "candidate": _rendered("app.service.j2", _candidate(service)) if wants_candidate else None,
    }


def _candidate(service: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the service of a candidate is rendered from, by what its application's is."""
    name = service["name"]
    return {
        **service,
        "candidate": True,
        "socket": "",
        "bind": f"unix:{app_candidate.socket_path(name)}",
        "runtime_directory": app_candidate.runtime_directory(name),
        "secrets_file": app_candidate.secrets_path(name) if service["secrets_digest"] else "",
        "workers": "1",
    }


def _rendered(template: str, values: Mapping[str, Any]) -> str:
    engine = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    engine.globals["activated"] = activated
    engine.filters.update(unit_quoted=unit_quoted, argument=argument, text=text)
    return engine.get_template(template).render(values)


def activated(prefix: str) -> str:
    """Return what a command line begins with that runs a program in an activated environment.

    As ``conda activate`` does, it sets the variables that packages and the environment itself
    bring, and those of the scripts in etc/conda/activate.d; what the unit says goes before them,
    but for the PATH.
    """
    return f"{prefix}/bin/python -I -S -c {argument(_ACTIVATE)} {prefix}"


def text(value: str) -> str:
    """Return a text as a unit file has it where it is read as it is but for specifiers."""
    return value.replace("%", "%%")


def argument(value: str) -> str:
    """Return a text as one argument of a command line in a unit file."""
    return value if _PLAIN.fullmatch(value) else unit_quoted(value).replace("$", "$$")


def unit_quoted(value: str) -> str:
    """Return a text in the double quotes of a unit file, which systemd reads back unchanged."""
    for character, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("%", "%%")):
        value = value.replace(character, escaped)
    return f'"{value}"'
