# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Miniforge of a version in its prefix, with its configuration; other versions become that one."""

from __future__ import annotations

import contextlib
import functools
import os
import pwd
import shutil

from ..conda import cli, path_state, prefixes
from ..records import manifest
from ..refusal import Refusal
from ..steps import Result
from ..system import commands, download, files, folders, own_paths, unfinished_folder, urls
from . import removal

_WORK_DIR = os.path.join(own_paths.CACHE_DIR, "miniforge")


def converge(host, asked, check_mode):
    """Bring Miniforge to the wanted state, or away; return the steps.Result.

    :param host: the bring.Host.
    :param asked: the parameters of the module; what is wanted is the state of
        plugin_utils/_controller/components/miniforge.py.
    :raises Refusal: as :func:`converge_present` and removal.converge do.
    """
    wanted = asked["wanted"]
    if wanted["state"] == "absent":
        return removal.converge(wanted["prefix"], check_mode)
    return converge_present(wanted, host.execute, check_mode)


def converge_present(
    wanted, execute, check_mode, state_dir=own_paths.STATE_DIR, work_dir=_WORK_DIR
):
    """Bring Miniforge to the wanted state; return the steps.Result.

    :param wanted: the wanted state.
    :param execute: runs (argv, environment) and returns a CompletedProcess with text.
    :param check_mode: only say what would be done.
    :param state_dir: where the notes on unfinished builds lie.
    :param work_dir: where the installer is put while it is needed.
    :raises Refusal: the prefix holds something else, or the installation fails.
    """
    sentence, action = _installation(wanted, execute, state_dir, work_dir)
    certificates = _certificates(wanted)
    wanted_files = {**certificates, **_configuration(wanted)}
    stale = [path for path, text in wanted_files.items() if not _is_written(path, text)]
    changes = ([sentence] if sentence else []) + [
        f"remove {path}" if wanted_files[path] is None else f"write {path}" for path in stale
    ]
    diff = [_diff(path, _read(path), wanted_files[path]) for path in stale]
    if not check_mode:
        if wanted["ca_text"]:
            # The download trusts them.
            _settle(certificates)
        if sentence:
            action()
        _settle(wanted_files)
        if changes:
            _prove(wanted, execute)
    return Result(changes, diff, _manifest(wanted))


def _installation(wanted, execute, state_dir, work_dir):
    """Return (sentence, action) for conda itself, (None, None) when it is of the wanted version."""
    prefix, version = wanted["prefix"], wanted["version"]
    install = functools.partial(_install, wanted, execute, state_dir, work_dir)
    verdict = prefixes.verdict(path_state.of(prefix, state_dir))
    if verdict in ("free", "unfinished"):
        return f"install Miniforge {version} in {prefix}", install
    if verdict == "foreign" or not removal.is_base(prefix):
        raise prefixes.foreign("Miniforge", prefix, "miniforge_prefix")
    found = _version(prefix, execute)
    if found == wanted["conda_version"]:
        return None, None
    update = functools.partial(_update, wanted, execute, work_dir)
    return (
        f"bring {prefix} from conda {found or 'that does not answer'} to Miniforge {version}",
        update,
    )


def _install(wanted, execute, state_dir, work_dir):
    with (
        _installer(wanted, work_dir) as installer,
        unfinished_folder.building(wanted["prefix"], state_dir),
    ):
        # -f: an empty folder may be there, such as the mount point of a disk of its own.
        _run_installer(installer, ["-b", "-f", "-p", wanted["prefix"]], wanted, execute)
        _prove(wanted, execute)


def _update(wanted, execute, work_dir):
    with _installer(wanted, work_dir) as installer:
        _run_installer(installer, ["-b", "-u", "-p", wanted["prefix"]], wanted, execute)
        _prove(wanted, execute)


@contextlib.contextmanager
def _installer(wanted, work_dir):
    """Give the path of the installer, its sha256 proven, and remove it after use.

    One that a killed run left is used where it is whole.
    """
    asked = wanted["installer"]
    path = os.path.join(work_dir, f"{asked['sha256']}.sh")
    try:
        download.fetch(
            asked["url"], path, asked["sha256"], wanted["proxies"], wanted["ca_bundle"] or None
        )
        yield path
    finally:
        shutil.rmtree(work_dir, ignore_errors=True)


def _run_installer(installer, arguments, wanted, execute):
    what = f"install Miniforge {wanted['version']} in {wanted['prefix']}"
    os.makedirs(os.path.dirname(wanted["prefix"]), mode=0o755, exist_ok=True)
    # Some installers ask for HOME, which a unit of the system manager does not have.
    environment = {"HOME": pwd.getpwuid(0).pw_dir, "LC_ALL": "C.UTF-8"}
    argv = ["bash", installer, *arguments]
    result = commands.run_long(what, argv, environment, execute, wanted["prefix"])
    if result.returncode:
        words = commands.last_words(result, result.stdout + result.stderr)
        raise Refusal(what, f"the installer failed: {words}", "Mend that and run again")


def _version(prefix, execute):
    """Return the version of the conda installed in a prefix, None where none answers."""
    try:
        return _ask_version(prefix, execute)
    except Refusal:
        return None


def _ask_version(prefix, execute):
    return cli.run(prefix, ["info"], execute).get("conda_version")


def _prove(wanted, execute):
    found = _ask_version(wanted["prefix"], execute)
    if found != wanted["conda_version"]:
        raise Refusal(
            f"Miniforge {wanted['version']} in {wanted['prefix']}",
            f"its conda says it is {found}, wanted is {wanted['conda_version']}",
            "Correct miniforge_version if the installer holds another; else move the prefix away",
        )


def _certificates(wanted):
    """Return {path: text} of the certificates that the controller hands over, None for no file."""
    return {wanted["ca_path"]: wanted["ca_text"]}


def _configuration(wanted):
    """Return {path: text} of the files that configure the installation."""
    return {
        os.path.join(wanted["prefix"], ".condarc"): wanted["condarc"],
        wanted["pip_config"]: wanted["pip_conf"],
    }


def _read(path):
    try:
        with open(path, encoding="utf-8") as handle:
            return handle.read()
    except FileNotFoundError:
        return None


def _settle(wanted_files):
    for path, text in wanted_files.items():
        if not _is_written(path, text):
            if text is None:
                os.unlink(path)
                folders.remove_if_empty(os.path.dirname(path))
            else:
                os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
                files.write_text(path, text, mode=_mode(text))


def _is_written(path, text):
    if text is None:
        return not os.path.lexists(path)
    return _read(path) == text and files.ownership(path) == ("root", "root", f"{_mode(text):04o}")


def _mode(text):
    """Return the mode of a file with this text: a password is for root alone."""
    return 0o600 if urls.has_password(text) else 0o644


def _diff(path, before, after):
    return {
        "before_header": path,
        "before": urls.shown(before or ""),
        "after_header": path,
        "after": urls.shown(after or ""),
    }


def _manifest(wanted):
    """Return what is in place.

    Of conda's own record the name counts, which tells its version; what is in it differs with
    each installation.
    """
    program, record = (
        os.path.join(wanted["prefix"], "bin", "conda"),
        removal.record_of(wanted["prefix"]),
    )
    placed = (program, *_certificates(wanted), *_configuration(wanted))
    entries = [manifest.file(path) for path in placed if os.path.isfile(path)]
    return entries + ([manifest.presence(record)] if record else [])
