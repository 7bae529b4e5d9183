# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where channels lie, as conda finds them by its configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.gpunode.stack.plugins.module_utils._node import urls
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal

# conda/base/constants.py: DEFAULT_CHANNEL_ALIAS, DEFAULT_CHANNELS.
_ALIAS = "https://conda.anaconda.org"
_DEFAULTS = ("https://repo.anaconda.com/pkgs/main", "https://repo.anaconda.com/pkgs/r")


def addresses(channels: Iterable[str], options: Mapping[str, Any]) -> list[str]:
    """Return what the addresses of all packages of some channels begin with, without passwords.

    :param channels: names or addresses, as a spec has them.
    :param options: those of the miniforge role.
    """
    found: list[str] = []
    for channel in channels:
        if channel == "defaults":
            defaults = options.get("default_channels") or _DEFAULTS
            found += [_address(name, options) for name in defaults]
        else:
            found.append(_address(channel, options))
    return [f"{urls.bare(address).rstrip('/')}/" for address in found]


def custom(options: Mapping[str, Any]) -> dict[str, str]:
    """Return {channel: the address above it} of those that lie below no alias.

    :param options: those of miniforge.
    :raises Refusal: an address is no text.
    """
    given: dict[str, str] = options.get("custom_channels") or {}
    for name, address in given.items():
        if not isinstance(address, str):
            raise Refusal(
                f"{name} of miniforge_custom_channels",
                "its value is no text, and is to be an address",
                "Write the address above the channel, in quotes",
            )
    return given


def _address(channel: str, options: Mapping[str, Any]) -> str:
    if "://" in channel:
        return channel
    name = channel.strip("/")
    above = custom(options).get(name.split("/")[0])
    above = above or options.get("channel_alias") or _ALIAS
    return f"{above.rstrip('/')}/{name}"
