"""What differs between an environment and its lock, seen in the records alone."""

from __future__ import annotations

import json

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.conda import prefixes
from ansible_collections.gpunode.stack.plugins.module_utils._node.conda.contents import (
    Contents,
    difference,
    labels_of,
    wanted_labels,
)

SITE = "lib/python3.11/site-packages"


def package(name, version="1.0", build="py_0"):
    md5 = f"{name}{version}".encode().hex().ljust(32, "0")[:32]
    url = f"https://mirror.example/noarch/{name}-{version}-{build}.conda"
    return {
        "name": name,
        "version": version,
        "build": build,
        "subdir": "noarch",
        "md5": md5,
        "url": url,
    }


def dist(name, version="1.0"):
    return {"name": name, "version": version, "line": f"{name}=={version}"}


class Prefix:
    """A prefix made of records, as conda and pip leave them."""

    def __init__(self, path):
        self.path = path
        (path / "conda-meta").mkdir(parents=True)
        (path / "conda-meta" / "history").write_text("")
        (path / "bin").mkdir()
        (path / "bin" / "python").write_text("")

    def conda(self, package, dists=(), site=SITE):
        files = [f"{site}/{name}.dist-info/METADATA" for name in dists]
        for name in dists:
            self.pip(name, site)
        name = "-".join(package[key] for key in ("name", "version", "build"))
        record = {**package, "files": files}
        (self.path / "conda-meta" / f"{name}.json").write_text(json.dumps(record))

    def pip(self, name, site=SITE):
        folder = self.path / site / f"{name}.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text("")

    def lose(self, name, site=SITE):
        (self.path / site / f"{name}.dist-info" / "METADATA").unlink()

    def contents(self, lock, dists=()):
        return Contents({"prefix": str(self.path), "lock": list(lock), "dists": list(dists)})


PYTHON = package("python", "3.11.7", "h_0")
FLASK = package("flask", "3.1.3")
SIX = dist("six", "1.17.0")


@pytest.fixture
def prefix(tmp_path):
    """As wanted: python and flask from conda, six from pip."""
    prefix = Prefix(tmp_path / "env")
    prefix.conda(PYTHON)
    prefix.conda(FLASK, ["Flask-3.1.3"])
    prefix.pip("six-1.17.0")
    return prefix


def todo(prefix, lock=(PYTHON, FLASK), dists=(SIX,)):
    found = prefix.contents(lock, dists)
    sentences = [text.replace(f" in {prefix.path}", "") for text in found.sentences()]
    assert found.is_as_wanted() is (sentences == [])
    return [text.replace(f" from {prefix.path}", "") for text in sentences]


def test_what_is_as_wanted_needs_nothing(prefix):
    assert todo(prefix) == []
    environment = {"lock": [PYTHON, FLASK], "dists": [SIX]}
    assert prefix.contents([PYTHON, FLASK], [SIX]).labels() == wanted_labels(environment)


def test_what_a_prefix_holds_is_told_without_knowing_what_is_wanted(prefix):
    assert labels_of(str(prefix.path)) == wanted_labels({"lock": [PYTHON, FLASK], "dists": [SIX]})


def test_what_changed_between_two_builds_is_told_by_name():
    before = ["flask=3.0=py_0", "pip=26=py_0", "six==1.16.0", "numpy==1.0"]
    after = ["flask=3.0=py_1", "pip=26=py_0", "six==1.17.0", "tqdm==4.0"]
    assert difference(before, after) == {
        "added": ["tqdm"],
        "changed": ["flask", "six"],
        "removed": ["numpy"],
    }


def test_a_removed_package_is_installed(prefix):
    (prefix.path / "conda-meta" / "flask-3.1.3-py_0.json").unlink()
    (prefix.path / SITE / "Flask-3.1.3.dist-info" / "METADATA").unlink()
    assert todo(prefix) == ["install flask=3.1.3=py_0"]


def test_a_package_with_a_broken_record_is_installed(prefix):
    (prefix.path / "conda-meta" / "python-3.11.7-h_0.json").write_text("{")
    assert todo(prefix) == ["install python=3.11.7=h_0"]


def test_another_version_is_replaced(prefix):
    wanted = package("flask", "3.1.4")
    assert todo(prefix, [PYTHON, wanted]) == ["replace flask=3.1.3=py_0 by flask=3.1.4=py_0"]


def test_the_same_build_with_another_digest_is_installed_again(prefix):
    wanted = dict(FLASK, md5="f" * 32)
    assert todo(prefix, [PYTHON, wanted]) == ["install flask=3.1.3=py_0 again"]


def test_a_package_nobody_asked_for_is_removed(prefix):
    prefix.conda(package("tqdm"), ["tqdm-1.0"])
    found = prefix.contents([PYTHON, FLASK], [SIX])
    assert (found.extra, found.extra_dists) == (["tqdm"], [])
    assert todo(prefix) == ["remove tqdm=1.0=py_0"]


def test_a_distribution_nobody_asked_for_is_removed(prefix):
    prefix.pip("requests-2.0")
    assert todo(prefix) == ["remove requests==2.0"]


def test_a_removed_distribution_is_installed(prefix):
    prefix.lose("six-1.17.0")
    assert todo(prefix) == ["install six==1.17.0"]


def test_another_version_of_a_distribution_is_removed_and_the_pinned_one_installed(prefix):
    prefix.lose("six-1.17.0")
    prefix.pip("six-1.16.0")
    assert todo(prefix) == ["remove six==1.16.0", "install six==1.17.0"]


def test_a_package_that_pip_replaced_is_damaged_though_conda_knows_nothing(prefix):
    prefix.lose("Flask-3.1.3")
    prefix.pip("flask-3.0.3")
    assert prefix.contents([PYTHON, FLASK], [SIX]).damaged == ["flask"]
    assert todo(prefix) == ["install flask=3.1.3=py_0 again", "remove flask==3.0.3"]
    remains = prefixes.dist_info_remains(str(prefix.path))
    assert remains == [f"{SITE}/Flask-3.1.3.dist-info"]


def test_a_pin_of_our_own_may_replace_what_conda_brought(prefix):
    prefix.lose("Flask-3.1.3")
    prefix.pip("flask-3.0.3")
    assert todo(prefix, dists=[SIX, dist("flask", "3.0.3")]) == []


def test_a_pin_is_met_by_what_conda_brought(prefix):
    assert todo(prefix, dists=[SIX, dist("flask", "3.1.3")]) == []


@pytest.mark.parametrize("written", ["1.17", "1.17.0", "1.17.0.0", "v1.17"])
def test_a_pin_written_otherwise_is_the_same_version(prefix, written):
    assert todo(prefix, dists=[dist("six", written)]) == []


def test_packages_moved_under_another_python_are_damaged(prefix):
    other = prefix.path / "lib/python3.12/site-packages"
    other.parent.mkdir()
    (prefix.path / SITE).rename(other)
    record = prefix.path / "conda-meta" / "flask-3.1.3-py_0.json"
    record.write_text(record.read_text().replace("python3.11", "python3.12"))
    assert prefix.contents([PYTHON, FLASK], [SIX]).damaged == ["flask"]


def test_a_link_to_the_library_shows_nothing_twice(prefix):
    (prefix.path / "lib" / "python3.1").symlink_to("python3.11")
    assert todo(prefix) == []


def test_pip_counts_as_there_only_with_a_python_to_run_it(prefix):
    assert not prefix.contents([PYTHON, FLASK], [SIX]).has_pip
    prefix.pip("pip-26.3")
    assert prefix.contents([PYTHON, FLASK], [SIX]).has_pip
    (prefix.path / "bin" / "python").unlink()
    assert not prefix.contents([PYTHON, FLASK], [SIX]).has_pip


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("1.0", "1.0.0", True),
        ("2024.07.04", "2024.7.4", True),
        ("1.0.post1", "1.0-post1", True),
        ("2.1.0+cu121", "2.1+cu121", True),
        ("1.0", "1.0.1", False),
        ("10", "1", False),
        ("1.0rc1", "1.0", False),
        ("2.1.0+cu121", "2.1.0", False),
    ],
)
def test_versions_are_compared_as_python_does(one, other, same):
    assert (prefixes.version_key(one) == prefixes.version_key(other)) is same
