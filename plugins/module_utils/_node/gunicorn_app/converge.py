# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bringing all applications of a host to their wanted state."""

from __future__ import annotations

import contextlib
import json

from ..conda import builds
from ..records import manifest
from ..steps import Result
from ..system import listening, systemd
from . import apply, observe, release, removal, service
from . import plan as app_plan


def converge(host, asked, check_mode):
    """Bring all applications to their wanted state, each proven before the next.

    What is to go goes first. Nothing is changed where something stands in the
    way of any of them, or where the archive of a release that the host lacks
    was not handed over.

    :param host: the bring.Host.
    :param asked: the parameters of the module; what is wanted is the state of
        plugin_utils/_controller/components/gunicorn_app.py, ``secrets`` are
        {application: {variable: value}} as JSON. The archives of releases are sent along
        by their digests.
    :returns: the steps.Result.
    :raises Refusal: something stands in the way, or an application does not do its work.
    """
    wanted, archives, run = asked["wanted"], host.sent, host.run
    secrets = json.loads(asked["secrets"])
    applications, going = wanted["applications"], wanted["absent"]
    for obstacle in removal.obstacles(going):
        raise obstacle
    removing = removal.steps(going, {app["user"] for app in applications}, run=run)
    rows = service.rows_besides(wanted["leaving"], listening.survey(run=run))
    own = [unit for app in applications for unit in service.own_units(app)]
    unit_files = systemd.files_of(own, run)
    plans, diff = [], []
    for app in applications:
        seen = observe.observe(app, secrets.get(app["name"], {}), rows, check_mode, run=run)
        for obstacle in [
            *service.obstacles(app, seen["account"], rows, unit_files),
            *app_plan.obstacles(app, seen),
        ]:
            raise obstacle
        plans.append((app, app_plan.steps(app, seen, wanted["keep"])))
        diff += app_plan.diffs(app, seen)
    needs = [
        step.argument["digest"]
        for _app, plan in plans
        for step in plan.preparing
        if step.verb == "place_release" and step.argument["digest"] not in archives
    ]
    if not check_mode and not needs:
        removal.apply(removing)
        applier = apply.Applier(secrets, archives, run)
        for app, plan in plans:
            applier.apply(app, plan)
    changes = [step.sentence for step in removing]
    changes += [step.sentence for _app, plan in plans for stage in plan for step in stage]
    return Result(
        changes,
        diff,
        removal.entries(going) + [entry for app in applications for entry in _manifest(app)],
        [] if check_mode else needs,
    )


def _manifest(app):
    """Return the manifest of what is in place of an application: all, once it is converged."""
    paths = [service.unit_path(unit) for unit in app["units"]]
    if app["secrets_digest"]:
        paths.append(service.secrets_path(app["name"]))
    makers = [
        (manifest.user, app["user"]),
        (manifest.directory, service.releases_of(app)),
        (lambda path: manifest.tree(path, release.IGNORED), app["release"]),
        *((manifest.file, path) for path in paths),
        (manifest.link, service.link_of(app)),
    ]
    entries = []
    for make, subject in makers:
        with contextlib.suppress(FileNotFoundError, KeyError):
            entries.append(make(subject))
    marks = {service.service_of(app): app["unit_digest"]}
    record = builds.record_of(app["prefix"])
    return [
        *entries,
        *(
            manifest.unit(unit, "active", "enabled", marks.get(unit))
            for unit in service.units_of(app)
        ),
        # A run that was killed between a repair and the reload leaves old workers.
        manifest.fresh(service.service_of(app), record, app["server"] == "gunicorn"),
    ]
