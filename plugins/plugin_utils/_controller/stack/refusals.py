# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What cannot be as asked: a rule each, which yields (what, because, remedy) of a case.

Each rule is named in RULES and stands in tests/standins/combinations.yml with
the real case it comes from. What is not known is not refused: see stack/notices.py.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape
from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import (
    architectures,
    fabric_manager,
    loaded_module,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.kernel import (
    headers,
    secure_boot,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.packages import versions
from ansible_collections.gpunode.stack.plugins.module_utils._node.rdma import peer_route

from . import due as stack_due
from . import health, kernel_limits
from .case import Case
from .due import Due

# What, because, remedy; see Refusal.
Words = tuple[str, str, str]

# That a run does to a driver what whoever computes on the GPU would feel.
REPLACING = {
    # A module may be loaded that is on disk no more.
    "not-installed",
    "other-version",
    "other-module-type",
    "other-method",
    "mixed-methods",
    "libraries-mismatch",
    "fabric-manager-mismatch",
    "rebuild-after-ofed",
    "other-loaded",
}
# What is mended without building or loading a module.
_FABRIC_MANAGER = {"fabric-manager-mismatch", "no-fabric-manager"}
# What is mended with the modules that are there.
_KEEPING = {*_FABRIC_MANAGER, "not-loaded", "other-loaded", "in-kernel-driver", "clients-stopped"}

# The processors for which the catalog has addresses, files and packages.
_PROCESSOR = "x86_64"


def processor_unsupported(case: Case, due: Due) -> Iterator[Words]:
    found = case.facts["architecture"]
    is_any_wanted = case.driver or case.rdma.wants_vendors or case.peers.route
    if found in ("", _PROCESSOR) or not is_any_wanted:
        return
    yield (
        f"a GPU stack for {found}",
        f"its driver, RDMA stack and peer memory are known for {_PROCESSOR} alone: all that would "
        "be fetched is for that",
        "Leave this host out, or let it have no GPU stack",
    )


def kernel_too_old(case: Case, due: Due) -> Iterator[Words]:
    row = case.driver_to_be.branch_row
    if not case.driver or not row or "kernel_min" not in row:
        return
    for kernel in case.host.targets:
        if versions.is_below(kernel["release"], row["kernel_min"]):
            yield (
                f"driver {case.driver_to_be.version}",
                f"it needs kernel {row['kernel_min']} or later, and this host has "
                f"{kernel['release']}",
                f"Choose a branch for this kernel{_branches_for_kernel(case, kernel['release'])}",
            )
            return


def kernel_too_new(case: Case, due: Due) -> Iterator[Words]:
    driver = case.driver_to_be
    for kernel in driver.to_be_built_for if driver.has_vendor_tree else []:
        for limit in driver.kernel_limits:
            first = kernel_limits.reached(limit["below"], kernel["release"])
            if not first:
                continue
            kind, until = limit.get("modules", ""), limit.get("until", "")
            yield (
                f"driver {driver.version}",
                f"{f'its {kind} modules do' if kind else 'it does'} not build for kernels from "
                f"{first} on, and this host has {kernel['release']}",
                (f"Choose a release after {until}" if until else "Choose a later branch")
                + (", say gpunode_driver_modules: open" if driver.may_be_open(kind) else "")
                + (
                    ", or boot the host with an older kernel"
                    if kernel["running"] or kernel["next"]
                    else ", or remove that kernel"
                ),
            )
            return


def kernel_real_time(case: Case, due: Due) -> Iterator[Words]:
    for kernel in case.driver_to_be.to_be_built_for if case.driver_to_be.has_vendor_tree else []:
        if kernel_limits.is_real_time(kernel["release"]):
            yield (
                f"driver {case.driver_to_be.version}",
                f"its modules do not build for real-time kernels, such as {kernel['release']}",
                "Boot the host with another kernel of its distribution, and remove that one or its "
                f"headers, {headers.package(kernel['release'], case.facts['pkg_mgr'])}",
            )
            return


def architecture_unsupported(case: Case, due: Due) -> Iterator[Words]:
    if not case.driver:
        return
    for name in case.host.architectures:
        row = case.known.architectures.get(name, {})
        first, last = row.get("first_branch"), row.get("last_branch")
        if first and versions.is_below(case.driver_to_be.branch, first):
            because = f"{name.capitalize()} needs branch {first} or later"
        elif last and versions.is_below(last, case.driver_to_be.branch):
            because = f"branch {last} is the last one for {name.capitalize()}"
        else:
            continue
        where = ", ".join(address for address, found in case.host.gpus.items() if found == name)
        yield (
            f"driver {case.driver_to_be.version}",
            f"{because}, which is at {where}",
            "Choose another stack for this host",
        )


def open_modules_unsupported(case: Case, due: Due) -> Iterator[Words]:
    # Of itself, auto chooses them where they drive every GPU.
    if not case.driver or case.driver["modules"] != "open":
        return
    never = case.host.architectures_that("never")
    for name in case.driver_to_be.not_open:
        yield (
            "gpunode_driver_modules: open",
            f"the open modules drive Turing and later, and this host has {name.capitalize()}"
            if name in never
            else f"in a guest with a virtual GPU they do not drive {name.capitalize()}",
            "Say proprietary, or leave it out",
        )
    if case.driver_to_be.branch_row and "open" not in case.driver_to_be.branch_row["module_types"]:
        yield (
            "gpunode_driver_modules: open",
            f"driver branch {case.driver_to_be.branch} has proprietary modules alone",
            "Leave it out, or choose a later branch",
        )


def open_modules_required(case: Case, due: Due) -> Iterator[Words]:
    if case.driver and case.driver_to_be.module_type == "proprietary" and not mixed(case):
        for name in case.host.architectures_that("required"):
            yield (
                "gpunode_driver_modules: proprietary",
                f"{name.capitalize()} is driven by the open modules alone",
                "Say open, or leave it out",
            )


def mixed(case: Case) -> list[str]:
    """Return the architectures of a host that no one kind of modules can drive."""
    host = case.host
    never, required = host.architectures_that("never"), host.architectures_that("required")
    return [*never, *required] if never and required else []


def mixed_architectures(case: Case, due: Due) -> Iterator[Words]:
    if case.driver and mixed(case):
        names = " and ".join(name.capitalize() for name in mixed(case))
        yield (
            f"GPUs of {names} in one host",
            "the one is driven by proprietary modules alone, the other by open ones alone",
            "Leave one of them to another host, or hand it on to a guest",
        )


def nvlink5(case: Case, due: Due) -> Iterator[Words]:
    boards = [gpu for gpu in case.facts["gpus"] if architectures.is_nvlink5(gpu["device"])]
    if case.driver and boards:
        yield (
            f"NVLink 5 board at {boards[0]['address']}",
            "its fabric needs the NVLink subnet manager (NVLSM), which gpunode does not set up",
            "Set this host up with the vendor's own means, and leave its stack out here",
        )


def vgpu_needs_grid(case: Case, due: Due) -> Iterator[Words]:
    if case.driver and case.driver["flavour"] != "grid" and case.host.is_vgpu:
        yield (
            f"driver {case.driver_to_be.version}",
            "this host has a virtual GPU (vGPU), which only the guest driver drives",
            f"Choose one of {', '.join(name for name in case.known.stacks if 'grid' in name)}",
        )


def guest_newer_than_host(case: Case, due: Due) -> Iterator[Words]:
    host = (case.vgpu or {}).get("host")
    if host and versions.is_below(versions.branch(host), case.driver_to_be.branch):
        yield (
            f"guest driver {case.driver_to_be.version}",
            f"it is newer than the host's vGPU manager {host}",
            f"Choose a guest of branch {versions.branch(host)} or older, or update the host first",
        )


def guest_too_old_for_host(case: Case, due: Due) -> Iterator[Words]:
    vgpu = case.vgpu or {}
    row = case.known.vgpu.get(vgpu.get("release"))
    branch, host = case.driver_to_be.branch, versions.branch(vgpu.get("host", ""))
    if not row or not host or not versions.is_below(branch, host):
        return
    if host in case.known.branches and host not in row.get("hosts", [host]):
        yield (
            f"guest driver {case.driver_to_be.version}",
            f"the host's vGPU manager {vgpu['host']} accepts guests of its own branch, the one "
            "before and the long-term one before",
            f"Choose a later guest; {branch} is accepted by {', '.join(row['hosts'])}",
        )


def guest_rejected(case: Case, due: Due) -> Iterator[Words]:
    # Another driver, or the one that waits for a reboot, may be accepted.
    if case.vgpu and case.host.rejected_by_host and not stack_due.is_driver_due(case):
        yield (
            f"guest driver {case.driver_there.loaded or case.driver_to_be.version}",
            f"the vGPU manager of its host does not accept it: {case.host.rejected_by_host}",
            "Choose the guest driver of the host's vGPU release, and say gpunode_vgpu_host to have "
            "that checked beforehand; no license would help",
        )


def license_protocol(case: Case, due: Due) -> Iterator[Words]:
    vgpu = case.vgpu or {}
    row = case.known.vgpu.get(vgpu.get("release"))
    if row and vgpu["license"] and vgpu["license"] not in row["license"]:
        yield (
            f"gpunode_vgpu_license: {vgpu['license']}",
            f"vGPU {vgpu['release']} is licensed by {' or '.join(row['license'])}",
            f"Say {row['license'][0]}",
        )


def cuda_needs_newer_driver(case: Case, due: Due) -> Iterator[Words]:
    version = case.driver_to_be.version
    if not version:
        return
    for build in case.cuda_builds:
        row = case.known.cuda(build["cuda"])
        # Of packages only the branch is known beforehand.
        limit = row and (
            row["driver_min"] if "." in version else versions.branch(row["driver_min"])
        )
        if row and limit and versions.is_below(version, limit):
            yield (
                f"{build['by']}: CUDA {build['cuda']}",
                f"it needs driver {row['driver_min']} or later, and this host "
                f"{'is to have' if case.driver else 'has'} {version}",
                "Choose a later stack, or build the environment for an older CUDA",
            )


def build_lacks_architecture(case: Case, due: Due) -> Iterator[Words]:
    for build in case.cuda_builds:
        row = case.known.pytorch(build["pytorch"]) or {}
        lacking = row.get("lacks", {}).get(build["cuda"], [])
        for name in [name for name in case.host.architectures if name in lacking]:
            others = [cuda for cuda in row["cuda"] if name not in row["lacks"].get(cuda, [])]
            yield (
                f"{build['by']}: PyTorch {build['pytorch']} for CUDA {build['cuda']}",
                f"this build has no code for {name.capitalize()}, which this host has",
                f"Take the build for CUDA {others[0]}" if others else "Take an older PyTorch",
            )


def route_impossible(case: Case, due: Due) -> Iterator[Words]:
    # Of itself, auto chooses none that is impossible.
    for lack in case.peers.why_not(case.peers.route):
        yield (
            f"gpunode_peer_memory_route: {case.peers.route}",
            lack,
            "Say auto to have what this host can do",
        )


def tag_does_not_fit_ofed(case: Case, due: Due) -> Iterator[Words]:
    if case.peers.route == "nv_peer_mem" and case.peers.misfit(case.peers.tag):
        tag = case.peers.tag
        yield (
            f"gpunode_peer_memory_tag: {tag}",
            f"it does not build with {case.rdma.kind} {case.rdma.version}, whose peer_mem.h has no "
            "struct peer_memory_client_ex",
            "Say 1.1-0, or leave it out",
        )


def delivery_impossible(case: Case, due: Due) -> Iterator[Words]:
    delivery = (case.peer_memory or {}).get("delivery", "")
    if peer_route.cannot_sign(case.peers.route, delivery, case.facts["secure_boot"]):
        yield peer_route.NO_SIGNED_PACKAGE


def foreign_package(case: Case, due: Due) -> Iterator[Words]:
    # One that works is nobody's trouble; the role would not put its own beside it, nor remove it.
    for name in peer_route.foreign_packages(case.facts["packages"]) if due["peer_memory"] else []:
        yield (
            f"peer memory beside the package {name}",
            "it is one that gpunode has not installed, and has nv_peer_mem",
            f"Remove the package {name} and what goes with it",
        )


def file_needed(case: Case, due: Due) -> Iterator[Words]:
    driver, ofed = case.driver, case.ofed
    if driver and driver["method"] == "runfile" and due["nvidia_driver"].keys() - _KEEPING:
        suffix = "-grid" if driver["flavour"] == "grid" else ""
        yield from _unchecked(
            f"driver {driver['version']}",
            "gpunode_driver_file",
            (driver["file"], driver["sha256"]),
            f"/path/to/NVIDIA-Linux-x86_64-{driver['version']}{suffix}.run",
            case.known.driver(driver["version"], driver["flavour"]),
        )
    # Those that DKMS has are built, and those on disk loaded, without it.
    keeping = {"other-loaded", *(["kernel-without-module"] if case.rdma.is_in_dkms else [])}
    if ofed and ofed["kind"] == "mlnx_ofed" and due["mlnx_ofed"].keys() - keeping:
        yield from _unchecked(
            f"MLNX_OFED {ofed['version']}",
            "gpunode_ofed_file",
            case.rdma.file,
            f"/path/to/MLNX_OFED_LINUX-{ofed['version']}-….tgz",
        )


def _unchecked(
    what: str,
    variable: str,
    named: tuple[str, str],
    example: str,
    published: Mapping[str, Any] | None = None,
) -> Iterator[Words]:
    file, digest = named
    if digest:
        return
    remedy = f"Add the line {variable}: {file or example}#sha256=ITS_DIGEST"
    if file:
        because = f"of {file} no sha256 is known that it could be checked against"
    else:
        because = "no address is known from which everybody may fetch it"
        # Google publishes GRID drivers for machines of its own.
        if published and "url" in published:
            digest = published.get("sha256", "ITS_DIGEST")
            remedy += f", on a machine of Google's {published['url']}#sha256={digest}"
    yield what, because, remedy


def no_package(case: Case, due: Due) -> Iterator[Words]:
    driver, modules = case.driver, case.driver_to_be.module_type
    if not driver or driver["method"] != "package" or not due["nvidia_driver"].keys() - _KEEPING:
        return
    # NVIDIA publishes no packages of the guest driver.
    row = case.driver_to_be.package_row if driver["flavour"] == "tesla" else None
    if not row:
        yield (
            f"driver branch {driver['branch']}",
            f"{driver['repository'] or 'no repository'} is "
            f"{'not ' if driver['repository'] else ''}known to have it as packages for "
            f"{case.host.distribution}",
            "Choose another stack, or name a .run file by gpunode_driver_version and _file",
        )
    elif modules not in row["packages"] and not _cannot_be_driven(case, due):
        yield (
            f"driver branch {driver['branch']}",
            f"{row['repository']} has no {modules} modules of it for {case.host.distribution}",
            "Choose another stack, or the other modules where the GPUs allow it",
        )


def _cannot_be_driven(case: Case, due: Due) -> bool:
    """Say whether another rule refuses the branch, or the modules, whatever packages there are."""
    return any(architecture_unsupported(case, due)) or any(open_modules_unsupported(case, due))


def secure_boot_key(case: Case, due: Due) -> Iterator[Words]:
    drives = due["nvidia_driver"].keys() - {*_FABRIC_MANAGER, "clients-stopped"}
    builds = (
        due["peer_memory"]
        # Whether there are built ones for every kernel the host's package lists tell alone.
        or (drives and not case.driver_to_be.may_be_prebuilt)
        or (case.rdma.wants_vendors and due["mlnx_ofed"].keys() - {"other-loaded"})
    )
    if builds and case.host.lacks_key and "unenrolled_key" not in case.consent:
        what, because, remedy = secure_boot.why_kept_out(case.facts["secure_boot"])
        yield what, because, f"{remedy}; {secure_boot.OR_BUILD}"


def disturbs(case: Case, rules: Container[str]) -> bool:
    """Say whether whoever computes on the GPUs feels what is due about the driver.

    :param rules: the names of the rules that make it due.
    """
    starts_fabric = "no-fabric-manager" in rules and fabric_manager.starts_anew(case.facts)
    return starts_fabric or any(rule in rules for rule in REPLACING)


def gpu_in_use(case: Case, due: Due) -> Iterator[Words]:
    if not disturbs(case, due["nvidia_driver"]) or not case.host.clients:
        return
    if "stop_gpu_clients" not in case.consent:
        yield (
            "GPU in use",
            f"{_who(case.host.clients)} would be interrupted",
            "Stop them, or name their units in gpunode_drain and consent with gpunode_consent: "
            "[stop_gpu_clients]",
        )
        return
    left = loaded_module.still_at_work(case.facts, case.drain)
    if left:
        yield (
            "GPU in use",
            f"{_who(left)} would still use it when the units of gpunode_drain were stopped",
            "Stop them, or add their units to gpunode_drain",
        )
    # What holds the module alone does not keep a Fabric Manager from being started.
    if case.held and REPLACING.intersection(due["nvidia_driver"]):
        yield "GPU in use", case.held, loaded_module.TO_BE_FREED


def sick_gpu(case: Case, due: Due) -> Iterator[Words]:
    found = hidden(case, due)
    if found:
        remedies = dict.fromkeys(finding.remedy for finding in found)
        yield (
            "sick GPU",
            "; ".join(finding.says for finding in found),
            f"Have it mended first ({'; '.join(remedies)}): a driver that is changed now would "
            "take the blame",
        )


def hidden(case: Case, due: Due) -> list[health.Finding]:
    """Return what is not well, and would be hidden by what is due about the driver."""
    rules = due["nvidia_driver"].keys()
    if not rules:
        return []
    cures = rules <= _FABRIC_MANAGER
    found = [finding for finding in health.findings(case) if finding.hidden]
    return [finding for finding in found if not (finding.of_fabric and cures)]


_SHOWN = 4


def _who(clients: Sequence[facts_shape.GpuClient]) -> str:
    shown = [
        f"{row['process']} (pid {row['pid']})" + (f" of {row['unit']}" if row["unit"] else "")
        for row in clients[:_SHOWN]
    ]
    left = len(clients) - len(shown)
    return ", ".join(shown) + (f" and {left} more" if left else "")


def _branches_for_kernel(case: Case, release: str) -> str:
    fitting = [
        name
        for name, row in case.known.branches.items()
        if "kernel_min" in row and not versions.is_below(release, row["kernel_min"])
    ]
    return f": {fitting[0]} or older" if fitting else ""


RULES = {
    "processor-unsupported": processor_unsupported,
    "kernel-too-old": kernel_too_old,
    "kernel-too-new": kernel_too_new,
    "kernel-real-time": kernel_real_time,
    "architecture-unsupported": architecture_unsupported,
    "open-modules-unsupported": open_modules_unsupported,
    "open-modules-required": open_modules_required,
    "mixed-architectures": mixed_architectures,
    "nvlink5": nvlink5,
    "vgpu-needs-grid": vgpu_needs_grid,
    "guest-newer-than-host": guest_newer_than_host,
    "guest-too-old-for-host": guest_too_old_for_host,
    "guest-rejected": guest_rejected,
    "license-protocol": license_protocol,
    "cuda-needs-newer-driver": cuda_needs_newer_driver,
    "build-lacks-architecture": build_lacks_architecture,
    "route-impossible": route_impossible,
    "tag-does-not-fit-ofed": tag_does_not_fit_ofed,
    "delivery-impossible": delivery_impossible,
    "foreign-package": foreign_package,
    "file-needed": file_needed,
    "no-package": no_package,
    "secure-boot-key": secure_boot_key,
    "gpu-in-use": gpu_in_use,
    "sick-gpu": sick_gpu,
}
