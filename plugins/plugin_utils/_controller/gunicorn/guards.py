# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What SELinux and firewalld of a host are to be told before an application runs and is reached."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app.wanted import (
    Application,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import listening

# What the targeted policy lets a service run programs from.
_PROGRAMS = ("/usr", "/opt")


def notices(
    app: Application, selinux: Mapping[str, Any], firewalld: Mapping[str, Any]
) -> Iterator[str]:
    """Yield a sentence for each that stands between an application and those who ask it.

    :param selinux: the fact of that name, and so is ``firewalld``.
    """
    folder = os.path.dirname(app["prefix"])
    if selinux["mode"] == "enforcing" and not _is_labelled(folder, selinux["programs"]):
        yield (
            f"SELinux enforces here, and lets a service run no program of {folder} that is not "
            f"labelled as one: `semanage fcontext -a -t bin_t '{folder}(/.*)?'`, and "
            f"`restorecon -R {folder}` once it is there"
        )
    if firewalld["zone"] and _is_closed(app["listen"], firewalld["ports"]):
        _address, port = listening.parse(app["listen"])
        yield (
            f"firewalld lets nobody reach port {port} from outside: `firewall-cmd --permanent "
            f"--zone={firewalld['zone']} --add-port={port}/tcp`, and `firewall-cmd --reload`"
        )


def _is_labelled(folder: str, programs: list[str]) -> bool:
    """Say whether programs below a folder may run, as far as the beginnings of patterns tell."""
    own = [path.rstrip("/") for path in programs]
    return any(f"{folder}/".startswith(f"{path}/") for path in [*_PROGRAMS, *own])


def _is_closed(listen: str, spans: list[str]) -> bool:
    """Say whether an address that others than the host itself can ask is in none of the spans."""
    address, port = listening.parse(listen)
    if not port or ipaddress.ip_address(address).is_loopback:
        return False
    return not any(_holds(span, port) for span in spans)


def _holds(span: str, port: int) -> bool:
    first, _dash, last = span.partition("-")
    return int(first) <= port <= int(last or first)
