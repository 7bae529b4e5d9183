"""Locks: what can be trusted is read, everything else is named with its line."""

from __future__ import annotations

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.conda import lock_file

MIRROR = "https://mirror.example/anaconda/cloud/conda-forge"
MD5 = "d17abd55e5b0f7360a6472f2c00d857e"
SHA256 = "bc8755599d07ead2b7c7ad33af5b011096c460865e24b4c8150eb94e497dd584"
PYTHON = f"{MIRROR}/linux-64/python-3.11.7-h955ad1f_0.conda#{MD5}"
FLASK = f"{MIRROR}/noarch/flask-3.1.3-py_0.tar.bz2#{MD5}"


def lock(*lines):
    return "\n".join(["# platform: linux-64", "@EXPLICIT", "", *lines, ""])


def record(package, **changes):
    return {"md5": None, "sha256": None, **package, "dists": [], **changes}


def test_a_package_is_read_from_its_address():
    assert lock_file.parse(lock(PYTHON, FLASK)) == [
        {
            "url": f"{MIRROR}/linux-64/python-3.11.7-h955ad1f_0.conda",
            "name": "python",
            "version": "3.11.7",
            "build": "h955ad1f_0",
            "subdir": "linux-64",
            "md5": MD5,
        },
        {
            "url": f"{MIRROR}/noarch/flask-3.1.3-py_0.tar.bz2",
            "name": "flask",
            "version": "3.1.3",
            "build": "py_0",
            "subdir": "noarch",
            "md5": MD5,
        },
    ]


def test_a_name_may_hold_dashes():
    (package,) = lock_file.parse(lock(f"{MIRROR}/noarch/ca-certificates-2026.1-0.conda#{MD5}"))
    assert lock_file.label(package) == "ca-certificates=2026.1=0"


@pytest.mark.parametrize("version", ["1%211.0", "1!1.0"])
def test_an_epoch_is_one_though_its_address_quotes_it(version):
    address = f"{MIRROR}/noarch/x264-{version}-py_0.conda"
    (package,) = lock_file.parse(lock(f"{address}#{MD5}"))
    assert (lock_file.label(package), package["url"]) == ("x264=1!1.0=py_0", address)
    assert lock_file.is_same(package, record({**package, "version": "1!1.0"}))


@pytest.mark.parametrize("written", [SHA256, f"sha256:{SHA256}", SHA256.upper()])
def test_a_sha256_is_read_as_conda_and_others_write_it(written):
    (package,) = lock_file.parse(lock(f"{MIRROR}/noarch/flask-3.1.3-py_0.conda#{written}"))
    assert package["sha256"] == SHA256
    assert "md5" not in package


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "begin with @EXPLICIT"),
        (f"{PYTHON}\n", "begin with @EXPLICIT"),
        ("name: web\ndependencies: [python]\n", "environment.yml: say it with environment_file"),
        (
            "version: 1\nmetadata:\n  content_hash:\n    linux-64: x\npackage:\n- name: x\n",
            "conda-lock's own.*conda-lock render --kind explicit",
        ),
        ("version: 6\nenvironments:\n  default:\n    channels:\n", "pixi's own.*explicit-spec"),
        ("python=3.11.7=h_0\n", "as `conda list --explicit --md5` writes it"),
        (lock(), "no package"),
        (lock(PYTHON.split("#", maxsplit=1)[0]), "line 4 has no md5 or sha256"),
        (lock(PYTHON.replace(MD5, "d17abd")), "line 4 has no md5 or sha256"),
        (lock(PYTHON, "flask=3.1.3"), "line 5 is not the address"),
        (lock(f"{MIRROR}/noarch/flask.conda#{MD5}"), "line 4 is not the address"),
        (lock(PYTHON, PYTHON.replace("3.11.7", "3.11.8")), "names python more than once"),
        (
            lock(PYTHON, f"{MIRROR}/osx-64/zlib-1-0.conda#{MD5}"),
            "mixes packages for linux-64 and osx-64",
        ),
        (
            lock(PYTHON, f"{MIRROR}/linux-aarch64/zlib-1-0.conda#{MD5}"),
            "mixes packages for linux-64 and linux-aarch64",
        ),
    ],
)
def test_what_is_no_trustworthy_lock_is_refused_with_its_reason(text, words):
    with pytest.raises(ValueError, match=words):
        lock_file.parse(text)


WHEEL = "https://files.pythonhosted.org/packages/flask-3.1.3-py3-none-any.whl"


@pytest.mark.parametrize(
    "comment",
    [
        # conda-lock 2 (render_lockfile_for_platform), for what pip is to install: conda/conda-lock
        # #161 and #285, where it came to nothing.
        f"# pip flask @ {WHEEL}#sha256={SHA256}",
        f"# pip flask @ {WHEEL} --hash=sha256:{SHA256}",
        f"#pip flask[async] @ {WHEEL}",
        "# pip flask @ git+https://github.com/pallets/flask@3.1.3",
        f"# pypi: flask @ {WHEEL}",
        "# flask==3.1.3",
        "# flask[async]==3.1.3",
        "# pip -e web @ file:../web",
        "# - flask==3.1.3",
        "#  - pip: flask==3.1.3",
        "# pip install flask==3.1.3",
        f"# {PYTHON}",
    ],
)
def test_what_a_comment_would_have_installed_is_refused_by_its_line(comment):
    with pytest.raises(ValueError, match=r"^line 5 would be passed over as a comment"):
        lock_file.parse(lock(PYTHON, comment))


def test_all_comments_that_would_have_installed_something_are_named_at_once():
    with pytest.raises(ValueError, match=r"^lines 5, 6 would be passed over"):
        lock_file.parse(lock(PYTHON, "# pip six==1.17.0", f"# pip flask @ {WHEEL}"))


@pytest.mark.parametrize(
    "comment",
    [
        "# This file may be used to create an environment using:",
        "# $ conda create --name <env> --file <this file>",
        "# input_hash: d17abd55e5b0f7360a6472f2c00d857e",
        "# created-by: conda 24.7.1",
        f"# channel: {MIRROR}",
        "# pip requirement: flask>=3",
        "# package: python=3.11",
        "# see https://docs.example/locks and ask ops@example.org",
    ],
)
def test_what_is_only_said_in_a_comment_is_passed_over(comment):
    assert len(lock_file.parse(f"{comment}\n{lock(PYTHON)}")) == 1


@pytest.mark.parametrize(("lines", "name"), [((FLASK, PYTHON), "linux-64"), ((FLASK,), "noarch")])
def test_the_platform_is_that_of_the_packages_bound_to_one(lines, name):
    assert lock_file.platform(lock_file.parse(lock(*lines))) == name


def test_conda_gets_no_digest_it_cannot_read():
    packages = lock_file.parse(lock(PYTHON, f"{MIRROR}/noarch/flask-3.1.3-py_0.conda#{SHA256}"))
    assert lock_file.render(packages) == (
        f"@EXPLICIT\n{PYTHON}\n{MIRROR}/noarch/flask-3.1.3-py_0.conda\n"
    )


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({}, True),
        ({"url": "https://other.example/noarch/flask-3.1.3-py_0.conda"}, True),
        ({"md5": "0" * 32}, False),
        ({"version": "3.1.2"}, False),
        ({"build": "py_1"}, False),
        ({"md5": None}, True),
        ({"md5": None, "url": "https://other.example/noarch/flask-3.1.3-py_0.conda"}, False),
    ],
)
def test_a_package_is_the_same_by_its_digest_and_without_one_by_its_address(changes, same):
    (package,) = lock_file.parse(lock(FLASK))
    assert lock_file.is_same(package, record(package, **changes)) is same
