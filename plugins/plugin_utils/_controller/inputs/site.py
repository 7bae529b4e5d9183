# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What those who resolve a host's options ask for; wanted_state.Site answers."""

from __future__ import annotations

from typing import Any, Protocol

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape

from .wanted_stack import Stack


class Site(Protocol):
    """What one host's variables ask for.

    :ivar inventory: the sources of the inventory in use, as absolute paths.
    """

    inventory: list[str]

    def options(self, component: str) -> dict[str, Any]:
        """Return a component's options without their prefix."""

    def stack(self) -> Stack:
        """Return the GPU stack that is wanted."""

    def wanted(self, component: str) -> dict[str, Any]:
        """Return a component's wanted state."""

    def seen(self, component: str) -> facts_shape.Facts | None:
        """Return the facts of the host, None before it was looked at: a component hangs on them."""

    def path(self, path: str) -> str:
        """Return a controller path made absolute."""

    def source(self, file: str) -> str:
        """Return where a file comes from: an address as it is, or a controller path."""

    def read_text(self, path: str, option: str) -> str:
        """Return the text of a controller file."""
