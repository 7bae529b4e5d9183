"""A mirror as companies have them: installers, a conda channel and a package index, over HTTPS.

Its certificate is that of an authority which no host knows.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import http.server
import ssl
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

import trustme

from lab import paths
from lab.channel import local, once, toolbox

PORT = 8443


@dataclass(frozen=True)
class Mirror:
    """A mirror that runs.

    :ivar authority: path of the authority's certificate.
    :ivar requests: the paths that were asked for, as they come in.
    """

    url: str
    authority: Path
    requests: list[str] = field(default_factory=list)


def furnish(root, served, wheels):
    """Lay out the folder of a mirror: ``miniforge``, ``conda`` and ``pypi/simple``.

    :param served: a channel of our own, see :func:`lab.channel.local.ensure`.
    :param wheels: a folder of wheels.
    """
    (root / "miniforge").symlink_to(served / local.INSTALLERS)
    (root / "conda").symlink_to(served / local.CLOUD)
    for wheel in sorted(wheels.glob("*.whl")):
        project = root / "pypi" / "simple" / wheel.name.partition("-")[0].replace("_", "-").lower()
        project.mkdir(parents=True, exist_ok=True)
        (project / wheel.name).symlink_to(wheel)
    for project in root.glob("pypi/simple/*"):
        links = [f'<a href="{file.name}">{file.name}</a>\n' for file in sorted(project.iterdir())]
        (project / "index.html").write_text("<!DOCTYPE html>\n" + "".join(links))


def wheels(requirements):
    """Return a folder with the wheels that pinned requirements name, downloaded where missing.

    :raises LabError: they could not be had.
    """
    made_from = f"{sys.version}\n{Path(requirements).read_text(encoding='utf-8')}"
    digest = hashlib.sha256(made_from.encode()).hexdigest()[:16]
    arguments = ("download", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:")
    return once.made(
        paths.ROOT / "wheels" / digest,
        lambda folder: toolbox.pip(*arguments, "--dest", folder, "--requirement", requirements),
    )


@contextlib.contextmanager
def running(address, root, folder, users=()):
    """Serve ``root`` on an address of this machine for a ``with`` block; gives the Mirror.

    :param folder: where the authority's certificate is put.
    :param users: as ``user:password``, who is let in; everybody where there are none.
    """
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "authority.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(address).configure_cert(context)
    mirror = Mirror(f"https://{address}:{PORT}", folder / "authority.pem")
    tickets = {f"Basic {base64.b64encode(user.encode()).decode()}" for user in users}
    handler = functools.partial(_Handler, mirror.requests, tickets, directory=root)
    with http.server.ThreadingHTTPServer((address, PORT), handler) as server:
        # A client that says nothing keeps its own thread waiting, and nobody else.
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield mirror
        finally:
            server.shutdown()
            thread.join()


class _Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, requests, tickets, *arguments, **options):
        self._requests = requests
        self._tickets = tickets
        super().__init__(*arguments, **options)

    def send_head(self):
        if not self._tickets or self.headers["Authorization"] in self._tickets:
            return super().send_head()
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="mirror"')
        self.send_header("Content-Length", "0")
        self.end_headers()
        return None

    def log_request(self, *_arguments):
        self._requests.append(self.path)

    def log_message(self, *_arguments):
        """Write no log but the list."""
