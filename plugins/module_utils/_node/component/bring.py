# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the module of each component does around the work of the component itself."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Iterator, Mapping
from typing import Any, Callable, NamedTuple

from ansible.module_utils.basic import AnsibleModule

from .. import urls
from ..facts import general, gpu_host
from ..facts_shape import Surveyed
from ..records import receipts
from ..steps import Result
from ..system import accounts, commands, disk, root, transient_unit
from ..system.commands import Execute, Run
from . import at_work


class Component(NamedTuple):
    """A component, as its module is.

    :ivar name: its name; the unit of its long commands is called after it.
    :ivar title: what it is, for messages.
    :ivar purpose: what is done to it, shown to whoever waits for it in vain.
    :ivar settle_s: how long a command of an earlier run may go on, in seconds; 0 where it has none.
    """

    name: str
    title: str
    purpose: str
    settle_s: int


@dataclasses.dataclass
class Node:
    """The node that a component is brought to: its files, and what looks and acts there.

    :ivar tree: its files.
    :ivar survey: returns what is to be seen of it now: the general facts, and those of GPUs,
        drivers and RDMA. It takes its time; what was seen first is in :attr:`found`.
    :ivar execute: runs long commands.
    :ivar run: answers short questions.
    :ivar general: returns the general facts alone.
    :ivar hide: takes a value, such as a wanted state, whose passwords are blanked in all that is
        answered from then on. Not for what answers with names that one may be a part of.
    :ivar sent: {name: path on the host} of the files of the controller that were sent along.
    """

    tree: root.Root
    survey: Callable[[], Surveyed]
    execute: Execute
    run: Run
    general: Callable[[], Mapping[str, Any]] = dict
    hide: Callable[[Any], object] = repr
    sent: dict[str, str] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def found(self) -> Surveyed:
        """What was seen of it when the work began."""
        return self.survey()


def bring(
    component: Component,
    converge: Callable[[Node, dict[str, Any], bool], Result],
    filling: Callable[[dict[str, Any]], str],
    **options: Any,
) -> None:
    """Be the module of a component: bring it to its wanted state, and leave the receipt of it.

    Nobody else is at work on the host meanwhile, nor what an earlier run began and was cut from.

    :param component: the Component.
    :param converge: (node, parameters of the module, check_mode) -> steps.Result; not called where
        nothing is said of the component.
    :param filling: returns for the wanted state what lies on the file systems that the work fills.
    :param options: the specification of each option that only this component's module has.
    """
    module = AnsibleModule(argument_spec={**_options(), **options}, supports_check_mode=True)
    if not accounts.is_root():
        module.fail_json(msg=str(accounts.not_root()))
    asked = module.params
    node = _node(module, component.name)
    result = Result()
    with (
        at_work.at_work(module, component.purpose),
        disk.watched(component.title, filling(asked["wanted"])),
    ):
        if component.settle_s and not module.check_mode:
            transient_unit.settle(component.name, component.settle_s)
        if asked["wanted"].get("state") != "unsaid":
            result = converge(node, asked, module.check_mode)
        is_noted = not result.needs and _leave_receipt(
            component.name, asked, result, module.check_mode
        )
    _answer(module, result, is_noted)


def _answer(module: AnsibleModule, result: Result, is_noted: bool) -> None:
    """End the module with what came of the work.

    :param is_noted: whether its receipt is news.
    """
    for says in result.warnings:
        module.warn(urls.shown(says))
    module.exit_json(
        changed=bool(result.changes) or is_noted,
        changes=urls.shown_in(result.changes),
        diff=urls.shown_in(result.diff),
        manifest=result.manifest,
        needs=result.needs,
    )


def _options() -> dict[str, Any]:
    """Return the specification of the options that the modules of all components have."""
    return {
        "wanted": {"type": "dict", "required": True},
        "receipt": {
            "type": "dict",
            "options": {
                "digest": {"type": "str", "required": True},
                "present": {"type": "list", "elements": "str", "default": []},
                "absent": {"type": "list", "elements": "str", "default": []},
                "asked": {"type": "dict", "default": {}},
            },
        },
        "files": {"type": "dict", "default": {}},
    }


def _leave_receipt(
    component: str, asked: Mapping[str, Any], result: Result, check_mode: bool
) -> bool:
    """Say on the host that a component is done; return whether that was news there.

    :param asked: the parameters of the module; without a receipt among them nothing is left.
    """
    if not asked["receipt"]:
        return False
    digest, present, absent = (asked["receipt"][key] for key in ("digest", "present", "absent"))
    return receipts.settle(
        component,
        digest,
        result.manifest,
        present,
        absent,
        check_mode,
        asked=asked["receipt"]["asked"],
    )


def _node(module: AnsibleModule, name: str) -> Node:
    """Return the Node that a module runs on.

    :param name: the component, whose long commands run in a unit called after it.
    """

    def hide(value: Any) -> None:
        for text in _texts(value):
            module.no_log_values |= urls.passwords(text)

    return Node(
        root.Root(),
        _survey,
        functools.partial(transient_unit.execute, name, warn=module.warn),
        commands.run,
        functools.partial(general.general, root.Root()),
        hide,
        module.params["files"],
    )


def _texts(value: Any) -> Iterator[str]:
    """Yield every text in a value of dicts and lists."""
    if isinstance(value, str):
        yield value
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for part in parts:
        yield from _texts(part)


def _survey() -> Surveyed:
    seen = general.general(root.Root())
    own_kernel = general.own_kernel()
    running = seen["kernel"] if own_kernel else ""
    return {**seen, "own_kernel": own_kernel, **gpu_host.survey("/", running, os.getpid())}
