"""How each option of an application is to be written."""

from __future__ import annotations

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.gunicorn import options

WHAT = "application web"
GOOD = {"name": "web", "server": "gunicorn", "listen": "0.0.0.0:9001", "health_path": "/"}


def checked(**changes):
    """Ask for all checks of a good application with changes."""
    item = {**GOOD, **changes}
    options.check(item, WHAT)
    options.check_listen(item, WHAT)
    options.check_headers(item.get("health_headers", {}), f"health_headers of {WHAT}")
    return options.numbered(item, WHAT)


BAD = {
    "socket that is too long": ({"listen": "/run/web/" + "s" * 100}, "107 bytes"),
    "socket of two-byte letters": ({"listen": "/run/web/" + "ö" * 50}, "107 bytes"),
    "address without a port": ({"listen": "0.0.0.0"}, "ADDRESS:PORT"),
    "socket in a folder that goes": ({"listen": "/run/gpunode-web/x"}, "comes and goes"),
    "socket that a program cannot make": (
        {"server": "python", "entry": "main.py", "listen": "/run/web/x"}, "/run/gpunode-web alone",
    ),
    "no workers": ({"workers": "0"}, "less than 1"),
    "workers below none": ({"workers": "-2"}, "less than 1"),
    "workers in words": ({"workers": "Auto"}, "neither a whole number nor auto"),
    "workers of a formula": ({"workers": "2*cores"}, "neither a whole number nor auto"),
    "half a worker": ({"workers": "2.5"}, "neither a whole number nor auto"),
    "workers in other digits": ({"workers": "\u0664"}, "neither a whole number nor auto"),
    "health path": ({"health_path": "healthz"}, "begins with '/'"),
    "header that frames": ({"health_headers": {"Content-Length": "1"}}, "frames the request"),
    "header with a colon": ({"health_headers": {"Host:": "a"}}, "no name of a header"),
    "header with a password": ({"health_headers": {"authorization": "Basic x"}}, "needs no login"),
    "header with a token": ({"health_headers": {"Authorization": "Bearer x"}}, "needs no login"),
    "header with a session": ({"health_headers": {"Cookie": "id=x"}}, "needs no login"),
    "header beyond ASCII": ({"health_headers": {"Host": "caf\u00e9.example"}}, "no text of ASCII"),
    "header of two lines": ({"health_headers": {"Host": "a\r\nX: b"}}, "no text of ASCII"),
    "header that is a number": ({"health_headers": {"X-Level": 1}}, "in quotes"),
    "memory": ({"memory_max": "lots"}, "number of bytes"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_an_option_that_is_written_badly_is_refused_with_its_value_and_a_remedy(case):
    changes, said = BAD[case]
    with pytest.raises(Refusal, match=said) as refusal:
        checked(**changes)
    assert WHAT in refusal.value.what
    assert refusal.value.remedy


def test_workers_are_a_number_once_they_were_written_well():
    assert checked(workers="12")["workers"] == 12
    assert "workers" not in checked()
