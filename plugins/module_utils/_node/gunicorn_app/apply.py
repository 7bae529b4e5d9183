# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Setting up an application on a host: doing the steps, proving the effect, going back."""

from __future__ import annotations

import os

from .. import steps
from ..refusal import Refusal
from ..system import systemd
from . import actions, journal, observe, process, proof, rollback, service, surroundings
from .plan import Means, Plan
from .wanted import Application


def apply(app: Application, seen: observe.Seen, plan: Plan, means: Means) -> None:
    """Do an application's steps; what was in service before is so again where it fails.

    :param seen: what observe.observe() found.
    :param plan: what plan.plan() made of that.
    :raises Refusal: it failed; the text ends with what the application logged.
    """
    if not os.access(os.path.join(app["prefix"], "bin", "python"), os.X_OK):
        raise Refusal(
            f"environment {app['prefix']} of application {app['name']}",
            "it has no bin/python on this host",
            "Set the environment up first (the conda_env component)",
        )
    try:
        steps.run(plan.preparing)
        _verify(app, plan, means)
        steps.run(plan.trying)
        _switch_over(app, seen, plan, means)
    except Exception:
        # One that a killed run brought here is no better for that, nor one that took the place of
        # what had served: so those that served are looked for again.
        if app["release"] not in observe.served(app):
            actions.remove(app["release"])
        raise
    steps.run(plan.cleaning)


def _verify(app: Application, plan: Plan, means: Means) -> None:
    """Have systemd read the units that are about to be put in place."""
    try:
        if plan.units:
            systemd.verify(plan.units, means.run)
    except systemd.UnitError as error:
        raise Refusal(
            f"the units of application {app['name']}", str(error), plan.fallback()
        ) from error


def _switch_over(app: Application, seen: observe.Seen, plan: Plan, means: Means) -> None:
    # What an operator did since is to stay, unless a run before this one was killed in its midst.
    before = seen.before if seen.before.is_noted else rollback.Before(app, means.run)
    after = systemd.journal_end(means.run)
    if plan.switching:
        before.note()
    try:
        steps.run(plan.switching)
        _prove(app, means)
    except (systemd.UnitError, proof.NotServing, OSError) as error:
        # Before what served goes on logging.
        log = journal.read(service.service_of(app), after, app["health_path"], means.run)
        raise journal.failure(
            f"application {app['name']}",
            error,
            before.bring_back() if before.is_noted else "Nothing was changed",
            log,
            means.secrets_of(app),
            surroundings.says(app),
        ) from error
    before.forget()
    surroundings.note(app, seen.drop_ins)


def _prove(app: Application, means: Means) -> None:
    main = proof.prove(app, service.service_of(app), app["listen"], means.run)
    reason = process.reasons_to_restart(app, process.process(main, app["release"]))
    if observe.is_older_than_environment(app, main):
        reason = reason or f"its main process (pid {main}) may have loaded what was repaired since"
    if reason:
        raise proof.NotServing(f"something answers on {app['listen']}, but {reason}")
