"""Solve an environment with py-rattler; runs under the tools' interpreter (see toolbox.run)."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile

from rattler import (
    BuildString,
    Channel,
    Gateway,
    GenericVirtualPackage,
    PackageName,
    Platform,
    Version,
    solve,
)

# The oldest node is Debian 12: an environment must fit its C library.
NODE_GLIBC = "2.36"
_VIRTUAL = {"__unix": "0", "__linux": "5.10", "__glibc": NODE_GLIBC}


async def records(channel, specs):
    """Return the packages that satisfy ``specs``, as py-rattler's records, by name.

    :param channel: the channel's URL.
    :param specs: what is asked for, such as ``gunicorn=23``.
    """
    virtual = [
        GenericVirtualPackage(PackageName(name), Version(version), BuildString("0"))
        for name, version in _VIRTUAL.items()
    ]
    with tempfile.TemporaryDirectory() as cache:
        # A cache of its own: the lab's channel changes its content and keeps its address.
        found = await solve(
            [Channel(channel)],
            specs,
            gateway=Gateway(cache_dir=cache),
            platforms=[Platform("linux-64"), Platform("noarch")],
            virtual_packages=virtual,
        )
    return sorted(found, key=lambda record: record.name.normalized)


def _main():
    found = asyncio.run(records(**json.load(sys.stdin)))
    packages = [
        {
            "name": record.name.normalized,
            "version": str(record.version),
            "url": record.url,
            "md5": record.md5.hex(),
            "sha256": record.sha256.hex(),
        }
        for record in found
    ]
    print(json.dumps(packages), flush=True)
    os._exit(0)  # py-rattler 0.28 can crash while the interpreter ends


if __name__ == "__main__":
    _main()
