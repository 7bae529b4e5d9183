# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wanted of a host's applications: what the controller resolves, and the node brings."""

from __future__ import annotations

from typing import Literal, TypedDict


class Identity(TypedDict):
    """What tells an application on a host from others; of one that is to go, all that is said.

    :ivar name: what it is called, and so are its units.
    :ivar user: whom it runs as.
    :ivar dir: its folder.
    """

    name: str
    user: str
    dir: str


class Release(TypedDict):
    """The release that is to be served.

    :ivar release: its folder on the host.
    :ivar digest: that of its content, 64 digits; where one that the host keeps is named, its id,
        which is the first of these.
    :ivar size: its bytes; 0 where one that the host keeps is named.
    """

    release: str
    digest: str
    size: int


class Described(Identity):
    """An application with its Release, before its units are made of that.

    :ivar server: what serves it: gunicorn, or its own program.
    :ivar listen: its address, a ListenStream= value.
    :ivar health_path: what it is asked for to prove that it does its work.
    :ivar health_headers: {name: value} of what it is asked with.
    :ivar start_timeout_s: how long each phase of its start may take, in seconds.
    :ivar prefix: the folder of the environment that it runs from.
    :ivar readable: the folders that it reads besides.
    :ivar writable: the folders that it writes to.
    :ivar secrets_digest: what tells its secrets from others; "" where it has none.
    """

    release: str
    digest: str
    size: int
    server: Literal["gunicorn", "python"]
    listen: str
    health_path: str
    health_headers: dict[str, str]
    start_timeout_s: int
    prefix: str
    readable: list[str]
    writable: list[str]
    secrets_digest: str


class Units(TypedDict):
    """The units of an application.

    :ivar units: {unit: its text}, in the order of their start.
    :ivar unit_digest: the digest of the service's text, which that holds itself.
    :ivar candidate: the text of the candidate's service, None where there is to be none.
    """

    units: dict[str, str]
    unit_digest: str
    candidate: str | None


class Application(Described):
    """An application that is to be in place, with its Units.

    :ivar health_scheme: by which it is asked.
    :ivar decided: {option: what the host made of it}, see inputs/asked.py of the controller.
    :ivar notices: what people should know of it, a sentence each.
    """

    units: dict[str, str]
    unit_digest: str
    candidate: str | None
    health_scheme: str
    decided: dict[str, str]
    notices: list[str]


class State(TypedDict):
    """The wanted state.

    :ivar applications: those that are to be in place.
    :ivar absent: those that are to go.
    :ivar leaving: the units of these.
    :ivar keep: how many earlier releases of each stay.
    """

    applications: list[Application]
    absent: list[Identity]
    leaving: list[str]
    keep: int
