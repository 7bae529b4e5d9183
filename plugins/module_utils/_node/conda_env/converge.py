# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bringing the environments of a host to their wanted state.

First what is to go goes; then everything is prepared: packages of the
distribution, builds, repairs; then every module that was named is imported.
Only when all of that holds do links move and earlier builds go, so that what
does not hold leaves in service what was.
"""

from __future__ import annotations

from typing import Any

from .. import steps
from ..component import bring
from ..conda import imports
from ..packages import package_manager
from ..refusal import refuse
from ..system import commands, own_paths
from ..system.commands import Run
from . import observe, remains
from . import plan as env_plan
from .builder import Builder
from .wanted import Complete


def converge(node: bring.Node, asked: dict[str, Any], check_mode: bool) -> steps.Result:
    """Bring all environments to the wanted state; return the steps.Result.

    :param node: the bring.Node.
    :param asked: the parameters of the module; what is wanted is a wanted.State.
    :raises Refusal: as :func:`settle` does.
    """
    if not check_mode:
        remains.clear()
    wanted = observe.complete(asked["wanted"], own_paths.STATE_DIR)
    node.hide(wanted)
    keys = imports.catalog_keys(node.general())
    return settle(wanted, Builder(wanted, node.execute), keys, check_mode, node.run)


def settle(
    wanted: Complete,
    builder: Builder,
    keys: tuple[str, ...],
    check_mode: bool,
    run: Run = commands.run,
) -> steps.Result:
    """Bring all environments to a wanted state that is complete; return the steps.Result.

    :param wanted: the wanted state; see observe.complete().
    :param builder: what builds, repairs and removes.
    :param keys: see imports.catalog_keys.
    :param check_mode: only say what would be done.
    :param run: what runs commands.
    :raises Refusal: something else lies where an environment is to be, it cannot be built, it
        cannot be used, or what is to go is in use.
    """
    named = imports.packages(wanted["system_packages"], wanted["libraries"], keys)
    wanted = {**wanted, "system_packages": named}
    seen = observe.observe(wanted, check_mode, builder.state_dir, run)
    refuse(env_plan.obstacles(wanted, seen))
    if seen.lacking:
        package_manager.check(seen.lacking, builder.execute)
    plan = env_plan.plan(wanted, seen, builder, run)
    if not check_mode:
        steps.run(plan.preparing)
    # What is yet to be made cannot be tried.
    if not (check_mode and plan.preparing):
        _try_imports(wanted, keys, run)
    if not check_mode:
        steps.run(plan.switching)
    return steps.Result(
        steps.sentences(plan.preparing + plan.switching),
        plan.diff,
        observe.in_place(wanted, builder.state_dir, run),
    )


def _try_imports(wanted: Complete, keys: tuple[str, ...], run: Run) -> None:
    failures = {
        env["name"]: imports.check(env["prefix"], env["imports"], run)
        for env in wanted["environments"]
        if env["imports"]
    }
    failures = {name: found for name, found in failures.items() if found}
    if failures:
        raise imports.refusal(failures, wanted["libraries"], keys, wanted["system_packages"])
