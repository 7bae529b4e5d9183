"""The package cache: an archive that a lock does not know is never linked."""

from __future__ import annotations

import hashlib

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.conda import package_cache
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal

CONTENT = b"an archive"
PACKAGE = {
    "url": "https://mirror.example/noarch/flask-3.1.3-py_0.conda",
    "name": "flask",
    "version": "3.1.3",
    "build": "py_0",
    "sha256": hashlib.sha256(CONTENT).hexdigest(),
}


@pytest.fixture
def cache(tmp_path):
    """A cache that holds the package, archive and unpacked."""
    (tmp_path / "flask-3.1.3-py_0.conda").write_bytes(CONTENT)
    (tmp_path / "flask-3.1.3-py_0").mkdir()
    (tmp_path / "flask-3.1.3-py_0" / "file").write_text("")
    return tmp_path


def held(cache):
    return sorted(path.name for path in cache.iterdir())


def test_the_right_archive_stays(cache):
    package_cache.drop_unproven([PACKAGE], str(cache))
    package_cache.check([PACKAGE], str(cache))
    assert held(cache) == ["flask-3.1.3-py_0", "flask-3.1.3-py_0.conda"]


def test_another_archive_is_refused_with_both_digests_and_removed(cache):
    (cache / "flask-3.1.3-py_0.conda").write_bytes(b"tampered")
    with pytest.raises(Refusal) as refused:
        package_cache.check([PACKAGE], str(cache))
    found = hashlib.sha256(b"tampered").hexdigest()
    for word in (PACKAGE["url"], found, PACKAGE["sha256"]):
        assert word in str(refused.value)
    assert held(cache) == []


def test_an_unpacked_package_without_its_archive_is_fetched_anew(cache):
    (cache / "flask-3.1.3-py_0.conda").unlink()
    package_cache.drop_unproven([PACKAGE], str(cache))
    assert held(cache) == []


def test_an_archive_that_did_not_arrive_is_no_proof(cache):
    (cache / "flask-3.1.3-py_0.conda").unlink()
    assert package_cache.present([PACKAGE], str(cache)) == []
    with pytest.raises(Refusal, match="did not arrive"):
        package_cache.check([PACKAGE], str(cache))


def test_an_md5_is_left_to_conda(cache):
    package = {key: value for key, value in PACKAGE.items() if key != "sha256"}
    package_cache.check([dict(package, md5="0" * 32)], str(cache))
    assert len(held(cache)) == 2
