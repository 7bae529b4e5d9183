# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From whatever is found to the wanted driver: what is refused, what is done, in which order.

Whatever takes long or may fail comes first, beside what is in use: files, packages, and the
modules of every kernel. Only then are clients stopped and the driver exchanged.
"""

from __future__ import annotations

import functools
from collections.abc import Container
from typing import NamedTuple

from .. import steps
from ..component.bring import Node
from ..facts_shape import GpuClient
from ..gpu import clients, fabric_manager, loaded_module
from ..kernel import headers, initramfs, modprobe, secure_boot
from ..refusal import Refusal
from ..steps import Step
from ..system import text_files
from . import apply, drain, modprobe_conf, observe, services
from .observe import Seen


class Plan(NamedTuple):
    """What is done, in phases.

    :ivar preparing: beside the driver that is in use; a failure leaves all as it was.
    :ivar draining: stops those whom an exchange would disturb.
    :ivar exchanging: takes the place of the driver that is there; a failure brings that back.
    :ivar running: makes the driver on disk the one that runs, as far as no reboot has to.
    """

    preparing: list[Step]
    draining: list[Step]
    exchanging: list[Step]
    running: list[Step]

    @property
    def changes(self) -> list[str]:
        """What people are told of it."""
        return [says for phase in self for says in steps.sentences(phase)]


class Outlook(NamedTuple):
    """What becomes of the module that is loaded, and of those who use it.

    :ivar reloads: whether it is exchanged now: also where a run before came no further.
    :ivar can_load: whether a module that is on disk then can be loaded now, were none loaded.
    :ivar will_run: whether the one that is loaded in the end is the one that is on disk then.
    """

    reloads: bool
    can_load: bool
    will_run: bool


def outlook(seen: Seen, consent: Container[str]) -> Outlook:
    """Return what becomes of the loaded module."""
    target, facts = seen.target, seen.target.facts
    is_open = target.module_type == "open"
    is_loaded = loaded_module.is_loaded(facts, seen.method.version_to_be, is_open)
    reloads = not is_loaded and loaded_module.is_exchanged(facts, consent, _stopped(seen))
    are_unused = set(observe.loaded_in_kernel_drivers(facts)) <= set(seen.unused)
    can_load = loaded_module.is_loadable(facts) and are_unused
    stays = _loaded(seen) and not reloads
    will_run = bool(facts["own_kernel"]) and (is_loaded if stays else reloads or can_load)
    return Outlook(reloads, can_load, will_run)


def refuse(seen: Seen, consent: Container[str]) -> None:
    """Refuse what was not consented to, or could not come to its end.

    :raises Refusal: that is so.
    """
    _refuse_kernels(seen)
    if seen.method.changes_method and "change_method" not in consent:
        raise Refusal(
            "change of the method",
            f"the driver was installed {seen.method.found_by}",
            "Consent with gpunode_consent: [change_method], or say that method",
        )
    if seen.method.builds:
        secure_boot.refuse_unenrolled_key(seen.target.facts["secure_boot"], consent)
    if _disturbs(seen, outlook(seen, consent)):
        _refuse_clients(seen, consent)


def plan(seen: Seen, consent: Container[str], node: Node) -> Plan:
    """Return what is to be done.

    :param node: the one that it is to be done on; nothing is asked of it.
    :raises Refusal: it cannot be done.
    """
    ahead = outlook(seen, consent)
    method = seen.method
    restated = services.restated(seen.files, seen.stale)
    draining = _draining(seen, ahead, node)
    # Packages that go stop their units and disable them (systemd-rpm-macros, %systemd_preun).
    daemons = {} if method.changes_method else seen.units
    return Plan(
        [
            *method.preparing(),
            *method.building(),
            *_ending(seen, node),
            *_setting(seen, ahead, node),
        ],
        draining,
        method.exchanging(),
        [
            *method.finishing(),
            *_freeing_images(seen, node),
            *_loading(seen, ahead, node),
            *services.unit_steps(units(seen), daemons, ahead.will_run, node.run, restated),
            *_restoring(seen, ahead, bool(draining), node),
        ],
    )


def diff(seen: Seen) -> list[dict[str, str]]:
    """Return the differences of the files that change, as Ansible shows them."""
    return [
        steps.diff(path, before.text, seen.files[path].text) for path, before in seen.stale.items()
    ]


def units(seen: Seen) -> list[str]:
    """Return the names of the daemons that are to run."""
    names = services.units(bool(seen.target.facts["nvswitches"]))
    is_unwanted = not seen.target.wanted["persistence"]
    return [name for name in names if name != services.PERSISTENCED or not is_unwanted]


def _refuse_kernels(seen: Seen) -> None:
    target, method = seen.target, seen.method
    if target.wanted["kernels_without_headers"] == "report":
        return
    for row in target.without_headers:
        module = target.modules.get(row["release"])
        has_module = module is not None and module["version"] == method.version
        if not has_module and not method.can_serve(row["release"]):
            raise Refusal(
                f"kernel {row['release']}",
                "it has no headers, and none can be had here: it would "
                f"{'go on' if row['running'] else 'boot'} without a driver",
                f"Install {headers.package(row['release'], target.facts['pkg_mgr'])}, remove that "
                "kernel, or say "
                "nvidia_driver_kernels_without_headers: report",
            )


def _refuse_clients(seen: Seen, consent: Container[str]) -> None:
    at_work = _at_work(seen)
    if at_work and "stop_gpu_clients" not in consent:
        raise Refusal(
            "GPU in use",
            "; ".join(map(clients.described, at_work)),
            "Stop them, or name their units in gpunode_drain and consent with "
            "gpunode_consent: [stop_gpu_clients]",
        )
    left = loaded_module.still_at_work(seen.target.facts, _stopped(seen))
    if left:
        raise Refusal(
            "GPU in use",
            "; ".join(map(clients.described, left))
            + ", and would still when the units of gpunode_drain were stopped",
            "Stop them, or add their units to gpunode_drain",
        )
    held = loaded_module.what_holds(seen.target.facts, _stopped(seen))
    # What is stopped would stay so until a reboot that nobody consented to.
    exchanges = seen.method.exchanges and loaded_module.may_exchange(seen.target.facts, consent)
    if at_work and held and exchanges:
        raise Refusal("GPU in use", held, loaded_module.TO_BE_FREED)


def _disturbs(seen: Seen, ahead: Outlook) -> bool:
    """Say whether whoever computes on the GPUs feels what is done."""
    starts_fabric = ahead.will_run and fabric_manager.starts_anew(seen.target.facts)
    return seen.method.exchanges or ahead.reloads or starts_fabric


def _loaded(seen: Seen) -> str:
    """Return the version of the module that is loaded, '' where none is."""
    return str(seen.target.facts["driver"]["loaded"]["version"])


def _at_work(seen: Seen) -> list[GpuClient]:
    return clients.at_work(seen.target.facts["gpu_clients"])


def _stopped(seen: Seen) -> set[str]:
    return {*seen.in_the_way["triggers"], *seen.in_the_way["services"]}


def _ending(seen: Seen, node: Node) -> list[Step]:
    unwanted = [] if seen.target.wanted["persistence"] else [services.PERSISTENCED]
    return services.ending_steps(unwanted, seen.units, node.run)


def _setting(seen: Seen, ahead: Outlook, node: Node) -> list[Step]:
    """Return the steps that put our settings.

    They come last: a host whose modules cannot be built keeps the kernel's own driver.
    """
    return [
        Step(
            _sentence(path, seen, ahead),
            functools.partial(services.put, path, seen.files[path], node.run),
        )
        for path in seen.stale
    ]


def _sentence(path: str, seen: Seen, ahead: Outlook) -> str:
    says = text_files.sentence(path, seen.files[path])
    has_old = path == modprobe_conf.MODPROBE and _loaded(seen) and not ahead.reloads
    if has_old and seen.target.wanted["parameters"]:
        return f"{says}, whose parameters hold from the next loading of the module on"
    return says


def _draining(seen: Seen, ahead: Outlook, node: Node) -> list[Step]:
    if not ahead.reloads and not (_disturbs(seen, ahead) and _at_work(seen)):
        return []
    says = drain.sentence(seen.in_the_way)
    action = functools.partial(drain.drain, seen.in_the_way, node.tree, node.run)
    return [Step(says, action)] if says else []


def _freeing_images(seen: Seen, node: Node) -> list[Step]:
    return [
        Step(
            f"take the kernel's own driver out of the initramfs of kernel {release}",
            functools.partial(initramfs.rebuild, node.tree, release, node.execute),
        )
        for release in modprobe_conf.held(seen.target.facts["in_kernel_drivers"])
    ]


def _loading(seen: Seen, ahead: Outlook, node: Node) -> list[Step]:
    """Return the steps that load the driver, where neither a reboot nor a key has to come."""
    load = functools.partial(apply.load, node)
    if ahead.reloads:
        return [Step("exchange the loaded module", load)]
    if _loaded(seen) or not ahead.can_load:
        return []
    unloading = [
        Step(f"unload {name}", functools.partial(modprobe.unload, name, node.run))
        for name in observe.loaded_in_kernel_drivers(seen.target.facts)
    ]
    return [*unloading, Step("load the module", load)]


def _restoring(seen: Seen, ahead: Outlook, drains: bool, node: Node) -> list[Step]:
    if not ahead.will_run or not (drains or seen.target.facts["drained"]):
        return []
    restore = functools.partial(apply.restore, node.run)
    return [Step("start again what was stopped for the driver", restore)]
