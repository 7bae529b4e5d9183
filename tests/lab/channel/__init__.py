"""Where the lab's conda packages come from, and the locks made from there.

The public channel where it can be reached; elsewhere a channel of our own,
built from PyPI's wheels and the running CPython and served on the lab's
address. Roles see no difference: both are options of theirs.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from lab import paths as lab_paths
from lab import textfile
from lab.channel import explicit, local, public, server, toolbox
from lab.channel.local import interpreter

#: What the sample application's environment is asked for, besides a Python.
ENVIRONMENT = ("pip", "flask", "gunicorn=23")
LOCK_NAME = "ob_cuda"
_SOLVE_S = 120


@dataclass(frozen=True)
class Channel:
    """A conda channel as the lab uses it."""

    kind: str  # "public" or "local"
    url: str  # as nodes reach it
    source: str  # the same, as this machine reaches it
    name: str  # another one when we built another channel
    options: dict  # of the miniforge role


def ensure(paths, address):
    """Make the lab's channel available and its locks present; return inventory variables.

    :param paths: the lab's LabPaths.
    :param address: the lab's own address, which nodes can reach.
    :returns: ``lab_channel`` ("public" or "local"), ``lab_channel_url``, ``lab_locks`` ({"md5":
        path, "sha256": path}), and options of the miniforge role.
    :raises LabError: it could not be built, served or solved.
    """
    tools = toolbox.ensure(lab_paths.ROOT)
    channel = _public() if public.is_reachable() else _local(tools, paths, address)
    return {
        "lab_channel": channel.kind,
        "lab_channel_url": channel.url,
        "lab_locks": _locks(tools, channel, paths.checkout / "inventory" / "lab" / "generated"),
        **channel.options,
    }


def stop(paths):
    """End what :func:`ensure` left running; the built channel stays for the next time."""
    server.stop(paths.state)


def _public():
    options = {
        "miniforge_version": public.MINIFORGE_VERSION,
        "miniforge_url": public.MINIFORGE_URL,
        "miniforge_sha256": public.MINIFORGE_SHA256,
        "miniforge_channels": [public.CHANNEL],
    }
    return Channel("public", public.CHANNEL_URL, public.CHANNEL_URL, public.CHANNEL, options)


def _local(tools, paths, address):
    served = local.ensure(lab_paths.ROOT, tools)
    url = server.ensure(served, address, paths.state)
    installer = local.installer_path(served)
    options = {
        "miniforge_version": local.miniforge_version(installer),
        "miniforge_url": f"{url}/{installer.relative_to(served)}",
        "miniforge_sha256": hashlib.sha256(installer.read_bytes()).hexdigest(),
        "miniforge_channels": [public.CHANNEL],
        "miniforge_channel_alias": f"{url}/{local.CLOUD}",
        "miniforge_default_channels": [f"{url}/{folder}" for folder in local.DEFAULTS],
    }
    channel = f"{local.CLOUD}/{public.CHANNEL}"
    return Channel("local", f"{url}/{channel}", (served / channel).as_uri(), served.name, options)


def _locks(tools, channel, folder):
    """Write the locks that are missing or made from something else; return their paths."""
    specs = [f"python={interpreter.running().minor}", *ENVIRONMENT]
    made_from = f"{channel.url} {channel.name} {' '.join(specs)}"
    locks = {"md5": folder / f"{LOCK_NAME}.lock", "sha256": folder / f"{LOCK_NAME}.sha256.lock"}
    if any(explicit.origin_of(path) != made_from for path in locks.values()):
        arguments = {"channel": channel.source, "specs": specs}
        records = toolbox.run(tools, "lab.channel.solve", arguments, _SOLVE_S)
        for record in records:
            record["url"] = channel.url + record["url"].removeprefix(channel.source)
        for algorithm, path in locks.items():
            textfile.put(path, explicit.text(records, algorithm, made_from))
    return {algorithm: str(path) for algorithm, path in locks.items()}
