# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is to be done to have Miniforge as wanted, from what a host has of it."""

from __future__ import annotations

import functools
import os

from .. import steps, urls
from ..conda import prefixes
from ..refusal import Refusal
from ..system import folders, text_files
from .installer import Installer
from .observe import Seen
from .wanted import Present


def certificates(wanted: Present) -> dict[str, text_files.TextFile]:
    """Return {path: TextFile} of the certificates that the controller hands over."""
    return {wanted["ca_path"]: _file(wanted["ca_text"])}


def configured(wanted: Present) -> dict[str, text_files.TextFile]:
    """Return {path: TextFile} of the certificates, and of what configures the installation."""
    return {
        **certificates(wanted),
        os.path.join(wanted["prefix"], ".condarc"): _file(wanted["condarc"]),
        wanted["pip_config"]: _file(wanted["pip_conf"]),
    }


def obstacles(wanted: Present, seen: Seen) -> list[Refusal]:
    """Return a Refusal for something else that lies at the prefix."""
    if seen.verdict == "foreign":
        return [prefixes.foreign("Miniforge", wanted["prefix"], "miniforge_prefix")]
    return []


def plan(wanted: Present, seen: Seen, installer: Installer) -> list[steps.Step]:
    """Return the steps that bring Miniforge and the files around it to the wanted state.

    The files come first where there is a conda: it reads them whatever it is told.

    :param seen: what observe.observe() found.
    """
    wanted_files = configured(wanted)
    writing = [
        steps.Step(
            text_files.sentence(path, wanted_files[path]),
            functools.partial(_put, path, wanted_files[path]),
        )
        for path in text_files.stale(wanted_files, seen.files)
    ]
    installing = _installation(wanted, seen, installer)
    return writing + installing if seen.verdict == "conda" else installing + writing


def diffs(wanted: Present, seen: Seen) -> list[dict[str, str]]:
    """Return what changes in the files, without the passwords in their addresses."""
    wanted_files = configured(wanted)
    return [
        steps.diff(
            path, urls.shown(seen.files[path].text or ""), urls.shown(wanted_files[path].text or "")
        )
        for path in text_files.stale(wanted_files, seen.files)
    ]


def _installation(wanted: Present, seen: Seen, installer: Installer) -> list[steps.Step]:
    """Return the step that brings conda itself to the wanted version, if it is of another."""
    prefix, version = wanted["prefix"], wanted["version"]
    if seen.verdict != "conda":
        return [steps.Step(f"install Miniforge {version} in {prefix}", installer.install)]
    if seen.version == wanted["conda_version"]:
        return []
    found = seen.version or "that does not answer"
    sentence = f"bring {prefix} from conda {found} to Miniforge {version}"
    return [steps.Step(sentence, installer.update)]


def _file(text: str | None) -> text_files.TextFile:
    """Return the file with a text: one with a password is for root alone."""
    return text_files.of(text, 0o600 if text and urls.has_password(text) else 0o644)


def _put(path: str, file: text_files.TextFile) -> None:
    text_files.put(path, file)
    if file.text is None:
        # Of certificates alone: theirs is our own folder, which once was made without our mark.
        folders.remove_if_empty(os.path.dirname(path))
