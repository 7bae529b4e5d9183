"""Requirements: each distribution pinned by version and sha256, and only those that apply."""

from __future__ import annotations

import pytest

from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.conda import (
    pip_requirements,
)

A, B = "a" * 64, "b" * 64


def parse(text, python="3.11.7", machine="x86_64"):
    return pip_requirements.parse(text, python, machine)


def test_a_file_of_pip_compile_is_read():
    text = f"""
        # by pip-compile
        Opencv_Python.Headless[x, b]==4.12.0.88 \\
            --hash=sha256:{B} \\
            --hash=sha256:{A}
            # via -r requirements.in
        flask==3.1.3 --hash=sha256:{A}  # trailing
    """
    assert parse(text) == [
        {"name": "flask", "version": "3.1.3", "line": f"flask==3.1.3 --hash=sha256:{A}"},
        {
            "name": "opencv-python-headless",
            "version": "4.12.0.88",
            "line": f"Opencv_Python.Headless[b,x]==4.12.0.88 --hash=sha256:{A} --hash=sha256:{B}",
        },
    ]


@pytest.mark.parametrize(
    ("marker", "applies"),
    [
        ("python_version < '3.11'", False),
        ("python_version >= '3.11'", True),
        ("python_full_version == '3.11.7'", True),
        ("python_version == '3.11'", True),
        ("platform_machine == 'aarch64'", False),
        ("sys_platform == 'win32'", False),
        ("platform_machine == 'x86_64' and os_name == 'posix'", True),
    ],
)
def test_markers_are_those_of_the_environment_not_of_the_controller(marker, applies):
    assert bool(parse(f"tomli==2.0.1 ; {marker} --hash=sha256:{A}")) is applies


def test_a_marker_of_the_machine_is_that_of_the_host():
    text = f"tomli==2.0.1 ; platform_machine == 'aarch64' --hash=sha256:{A}"
    assert len(parse(text, machine="aarch64")) == 1


def test_a_hash_may_stand_behind_a_blank():
    assert parse(f"flask==3.1.3 --hash sha256:{A}")[0]["line"] == f"flask==3.1.3 --hash=sha256:{A}"


@pytest.mark.parametrize(
    "hashes",
    [
        f"--hash=sha512:{A}{A} --hash=sha256:{A}",
        f"--hash=sha256:{A} --hash=sha384:{A}{'b' * 32}",
        f"--hash=sha256:{A.upper()}",
        f"--hash=SHA256:{A}",
    ],
)
def test_of_hashes_of_several_kinds_those_that_are_checked_stay(hashes):
    assert parse(f"flask==3.1.3 {hashes}")[0]["line"] == f"flask==3.1.3 --hash=sha256:{A}"


def test_one_name_may_be_pinned_once_for_each_python():
    text = "\n".join(
        f"numpy=={version} ; python_version {test} --hash=sha256:{A}"
        for version, test in (("1.26.4", "< '3.12'"), ("2.3.5", ">= '3.12'"))
    )
    assert [dist["version"] for dist in parse(text)] == ["1.26.4"]
    assert [dist["version"] for dist in parse(text, python="3.12.1")] == ["2.3.5"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"flask>=3 --hash=sha256:{A}", "line 1 does not pin"),
        (f"flask==3.* --hash=sha256:{A}", "line 1 does not pin"),
        (f"flask --hash=sha256:{A}", "line 1 does not pin"),
        (f"flask==3,!=3.1 --hash=sha256:{A}", "line 1 does not pin"),
        (f"f @ https://x.example/f.whl --hash=sha256:{A}", "line 1 names an address"),
        (f"f @ https://x.example/f.whl#sha256={A}", "line 1 names an address"),
        (f"https://x.example/f.whl --hash=sha256:{A}", "line 1 names an address"),
        (f"./wheels/f-1-py3-none-any.whl --hash=sha256:{A}", "line 1 names a path"),
        (f"f-1-py3-none-any.whl --hash=sha256:{A}", "line 1 names a path"),
        (f"file:///w/f.whl --hash=sha256:{A}", "line 1 names a path"),
        ("\nflask==3.1.3", "line 2 has no --hash=sha256"),
        ("flask==3.1.3 --hash=md5:abc", "line 1 has no --hash=sha256"),
        (f"flask==3.1.3 --hash=sha512:{A}{A}", "line 1 has no --hash=sha256"),
        (
            f"flask==3.1.3 --hash=sha256:{A} --no-binary flask",
            "has --no-binary for pip itself: the hash",
        ),
        (f"flask==3.1.3 --hash=sha256:{A} --config-settings a=b", "has --config-settings for pip"),
        (
            f"flask==3.1.3 --global-option=x --hash=sha256:{A}",
            "--global-option for pip .* leave it",
        ),
        # Files of other tools, by the beginnings that those write.
        ('[[package]]\nname = "flask"\n', "poetry or uv.*poetry export.*uv export"),
        ('version = 1\nrequires-python = ">=3.11"\n[[package]]\n', "poetry or uv"),
        ('lock-version = "1.0"\ncreated-by = "uv"\n[[packages]]\n', "poetry or uv"),
        (
            '{\n    "_meta": {"hash": {}},\n    "default": {}\n}',
            "Pipfile.lock.*pipenv requirements",
        ),
        (
            "dependencies:\n  - python\n  - pip:\n    - flask\n",
            "environment.yml.*environment_file",
        ),
        ("flask==3.1.3 --hash=sha256:abc", "line 1 is not name==version"),
        (f"flask==3 --hash=sha256:{A};os_name=='nt'", "line 1 is not name==version"),
        (f"a==1 \\\n  --hash=sha256:{A} \\\n  --hash=sha256:{B}\nflask \\\n  #", "line 4 does not"),
        ("--pypi-url https://x.example/simple", "say it with miniforge_pip_index_url"),
        ("-c other.txt", "write all into one file"),
        ("svn+https://h/a", "line 1 names a place of version control"),
        ("bzr+https://h/a", "line 1 names a place of version control"),
        (f"a==1 ; os_name ~= 'posix' --hash=sha256:{A}", "line 1 has a marker that cannot be ev"),
        ("--index-url https://x.example/simple", "say it with miniforge_pip_index_url"),
        ("-i https://x.example/simple", "say it with miniforge_pip_index_url"),
        ("--extra-index-url=https://x.example/", "say it with miniforge_pip_extra_index_urls"),
        ("--trusted-host x.example", "say with miniforge_ca_source"),
        ("--find-links https://x.example/w", "put the files on an index"),
        ("-f./wheels", "put the files on an index"),
        ("--no-index", "put the files on an index"),
        ("--only-binary :all:", "the hashes say which files"),
        ("--pre", "the hashes say which files"),
        ("-r other.txt", "line 1 is for pip itself .* write all into one file"),
        ("-e ./web", "build a wheel"),
        ("--use-feature fast-deps", r"fast-deps\): leave it out$"),
        ("git+https://github.com/a/b@v1", "line 1 names a place of version control"),
        (f"b @ git+ssh://git@h/a/b --hash=sha256:{A}", "line 1 names a place of version control"),
        (f"Flask==1 --hash=sha256:{A}\nflask==2 --hash=sha256:{A}", "line 2 asks for flask a sec"),
        ("flask==3.1.3 \\", "line 1 ends in a continuation"),
        (f"a==1 ; platform_release == '6' --hash=sha256:{A}", "line 1 depends on the host's k"),
    ],
)
def test_what_is_not_pinned_is_refused_with_its_line(text, words):
    with pytest.raises(ValueError, match=words):
        parse(text)


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://pypi.org/simple",
        "-i https://pypi.org/simple/",
        "-ihttps://pypi.org/simple",
        "--extra-index-url https://second.example/simple",
        "--extra-index-url=https://mirror.example/simple",
        "--index-url https://jane:hush@mirror.example/simple/",
        "--index-url 'https://pypi.org/simple'",
        "-i https://pypi.python.org/simple",
        "--require-hashes",
    ],
)
def test_a_line_for_pip_that_says_what_holds_anyway_is_taken(line):
    text = f"{line}\nflask==3.1.3 --hash=sha256:{A}\n"
    indexes = ["https://bot:other@mirror.example/simple", "https://second.example/simple/"]
    (dist,) = pip_requirements.parse(text, "3.11.7", "x86_64", indexes)
    assert dist["name"] == "flask"


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ("git+https://github.com/a/b", "version control, which has no sha256"),
        ("b @ git+ssh://git@github.com/a/b.git@v1", "version control, which has no sha256"),
        ("hg+https://h/a", "version control, which has no sha256"),
        ("./web", "it is a path"),
        ("~/web", "it is a path"),
        ("web-1.0-py3-none-any.whl", "it is a path"),
        ("b @ https://x.example/b.whl", "it is an address"),
        ("https://x.example/b-1-py3-none-any.whl", "it is an address"),
        ("https://x.example/b.whl#sha256=0", "it is an address"),
        ("https://x.example/archive/main", "it is an address"),
        (
            "torch==2.4 --index-url https://x.example/cu124",
            "it has --index-url for pip itself: say it with miniforge_pip_index_url",
        ),
        ("flask>=3 --no-binary flask", "it has --no-binary for pip itself: the hashes say which"),
        ("a b", "pip would not understand it"),
        ("-e ./web", "it is for pip itself: build a wheel"),
        ("-r requirements.txt", "it is for pip itself: write all into one file"),
        ("--extra-index-url https://x.example/", "say it with miniforge_pip_extra_index_urls"),
        ("--pre", "the hashes say which files"),
    ],
)
def test_what_no_index_pins_is_no_wish_and_the_reason_is_told(wish, said):
    with pytest.raises(ValueError, match=said):
        pip_requirements.is_wish(wish)
