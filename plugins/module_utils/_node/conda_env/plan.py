# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is to be done to have a host's environments as wanted, from what it has of them."""

from __future__ import annotations

import functools
import os
from typing import NamedTuple

from ..conda import builds, contents, prefixes
from ..conda.wanted import Environment as Wanted
from ..packages import package_manager
from ..refusal import Refusal
from ..steps import Step, diff, together
from ..system.commands import Run
from . import apply
from .builder import Builder
from .observe import Environment, Seen
from .wanted import Complete


class Plan(NamedTuple):
    """What is to be done.

    :ivar preparing: the steps before anything in service is touched, but for what is to go.
    :ivar switching: those after the imports: links move, and earlier builds go.
    :ivar diff: what is shown of the environments that change.
    """

    preparing: list[Step]
    switching: list[Step]
    diff: list[dict[str, str]]


def obstacles(wanted: Complete, seen: Seen) -> list[Refusal]:
    """Return a Refusal for each thing that keeps environments from being made or removed.

    :param wanted: the wanted state, complete.
    :param seen: what observe.observe() found.
    """
    found = []
    if seen.flaw:
        found.append(
            Refusal(
                f"environments in {wanted['dir']}",
                seen.flaw,
                "Choose another conda_env_dir: one that is new, or that only root writes",
            )
        )
    for env in wanted["environments"]:
        found += _obstacles_of(env, seen.environments[env["name"]], bool(seen.flaw))
    for name, leaving in seen.leaving.items():
        for path, who in sorted(leaving.users.items()):
            found.append(
                Refusal(
                    f"remove environment {name}",
                    f"{who} lives in {path}",
                    "End it or let it use another environment, and run again",
                )
            )
    return found


def _obstacles_of(env: Wanted, here: Environment, is_flawed: bool) -> list[Refusal]:
    """Return a Refusal for each thing that keeps an environment from being made.

    :param is_flawed: whether the folder of all environments is refused already.
    """
    what, found = f"environment {env['name']}", []
    if here.verdict == "foreign":
        found.append(prefixes.foreign(what, env["prefix"], "conda_env_dir"))
    if here.flaw and not is_flawed:
        found.append(
            Refusal(
                f"{what}: {env['prefix']}",
                f"{here.flaw}, and may have changed what runs from there",
                f"Remove {env['prefix']}, for it to be built anew",
            )
        )
    if here.is_blocked:
        found.append(
            Refusal(
                what,
                f"{env['link']} is not a link, and the link to the environment is to lie there",
                "Move it away or choose another name",
            )
        )
    return found


def plan(wanted: Complete, seen: Seen, builder: Builder, run: Run) -> Plan:
    """Return the Plan.

    :param wanted: the wanted state, complete.
    :param seen: what observe.observe() found.
    :param builder: what builds, repairs and removes.
    :param run: what runs commands.
    """
    pairs = [(env, seen.environments[env["name"]]) for env in wanted["environments"]]
    return Plan(
        [
            *_removal_steps(wanted, seen, builder),
            *_package_steps(seen.lacking, builder, run),
            *_folder_steps(wanted, seen),
            *(step for env, here in pairs for step in _build_steps(env, here, builder)),
        ],
        [
            *(step for env, here in pairs for step in _link_steps(env, here)),
            *_collection_steps(wanted, seen, builder),
        ],
        [shown for env, here in pairs for shown in _diffs(env, here)],
    )


def _removal_steps(wanted: Complete, seen: Seen, builder: Builder) -> list[Step]:
    """Return a step for each build and link of an environment that is to go, and their folder."""
    folder, todo = wanted["dir"], []
    going: set[str] = set()
    for env in wanted["absent"]:
        leaving = seen.leaving[env["name"]]
        todo += [_removing(path, builder) for path in leaving.builds]
        if leaving.is_linked:
            todo.append(Step(f"remove {env['link']}", functools.partial(os.unlink, env["link"])))
        going.update(leaving.builds, [env["link"]])
    if wanted["remove_dir"] and seen.has_folder and seen.entries <= going:
        todo.append(Step(f"remove {folder}", functools.partial(apply.remove_folder, folder)))
    return todo


def _package_steps(lacking: list[str], builder: Builder, run: Run) -> list[Step]:
    if not lacking:
        return []
    install = functools.partial(package_manager.install, lacking, builder.execute, run)
    return together([f"install {name}" for name in lacking], install)


def _folder_steps(wanted: Complete, seen: Seen) -> list[Step]:
    folder = wanted["dir"]
    if not wanted["environments"] or seen.is_open:
        return []
    says = f"give {folder} to root, readable by all" if seen.has_folder else f"create {folder}"
    return [Step(says, functools.partial(apply.make_folder, folder))]


def _build_steps(env: Wanted, here: Environment, builder: Builder) -> list[Step]:
    """Return the steps that bring the build of an environment to its lock, if it is not there."""
    if here.contents is None:
        return [Step(_build_sentence(env, here), functools.partial(builder.build, env))]
    if not here.contents.is_as_wanted():
        return together(here.contents.sentences(), functools.partial(builder.repair, env))
    if not here.is_recorded:
        mend = functools.partial(builds.mend_record, env)
        return [Step(f"write {builds.record_of(env['prefix'])}", mend)]
    return []


def _build_sentence(env: Wanted, here: Environment) -> str:
    counts = [f"{len(env['lock'])} packages", f"{len(env['dists'])} distributions"]
    if here.serving:
        difference = contents.difference(here.serving_labels, contents.wanted_labels(env))
        counts += [f"{len(names)} {word}" for word, names in difference.items() if names]
    return f"build environment {env['name']} ({', '.join(counts)}) in {env['prefix']}"


def _link_steps(env: Wanted, here: Environment) -> list[Step]:
    target = os.path.basename(env["prefix"])
    if here.link == target:
        return []
    point = functools.partial(apply.point, env["link"], env["prefix"], here.serving)
    return [Step(f"point {env['link']} to {target}", point)]


def _collection_steps(wanted: Complete, seen: Seen, builder: Builder) -> list[Step]:
    """Return a step for each earlier build that nobody needs, and each that never was finished.

    Of those that nothing lives in, the ones that were in service last are kept: the one that the
    link points to now first, then by the time of their folders, which is when they were last
    built, repaired, or turned to or away from.
    """
    unused = [build for build in seen.earlier if not build.is_used]
    todo = [
        Step(f"remove unfinished {build.path}", functools.partial(builder.discard, build.path))
        for build in unused
        if not build.is_finished
    ]
    for env in wanted["environments"]:
        serving = seen.environments[env["name"]].serving
        finished = [
            build
            for build in unused
            if build.is_finished and builds.name_of(build.path) == env["name"]
        ]
        finished.sort(key=lambda build: (build.path == serving, build.changed), reverse=True)
        todo += [_removing(build.path, builder) for build in finished[wanted["keep"] :]]
    return todo


def _removing(path: str, builder: Builder) -> Step:
    return Step(f"remove {path}", functools.partial(builder.remove, path))


def _diffs(env: Wanted, here: Environment) -> list[dict[str, str]]:
    """Return what is shown of an environment that changes: its build, and what is in service."""
    wanted = _lines(contents.wanted_labels(env))
    shown = []
    if here.serving or here.contents is None:
        before = here.serving or env["prefix"]
        shown.append(diff(before, _lines(here.serving_labels), wanted, env["prefix"]))
    if here.contents is not None and not here.contents.is_as_wanted():
        shown.append(diff(env["prefix"], _lines(here.contents.labels()), wanted))
    return shown


def _lines(labels: list[str]) -> str:
    return "".join(f"{label}\n" for label in labels)
