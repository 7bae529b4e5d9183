# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The packages of a lock, fetched from a mirror instead of the address that the lock names.

conda takes the addresses of a lock as they are: its channel_alias, custom_channels and
default_channels hold for channels by name alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ansible_collections.gpunode.stack.plugins.module_utils._node import urls
from ansible_collections.gpunode.stack.plugins.module_utils._node.conda.lock_file import Package
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal

from ..inputs import addresses


def check(mirrors: Mapping[str, str]) -> None:
    """Refuse mirrors that are no addresses.

    :param mirrors: {what an address begins with: what it is to begin with}.
    :raises Refusal: one is something else.
    """
    for address in [*mirrors, *mirrors.values()]:
        if not (isinstance(address, str) and addresses.is_one(address)):
            raise Refusal(
                f"conda_env_mirrors: {urls.shown(str(address))}",
                "it is no http, https or file address",
                "Write what addresses in the lock begin with, and what to use instead",
            )


def of_packages(packages: Iterable[Package], mirrors: Mapping[str, str]) -> list[Package]:
    """Return the packages of a lock with the addresses that the mirrors give them."""
    return [{**package, "url": of(package["url"], mirrors)} for package in packages]


def of(url: str, mirrors: Mapping[str, str]) -> str:
    """Return a URL on the mirror with the longest address that it begins with, else unchanged."""
    known = {public.rstrip("/"): mirror.rstrip("/") for public, mirror in mirrors.items()}
    fitting = [public for public in known if url.startswith(f"{public}/")]
    if not fitting:
        return url
    public = max(fitting, key=len)
    return known[public] + url[len(public) :]
