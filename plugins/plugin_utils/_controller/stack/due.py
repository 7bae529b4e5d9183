# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is to be done on a host, and why: a rule each, which yields sentences of a case.

All of it follows from the state of the host; nothing depends on what a run did before.
"""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape
from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import loaded_module
from ansible_collections.gpunode.stack.plugins.module_utils._node.kernel import headers
from ansible_collections.gpunode.stack.plugins.module_utils._node.packages import versions
from ansible_collections.gpunode.stack.plugins.module_utils._node.rdma import (
    openibd_restart,
    peer_route,
    rdma_stack,
)

from .case import Case

# What is to be done on a host: {component: {rule: [sentence]}}.
Due = dict[str, dict[str, list[str]]]


def ofed_not_installed(case: Case) -> Iterator[str]:
    if case.facts["rdma_stack"]["kind"] == "inbox" and case.rdma.wants_vendors:
        yield f"{case.ofed['kind']} is not installed"


def ofed_other_version(case: Case) -> Iterator[str]:
    found, wanted = case.facts["rdma_stack"], case.ofed
    if found["kind"] == "inbox":
        return
    if wanted["kind"] == "inbox":
        yield f"{rdma_stack.described(found)} is installed in place of the distribution's own"
    elif not case.rdma.is_there:
        yield f"{rdma_stack.described(found)} is installed"


def ofed_kernel_without_module(case: Case) -> Iterator[str]:
    for kernel in case.rdma.lacking:
        yield f"kernel {kernel['release']} has no modules of {rdma_stack.called(case.ofed)}" + (
            ": with the next boot RDMA would be the distribution's" if kernel["next"] else ""
        )


def ofed_other_loaded(case: Case) -> Iterator[str]:
    if openibd_restart.CONSENT in case.consent and case.rdma.restarts_openibd:
        yield from _rdma_other_loaded(case)


def ofed_not_loaded(case: Case) -> Iterator[str]:
    is_there = case.rdma.is_there and not case.rdma.of_archive
    if is_there and openibd_restart.starts(case.facts):
        down = ", ".join(case.facts["rdma_stack"]["idle"])
        yield f"no driver has the adapter at {down}, and the RDMA modules are not loaded"


def _rdma_other_loaded(case: Case) -> Iterator[str]:
    if case.facts["rdma_stack"]["stale"]:
        yield "the RDMA modules that are loaded are not those on disk"


def exchanges_rdma(case: Case) -> bool:
    """Say whether the RDMA modules that are loaded are others once the RDMA stack is as wanted.

    That a stack is put in place anew to mend it is for the node to see: the plan knows of it as
    drift from a receipt, if at all. The consent is asked for by either.
    """
    rules = (ofed_not_installed, ofed_other_version, ofed_other_loaded)
    return case.ofed is not None and openibd_restart.exchanges_loaded(
        case.facts, any(any(rule(case)) for rule in rules), case.rdma.lacking, case.rdma.is_in_dkms
    )


def driver_not_installed(case: Case) -> Iterator[str]:
    if not case.driver_there.installed:
        yield "no driver is installed"


def driver_other_version(case: Case) -> Iterator[str]:
    wanted, found = case.driver["version"], case.driver_there.installed
    if not found:
        return
    differs = wanted != found if wanted else case.driver["branch"] != versions.branch(found)
    if differs:
        yield f"{found} is installed"


def driver_other_module_type(case: Case) -> Iterator[str]:
    wanted = case.driver_to_be.module_type
    others = [name for name in case.driver_there.types if name != wanted]
    if others:
        asks = case.host.architectures_that("never") or case.host.architectures_that("required")
        yield f"its modules are {' and '.join(others)}, and {wanted} ones are wanted" + (
            f", as {asks[0].capitalize()} asks for" if asks else ""
        )


def driver_other_method(case: Case) -> Iterator[str]:
    if case.driver_there.methods and case.driver["method"] not in case.driver_there.methods:
        words = {"package": "by packages", "runfile": "by a .run file"}
        found, wanted = words[case.driver_there.methods[0]], words[case.driver["method"]]
        yield f"it was installed {found}, and is to be {wanted}"


def driver_mixed_methods(case: Case) -> Iterator[str]:
    there = case.driver_there
    if len(there.methods) > 1:
        beside = f"packages of {there.packaged}" if there.packaged else "the distribution's modules"
        yield f"a .run file installed {there.runfile} beside {beside}"


def driver_libraries_mismatch(case: Case) -> Iterator[str]:
    libraries = case.facts["driver"]["libraries"]
    for kernel in case.host.targets if libraries else []:
        module = case.driver_there.modules_for(kernel["release"]).get("nvidia")
        version = module["version"] if module else ""
        if version and {version} != set(libraries):
            yield (
                f"the module for kernel {kernel['release']} is {version}, and there are libraries "
                f"of {' and '.join(libraries)}: they work with a module of their own version alone"
            )


def driver_fabric_manager_mismatch(case: Case) -> Iterator[str]:
    found, driver = case.facts["fabric_manager"]["version"], case.driver_there.installed
    if case.facts["nvswitches"] and found and driver and found != driver:
        yield f"Fabric Manager is {found}, and it works with a driver of its own version alone"


def driver_no_fabric_manager(case: Case) -> Iterator[str]:
    found = case.facts["fabric_manager"]
    if not case.facts["nvswitches"]:
        return
    if not found["version"]:
        yield "there are NVSwitches and no Fabric Manager: CUDA does not start without it"
    elif not found["enabled"]:
        yield "Fabric Manager is not started at boot: CUDA does not start without it"
    # It runs with a loaded module of its own version alone, which may take a reboot first.
    elif not found["active"] and found["version"] == case.driver_there.loaded:
        yield "Fabric Manager does not run: CUDA does not start without it"


def driver_kernel_without_module(case: Case) -> Iterator[str]:
    if not case.driver_there.installed:
        return
    # What was said to be no obstacle is told by a notice alone.
    is_fine = case.driver.get("kernels_without_headers") == "report"
    for kernel in [row for row in case.host.kernels if row["headers"] or not is_fine]:
        if "nvidia" not in case.driver_there.modules_for(kernel["release"]):
            package = headers.package(kernel["release"], case.facts["pkg_mgr"])
            yield (
                f"kernel {kernel['release']} has no nvidia module"
                + (": the next boot would come up without a GPU" if kernel["next"] else "")
                + ("" if kernel["headers"] else f", and no headers to build one with ({package})")
            )


def driver_rebuild_after_ofed(case: Case) -> Iterator[str]:
    if case.peers.route != "nvidia_peermem" or not case.facts["peer_memory"]["headers"]:
        return
    for kernel in case.host.targets:
        module = case.driver_there.modules_for(kernel["release"]).get("nvidia_peermem")
        if module and "ib_core" not in module["depends"]:
            yield (
                f"nvidia_peermem for kernel {kernel['release']} was built before the RDMA stack "
                "was there, and registers with nothing"
            )
        elif kernel["release"] in case.facts["peer_memory"]["outdated"]:
            yield (
                f"nvidia_peermem for kernel {kernel['release']} was built with another RDMA stack, "
                "whose symbols have other versions, and would not load"
            )


def driver_in_kernel(case: Case) -> Iterator[str]:
    """A module that is loaded, and would not be any more after a reboot, is not in the way."""
    for name, driver in case.driver_there.in_kernel.items():
        if driver["initramfs"]:
            yield f"{name} is in the initramfs of kernel {', '.join(driver['initramfs'])}"
        # An installation blacklists nouveau; nova is in few kernels, and matters where it is seen.
        matters = driver["loaded"] or (case.driver_there.installed and name == "nouveau")
        if matters and not driver["blacklisted"]:
            yield f"{name} is not blacklisted{' and is loaded' if driver['loaded'] else ''}"


def driver_not_loaded(case: Case) -> Iterator[str]:
    """The node unloads the kernel's own that nobody uses; whether one is in use no facts tell."""
    has_module = "nvidia" in case.driver_there.modules_for(case.facts["kernel"])
    is_alone = not case.driver_there.loaded and not case.driver_there.in_the_way
    if has_module and is_alone and loaded_module.is_loadable(case.facts):
        rejected = case.facts["secure_boot"]["rejected"]
        yield "it is installed and not loaded" + (f": {rejected}" if rejected else "")


def driver_other_loaded(case: Case) -> Iterator[str]:
    if case.may_reload:
        yield from _other_loaded(case)


def driver_clients_stopped(case: Case) -> Iterator[str]:
    # Between an exchange of the driver and the reboot they would not find each other.
    if case.facts["drained"] and not any(_driver_reboot(case)):
        yield f"{', '.join(case.facts['drained'])} had been stopped for the driver, and is to run"


def license_not_held(case: Case) -> Iterator[str]:
    """An image holds no license: that a host gets one is seen once it runs."""
    if not case.facts["own_kernel"]:
        return
    units = case.facts["licensing"]
    gpus = case.facts["nvidia_smi"]["gpus"]
    # Of a whole GPU without any status the driver knows no license.
    licensable = [gpu for gpu in gpus if gpu["license"] or gpu["mode"] == "vgpu"]
    unlicensed = [gpu for gpu in licensable if not gpu["license"].startswith("Licensed")]
    answer = case.facts["nvidia_smi"]
    if not answer["answered"]:
        # A driver that stays as it is and does not answer lacks something else than a license.
        if not answer["asked"] or is_driver_due(case):
            yield "the driver does not answer, so there is no licence yet"
    elif unlicensed:
        status = unlicensed[0]["license"] or "no licence status"
        yield (
            f"{unlicensed[0]['address']} says {status}"
            + (f"; nvidia-gridd says {units['says']}" if units["says"] else "")
            + ("" if units["unit"] else "; there is no nvidia-gridd.service")
        )


def is_driver_due(case: Case) -> bool:
    """Say whether there is something to do about the driver, be it a reboot that it waits for."""
    rules = (*RULES["nvidia_driver"].values(), _driver_reboot)
    return any(any(rule(case)) for rule in rules)


def peer_other_route(case: Case) -> Iterator[str]:
    facts = case.facts["peer_memory"]
    for name in [] if _are_two(case) else peer_route.others(case.peers.route):
        where = [
            words
            for words, names in (("loaded", facts["loaded"]), ("loaded at boot", facts["at_boot"]))
            if name in names
        ]
        if where:
            yield f"{name} is {' and '.join(where)}, and the route is {case.peers.route}"


def peer_two_modules(case: Case) -> Iterator[str]:
    if _are_two(case):
        yield f"{' and '.join(peer_route.MODULES)} are both there, and only one may be"


def peer_not_installed(case: Case) -> Iterator[str]:
    if case.peers.route in peer_route.MODULES:
        for kernel in _peer_kernels(case):
            if case.peers.route not in case.driver_there.modules_for(kernel["release"]):
                yield f"kernel {kernel['release']} has no {case.peers.route} module"


def peer_other_version(case: Case) -> Iterator[str]:
    if case.peers.route == "nv_peer_mem":
        for kernel in case.host.targets:
            module = case.driver_there.modules_for(kernel["release"]).get("nv_peer_mem")
            if module and module["version"] not in ("", case.peers.tag):
                yield f"nv_peer_mem {module['version']} is there for kernel {kernel['release']}"


def peer_not_at_boot(case: Case) -> Iterator[str]:
    if _is_installed(case) and case.peers.route not in case.facts["peer_memory"]["at_boot"]:
        yield f"{case.peers.route} is not loaded at boot"


def peer_not_loaded(case: Case) -> Iterator[str]:
    # What was built for the driver on disk is not loaded with another one.
    if _is_up(case) and case.peers.route not in case.facts["peer_memory"]["loaded"]:
        yield f"{case.peers.route} is not loaded"


def peer_other_loaded(case: Case) -> Iterator[str]:
    # What is in use stays, see reboot_pending.
    if _is_up(case) and not is_peer_in_use(case):
        yield from _peer_other_loaded(case)


def _peer_other_loaded(case: Case) -> Iterator[str]:
    if case.peers.route in case.facts["peer_memory"]["stale"]:
        in_use = ", and it is in use" if is_peer_in_use(case) else ""
        yield f"the {case.peers.route} that is loaded is not the one on disk{in_use}"


def is_peer_in_use(case: Case) -> bool:
    """Say whether somebody uses the route's module, so that it stays loaded as it is."""
    return case.peers.route in case.facts["peer_memory"]["in_use"]


def _is_up(case: Case) -> bool:
    """Say whether the route's module is there, and all is loaded that it was built for."""
    has_driver = case.facts["own_kernel"] and bool(case.driver_there.loaded)
    is_kept_out = peer_route.is_kept_out(case.peers.route, case.facts["secure_boot"])
    return has_driver and not any(reboot_pending(case)) and not is_kept_out and _is_installed(case)


def _peer_kernels(case: Case) -> list[facts_shape.Kernel]:
    """Return those of the targets that peer memory is wanted for.

    The ones that have the driver; where a container brings it, the next one gets it when it boots.
    """
    kernels, driver = case.host.targets, case.driver_there
    found = [row for row in kernels if "nvidia" in driver.modules_for(row["release"])]
    return found or [row for row in kernels if row["running"]] or kernels


def _is_installed(case: Case) -> bool:
    """Say whether the route's module is there, and none that has to give way first."""
    if case.peers.route not in peer_route.MODULES or any(peer_not_installed(case)):
        return False
    return not any(peer_other_route(case)) and not _are_two(case)


def _are_two(case: Case) -> bool:
    facts = case.facts["peer_memory"]
    return any(len(names) > 1 for names in (facts["loaded"], facts["at_boot"]))


def reboot_pending(case: Case) -> Iterator[str]:
    """What is loaded is not what is on disk: only a reboot, or unloading, ends that."""
    if not case.facts["own_kernel"]:
        return
    if case.driver:
        yield from _driver_reboot(case)
    # What restarts openibd anyway ends that as well.
    # A stack of others matters to a module that is to be loaded with it.
    matters = case.ofed or (case.peers.route in peer_route.MODULES and _has_peers(case))
    if matters and not (case.rdma.restarts_openibd and exchanges_rdma(case)):
        yield from _rdma_other_loaded(case)
    if is_peer_in_use(case):
        yield from _peer_other_loaded(case)


def _driver_reboot(case: Case) -> Iterator[str]:
    if not case.facts["own_kernel"]:
        return
    in_the_way = case.driver_there.in_the_way
    if case.driver_there.installed and in_the_way and not any(driver_in_kernel(case)):
        yield f"{' and '.join(in_the_way)} has the GPU"
    if not case.may_reload:
        yield from _other_loaded(case)


def _other_loaded(case: Case) -> Iterator[str]:
    loaded = case.facts["driver"]["loaded"]
    module = case.driver_there.modules_for(case.facts["kernel"]).get("nvidia")
    # The kernel that runs may have no module on disk, or be gone from there itself.
    on_disk = module["version"] if module else case.driver_there.installed
    if loaded["version"] and on_disk and on_disk != loaded["version"]:
        yield f"the loaded module is {loaded['version']}, and {on_disk} is on disk"
    elif loaded["version"] and module and module["open"] != loaded["open"]:
        yield (
            f"the loaded module is the {'open' if loaded['open'] else 'proprietary'} one, and "
            "the other is on disk"
        )


# By component, in the order of application: RDMA before the driver, since nvidia_peermem gets its
# peer symbols only where the RDMA stack's headers are there when it is built; peer memory last.
RULES = {
    "mlnx_ofed": {
        "not-installed": ofed_not_installed,
        "other-version": ofed_other_version,
        "kernel-without-module": ofed_kernel_without_module,
        "not-loaded": ofed_not_loaded,
        "other-loaded": ofed_other_loaded,
    },
    "nvidia_driver": {
        "not-installed": driver_not_installed,
        "other-version": driver_other_version,
        "other-module-type": driver_other_module_type,
        "other-method": driver_other_method,
        "mixed-methods": driver_mixed_methods,
        "libraries-mismatch": driver_libraries_mismatch,
        "fabric-manager-mismatch": driver_fabric_manager_mismatch,
        "no-fabric-manager": driver_no_fabric_manager,
        "kernel-without-module": driver_kernel_without_module,
        "rebuild-after-ofed": driver_rebuild_after_ofed,
        "in-kernel-driver": driver_in_kernel,
        "not-loaded": driver_not_loaded,
        "other-loaded": driver_other_loaded,
        "clients-stopped": driver_clients_stopped,
    },
    "vgpu_license": {"unlicensed": license_not_held},
    "peer_memory": {
        "not-installed": peer_not_installed,
        "other-version": peer_other_version,
        "other-route": peer_other_route,
        "two-peer-modules": peer_two_modules,
        "not-loaded": peer_not_loaded,
        "other-loaded": peer_other_loaded,
        "not-loaded-at-boot": peer_not_at_boot,
    },
    "reboot": {"reboot-pending": reboot_pending},
}


def applies(component: str, case: Case) -> bool:
    """Say whether a component is ours to look after on a host."""
    return {
        "mlnx_ofed": case.ofed is not None,
        "nvidia_driver": case.driver is not None,
        "vgpu_license": case.vgpu is not None,
        "peer_memory": _has_peers(case),
        "reboot": case.driver is not None or case.ofed is not None or _has_peers(case),
    }[component]


def _has_peers(case: Case) -> bool:
    """Say whether peer memory is to be looked after: auto has nothing to do without a device."""
    if not case.peer_memory:
        return False
    found = case.facts["peer_memory"]
    is_said = case.peer_memory["route"] != "auto"
    return bool(is_said or case.facts["rdma_devices"] or found["loaded"] or found["at_boot"])
