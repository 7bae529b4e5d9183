# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What hosts keep: where to look on each, and what was found as text that is read in seconds."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app import observe
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal

from .. import wanted_state
from ..gunicorn import application
from ..inputs import host_folder
from . import report

_MIB = 1 << 20


def places(variables: Mapping[str, Any]) -> tuple[dict[str, Any], list[Refusal]]:
    """Return ({"applications": [{name, dir}], "environments": folder}, [Refusal]): where to look.

    Each item counts for itself, and neither sources nor locks are read: what else is wrong in an
    inventory keeps nobody from seeing what there is to go back to.

    :param variables: those of a host, with templates resolved.
    """
    applications, refusals = [], []
    given = variables.get("gunicorn_app_list")
    for number, items in enumerate(_alone(given), start=1):
        try:
            found = map(application.identity, _option("gunicorn_app", "list", items))
            applications += [{"name": app["name"], "dir": app["dir"]} for app in found]
        except Refusal as refusal:
            what = f"item {number} of gunicorn_app_list: {refusal.what}"
            refusals.append(Refusal(what, refusal.because, refusal.remedy))
    folder = ""
    try:
        folder = host_folder.checked(
            "conda_env_dir", _option("conda_env", "dir", variables.get("conda_env_dir"))
        )
    except Refusal as refusal:
        refusals.append(refusal)
    return {"applications": applications, "environments": folder}, refusals


def _alone(items: Any) -> list[Any]:
    """Return lists of one item each; what is no list stays what it is."""
    return [[item] for item in items] if isinstance(items, list) else [items]


def _option(component: str, name: str, value: Any) -> Any:
    """Return one option of a component, validated, whatever its others are."""
    return wanted_state.Site({f"{component}_{name}": value}, os.sep).options(component)[name]


def as_text(hosts: Mapping[str, Mapping[str, Any]], unreachable: Collection[str]) -> str:
    """Return what a fleet keeps, for people.

    Hosts that keep and run the same share a paragraph, whenever that came there; times and sizes
    are then those of the first.

    :param hosts: {host: {kept, refusals, address}}, see the module ``kept_info``.
    :param unreachable: hosts that did not answer.
    """
    paragraphs = []
    for alike in report.alike({host: _lines(found, _unmeasured) for host, found in hosts.items()}):
        addresses = {host: hosts[host]["address"] for host in alike}
        measured = f", times and sizes of {alike[0]}" if len(alike) > 1 else ""
        paragraphs += [
            f"{report.named(addresses)}{measured}",
            *(f"    {line}" for line in _lines(hosts[alike[0]], _measured)),
        ]
    return "\n".join(paragraphs + report.left_out(unreachable))


def _lines(found: Mapping[str, Any], measure: Callable[[Mapping[str, Any]], str]) -> list[str]:
    """Return the lines for what one host keeps.

    :param measure: returns the words for a release or build that differ between alike hosts.
    """
    lines = [line for refusal in found["refusals"] for line in report.refusal_lines(refusal)]
    for app in found["kept"]["applications"]:
        lines += [f"application {app['name']} in {app['dir']}"]
        lines += [f"    {line}" for line in _release_lines(app, measure)]
    for env in found["kept"]["environments"]:
        lines += [f"environment {env['name']} in {env['dir']}"]
        lines += [f"    {line}" for line in _build_lines(env, measure)]
    return lines or ["nothing is kept"]


def _unmeasured(_item: Mapping[str, Any]) -> str:
    return ""


def _measured(item: Mapping[str, Any]) -> str:
    """Return when a release or build came to the host, and what a build takes on the disk."""
    if item.get("placed") == observe.NEVER:
        return ""
    if "placed" in item:
        return f"placed {_clock(item['placed'])}  "
    size, own = (round(item[key] / _MIB) for key in ("bytes", "own"))
    return f"built {_clock(item['built'])}  {size:5} MiB, {own:5} of its own  "


def _clock(moment: float) -> str:
    """Return a Unix time as the reader's own clock shows it, '?' for one that none shows."""
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))
    except (OSError, OverflowError, ValueError):
        return "?"


def _release_lines(
    app: Mapping[str, Any], measure: Callable[[Mapping[str, Any]], str]
) -> list[str]:
    folder = os.path.join(app["dir"], "releases")
    paths = [os.path.join(folder, release["id"]) for release in app["releases"]]
    lines = [
        f"{release['id']}  {measure(release)}{_release_state(app, path, release)}"
        for path, release in zip(paths, app["releases"], strict=True)
    ]
    if app["runs"] and app["runs"] not in paths:
        lines.append(f"{app['name']}.service runs in {app['runs']}, which is not kept")
    return lines or ["no release is kept"]


def _release_state(app: Mapping[str, Any], path: str, release: Mapping[str, Any]) -> str:
    service = f"{app['name']}.service"
    said = []
    if path == app["named"] == app["runs"]:
        said.append("in service")
    elif path == app["named"]:
        said.append(f"{service} is to run it, and does not")
    elif path == app["runs"]:
        said.append(f"{service} still runs it, and is to run another")
    if not release["intact"]:
        said.append("changed by hand")
    elif not said and release["placed"] == observe.NEVER:
        said.append("was never in service")
    elif not said:
        said.append(f"go back: release: {release['id']}")
    return ", ".join(said)


def _build_lines(env: Mapping[str, Any], measure: Callable[[Mapping[str, Any]], str]) -> list[str]:
    return [f"{build['id']}  {measure(build)}{_build_state(env, build)}" for build in env["builds"]]


def _build_state(env: Mapping[str, Any], build: Mapping[str, Any]) -> str:
    said = ["in service"] if build["id"] == env["link"] else []
    if not build["whole"]:
        said.append("cannot be gone back to")
    elif not said:
        said.append(f"go back: build: {build['id']}")
    if build["users"]:
        said.append(f"used by {', '.join(build['users'])}")
    return ", ".join(said)
