"""Says what it runs as."""

from __future__ import annotations

import json
import os
import sys


def make():
    """Return the application."""
    return _answer


def _answer(environ, start_response):
    # As an application that knows its hosts.
    is_known = environ["PATH_INFO"] != "/ready" or environ["HTTP_HOST"] == "web.example"
    found = environ["PATH_INFO"] in ("/", "/ready") and is_known
    start_response("200 OK" if found else "404 Not Found", [("Content-Type", "application/json")])
    said = {key: os.environ.get(key) for key in ("GREETING", "TOKEN")}
    with open("/proc/meminfo", encoding="utf-8") as meminfo:
        said["MemTotal"] = meminfo.readline().split()[1]
    with open("/srv/elsewhere/data/visits", "a", encoding="utf-8") as visits:
        said["visits"] = visits.write("x")
    said["CONDA_PREFIX"] = os.environ["CONDA_PREFIX"]
    said.update(prefix=sys.prefix, release=os.getcwd(), threaded=environ["wsgi.multithread"])
    return [json.dumps(said).encode()]
