# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The licence of a host's virtual GPUs: what nvidia-gridd is told, and whether it got one."""

from __future__ import annotations

import functools
import os
import re
import time

from ..facts import general
from ..gpu import cuda_allocation, gridd, installed_driver, nvidia_smi
from ..records import manifest
from ..refusal import Refusal
from ..steps import Result
from ..system import processes, systemd, text_files

# The first line of each configuration that we write.
MARK = "# Written by gpunode; what is changed here by hand is lost.\n"
UNIT = gridd.UNIT
# NVIDIA Virtual GPU Client Licensing User Guide: the owner has all rights, others may read.
_TOKEN_MODE = 0o744
_POLL_S = 2
_TELL_S = 120
_LOG_LINES = 50
_CLOCK_SLACK_S = 1
# What the daemon logs where it gets no licence: (pattern, what that means, what to do). The first
# that fits counts, so what says more stands before what says less. Seen in public logs: those of
# fastapi-dls, of MicrosoftDocs/azure-docs#32746, of guests of NVIDIA's cloud service; the words of
# curl are those of its lib/strerror.c.
_REASONS = (
    (
        r"Invalid feature type requested",
        "the daemon does not know the feature type",
        "Say another vgpu_license_feature_type",
    ),
    (
        r"Licensing not supported for GPUs",
        "no GPU of this host can be licensed: none is virtual",
        "Have the hypervisor give it a vGPU, or leave the licence out on this host",
    ),
    (
        r"Unable to fetch the client configuration token",
        "the daemon finds no token",
        f"Look at {gridd.TOKENS}",
    ),
    (
        r"Failed to (?:decode signature from token|read configurations from client configuration)",
        "the daemon cannot read the token",
        "Download it again from the license server, and name it with vgpu_license_token",
    ),
    (
        r"allowed time to process response has expired",
        "the clocks of this host and of the license server differ, or the token is too old",
        "Set the clocks, or download a new token",
    ),
    (
        r"No pool features found for",
        "the license server has no licence of this kind to give",
        "Add licences to the server, or free some that others hold",
    ),
    (
        r"resolve host",
        "the name of the license server is not known here",
        "Mend the name or the DNS of this host",
    ),
    (
        r"connect to server|[Cc]onnection refused|[Tt]imed? ?out|Timeout was reached",
        "the license server does not answer",
        "See that this host reaches it",
    ),
    (
        r"Failed to open file /etc/nvidia/gridd\.conf",
        "the daemon could not read its configuration",
        "Look at /etc/nvidia/gridd.conf",
    ),
    (
        r"Failed to (?:acquire license|register client)",
        "the license server gave no licence",
        "Look at the log of the server",
    ),
    (
        r"Valid GRID license not found",
        "the daemon found no licence",
        "Look at what it was told: /etc/nvidia/gridd.conf",
    ),
)


def wanted_files(wanted, token):
    """Return {path: text_files.TextFile} of what is to be there, tokens of others going first.

    :param wanted: the wanted state.
    :param token: what is in the token, None where there is none.
    """
    # The daemon takes a token before a server, and is to find no other beside ours.
    found = {path: text_files.of(None, is_secret=True) for path in _tokens()}
    if wanted["token"]:
        path = os.path.join(gridd.TOKENS, wanted["token"]["name"])
        found[path] = text_files.of(token, _TOKEN_MODE, is_secret=True)
    found[gridd.CONFIGURATION] = text_files.of(wanted["configuration"])
    return found


def converge(host, asked, check_mode):
    """Bring the licence to the wanted state; return the steps.Result.

    :param host: the bring.Host.
    :param asked: the parameters of the module; what is wanted is the state of
        plugin_utils/_controller/components/vgpu_license.py.
    :raises Refusal: as :func:`converge_present` does.
    """
    own_kernel = general.own_kernel()
    if asked["wanted"]["state"] == "absent":
        return converge_absent(host.run, own_kernel, check_mode)
    return converge_present(
        asked["wanted"], asked["token"], host.tree, host.run, own_kernel, check_mode
    )


def converge_present(wanted, token, tree, run, own_kernel, check_mode, sleep=time.sleep):
    """Bring the licence to the wanted state; return the steps.Result.

    :param wanted: the wanted state.
    :param token: what is in the token, None where there is none.
    :param tree: the host.
    :param run: what runs programs, with the signature of commands.run.
    :param own_kernel: whether the host runs a kernel of its own; without one no licence is had.
    :param check_mode: only say what would be done.
    :raises Refusal: the daemon is not there, or gets no licence.
    """
    state = _unit_state(run)
    if state.get("LoadState") != "loaded" and not check_mode:
        raise Refusal(
            UNIT,
            "the driver that is installed has no such unit",
            "Install a GRID driver; some of its packages lack the unit, another release has it",
        )
    can_run = own_kernel and _is_up(tree)
    wanted_now = wanted_files(wanted, token)
    stale = text_files.stale(wanted_now)
    steps = [
        (
            text_files.sentence(path, wanted_now[path]),
            functools.partial(_settle, path, wanted_now[path]),
        )
        for path in stale
    ]
    if state.get("UnitFileState") != "enabled":
        steps.append((f"enable {UNIT}", functools.partial(_tell, "enable", run)))
    if can_run and (stale or _is_due(state, wanted_now, tree)):
        steps.append((f"restart {UNIT}", functools.partial(_tell, "restart", run)))
    was_licensed = can_run and state.get("ActiveState") == "active" and _unlicensed(tree) == []
    before = {path: text_files.found(path) for path in stale} if was_licensed else {}
    since = time.time() - _CLOCK_SLACK_S
    diff = [text_files.diff(path, wanted_now[path]) for path in stale]
    if not check_mode:
        for _sentence, action in steps:
            action()
        if can_run:
            _prove_or_go_back(
                before, functools.partial(_prove, wanted, tree, run, since, sleep), run
            )
    changes = [sentence for sentence, _action in steps]
    return Result(changes, diff, _manifest(wanted_now, can_run))


def converge_absent(run, own_kernel, check_mode):
    """Give the licence back, and leave nothing of ours; what others wrote stays.

    The configuration goes last: it tells that the tokens are ours.
    """
    is_ours = (text_files.read(gridd.CONFIGURATION) or "").startswith(MARK)
    paths = [*_tokens(), gridd.CONFIGURATION] if is_ours else []
    is_active = own_kernel and _unit_state(run).get("ActiveState") == "active"
    steps = [
        (f"remove {path}", functools.partial(text_files.put, path, text_files.of(None)))
        for path in paths
    ]
    if steps and is_active:
        steps = [
            # It gives the licence back when it ends.
            (f"stop {UNIT}", functools.partial(_tell, "stop", run)),
            *steps,
            (f"start {UNIT}", functools.partial(_tell, "start", run)),
        ]
    diff = [
        text_files.diff(path, text_files.of(None, is_secret=path in _tokens())) for path in paths
    ]
    if not check_mode:
        for _sentence, action in steps:
            action()
    return Result([sentence for sentence, _action in steps], diff)


def reason(log):
    """Return (what it means, what to do, the line) of the log of a daemon that got no licence."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    for pattern, means, remedy in _REASONS:
        said = [line for line in lines if re.search(pattern, line)]
        if said:
            return means, remedy, said[-1]
    return (
        "the daemon does not say why",
        f"Look at `journalctl -u {UNIT}`, and at what lies between here and the license server",
        lines[-1] if lines else "its log is empty",
    )


def _prove_or_go_back(before, prove, run):
    """Prove that there is a licence; else go back to the files with which there was one.

    :param before: {path: text_files.TextFile} of those that changed; {} where nothing is to
        come back.
    """
    try:
        prove()
    except Refusal as refusal:
        if not before:
            raise
        text_files.put_all(before)
        _tell("restart", run)
        raise Refusal(
            refusal.what,
            refusal.because,
            f"{refusal.remedy}. What was configured before is in service again",
        ) from refusal


def _prove(wanted, tree, run, since, sleep):
    """Wait until every GPU that can be is licensed, and prove that it computes.

    :raises Refusal: that was not so in time; the log says why.
    """
    deadline = time.monotonic() + wanted["wait_s"]
    while True:
        lacking = _unlicensed(tree)
        if lacking == []:
            break
        is_gone = _unit_state(run).get("ActiveState") not in ("active", "activating")
        if is_gone or time.monotonic() >= deadline:
            raise _without_licence(lacking, tree, since, run)
        sleep(_POLL_S)
    # Without a licence a guest's first allocation fails, whatever else it says.
    obstacle = cuda_allocation.obstacle(run)
    if obstacle:
        raise Refusal(
            "a licence for the GPUs of this host",
            f"they are licensed, and give no memory: {obstacle}",
            "Look at dmesg for NVRM and Xid lines, then run again",
        )


def _without_licence(lacking, tree, since, run):
    """Return the Refusal that says why there is none."""
    what = f"a licence for {', '.join(lacking) if lacking else 'the GPUs of this host'}"
    said = nvidia_smi.survey(tree)["says"]
    if said:
        return Refusal(
            what, f"nvidia-smi does not answer: {said}", "Mend the driver, then run again"
        )
    means, remedy, line = reason(systemd.journal(UNIT, _LOG_LINES, since, run))
    return Refusal(what, f"{means} ({line})", remedy)


def _unlicensed(tree):
    """Return the addresses of the GPUs without their licence; None where none takes one."""
    gpus = [
        gpu for gpu in nvidia_smi.survey(tree)["gpus"] if gpu["license"] or gpu["mode"] == "vgpu"
    ]
    # "Unlicensed" has the word in it, too.
    lacking = [gpu["address"] for gpu in gpus if not gpu["license"].startswith("Licensed")]
    return lacking if gpus else None


def _is_up(tree):
    """Say whether the driver on disk is the one that is loaded: another waits for a reboot."""
    version = installed_driver.loaded(tree)["version"]
    return bool(version) and version in installed_driver.libraries(tree)


def _is_due(state, wanted_now, tree):
    """Say whether the daemon does not run with these files, or has no licence."""
    if state.get("ActiveState") != "active" or _unlicensed(tree) != []:
        return True
    pids = {state.get("MainPID", "0")}
    return any(processes.started_before(pids, path) for path in _present(wanted_now))


def _unit_state(run):
    properties = ("LoadState", "ActiveState", "UnitFileState", "MainPID")
    return systemd.show([UNIT], properties, run).get(UNIT, {})


def _tell(verb, run):
    try:
        systemd.tell(verb, UNIT, timeout_s=_TELL_S, run=run)
    except systemd.UnitError as error:
        raise Refusal(
            f"{verb} {UNIT}", str(error), f"Look at `journalctl -u {UNIT}`, then run again"
        ) from error


def _settle(path, file):
    if file.text is None and os.path.exists(gridd.CONFIGURATION):
        # Whoever runs with what goes is older than the configuration, and by that is restarted,
        # should this run be killed before.
        os.utime(gridd.CONFIGURATION)
    text_files.put(path, file)


def _tokens():
    """Return the paths of the tokens that the daemon finds."""
    try:
        names = sorted(os.listdir(gridd.TOKENS))
    except OSError:
        return []
    return [os.path.join(gridd.TOKENS, name) for name in names if name.endswith(".tok")]


def _present(wanted_now):
    return [path for path, file in wanted_now.items() if file.text is not None]


def _manifest(wanted_now, can_run):
    paths = [path for path in _present(wanted_now) if os.path.isfile(path)]
    entries = [manifest.file(path) for path in paths]
    if can_run:
        entries.append(manifest.unit(UNIT, "active", "enabled"))
        entries += [manifest.fresh(UNIT, path, by_children=False) for path in paths]
    return entries
