"""What a site has of one application, and what is read from its units."""

from __future__ import annotations

import re

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app import (
    service as app_service,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal

# Of an environment with gunicorn.
LOCK = """\
@EXPLICIT
https://mirror.example/conda-forge/linux-64/python-3.11.7-0_cp311.conda#0123456789abcdef0123456789abcdef
https://mirror.example/conda-forge/noarch/gunicorn-{gunicorn}-py_0.conda#0123456789abcdef0123456789abcdef
"""


def service(state, index=0):
    app = state["applications"][index]
    return app["units"][app_service.service_of(app)]


def lines(text, key):
    return re.findall(rf"^{key}=(.*)$", text, re.MULTILINE)


def refused(resolve, change, words):
    """Have an application refused with such words, and a remedy."""
    with pytest.raises(Refusal, match=words) as refusal:
        resolve(change)
    assert refusal.value.remedy
