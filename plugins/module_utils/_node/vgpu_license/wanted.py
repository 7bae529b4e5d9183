# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wanted of the licence of virtual GPUs: what the controller resolves, the node brings."""

from __future__ import annotations

from typing import Literal, TypedDict, Union


class Token(TypedDict):
    """A client configuration token. What is in it goes to the host by another way.

    :ivar name: that of its file.
    :ivar sha256: the digest of its text, 64 digits.
    """

    name: str
    sha256: str


class Present(TypedDict):
    """There is to be a licence.

    :ivar source: where it comes from, for people: the license server, or the name of the token.
    :ivar configuration: the text of gridd.conf.
    :ivar token: the token, None where there is none.
    :ivar wait_s: how long it may take until there is a licence, in seconds.
    """

    state: Literal["present"]
    source: str
    configuration: str
    token: Token | None
    wait_s: int


class Absent(TypedDict):
    """The licence is to be given back."""

    state: Literal["absent"]


class Unsaid(TypedDict):
    """Nothing is wanted, and nothing is to be removed either."""

    state: Literal["unsaid"]


State = Union[Present, Absent, Unsaid]
