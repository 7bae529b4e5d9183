# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What people should know and nothing stops for: a rule each, which yields sentences of a case.

A combination about which nothing is known is said to be unknown.
"""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import fabric_manager
from ansible_collections.gpunode.stack.plugins.module_utils._node.kernel import (
    headers,
    secure_boot,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.packages import versions
from ansible_collections.gpunode.stack.plugins.module_utils._node.rdma import openibd_restart

from . import due as stack_due
from . import health, kernel_limits, refusals
from .case import Case
from .due import Due

# What brings a kept driver back, by the host's package manager; our own pins would hold it off.
_BY_HAND = {
    "apt": "apt-get install --allow-downgrades {}/*.deb",
    "dnf": "dnf --disableplugin=versionlock --allowerasing install {}/*.rpm",
}


def unknown_driver(case: Case, due: Due) -> Iterator[str]:
    if case.driver and not case.driver_to_be.branch_row:
        yield (
            f"driver branch {case.driver_to_be.branch} is not in the catalog: what it goes with is "
            "unknown"
        )
        return
    version = case.driver["version"] if case.driver else ""
    if version and not case.known.driver(version, case.driver["flavour"]):
        yield f"driver {version} is not in the catalog; it is taken for one of its branch"


def unknown_gpu(case: Case, due: Due) -> Iterator[str]:
    for gpu in case.facts["gpus"] if case.driver else []:
        if not gpu["architecture"]:
            yield (
                f"GPU {gpu['device']} at {gpu['address']} is not in the table of architectures: "
                "whether the driver knows it is unknown"
            )


def unknown_kernel(case: Case, due: Due) -> Iterator[str]:
    # What is known not to build is not unknown.
    known = (refusals.kernel_too_new, refusals.kernel_real_time)
    if not due["nvidia_driver"] or any(any(rule(case, due)) for rule in known):
        return
    for kernel in case.driver_to_be.to_be_built_for:
        release = kernel["release"]
        if kernel_limits.is_real_time(release):
            yield (
                f"{release} is a real-time kernel, for which NVIDIA's modules build only where the "
                "packages see to it"
            )
        elif not kernel_limits.is_tested(case.driver_to_be.kernel_tested, release):
            limit = kernel_limits.tested(case.driver_to_be.kernel_tested, release)
            yield (
                f"whether driver branch {case.driver_to_be.branch} builds for kernel {release} is "
                "unknown" + (f": up to {limit} it is known to" if limit else "")
            )


def unknown_cuda(case: Case, due: Due) -> Iterator[str]:
    for build in case.cuda_builds if case.driver_to_be.version else []:
        if not case.known.cuda(build["cuda"]):
            yield (
                f"{build['by']}: CUDA {build['cuda']} is not in the catalog: which driver it needs "
                "is unknown"
            )


def unknown_ofed(case: Case, due: Due) -> Iterator[str]:
    if case.rdma.wants_vendors and not case.known.ofed(case.ofed["version"]):
        yield (
            f"{case.ofed['kind']} {case.ofed['version']} is not in the catalog: what it goes with "
            "is unknown"
        )


def unknown_tag(case: Case, due: Due) -> Iterator[str]:
    if case.peers.route == "nv_peer_mem" and case.peers.tag not in case.known.tags:
        yield f"nv_peer_mem {case.peers.tag} is not in the catalog: what it builds with is unknown"


def unknown_distribution(case: Case, due: Due) -> Iterator[str]:
    if case.driver and case.host.distribution not in case.known.distributions:
        yield f"{case.host.distribution} is a distribution that gpunode does not know"


def no_compiler(case: Case, due: Due) -> Iterator[str]:
    if not due["nvidia_driver"]:
        return
    for kernel in case.host.targets:
        if kernel["headers"] and kernel["compiler"] and not kernel["compiler_found"]:
            yield (
                f"kernel {kernel['release']} was built with {kernel['compiler']}, which is not "
                "there: modules of another compiler may not build or load"
            )


def held_update(case: Case, due: Due) -> Iterator[str]:
    yield from _held(case, by_security=False)


def held_security_update(case: Case, due: Due) -> Iterator[str]:
    yield from _held(case, by_security=True)


def _held(case: Case, by_security: bool) -> Iterator[str]:
    alike: dict[tuple[str, str], list[str]] = {}
    for package in case.driver_there.packages if case.driver else []:
        if package["offered"] and package["offered_by_security"] == by_security:
            alike.setdefault((package["version"], package["offered"]), []).append(package["name"])
    for (version, offered), names in alike.items():
        others = f" and {len(names) - 1} more are" if len(names) > 1 else " is"
        yield (
            f"{names[0]}{others} held at {version}, and the repository offers {offered}"
            + (", a security update" if by_security else "")
        )


def way_back(case: Case, due: Due) -> Iterator[str]:
    """How the driver before is had again; it is kept on the host, with the installed one first."""
    for row in case.facts["driver"]["kept"] if case.driver and case.driver_there.installed else []:
        if row["version"] in (case.driver_there.installed, case.driver_to_be.version):
            continue
        if row["sha256"]:
            says = (
                f"gpunode_driver_version: {row['version']}, and "
                f"gpunode_driver_file: file://{row['path']}#sha256={row['sha256']}"
            )
        elif versions.branch(row["version"]) != case.driver_to_be.branch:
            # By hand it would not last: the next run brings the branch that is wanted.
            says = f"gpunode_driver_version: {row['version']}"
        else:
            says = _BY_HAND.get(case.facts["pkg_mgr"], _BY_HAND["apt"]).format(row["path"])
        yield f"the way back to driver {row['version']}, which is kept on the host: {says}"


def end_of_life(case: Case, due: Due) -> Iterator[str]:
    row = (case.driver_to_be.branch_row if case.driver else None) or {}
    ends = row.get("end_of_life", "")
    if row.get("ended") or "" < ends < case.today:
        yield f"NVIDIA supports driver branch {case.driver_to_be.branch} no longer" + (
            f", since {ends}" if ends else ""
        )


def no_gpu(case: Case, due: Due) -> Iterator[str]:
    if case.wanted["driver"] and not case.facts["gpus"]:
        yield "no NVIDIA GPU is to be seen on this host"
    elif case.wanted["driver"] and not case.driver:
        holders = sorted({gpu["driver"] for gpu in case.facts["gpus"]})
        yield f"every NVIDIA GPU of this host is handed on to guests by {' and '.join(holders)}"


def no_headers(case: Case, due: Due) -> Iterator[str]:
    if not case.driver and not case.rdma.wants_vendors:
        return
    for kernel in case.facts["kernels"]:
        if not kernel["headers"] and (kernel["running"] or kernel["next"]):
            yield (
                f"kernel {kernel['release']} has no headers: modules can be built for it once they "
                f"are installed ({headers.package(kernel['release'], case.facts['pkg_mgr'])})"
            )


def key_not_enrolled(case: Case, due: Due) -> Iterator[str]:
    builds = case.driver or case.rdma.wants_vendors or case.peers.route == "nv_peer_mem"
    if builds and case.host.lacks_key and "unenrolled_key" in case.consent:
        _what, because, remedy = secure_boot.why_kept_out(case.facts["secure_boot"])
        yield f"{because}. {remedy}"


def module_rejected(case: Case, due: Due) -> Iterator[str]:
    # That a key is lacking is told by itself.
    found = case.facts["secure_boot"]
    is_told = case.driver_there.loaded or case.host.lacks_key
    if case.driver and found["rejected"] and not is_told:
        key = found["key"] or "that the module is signed with"
        yield (
            f"the kernel did not take a module for its signature: {found['rejected']}. Where it "
            f"was the driver's, it does not trust the key {key}. {secure_boot.NOT_TRUSTED}"
        )


def prebuilt_modules(case: Case, due: Due) -> Iterator[str]:
    if due["nvidia_driver"] and case.driver_to_be.is_prebuilt:
        why = (
            "the host has such modules"
            if case.driver_there.has_prebuilt
            else "Secure Boot is on, and the firmware knows the key that they are signed with"
        )
        yield (
            "the modules are those that the distribution has built and signed, where it has them "
            f"for every kernel: {why}"
        )


def restart_would_cut_the_connection(case: Case, due: Due) -> Iterator[str]:
    if not case.rdma.wants_vendors or not case.rdma.under_connection:
        return
    is_consented_to = openibd_restart.CONSENT in case.consent
    is_asked_for = case.facts["rdma_stack"]["stale"] and is_consented_to
    if is_asked_for or stack_due.exchanges_rdma(case):
        yield (
            f"the connection to this host runs over {case.facts['management']['interface']}, which "
            f"stands on RDMA devices ({', '.join(case.rdma.under_connection)}): openibd is not "
            "restarted, the host is to be rebooted instead"
        )


def sick_gpu_noticed(case: Case, due: Due) -> Iterator[str]:
    if case.driver:
        told = refusals.hidden(case, due)
        yield from (row.sentence for row in health.findings(case) if row not in told)
    for gpu in case.facts["nvidia_smi"]["gpus"] if case.driver else []:
        if gpu["retirement_pending"]:
            yield f"{gpu['address']}: what is broken is to be retired at the next reset or reboot"


def unknown_xid(case: Case, due: Due) -> Iterator[str]:
    if case.driver:
        yield from health.unknown_xids(case)


def fabric_not_completed(case: Case, due: Due) -> Iterator[str]:
    if case.driver:
        yield from health.unfinished_fabric(case)


def fabric_set_up_anew(case: Case, due: Due) -> Iterator[str]:
    # Where none was there, nothing was set up before.
    is_again = case.facts["fabric_manager"]["version"] and fabric_manager.starts_anew(case.facts)
    if is_again and "no-fabric-manager" in due["nvidia_driver"]:
        yield (
            "Fabric Manager is started anew: GPUs that were at work before compute over NVLink "
            "once they were reset (nvidia-smi --gpu-reset), or the host was rebooted"
        )


def no_answer(case: Case, due: Due) -> Iterator[str]:
    found = case.facts["nvidia_smi"]
    if case.driver and found["asked"] and not found["answered"]:
        yield f"the driver is loaded, and nvidia-smi does not answer: {found['says']}"


def module_in_use(case: Case, due: Due) -> Iterator[str]:
    is_old = refusals.REPLACING.intersection(due["nvidia_driver"]) or due["reboot"]
    if case.driver and case.held and is_old:
        yield f"the loaded module is exchanged by a reboot alone: {case.held}"


def loaded_from_elsewhere(case: Case, due: Due) -> Iterator[str]:
    if case.driver and case.driver_there.loaded and not case.driver_there.installed:
        yield (
            f"driver {case.driver_there.loaded} is loaded and is not on this host's disk; where a "
            "container brings it, leave the driver out of what is wanted here"
        )


RULES = {
    "unknown-driver": unknown_driver,
    "unknown-gpu": unknown_gpu,
    "unknown-kernel": unknown_kernel,
    "unknown-cuda": unknown_cuda,
    "unknown-ofed": unknown_ofed,
    "unknown-tag": unknown_tag,
    "unknown-distribution": unknown_distribution,
    "held-update": held_update,
    "held-security-update": held_security_update,
    "way-back": way_back,
    "end-of-life": end_of_life,
    "no-gpu": no_gpu,
    "no-headers": no_headers,
    "no-answer": no_answer,
    "key-not-enrolled": key_not_enrolled,
    "module-rejected": module_rejected,
    "no-compiler": no_compiler,
    "prebuilt-modules": prebuilt_modules,
    "restart-would-cut-the-connection": restart_would_cut_the_connection,
    "sick-gpu": sick_gpu_noticed,
    "unknown-xid": unknown_xid,
    "fabric-not-completed": fabric_not_completed,
    "fabric-set-up-anew": fabric_set_up_anew,
    "module-in-use": module_in_use,
    "loaded-from-elsewhere": loaded_from_elsewhere,
}
