# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an application's answer on its health path says, and what is to be done about it."""

from __future__ import annotations

import http
from urllib.parse import urlsplit

from ..system import commands
from ..system.http_probe import Answer
from .wanted import Application

_SHOWN = 200
# An application that is still getting ready, or has too much to do, may answer these.
_PASSING = (
    http.HTTPStatus.ACCEPTED,
    http.HTTPStatus.REQUEST_TIMEOUT,
    425,
    http.HTTPStatus.TOO_MANY_REQUESTS,
    http.HTTPStatus.BAD_GATEWAY,
    http.HTTPStatus.SERVICE_UNAVAILABLE,
    http.HTTPStatus.GATEWAY_TIMEOUT,
)
_REMEDIES: dict[int, str] = {
    http.HTTPStatus.UNAUTHORIZED: "it asks for a login: name a health_path that needs none",
    http.HTTPStatus.FORBIDDEN: "it lets not everybody in: name a health_path that all may see",
    http.HTTPStatus.NOT_FOUND: "name the path that it has with health_path",
    http.HTTPStatus.GONE: "name the path that it has with health_path",
    http.HTTPStatus.METHOD_NOT_ALLOWED: "name a health_path that can be read with GET",
}


def complaint(app: Application, listen: str, answer: Answer) -> str:
    """Return what is wrong with an answer, and what mends it where that is plain; '' for nothing.

    :param listen: where it was asked.
    """
    said = answer.complaint()
    if not said:
        return ""
    remedy = _remedy(app, answer)
    return f"GET {app['health_path']} on {listen} {said}{f': {remedy}' if remedy else ''}"


def is_definite(answer: Answer) -> bool:
    """Say whether an answer is none that waiting changes."""
    return bool(answer.complaint()) and answer.status not in (0, *_PASSING)


def _remedy(app: Application, answer: Answer) -> str:
    if answer.status in (http.HTTPStatus.BAD_REQUEST, 421):
        # Django's ALLOWED_HOSTS and its like.
        given = {name.lower(): value for name, value in app["health_headers"].items()}
        return (
            f"it may not serve the host {given.get('host', 'localhost')}: "
            "say one that it serves with health_headers: {Host: ...}"
        )
    if http.HTTPStatus.OK <= answer.status < http.HTTPStatus.MULTIPLE_CHOICES:
        return "name a health_path that answers 200"
    if answer.location:
        return _remedy_of_redirect(app, answer.location)
    return _REMEDIES.get(answer.status, "")


def _remedy_of_redirect(app: Application, location: str) -> str:
    shown = commands.one_line(location)[:_SHOWN]
    path = urlsplit(app["health_path"]).path
    try:
        target = urlsplit(location)
    except ValueError:
        return f"it leads to {shown}"
    if target.path == f"{path}/":
        return f"it leads to {shown}: say health_path: {path}/"
    if target.path != path:
        return f"it leads to {shown}: name a health_path that answers itself"
    if target.scheme == "https":
        return (
            f"it leads to {shown}: say health_headers: {{X-Forwarded-Proto: https}}, "
            "or what else tells it that its proxy was asked by https"
        )
    return f"it leads to {shown}: say health_headers: {{Host: {target.hostname or '...'}}}"
