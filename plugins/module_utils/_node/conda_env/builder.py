# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Making environments, and bringing changed ones back, with conda and pip."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence

from .. import urls
from ..conda import builds, cli, contents, lock_file, package_cache, pip, prefixes
from ..conda.wanted import Dist, Environment
from ..refusal import Refusal
from ..system import files, own_paths, unfinished_folder
from ..system.commands import Execute
from . import remains
from .wanted import Around


class Builder:
    """Makes environments with one conda, and removes them.

    :param wanted: the wanted state.
    :ivar execute: the same, for what is not made with conda.
    :ivar state_dir: where the notes on unfinished builds lie.
    :param work_dir: where files for conda and pip are put while they are needed.
    """

    def __init__(
        self,
        wanted: Around,
        execute: Execute,
        state_dir: str = own_paths.STATE_DIR,
        work_dir: str = remains.FILES_DIR,
    ) -> None:
        self._base = wanted["conda"]
        self._pip_config = wanted["pip_config"]
        self.execute = execute
        self.state_dir = state_dir
        self._work_dir = work_dir

    def build(self, env: Environment) -> None:
        """Build an environment at its prefix, or leave nothing there."""
        with unfinished_folder.building(env["prefix"], self.state_dir):
            self._link("create", env["prefix"], env["lock"])
            if env["dists"]:
                self._pip_install(env["prefix"], env["dists"])
            _prove(env)
            builds.record(env)

    def repair(self, env: Environment) -> None:
        """Bring a finished environment back to its lock, touching only what differs.

        Twice if need be: what pip removes can be what conda has to put back. Recorded before as
        well: a run that is killed here has changed the environment, too.
        """
        builds.record(env)
        for _round in range(2):
            found = contents.Contents(env)
            if not found.is_as_wanted():
                self._repair_once(env["prefix"], found)
        _prove(env)
        builds.record(env)

    def remove(self, path: str) -> None:
        """Remove a build; a run that is killed in between leaves it known as unfinished."""
        unfinished_folder.remove(path, self.state_dir)

    def discard(self, path: str) -> None:
        """Remove a build that never was finished."""
        unfinished_folder.discard(path, self.state_dir)

    def _repair_once(self, prefix: str, found: contents.Contents) -> None:
        for folder in prefixes.dist_info_remains(prefix):
            shutil.rmtree(os.path.join(prefix, folder))
        if found.extra_dists and found.has_pip:
            names = sorted({name for name, _version in found.extra_dists})
            pip.uninstall(prefix, names, self._pip_config, self.execute)
        if found.extra or found.damaged:
            self._conda(
                prefix, ["remove", "--force", "--offline", "--yes", *found.extra, *found.damaged]
            )
        if found.missing:
            self._link("install", prefix, found.missing)
        if found.missing_dists:
            self._pip_install(prefix, found.missing_dists, again=True)

    def _link(self, verb: str, prefix: str, packages: list[lock_file.Package]) -> None:
        """Have conda fetch packages, prove them, and link them without the network."""
        cache = cli.cache_of(self._base)
        package_cache.drop_unproven(packages, cache)
        # conda notes the addresses of packages in files that all can read.
        text, netrc = urls.to_netrc(lock_file.render(packages))
        with (
            self._file(prefix, "lock", text) as lock,
            self._file(prefix, "netrc", netrc) as passwords,
        ):
            arguments = [verb, "--file", lock, "--yes"]
            settings = {"NETRC": passwords} if netrc else {}
            try:
                self._conda(prefix, [*arguments, "--download-only"], settings)
            except Refusal:
                # A damaged archive fails to unpack; its digest says more than conda does.
                package_cache.check(package_cache.present(packages, cache), cache)
                raise
            package_cache.check(packages, cache)
            self._conda(prefix, [*arguments, "--offline"])

    def _pip_install(self, prefix: str, dists: list[Dist], again: bool = False) -> None:
        text = "".join(f"{dist['line']}\n" for dist in dists)
        with self._file(prefix, "requirements", text) as requirements:
            pip.install(prefix, requirements, self._pip_config, self.execute, again)

    @contextlib.contextmanager
    def _file(self, prefix: str, kind: str, text: str) -> Iterator[str]:
        """Give the path of a file with this text for as long as it is needed."""
        os.makedirs(self._work_dir, mode=0o755, exist_ok=True)
        path = os.path.join(self._work_dir, f"{os.path.basename(prefix)}.{kind}")
        try:
            files.write_text(path, text, mode=0o600)
            yield path
        finally:
            shutil.rmtree(self._work_dir, ignore_errors=True)

    def _conda(
        self, prefix: str, arguments: list[str], settings: dict[str, str] | None = None
    ) -> None:
        def execute(
            argv: Sequence[str], environment: Mapping[str, str]
        ) -> subprocess.CompletedProcess[str]:
            return self.execute(argv, {**environment, **(settings or {})})

        cli.run(self._base, arguments, execute, prefix)


def _prove(env: Environment) -> None:
    found = contents.Contents(env)
    if not found.is_as_wanted():
        raise Refusal(
            f"environment {env['name']}",
            f"it still is not what its lock says: to do would be {'; '.join(found.sentences())}",
            "Check that the lock and the requirements agree with each other, and run again",
        )
