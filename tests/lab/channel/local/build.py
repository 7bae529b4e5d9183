"""Build the channel and the installer; runs under the tools' interpreter (see toolbox.run)."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path

from rattler.index import index_fs

from lab.channel import explicit, local, public, solve
from lab.channel.local import installer, interpreter, package, vendored

_SUBDIRS = (explicit.PLATFORM, "noarch")


async def build(wheels, served):
    """Fill the folder ``served`` with channels and an installer made from a folder of wheels."""
    python = interpreter.running()
    tools = Path(sys.executable).parent
    channel = served / local.CLOUD / public.CHANNEL
    main, empty = (served / folder for folder in local.DEFAULTS)
    for folder in (channel, empty):
        for subdir in _SUBDIRS:
            (folder / subdir).mkdir(parents=True)
    main.symlink_to(os.path.relpath(channel, main.parent))
    _pack_python(python, channel, tools / "patchelf")
    for wheel in sorted(wheels.glob("*.whl")):
        if wheel.name.startswith("conda_lock-"):
            conda_version = vendored.version(wheel)
            _pack_conda(wheel, conda_version, python, channel)
        else:
            package.convert(wheel, channel)
    for folder in (channel, empty):
        await index_fs(folder, force=True)
    await _make_installer(served, channel, conda_version, python, tools)


def _pack_python(python, channel, patchelf):
    with tempfile.TemporaryDirectory() as root:
        interpreter.stage(python, Path(root), package.PLACEHOLDER, patchelf)
        package.pack(
            Path(root),
            {
                "name": "python",
                "version": python.version,
                "build": f"0_{python.abi}",
                "subdir": explicit.PLATFORM,
                "license": "PSF-2.0",
                "depends": [f"__glibc >={interpreter.needed_glibc(Path(root))}"],
                "constrains": [f"python_abi {python.minor}.* *_{python.abi}"],
            },
            channel,
        )
    with tempfile.TemporaryDirectory() as root:
        # What packages with compiled modules ask for, so that they meet their own Python only.
        package.pack(
            Path(root),
            {
                "name": "python_abi",
                "version": python.minor,
                "build": f"0_{python.abi}",
                "subdir": "noarch",
                "noarch": "generic",
                "license": "CC0-1.0",
                "constrains": [f"python {python.minor}.*"],
            },
            channel,
        )


def _pack_conda(wheel, version, python, channel):
    with tempfile.TemporaryDirectory() as root:
        vendored.stage(wheel, Path(root), python.minor, package.PLACEHOLDER)
        package.pack(
            Path(root),
            {
                "name": "conda",
                "version": version,
                "build": f"0_{python.abi}",
                "subdir": explicit.PLATFORM,
                "license": "BSD-3-Clause",
                "depends": [f"python {python.minor}.*", *vendored.DEPENDS],
            },
            channel,
        )


async def _make_installer(served, channel, conda_version, python, tools):
    source = channel.as_uri()
    specs = [f"conda={conda_version}", f"python={python.minor}", "pip"]
    path = served / local.INSTALLERS / f"Miniforge3-{conda_version}-0-Linux-x86_64.sh"
    path.parent.mkdir()
    installer.make(path, source, await solve.records(source, specs), conda_version, tools / "cs")


def _main():
    arguments = json.load(sys.stdin)
    asyncio.run(build(Path(arguments["wheels"]), Path(arguments["served"])))
    print("null", flush=True)
    os._exit(0)  # py-rattler 0.28 can crash while the interpreter ends


if __name__ == "__main__":
    _main()
