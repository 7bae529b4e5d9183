# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""mlnxofedinstall: what it is told, and what it says.

It takes any name behind --with- and --without-, and says no more of a wrong one than a line in
yellow. What is told here of its options is that of its source for Debian's family, version 5.9,
with the names that the user manuals of MLNX_OFED 4.9 and 24.10 have for Enterprise Linux besides.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from .. import near_miss
from ..refusal import Refusal
from ..system import build_log, commands, disk, named_logs
from ..system.root import Root


class Order(NamedTuple):
    """What a run is to do.

    :ivar release: of the kernel.
    :ivar distribution: what the bundle is for where the host differs from that in its minor
        version alone, '' where it does not.
    """

    release: str
    tmpdir: str
    adds_kernel: bool
    updates_firmware: bool
    distribution: str
    options: list[str]


_VENDOR = "mlnx-"
# Which packages are installed, and settings that bring no package.
_PLAIN = {
    *("--all", "--basic", "--bluefield", "--dpdk", "--eth-only", "--guest", "--hpc"),
    *("--hypervisor", "--kernel-only", "--msm", "--ovs-dpdk", "--upstream-libs"),
    *("--vma", "--vma-eth", "--vma-vpi", "--xlio"),
    *("--copy-ifnames-udev", "--disable-affinity", "--disable-kmp", "--enable-affinity"),
    *("--enable-gds", "--enable-mlnx_tune", "--enable-opensm", "--enable-sriov", "--fwctl"),
    *("--kmp", "--skip-unsupported-devices-check", "--umad-dev-na", "--umad-dev-rw"),
    *("--with-debug-symbols", "--with-mlxdevm-mod", "--with-nfsrdma", "--with-nvmf"),
    *("--with-openvswitch", "--with-vma", "--with-xlio", "--without-debug-symbols"),
    *("--without-depcheck", "--without-mlxdevm-mod", "--without-nfsrdma"),
}
_WITH_VALUE = {"--kernel-extra-args", "--package-install-options", "--post-start-delay"}
# What this project decides itself, or what does something else than to install.
_OURS = {
    **dict.fromkeys(
        ("--without-fw-update", "--force-fw-update", "--fw-update-only"),
        "say mlnx_ofed_firmware_update instead",
    ),
    "--tmpdir": "say mlnx_ofed_tmpdir instead",
    "--user-space-only": "the modules of the kernel are looked after, too",
    **dict.fromkeys(
        (
            *("--add-kernel-support", "--add-kernel-support-build-only", "--skip-repo"),
            *("--auto-add-kernel-support", "--dkms", "--force-dkms", "--without-dkms"),
            *("-k", "--kernel", "-s", "--kernel-sources", "--distro", "--skip-distro-check"),
        ),
        "it follows from the host's kernels and distribution",
    ),
    **dict.fromkeys(("--force", "-q"), "nobody can be asked, so that it is always said"),
}
# Parts of the kernel's modules that are chosen like packages.
_MODULES = {
    *("core", "e_ipoib", "ipoib", "iser", "isert", "mlx4", "mlx4_en", "mlx5", "mlx5_fpga_tools"),
    *("mlxdevm", "mlxfw", "nfsrdma", "rds", "sdp", "srp", "srpt"),
}
_CHOICE = re.compile(r"--(?:with|without|enable|disable)-(.+)")
_MARK = re.compile(r"\x1b\[[0-9;]*m")
_FIRMWARE = re.compile(r"^.*(?:Failed to update Firmware|Cannot perform firmware update).*$", re.M)
_ERRORS = re.compile(r"\berror\b|\bfailed\b|\bE:", re.IGNORECASE)
_QUOTED = 3

# MLNX_OFED 24.10 user manual, "Installation Script", "mlnxofedinstall Return Codes"; 22, 28 and
# 174 are named in the script itself.
_STATUSES = {
    1: ("the installation failed", "Mend what it names"),
    2: (
        "it has no firmware for the adapters of this host",
        "Leave out mlnx_ofed_firmware_update, or name a bundle that has it",
    ),
    22: ("it does not know one of its options", "Correct mlnx_ofed_options"),
    28: ("it ran out of room", "Free room in mlnx_ofed_tmpdir and on /usr and /var"),
    171: (
        "it found no adapter that this release knows",
        "Look at `lspci -d 15b3:`; name the release that your adapters need, or add "
        "--skip-unsupported-devices-check to mlnx_ofed_options",
    ),
    172: (
        "this host lacks what the release asks for: it is of another distribution or architecture, "
        "or packages cannot be had",
        "Name the bundle of this distribution, and see that its packages can be installed",
    ),
    173: ("mst, the tool that reaches the adapters' firmware, did not start", "Look at dmesg"),
    174: (
        "packages that are none of its own stand on those that it replaces",
        "Remove what it names",
    ),
}


def refuse_options(options: Iterable[str]) -> None:
    """Refuse options that can be told to be wrong without the bundle.

    :param options: words as they are given to the installer, a value behind its option.
    :raises Refusal: one is unknown, or not the user's to say.
    """
    ahead = list(options)
    while ahead:
        option = ahead.pop(0)
        if option in _OURS:
            raise Refusal(f"mlnx_ofed_options: {option}", _OURS[option], "Leave it out")
        if option in _WITH_VALUE:
            if not ahead:
                raise Refusal(
                    f"mlnx_ofed_options: {option}", "it takes a value", "Add that as the next item"
                )
            ahead.pop(0)
        elif option not in _PLAIN and not _CHOICE.fullmatch(option):
            raise Refusal(
                f"mlnx_ofed_options: {option}",
                "the installer has no such option",
                near_miss.remedy(
                    f"--{option.lstrip('-')}",
                    [*_PLAIN, *_WITH_VALUE],
                    "See `mlnxofedinstall --help`",
                ),
            )


def refuse_names(options: Iterable[str], packages: Iterable[str]) -> None:
    """Refuse options that choose what is not in the bundle; the installer would go on without.

    :param packages: the names of the bundle's packages.
    :raises Refusal: one does.
    """
    for option in options:
        choice = _CHOICE.fullmatch(option)
        if option in _PLAIN or not choice:
            continue
        name = choice.group(1)
        # It takes the one for the other, as the kernel needs.
        alike = {name, name.replace("-modules", "-dkms"), name.replace("-dkms", "-modules")}
        known = [*packages, *_MODULES]
        if not alike.intersection(known):
            # People leave out what the vendor's own names begin with.
            short = {each[len(_VENDOR) :]: each for each in known if each.startswith(_VENDOR)}
            nearest = near_miss.of(name, known) or short.get(near_miss.of(name, short), "")
            raise Refusal(
                f"mlnx_ofed_options: {option}",
                f"the bundle has no package {name}, and its installer would not say so",
                f"Did you mean {option[: -len(name)]}{nearest}?" if nearest else "Leave it out",
            )


def arguments(order: Order) -> list[str]:
    """Return the options of mlnxofedinstall for an Order.

    --force: it waits for a key otherwise. The kernel is always named: `uname -r`, which it takes
    by itself, need not be that of the host's next boot.
    """
    sources = f"/lib/modules/{order.release}/build"
    return [
        "--force",
        *([] if order.updates_firmware else ["--without-fw-update"]),
        *(["--add-kernel-support"] if order.adds_kernel else []),
        *("--kernel", order.release, "--kernel-sources", sources),
        *("--tmpdir", order.tmpdir),
        *(["--distro", order.distribution] if order.distribution else []),
        *order.options,
    ]


def failure(what: str, done: subprocess.CompletedProcess[str], tree: Root) -> Refusal:
    """Return the Refusal that says why the installer, or the uninstaller, ended as it did.

    :param what: what was done, for the message.
    :param done: its CompletedProcess, with text.
    :param tree: the host, on which its log lies.
    """
    text = _MARK.sub("", done.stdout + done.stderr)
    logs = {path: _MARK.sub("", said) for path, said in named_logs.followed(text, tree).items()}
    if disk.is_full(text + "".join(logs.values())):
        return disk.full(what, "mlnx_ofed_tmpdir, /usr or /var")
    because, remedy = _STATUSES.get(done.returncode, _STATUSES[1])
    lacking = _lacking(text)
    remedy = f"Run `{lacking.replace('yum', 'dnf', 1)}` on the host" if lacking else remedy
    told = f"{because} (status {done.returncode})"
    said = _quoted(text, logs)
    return Refusal(what, f"{told}: {said}" if said else told, f"{remedy}, and run again")


def _quoted(text: str, logs: Mapping[str, str]) -> str:
    """Return the installer's own error, and that of the log which says most, with its path.

    That is the one of a build that failed, else the one that was named last.

    :param logs: what named_logs.followed found in its words.
    """
    own = _errors(text)[-1:]
    of_builds = build_log.told(logs)
    if of_builds:
        return " / ".join([*own, of_builds])
    for path, log in reversed(list(logs.items())):
        lines = _errors(log)[-_QUOTED:]
        if lines:
            return " / ".join([*own, f"{' / '.join(lines)} ({path})"])
    paths = ", ".join(named_logs.paths(text))
    return " / ".join(own or commands.lines_of(text)[-_QUOTED:]) + (f" ({paths})" if paths else "")


def _lacking(text: str) -> str:
    """Return the command that brings what it found missing, '' where it names none.

    The one for Enterprise Linux leaves that to whoever started it.
    """
    found = re.search(r"^(?:yum|dnf) install .+$", text, re.MULTILINE)
    return found.group(0).strip() if found else ""


def _errors(text: str) -> list[str]:
    return list(dict.fromkeys(filter(_ERRORS.search, commands.lines_of(text))))


def firmware_failure(done: subprocess.CompletedProcess[str]) -> str:
    """Return what the installer says of firmware that it could not update, '' where it could.

    That changes neither its status nor the rest of its work.
    """
    found = _FIRMWARE.search(_MARK.sub("", done.stdout + done.stderr))
    return found.group(0).strip() if found else ""
