# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The proof that an application does its work."""

from __future__ import annotations

import time

from ansible_collections.gpunode.stack.plugins.module_utils import (
    app_process,
    app_service,
    child,
    http_probe,
    systemd,
)

_POLL_S = 0.25
_ANSWER_S = 10


class NotServing(Exception):
    """An application does not answer as it should; the text says what it does instead."""


def prove(app, run=child.run, sleep=time.sleep):
    """Wait until the application answers 200 over its address, from its release and environment.

    :param run: what runs ``systemctl``.
    :raises NotServing: it did not within its ``start_timeout_s``, or died meanwhile.
    """
    unit = app_service.service_of(app)
    deadline = time.monotonic() + app["start_timeout_s"]
    restarts = None
    while True:
        patience_s = max(1, min(_ANSWER_S, deadline - time.monotonic()))
        complaint = http_probe.complaint(app["listen"], app["health_path"], patience_s)
        state = systemd.show([unit], ("ActiveState", "MainPID", "NRestarts"), run).get(unit, {})
        restarts = restarts or state.get("NRestarts")
        if state.get("ActiveState") == "failed" or state.get("NRestarts") != restarts:
            raise NotServing("it dies as soon as it is started")
        if not complaint:
            break
        if time.monotonic() >= deadline:
            raise NotServing(
                f"for {app['start_timeout_s']} s, GET {app['health_path']} on {app['listen']} "
                f"{complaint}"
            )
        sleep(_POLL_S)
    reason = app_process.reasons_to_restart(
        app, app_process.process(state.get("MainPID"), app["release"])
    )
    if reason:
        raise NotServing(f"something answers on {app['listen']}, but {reason}")
