# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bringing all applications of a host to their wanted state."""

from __future__ import annotations

import contextlib

from ansible_collections.gpunode.stack.plugins.module_utils import (
    app_host,
    app_plan,
    app_release,
    app_removal,
    app_service,
    app_state,
    child,
    env_build,
    listening,
    manifest,
    systemd,
)


def converge(wanted, secrets, archives, check_mode, run=child.run):
    """Bring all applications to their wanted state, each proven before the next.

    What is to go goes first. Nothing is changed where something stands in the
    way of any of them, or where the archive of a release that the host lacks
    was not handed over.

    :param wanted: the wanted state, see plugin_utils/gunicorn_app.py.
    :param secrets: {application: {variable: value}}.
    :param archives: {digest of a release: path of its archive on this host}.
    :param run: what runs commands, with the signature of child.run.
    :returns: {changed, changes, diff, manifest, needs}; ``needs`` are digests of releases
        whose archives are missing.
    :raises Refusal: something stands in the way, or an application does not do its work.
    """
    applications, going = wanted["applications"], wanted["absent"]
    for obstacle in app_removal.obstacles(going):
        raise obstacle
    removing = app_removal.steps(going, {app["user"] for app in applications}, run=run)
    rows = app_service.rows_besides(wanted["leaving"], listening.survey(run=run))
    own = [unit for app in applications for unit in app_service.own_units(app)]
    unit_files = systemd.files_of(own, run)
    plans, diff = [], []
    for app in applications:
        seen = app_state.observe(app, secrets.get(app["name"], {}), rows, check_mode, run=run)
        for obstacle in [
            *app_service.obstacles(app, seen["account"], rows, unit_files),
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
        app_removal.apply(removing)
        host = app_host.Host(secrets, archives, run)
        for app, plan in plans:
            host.apply(app, plan)
    changes = [step.sentence for step in removing]
    changes += [step.sentence for _app, plan in plans for stage in plan for step in stage]
    return {
        "changes": changes,
        "changed": bool(changes),
        "diff": diff,
        "manifest": app_removal.entries(going)
        + [entry for app in applications for entry in _manifest(app)],
        "needs": [] if check_mode else needs,
    }


def _manifest(app):
    """Return the manifest of what is in place of an application: all, once it is converged."""
    paths = [app_service.unit_path(unit) for unit in app["units"]]
    if app["secrets_digest"]:
        paths.append(app_service.secrets_path(app["name"]))
    makers = [
        (manifest.user, app["user"]),
        (manifest.directory, app_service.releases_of(app)),
        (lambda path: manifest.tree(path, app_release.IGNORED), app["release"]),
        *((manifest.file, path) for path in paths),
        (manifest.link, app_service.link_of(app)),
    ]
    entries = []
    for make, subject in makers:
        with contextlib.suppress(FileNotFoundError, KeyError):
            entries.append(make(subject))
    marks = {app_service.service_of(app): app["unit_digest"]}
    record = env_build.record_of(app["prefix"])
    return [
        *entries,
        *(
            manifest.unit(unit, "active", "enabled", marks.get(unit))
            for unit in app_service.units_of(app)
        ),
        # A run that was killed between a repair and the reload leaves old workers.
        manifest.fresh(app_service.service_of(app), record, app["server"] == "gunicorn"),
    ]
