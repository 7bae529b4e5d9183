# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keys of repositories, which options name by their fingerprints."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal

_FINGERPRINT = re.compile("[0-9A-F]{40}")


def held_to(option: str, said: str | None, repository: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of the catalog's repositories with the key that an option names.

    :param said: what it says, None or '' where the vendor's is meant.
    :param repository: the row; one that is the distribution's own has no key of ours.
    :raises Refusal: it is no fingerprint.
    """
    if not said or "address" not in repository:
        return dict(repository)
    fingerprint = re.sub(r"\s", "", str(said)).upper()
    if not _FINGERPRINT.fullmatch(fingerprint):
        raise Refusal(
            f"{option}: {said}",
            "it is no fingerprint of a key, which has 40 hexadecimal digits",
            "`gpg --show-keys --with-fingerprint FILE` prints it",
        )
    parts = [{**part, "fingerprint": fingerprint} for part in repository["distributions"]]
    return {**repository, "distributions": parts}
