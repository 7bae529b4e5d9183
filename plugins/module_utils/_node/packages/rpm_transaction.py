# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a transaction of rpm that was cut leaves, settled before the next one begins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Callable

from ..refusal import Refusal
from ..system.commands import Execute
from ..system.root import Root
from . import package_manager, stack_packages


def settle(
    wanted: Mapping[str, str],
    is_asked: Callable[[str], object],
    tree: Root,
    execute: Execute,
    manager: package_manager.Manager | None = None,
) -> None:
    """Leave one version of each package that a transaction which was cut left in two.

    The other one goes whatever needs it: its successor is there, or comes.

    :param wanted: {name: version} of what is to be there; of others the newest stays.
    :param is_asked: says of the name of a package whether it is asked about.
    :raises Refusal: one cannot be removed.
    """
    superfluous = []
    for name, found in stack_packages.doubled(tree, is_asked).items():
        stays = wanted[name] if wanted.get(name) in found else found[-1]
        # rpm(8) takes no epoch here.
        superfluous += [f"{name}-{one.rpartition(':')[2]}" for one in found if one != stays]
    if superfluous:
        what = f"remove {', '.join(superfluous)}, which a run that was cut left beside another one"
        manager = manager or package_manager.required(what)
        argv = ["rpm", "--erase", "--nodeps", *superfluous]
        answer = package_manager.managed(what, argv, manager, execute)
        if answer.returncode:
            raise Refusal(what, package_manager.reason(answer, manager), "Mend that and run again")
