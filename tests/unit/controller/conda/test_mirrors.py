"""Mirrors of the addresses that locks name."""

from __future__ import annotations

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.conda import mirrors

FLASK = "https://conda.anaconda.org/conda-forge/noarch/flask-3.1.3-py_0.conda"
MIRRORS = {
    "https://conda.anaconda.org": "https://mirror.example/cloud/",
    "https://conda.anaconda.org/conda-forge/": "https://mirror.example/forge",
}


def test_the_longest_address_that_fits_counts():
    assert (
        mirrors.of(FLASK, MIRRORS) == "https://mirror.example/forge/noarch/flask-3.1.3-py_0.conda"
    )
    nvidia = "https://conda.anaconda.org/nvidia/linux-64/cuda-13.0-0.conda"
    assert mirrors.of(nvidia, MIRRORS) == (
        "https://mirror.example/cloud/nvidia/linux-64/cuda-13.0-0.conda"
    )


@pytest.mark.parametrize(
    "url",
    [
        "https://conda.anaconda.org.example/conda-forge/noarch/flask-3.1.3-py_0.conda",
        "https://other.example/conda-forge/noarch/flask-3.1.3-py_0.conda",
    ],
)
def test_an_address_that_no_mirror_has_stays(url):
    assert mirrors.of(url, MIRRORS) == url


def test_all_but_the_address_of_a_package_stays():
    (package,) = mirrors.of_packages([{"url": FLASK, "md5": "3" * 32}], MIRRORS)
    assert package == {"url": mirrors.of(FLASK, MIRRORS), "md5": "3" * 32}


@pytest.mark.parametrize(
    "wrong",
    [
        {"conda-forge": "https://mirror.example"},
        {"https://conda.anaconda.org": "mirror.example"},
        {"https://conda.anaconda.org": None},
    ],
)
def test_what_is_no_address_is_refused(wrong):
    mirrors.check(MIRRORS)
    with pytest.raises(Refusal, match="no http, https or file address"):
        mirrors.check(wrong)


def test_a_refused_mirror_is_named_without_its_password():
    with pytest.raises(Refusal) as refused:
        mirrors.check({"https://conda.anaconda.org": "ftp://me:hidden@mirror.example"})
    assert "hidden" not in str(refused.value)
