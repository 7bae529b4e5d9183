# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Running Miniforge's installer, and the proof of what it installed."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
from collections.abc import Iterator

from ..conda import cli
from ..refusal import Refusal
from ..system import (
    commands,
    confinement,
    download,
    text_files,
    unfinished_file,
    unfinished_folder,
)
from ..system.commands import Execute
from .wanted import Present


def ask_version(prefix: str, execute: Execute) -> str | None:
    """Return the version that the conda of a prefix says it is of.

    :raises Refusal: none answers.
    """
    return cli.run(prefix, ["info"], execute).get("conda_version")


class Installer:
    """Brings a prefix to the wanted version.

    :param wanted: the wanted state.
    :param certificates: {path: TextFile} of those that the download trusts.
    :param state_dir: where the notes on unfinished builds lie.
    :param work_dir: where the installer is put while it is needed.
    """

    def __init__(
        self,
        wanted: Present,
        certificates: dict[str, text_files.TextFile],
        execute: Execute,
        state_dir: str,
        work_dir: str,
    ) -> None:
        self._wanted = wanted
        self._certificates = certificates
        self._execute = execute
        self._state_dir = state_dir
        self._work_dir = work_dir

    def install(self) -> None:
        """Install at a prefix that is free, or leave nothing there.

        :raises Refusal: the installer fails, or installs another version.
        """
        with (
            self._fetched() as installer,
            unfinished_folder.building(self._wanted["prefix"], self._state_dir),
        ):
            # -f: an empty folder may be there, such as the mount point of a disk of its own.
            self._run(installer, "-f")
            self.prove()

    def update(self) -> None:
        """Update the installation that is there.

        :raises Refusal: the installer fails, or brings another version.
        """
        with self._fetched() as installer:
            self._run(installer, "-u")
            self.prove()

    def prove(self) -> None:
        """Raise a Refusal where conda does not answer, or with another version."""
        wanted = self._wanted
        found = ask_version(wanted["prefix"], self._execute)
        if found != wanted["conda_version"]:
            raise Refusal(
                f"Miniforge {wanted['version']} in {wanted['prefix']}",
                f"its conda says it is {found}, wanted is {wanted['conda_version']}",
                "Correct miniforge_version if the installer holds another; "
                "else move the prefix away",
            )

    @contextlib.contextmanager
    def _fetched(self) -> Iterator[str]:
        """Give the path of the installer, its sha256 proven, and remove it after use.

        What a killed run has of it is gone on with, as is what could not be had whole for now.
        """
        wanted, asked = self._wanted, self._wanted["installer"]
        if wanted["ca_text"]:
            text_files.put_all(self._certificates)
        path = os.path.join(self._work_dir, f"{asked['sha256']}.sh")
        trusted = wanted["ca_bundle"] or None
        with contextlib.ExitStack() as after:
            after.callback(shutil.rmtree, self._work_dir, ignore_errors=True)
            try:
                download.fetch(asked["url"], path, asked["sha256"], wanted["proxies"], trusted)
            except unfinished_file.ToBeContinued:
                after.pop_all()
                raise
            yield path

    def _run(self, installer: str, mode: str) -> None:
        prefix = self._wanted["prefix"]
        what = f"install Miniforge {self._wanted['version']} in {prefix}"
        os.makedirs(os.path.dirname(prefix), mode=0o755, exist_ok=True)
        # Some installers ask for HOME, which a unit of the system manager does not have.
        environment = {"HOME": pwd.getpwuid(0).pw_dir, "LC_ALL": "C.UTF-8"}
        # It has all that it installs with it.
        argv = confinement.confined(["bash", installer, "-b", mode, "-p", prefix], [])
        result = commands.run_long(what, argv, environment, self._execute, prefix)
        if result.returncode:
            words = commands.last_words(result, result.stdout + result.stderr)
            raise Refusal(what, f"the installer failed: {words}", "Mend that and run again")
