"""conda's and pip's failures, as conda 24.7.1 and pip 26 really answered, told in a sentence."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.conda import cli, pip
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import confinement

URL = "http://127.0.0.1:18391/anaconda/cloud/conda-forge/noarch"
CHECKSUM = {
    "actual_checksum": "b133b7eb5578be9d56ffe01c9dec7da4",
    "checksum_type": "md5",
    "exception_name": "ChecksumMismatchError",
    "expected_checksum": "b133b7ec5578be9d56ffe01c9dec7da4",
    "message": "Conda detected a mismatch between the expected content and downloaded content\n...",
    "url": f"{URL}/flask-3.1.3-py_0.conda",
}
MISSING = {
    "exception_name": "CondaHTTPError",
    "message": f"HTTP 404 FILE NOT FOUND for url <{URL}/nose-1-0.conda>\nElapsed: 00:00.007\n",
    "status_code": 404,
}
FULL = """conda.CondaMultiError: Failed to write to /x/pkgs/python-3.11.7-0.conda.partial
  errno: 28
AttributeError: 'OSError' object has no attribute 'dump_map'
"""


@pytest.fixture
def base(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "conda").write_text("")
    return str(tmp_path)


def answering(status, stdout="", stderr=""):
    return lambda argv, _environment: subprocess.CompletedProcess(argv, status, stdout, stderr)


def failure(base, **answer):
    with pytest.raises(Refusal) as refused:
        cli.run(base, ["create"], answering(1, **answer), f"{base}/envs/web")
    assert refused.value.what == f"conda create in {base}/envs/web"
    return refused.value.because


def test_an_answer_is_its_json_and_silence_is_success(base):
    answer = cli.run(base, ["info"], answering(0, '{"conda_version": "24.7.1"}'))
    assert answer == {"conda_version": "24.7.1"}
    assert cli.run(base, ["create"], answering(0)) == {}


def test_conda_is_asked_for_json_and_keeps_its_packages_with_itself(base):
    asked = []

    def execute(argv, environment):
        asked.append((argv, environment))
        return subprocess.CompletedProcess(argv, 0, "", "")

    cli.run(base, ["create", "--yes"], execute, "/envs/web")
    ((argv, environment),) = asked
    assert argv == [
        *(f"{base}/bin/conda", "create", "--yes", "--prefix", "/envs/web"),
        *("--json", "--quiet"),
    ]
    assert environment["CONDA_PKGS_DIRS"] == f"{base}/pkgs"


def test_a_wrong_digest_names_the_file_and_both_digests(base):
    because = failure(base, stdout=json.dumps({"errors": [CHECKSUM, CHECKSUM]}))
    assert because == (
        f"{URL}/flask-3.1.3-py_0.conda has md5 b133b7eb5578be9d56ffe01c9dec7da4, "
        "the lock says b133b7ec5578be9d56ffe01c9dec7da4"
    )


def test_a_missing_file_names_its_address_without_the_page_around_it(base):
    assert failure(base, stdout=json.dumps(MISSING)) == (
        f"CondaHTTPError: HTTP 404 FILE NOT FOUND for url <{URL}/nose-1-0.conda>"
    )


def test_many_errors_are_counted(base):
    errors = [dict(MISSING, message=f"for url <{number}>") for number in range(5)]
    because = failure(base, stdout=json.dumps({"errors": errors}))
    assert because.endswith("<2> (and 2 more)")


def test_a_full_disk_is_told_though_conda_dies_without_json(base):
    assert failure(base, stderr=FULL) == (
        f"the file system of {base}/envs/web or of {base}/pkgs is full, or its quota is"
    )


def test_a_conda_that_dies_is_quoted_without_passwords(base):
    assert failure(base, stderr="Traceback\nbroken http://ob:geheim@x.example/y\n") == (
        "Traceback / broken http://***@x.example/y"
    )
    assert failure(base) == "it ended with status 1"


def test_a_missing_conda_says_what_to_run_first(tmp_path):
    with pytest.raises(Refusal, match="Run the miniforge role first"):
        cli.run(str(tmp_path), ["info"], answering(0))


def test_a_command_without_end_is_a_refusal(base):
    def execute(argv, _environment):
        raise subprocess.TimeoutExpired(argv, 3600)

    with pytest.raises(Refusal, match="did not end within 3600 s"):
        cli.run(base, ["create"], execute)


PIP_DEAD = """WARNING: Retrying (Retry(total=1)) after connection broken by 'x': /simple/six/
WARNING: Retrying (Retry(total=0)) after connection broken by 'y': /simple/six/
ERROR: Could not find a version that satisfies the requirement six==1.17.0 (from versions: none)
WARNING: something else
ERROR: No matching distribution found for six==1.17.0
"""


def test_pip_tells_its_errors_and_the_index_without_a_password(tmp_path):
    config = tmp_path / "pip.conf"
    config.write_text("[global]\nindex-url = https://ob:geheim@mirror.example/simple\n")
    with pytest.raises(Refusal) as refused:
        pip.install("/envs/web", "/r.txt", str(config), answering(1, stderr=PIP_DEAD))
    assert refused.value.because == (
        "WARNING: something else / "
        "WARNING: Retrying (Retry(total=0)) after connection broken by 'y': /simple/six/ / "
        "ERROR: Could not find a version that satisfies the requirement six==1.17.0 "
        "(from versions: none) / ERROR: No matching distribution found for six==1.17.0 "
        "[index https://***@mirror.example/simple]"
    )


NOT_TRUSTED = (
    "WARNING: The repository located at mirror.example is not a trusted or secure host and is "
    "being ignored. If this repository is available via HTTPS we recommend you use HTTPS instead, "
    "otherwise you may silence this warning and allow it anyway with '--trusted-host "
    "mirror.example'."
)
NO_MATCH = "ERROR: No matching distribution found for six==1.17.0"
# What pip says before it fails, where the error alone hides the cause.
CAUSES = {
    "an index that is not trusted": NOT_TRUSTED,
    "a file that was left out": "WARNING: Skipping six-1.17.0.exe: unsupported archive format",
    "a link that was yanked": "WARNING: The candidate selected for download is a yanked version",
    "what pip is to lose": "DEPRECATION: Loading egg at /envs/web/lib/six.egg is deprecated",
    "a broken distribution": "WARNING: Ignoring invalid distribution ~ix (/envs/web/lib)",
}


@pytest.mark.parametrize("cause", CAUSES)
def test_pip_tells_a_warning_that_has_the_cause_once_and_before_the_error(tmp_path, cause):
    said = f"{CAUSES[cause]}\n{CAUSES[cause]}\n{NO_MATCH}\n"
    with pytest.raises(Refusal) as refused:
        pip.install("/e", "/r", str(tmp_path / "no.conf"), answering(1, stderr=said))
    assert refused.value.because.startswith(f"{CAUSES[cause]} / {NO_MATCH} [")


def test_pip_tells_no_more_than_some_of_many_warnings(tmp_path):
    said = "".join(f"WARNING: Skipping file {number}\n" for number in range(99)) + NO_MATCH
    with pytest.raises(Refusal) as refused:
        pip.install("/e", "/r", str(tmp_path / "no.conf"), answering(1, stderr=said))
    assert refused.value.because.count("WARNING") == 5
    assert "Skipping file 0 / " in refused.value.because
    assert "(94 more warnings)" in refused.value.because
    said = "".join(f"WARNING: Skipping file {number}\n" for number in range(5)) + NO_MATCH
    with pytest.raises(Refusal) as refused:
        pip.install("/e", "/r", str(tmp_path / "no.conf"), answering(1, stderr=said))
    assert "more warnings" not in refused.value.because


@pytest.mark.parametrize("begin", ["ERROR: ", "error: "])
def test_pip_tells_nothing_of_what_it_said_before_its_first_error(tmp_path, begin):
    said = f"Running setup.py\n{begin}subprocess-exited-with-error\nNo such file: x.h\n"
    with pytest.raises(Refusal) as refused:
        pip.install("/e", "/r", str(tmp_path / "no.conf"), answering(1, stderr=said))
    assert refused.value.because.startswith(
        f"{begin}subprocess-exited-with-error / No such file: x.h ["
    )


@pytest.mark.parametrize("address", ["https://example.org/hidden", "file:///hidden/channel"])
@pytest.mark.parametrize("told_by", [".condarc", "lock", "pip.conf"])
def test_a_channel_or_index_below_tmp_is_not_hidden(base, monkeypatch, told_by, address):
    monkeypatch.setattr(confinement, "_TAKEN", {"PrivateTmp=yes": ("/hidden",)})
    path = os.path.join(base, told_by)
    pathlib.Path(path).write_text(f"index-url = {address}/a\n")
    asked = []

    def execute(argv, _environment):
        asked.append(argv)
        return subprocess.CompletedProcess(argv, 0, "", "")

    if told_by == "pip.conf":
        pip.install(base, "/r.txt", path, execute)
    else:
        cli.run(base, ["create", "--file", f"{base}/lock"], execute)
    assert ("PrivateTmp=yes" in asked[0].settings) is address.startswith("https")


def test_pip_installs_by_hash_alone(tmp_path):
    asked = []

    def execute(argv, environment):
        asked.append((argv, environment))
        return subprocess.CompletedProcess(argv, 0, "", "")

    pip.install("/envs/web", "/r.txt", str(tmp_path / "pip.conf"), execute)
    ((argv, environment),) = asked
    assert argv[:4] == ["/envs/web/bin/python", "-m", "pip", "install"]
    assert "--require-hashes" in argv
    assert environment["PIP_CONFIG_FILE"] == str(tmp_path / "pip.conf")


@pytest.mark.parametrize("part", ["bin/conda", "bin", ".", "lib"])
def test_a_conda_that_others_could_change_is_not_run(base, part):
    os.makedirs(f"{base}/lib")
    os.chmod(os.path.join(base, part), 0o777)

    def execute(_argv, _environment):
        raise AssertionError("it was run")

    with pytest.raises(Refusal, match="is written by all, so that others than root decide"):
        cli.run(base, ["info"], execute)


@pytest.mark.parametrize(
    "head",
    [
        "#!{}\nimport conda\n",
        "#! \t{} -I\n",
        """#!/bin/sh\n'''exec' {} "$0" "$@"\n' '''\n""",
        """#!/bin/sh\n'''exec' "{}" "$0" "$@"\n' '''\n""",
    ],
)
def test_a_conda_that_was_copied_from_a_user_is_not_run_by_what_the_user_has(
    base, tmp_path_factory, head
):
    theirs = tmp_path_factory.mktemp("home") / "python"
    theirs.write_text("")
    conda = os.path.join(base, "bin", "conda")
    with open(conda, "w", encoding="utf-8") as script:
        script.write(head.format(theirs))
    cli.run(base, ["info"], answering(0))
    theirs.chmod(0o777)
    with pytest.raises(Refusal, match=f"{theirs} is written by all, so that others"):
        cli.run(base, ["info"], answering(0))


@pytest.mark.parametrize("is_relative", [False, True])
@pytest.mark.parametrize("tool", ["conda", "pip"])
def test_what_is_imported_from_a_folder_of_others_is_not_run(
    base, tmp_path_factory, tool, is_relative
):
    work = tmp_path_factory.mktemp("work")
    (work / "plugin.py").write_text("")
    packages = os.path.join(base, "lib", "python3.12", "site-packages")
    os.makedirs(packages)
    with open(os.path.join(packages, "__editable__.plugin.pth"), "w", encoding="utf-8") as pth:
        place = os.path.relpath(work, packages) if is_relative else work
        pth.write(f"import sys\n# {work}\nrelative\n\0\n{place}\n")

    def run():
        if tool == "conda":
            return cli.run(base, ["info"], answering(0))
        return pip.install(base, "requirements", f"{base}/pip.conf", answering(0))

    run()
    (work / "plugin.py").chmod(0o666)
    with pytest.raises(Refusal, match=r"plugin\.py is written by all"):
        run()
