# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The checks of applications: their units, their release, and whether somebody listens."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import listening

from . import looks
from .check import CRITICAL, Check, Found, Host

_COMPONENT = "gunicorn_app"
# systemd.unit(5): where the files of its units lie.
_UNIT_FILES = ("/etc/systemd/system/*",)
_OF_OTHERS = {*looks.OF_UNITS, "drop-in", "tree", "link", "receipt"}
_FILES = tuple(kind for kind in facts_shape.DRIFT_KINDS if kind not in _OF_OTHERS)


def _deaf(host: Host) -> Iterator[Found]:
    """Yield the applications whose units run and on whose address nobody listens."""
    receipt = host.receipt(_COMPONENT)
    if receipt is None:
        return
    stopped = {row["of"] for row in receipt["drift"] if row["kind"] == "unit-state"}
    for app in host.plan["wanted"][_COMPONENT]:
        # What was not brought yet, or does not run, is told by itself.
        if app["name"] not in receipt["names"] or stopped.intersection(app["units"]):
            continue
        address, port = listening.parse(app["listen"])
        heard = [
            row
            for row in host.facts["listening"]
            if listening.overlap((address, port), (row["address"], row["port"]))
            and row["unit"] in app["units"]
        ]
        if not heard:
            yield Found(
                f"nobody of {' and '.join(app['units'])} listens on {app['listen']}",
                of=f"{app['name']}.service",
            )


CHECKS = (
    looks.brought("application", _COMPONENT, "Every application"),
    *looks.units("application", _COMPONENT, "applications"),
    Check(
        "application.listens",
        "Each application that runs has its address.",
        CRITICAL,
        "restart_service",
        "Run systemctl restart {of}; journalctl --unit={of} says what keeps it. Or run {site}",
        (looks.Seen(_deaf, looks.Drift(_COMPONENT, ()).blind),),
        looks.is_wanted(_COMPONENT),
        looks.ONCE_CONVERGED,
    ),
    looks.drifted(
        "application.unit_files",
        _COMPONENT,
        "The files of applications' units are as they were left.",
        *_FILES,
        paths=_UNIT_FILES,
    ),
    looks.drifted(
        "application.drop_ins",
        _COMPONENT,
        "Nothing changes the units of applications that did not when they were proven.",
        "drop-in",
        remedy="Run systemctl revert {of} where nobody needs it, then {site}; or run {site}, which "
        "proves the application with it and tells of it from then on",
    ),
    looks.drifted(
        "application.release",
        _COMPONENT,
        "The release in service is as it was sent.",
        *("tree", "link"),
    ),
    looks.drifted(
        "application.files",
        _COMPONENT,
        "Users, folders and other files of applications are as they were left.",
        *_FILES,
        but=_UNIT_FILES,
    ),
)
