# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wanted of the licence of a host's virtual GPUs."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape
from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import gridd
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import files
from ansible_collections.gpunode.stack.plugins.module_utils._node.vgpu_license import (
    plan,
    wanted,
)

from ..inputs import sent_file
from ..inputs.site import Site

# RFC 1123 and addresses of both kinds.
_SERVER = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|[0-9A-Fa-f]*(?::[0-9A-Fa-f.]*){2,}"
)
_TOKEN_NAME = re.compile(r"[\w.-]+\.tok")
# A JSON Web Token, RFC 7519: header, payload and signature.
_TOKEN = re.compile(r"[\w-]+={0,2}\.[\w-]+={0,2}\.[\w-]+={0,2}")


def is_wanted(site: Site) -> bool:
    """Say whether a host is to have a licence, or to lose it."""
    options = site.options("vgpu_license")
    return options["state"] == "absent" or _is_said(options)


def resolve(options: Mapping[str, Any], site: Site) -> wanted.State:
    """Return the wanted state; what is in a token comes from :func:`token_text`."""
    if options["state"] == "absent":
        return {"state": "absent"}
    if not _is_said(options):
        return {"state": "unsaid"}
    text = token_text(options, site)
    token: wanted.Token | None = None
    if text is None:
        settings, source = _legacy(options), options["server"]
    else:
        name = os.path.basename(options["token"])
        settings, token, source = {}, {"name": name, "sha256": files.sha256_of_text(text)}, name
    settings["FeatureType"] = options["feature_type"]
    return {
        "state": "present",
        "source": source,
        "configuration": plan.MARK + "".join(f"{key}={value}\n" for key, value in settings.items()),
        "token": token,
        "wait_s": options["wait_s"],
    }


def token_text(options: Mapping[str, Any], site: Site) -> str | None:
    """Return what is in the token, None where a legacy server is wanted.

    :raises Refusal: it is none, cannot be read, or both are wanted.
    """
    path = options.get("token")
    if not path:
        return None
    what = f"vgpu_license_token {path}"
    if options.get("server") or options.get("backup_server"):
        raise Refusal(
            what,
            "there is a legacy server as well, vgpu_license_server or vgpu_license_backup_server",
            "Say one of them",
        )
    if not _TOKEN_NAME.fullmatch(os.path.basename(path)):
        raise Refusal(
            what,
            "nvidia-gridd reads files whose name ends in .tok",
            "Give it the name under which it was downloaded",
        )
    text = site.read_text(path, "vgpu_license_token")
    if not _TOKEN.fullmatch(text.strip()):
        raise Refusal(
            what,
            "its content has not the form of a client configuration token",
            "Download it again from the license server, and leave it as it is",
        )
    return text


def present(state: wanted.State) -> list[str]:
    """Return the names of what is to be in place."""
    return ["licence"] if state["state"] == "present" else []


def absent(state: wanted.State) -> list[str]:
    """Return the names of what is to be removed."""
    return ["licence"] if state["state"] == "absent" else []


def probe(_state: wanted.State) -> dict[str, list[str]]:
    """Return what the plan must know of the host."""
    return {"paths": [], "users": [], "units": [gridd.UNIT]}


def refusals(_state: wanted.State, _facts: facts_shape.Facts) -> list[Refusal]:
    """Return []: whether the daemon is there is seen once the driver is."""
    return []


def arguments(state: wanted.State, site: Site) -> dict[str, Any]:
    """Return what the module takes besides: the token, as nothing that is kept or shown has it."""
    if not state.get("token"):
        return {}
    return {"token": token_text(site.options("vgpu_license"), site)}


def sendable(_state: wanted.State) -> dict[str, sent_file.File]:
    """Return the files of the controller that the host may ask for: none."""
    return {}


def summary(state: wanted.State) -> list[dict[str, Any]]:
    """Return one line for people."""
    if state["state"] == "present":
        return [{"says": f"vGPU licence by {state['source']}"}]
    return [{"says": "no vGPU licence"}]


def _is_said(options: Mapping[str, Any]) -> bool:
    """Say whether there is a source of licences."""
    return any(options.get(name) for name in ("server", "backup_server", "token"))


def _legacy(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of gridd.conf for a legacy license server."""
    settings = {}
    if not options.get("server"):
        raise Refusal(
            f"vgpu_license_backup_server {options['backup_server']}",
            "there is no vgpu_license_server",
            "Say that first",
        )
    for key, prefix in (("", ""), ("Backup", "backup_")):
        server, port = options.get(f"{prefix}server"), options[f"{prefix}port"]
        if not server:
            continue
        if not _SERVER.fullmatch(server):
            raise Refusal(
                f"vgpu_license_{prefix}server {server!r}",
                "it is neither the name of a host nor an address",
                "Say it without port and scheme",
            )
        if not 1 <= port <= 65535:
            raise Refusal(
                f"vgpu_license_{prefix}port {port}", "a port is from 1 to 65535", "Correct it"
            )
        settings[f"{key}ServerAddress"], settings[f"{key}ServerPort"] = server, port
    return settings
