"""A Miniforge-style installer: conda and what it needs in one file, installed offline."""

from __future__ import annotations

import tempfile
from pathlib import Path

from lab import command
from lab.channel import explicit

_HEAD = Path(__file__).parent / "installer.sh"
_NAME = "miniforge-lab"
_PROJECT = """\
[workspace]
name = "{name}"
channels = ["{channel}"]
platforms = ["{platform}"]

[tool.conda-ship]
runtime-name = "{name}"
runtime-version = "{version}"
delegate-executable = "conda"
artifact-layout = "embedded"
source-environment = "default"
"""
_SHIP_S = 300


def make(path, channel, records, version, ship):
    """Write the installer to ``path``.

    :param channel: URL of the channel that the packages are taken from.
    :param records: the packages, as py-rattler's records.
    :param version: what the installer calls itself.
    :param ship: the conda-ship program.
    :raises LabError: conda-ship failed.
    """
    with tempfile.TemporaryDirectory() as project:
        _write_project(Path(project), channel, records, version)
        command.run([ship, "build", "--root", project, "--out-dir", project], timeout_s=_SHIP_S)
        path.write_bytes(_HEAD.read_bytes() + (Path(project) / _NAME).read_bytes())
    path.chmod(0o755)


def _write_project(folder, channel, records, version):
    from rattler.lock import LockChannel, LockFile, LockPlatform

    (folder / "pixi.toml").write_text(
        _PROJECT.format(name=_NAME, channel=channel, platform=explicit.PLATFORM, version=version),
        encoding="utf-8",
    )
    platform = LockPlatform(explicit.PLATFORM)
    lock = LockFile([platform])
    lock.set_channels("default", [LockChannel(channel)])
    for record in records:
        lock.add_conda_package("default", platform, record)
    lock.to_path(str(folder / "pixi.lock"))
