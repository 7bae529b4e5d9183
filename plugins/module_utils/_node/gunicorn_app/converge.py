# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bringing all applications of a host to their wanted state."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from .. import steps
from ..component import bring
from ..conda import builds
from ..records import manifest
from ..refusal import Collected, refuse
from ..system import folders, listening, safe_paths, systemd
from . import apply, data, observe, release, remains, removal, service
from . import plan as app_plan
from .wanted import Application, State

# An application, what is seen of it, and what is to be done.
_Planned = tuple[Application, observe.Seen, app_plan.Plan]


def converge(node: bring.Node, asked: dict[str, Any], check_mode: bool) -> steps.Result:
    """Bring all applications to their wanted state, each proven before the next.

    What is to go goes first. Nothing is changed where something stands in the
    way of any of them, or where the archive of a release that the host lacks
    was not handed over. One that does not do its work then keeps no other from
    its turn.

    :param node: the bring.Node.
    :param asked: the parameters of the module; what is wanted is a wanted.State, ``secrets``
        are {application: {variable: value}} as JSON. The archives of releases are sent along by
        their digests.
    :returns: the steps.Result.
    :raises Refusal: something stands in the way, or applications do not do their work.
    """
    wanted: State = asked["wanted"]
    run = node.run
    means = app_plan.Means(json.loads(asked["secrets"]), node.sent, run)
    applications, going = wanted["applications"], wanted["absent"]
    left = remains.observe(going, run)
    refuse(removal.obstacles(going, left))
    removing = removal.steps(going, left, {app["user"] for app in applications}, run)
    planned = _planned(wanted, means, check_mode)
    needs = [
        digest
        for app, seen, *_plan in planned
        for digest in app_plan.needs(app, seen)
        if digest not in means.archives
    ]
    if not check_mode and not needs:
        steps.run(removing)
        _apply(wanted, planned, means)
    return steps.Result(
        steps.sentences(removing + [step for *_app, plan in planned for step in plan.steps()]),
        [shown for app, seen, *_plan in planned for shown in app_plan.diffs(app, seen)],
        remains.entries(going) + [entry for app in applications for entry in _manifest(app)],
        [] if check_mode else needs,
    )


def _apply(wanted: State, planned: list[_Planned], means: app_plan.Means) -> None:
    """Set up one application after the other.

    :raises Refusal: some do not do their work, all of which are told.
    """
    collected = Collected()

    def set_up(app: Application, seen: observe.Seen, plan: app_plan.Plan) -> None:
        if collected.refusals:
            # One that failed may not have done what this one was to find done.
            ((app, seen, plan),) = _planned({**wanted, "applications": [app]}, means, False)
        apply.apply(app, seen, plan, means)

    for each in planned:
        collected.ask(set_up, *each)
    collected.refuse()


def _planned(wanted: State, means: app_plan.Means, check_mode: bool) -> list[_Planned]:
    """Return what is seen of each application that is to be in place, and its plan.

    :raises Refusal: something stands in the way of one of them.
    """
    run, applications = means.run, wanted["applications"]
    planned: list[_Planned] = []
    rows = service.rows_besides(wanted["leaving"], listening.survey(run=run))
    own = [unit for app in applications for unit in service.own_units(app)]
    unit_files = systemd.files_of(own, run)
    collected = Collected()
    for app in applications:
        # What lies behind a link is not looked at.
        collected.ask(_refuse_links, app)
    collected.refuse()
    looked = [
        (app, observe.observe(app, means.secrets_of(app), rows, check_mode, run))
        for app in applications
    ]
    refuse(
        obstacle
        for app, seen in looked
        for obstacle in (
            *service.obstacles(app, seen.account, rows, unit_files),
            *app_plan.obstacles(app, seen),
        )
    )
    for app, seen in looked:
        plan = app_plan.plan(app, seen, wanted["keep"], means)
        # Of two that share a user, the first one's steps have seen to the account by then.
        before = {step.sentence for *_app, earlier in planned for step in earlier.preparing}
        lacking = [step for step in plan.preparing if step.sentence not in before]
        planned.append((app, seen, plan._replace(preparing=lacking)))
    return planned


def _refuse_links(app: Application) -> None:
    """Refuse folders that are to be made where a link of another user leads, in check mode as well.

    :raises Refusal: one leads to the releases, or to one that the application is to write to.
    """
    for path in (service.releases_of(app), *data.lacking(app)):
        # One that is not there yet is held once it is made.
        with contextlib.suppress(OSError), safe_paths.held(path):
            pass


def _manifest(app: Application) -> list[dict[str, Any]]:
    """Return the manifest of what is in place of an application: all, once it is converged."""
    paths = [service.unit_path(unit) for unit in app["units"]]
    if app["secrets_digest"]:
        paths.append(service.secrets_path(app["name"]))
    makers = [
        (manifest.user, app["user"]),
        (manifest.directory, service.releases_of(app)),
        # One that was there before may be a user's.
        *([(manifest.directory, app["dir"])] if folders.is_ours(app["dir"]) else []),
        *((manifest.directory, path) for path in app["writable"]),
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
    main = service.service_of(app)
    return [
        *entries,
        *(
            manifest.unit(unit, "active", "enabled", marks.get(unit))
            for unit in service.units_of(app)
        ),
        # A run that was killed between a repair and the restart leaves an old process.
        manifest.fresh(main, record),
        manifest.account(main, app["user"]),
        *map(manifest.drop_ins, service.units_of(app)),
    ]
