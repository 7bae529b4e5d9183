"""Traps of conda that others fell into, each with what conda really answered, and what we do."""

from __future__ import annotations

import getpass
import json
import os
import subprocess

import pytest
import recordings

from ansible_collections.gpunode.stack.plugins.module_utils._node.conda import (
    cli,
    contents,
    lock_file,
    prefixes,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.conda_env import (
    builder as env_builder,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.conda_env import (
    converge,
    solve,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal

as_root = pytest.mark.skipif(
    getpass.getuser() != "root", reason="files belong to root; run as root"
)
both = pytest.mark.parametrize("version", recordings.VERSIONS)
SITE = "lib/python3.11/site-packages"


def actions(version, name):
    """Return {verb: [what conda said it would do or did]} of a recording."""
    found = recordings.content(version, name)["stdout"]["actions"]
    return {
        verb: [item.get("dist_name", item) for item in found.get(verb, [])]
        for verb in ("LINK", "UNLINK")
    }


class Conda:
    """Stands for conda and pip: keeps what it was asked, and answers as it is told to."""

    def __init__(self, tmp_path, version, name="install-satisfied"):
        self.base = tmp_path / "conda"
        (self.base / "bin").mkdir(parents=True)
        (self.base / "bin" / "conda").write_text("")
        self.asked = []
        self._version, self._name = version, name

    def __call__(self, argv, _environment):
        self.asked.append(argv)
        return recordings.answer(self._version, self._name, argv)

    def forbidden(self, *_arguments):
        raise AssertionError("nothing is to be asked")


class Built:
    """A finished environment with the very gunicorn that conda put there."""

    def __init__(self, tmp_path, version):
        self.record = recordings.content(version, "conda-meta")
        self.prefix = tmp_path / "envs" / "web-0123456789ab"
        meta = self.prefix / "conda-meta"
        meta.mkdir(parents=True)
        (meta / "history").write_text("")
        (meta / "gunicorn-22.0.0-py_0.json").write_text(json.dumps(self.record))
        info = self.prefix / SITE / "gunicorn-22.0.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("")
        self.state_dir, self.work_dir = str(tmp_path / "state"), str(tmp_path / "work")

    def wanted(self, conda, url=None, dists=(), **changes):
        lock = lock_file.parse(f"@EXPLICIT\n{url or self.record['url']}#{self.record['md5']}\n")
        web = {"name": "web", "prefix": str(self.prefix), "lock": lock, "dists": list(dists)}
        web = {**web, "link": str(self.prefix.parent / "web"), "imports": [], **changes}
        state = {"dir": str(self.prefix.parent), "keep": 1, "conda": str(conda.base)}
        return {
            **state,
            "pip_config": "",
            "environments": [web],
            "absent": [],
            "system_packages": [],
            "remove_dir": False,
            "leaving": [],
            "libraries": [],
        }

    def converge(self, conda, execute, check_mode=True, **changes):
        state = self.wanted(conda, **changes)
        builder = env_builder.Builder(state, execute, self.state_dir, self.work_dir)
        result = converge.settle(state, builder, ("bookworm", "Debian"), check_mode)
        own = ("point ", "give ", "write ")
        return [text for text in result.changes if not text.startswith(own)]


@pytest.fixture
def built(tmp_path, version):
    return Built(tmp_path, version)


@pytest.fixture
def conda(tmp_path, version):
    return Conda(tmp_path, version)


@pytest.fixture
def asked(built, conda):
    """All that our modules ask of conda and pip: to solve, to build, to repair."""
    extra = {**built.record, "name": "distro", "version": "1.9.0"}
    pin = {"name": "six", "version": "1.17.0", "line": "six==1.17.0 --hash=sha256:" + "0" * 64}
    (web,) = built.wanted(conda, dists=[pin])["environments"]
    builder = env_builder.Builder(built.wanted(conda), conda, built.state_dir, built.work_dir)
    meta = built.prefix / "conda-meta"
    (meta / "gunicorn-22.0.0-py_0.json").unlink()
    (meta / "distro-1.9.0-py_0.json").write_text(json.dumps({**extra, "files": []}))
    order = {
        "name": "web",
        "spec": {"channels": ["conda-forge", "pytorch"], "packages": ["gunicorn"], "pip": []},
        "node": {
            "conda": str(conda.base),
            "pip_config": "",
            "has_passwords": False,
            "prefix": f"{built.prefix}-new",
        },
    }
    for attempt in (
        lambda: builder.repair(web),
        lambda: builder.build({**web, "prefix": f"{built.prefix}-other"}),
        lambda: solve.solve(order, conda, built.state_dir),
    ):
        with pytest.raises(Refusal):  # since nothing happened
            attempt()
    return conda.asked


def conda_commands(asked):
    return [argv[1:] for argv in asked if argv[0].endswith("/conda")]


@as_root
@both
def test_a_newer_version_in_the_channel_is_no_change(built, conda, version):
    assert actions(version, "install-upgrades") == {
        "LINK": ["gunicorn-23.0.0-py_0"],
        "UNLINK": ["gunicorn-22.0.0-py_0"],
    }
    assert built.converge(conda, conda.forbidden) == []


@as_root
@both
def test_what_is_installed_is_not_held_by_freezing_it(asked, version):
    assert actions(version, "install-frozen") == actions(version, "install-upgrades")
    assert not [argv for argv in conda_commands(asked) if "--freeze-installed" in argv]


@as_root
@both
def test_the_same_package_from_another_channel_is_no_change(built, conda, version):
    found = actions(version, "install-other-channel")
    assert sorted(found["LINK"]) == sorted(found["UNLINK"]) != []
    url = built.record["url"].replace("cloud/conda-forge", "pkgs/main")
    assert built.converge(conda, conda.forbidden, url=url) == []


@as_root
@both
def test_a_solve_reads_the_channels_of_the_spec_and_no_others(asked, version):
    (solve,) = [argv for argv in conda_commands(asked) if "--file" not in argv and "create" in argv]
    start = solve.index("--override-channels")
    assert solve[start + 1 : start + 5] == ["--channel", "conda-forge", "--channel", "pytorch"]
    assert "--no-default-packages" in solve


@as_root
@both
def test_conda_is_never_asked_to_install_by_name_into_what_is_there(asked, version):
    # Without --satisfied-skip-solve it would upgrade what satisfies the name already.
    assert recordings.content(version, "install-satisfied")["stdout"].keys() == {
        "success",
        "message",
    }
    installs = [argv for argv in conda_commands(asked) if argv[0] == "install"]
    assert installs
    assert all(argv[1] == "--file" for argv in installs)


@as_root
@both
def test_no_dry_run_is_asked_for(asked, built, conda, version):
    refused = recordings.answer(version, "create-dry-run-there")
    assert "Cannot `create --dry-run` with an existing conda environment" in refused.stdout
    # From a file there is one, and the older conda does not say in it what it would do.
    foreseen = recordings.content(version, "env-create-dry-run")["stdout"]
    assert ("actions" in foreseen) is (version == "26.7")
    assert not [argv for argv in conda_commands(asked) if "--dry-run" in argv]
    # Check mode foresees a change of what is there without conda.
    (built.prefix / "conda-meta" / "gunicorn-22.0.0-py_0.json").unlink(missing_ok=True)
    said = built.converge(conda, conda.forbidden)
    assert f"install gunicorn=22.0.0=py_0 in {built.prefix}" in said


@as_root
@both
def test_env_update_is_never_called(asked, version):
    # It upgrades what its file leaves open, and keeps what the file no longer names.
    assert actions(version, "env-update") == {
        "LINK": ["gunicorn-23.0.0-py_0"],
        "UNLINK": ["gunicorn-22.0.0-py_0"],
    }
    assert actions(version, "env-update-prune")["UNLINK"] == ["distro-1.9.0-py_0"]
    assert not [argv for argv in conda_commands(asked) if argv[0] in ("env", "update")]


@as_root
@both
def test_what_the_lock_no_longer_names_is_found_without_conda(built, conda, version):
    extra = {**built.record, "name": "distro", "version": "1.9.0", "files": []}
    path = built.prefix / "conda-meta" / "distro-1.9.0-py_0.json"
    path.write_text(json.dumps(extra))
    assert built.converge(conda, conda.forbidden) == [
        f"remove distro=1.9.0=py_0 from {built.prefix}"
    ]


@pytest.mark.parametrize(
    ("name", "flag"), [("env-update-dry-run", "--dry-run"), ("env-update-yes", "--yes")]
)
@both
def test_a_flag_that_conda_does_not_know_is_a_failure_though_it_says_nothing(
    conda, version, name, flag
):
    answer = recordings.answer(version, name)
    assert (answer.returncode, answer.stdout) == (2, "")
    with pytest.raises(Refusal, match=f"unrecognized arguments: {flag}"):
        cli.run(str(conda.base), ["env"], lambda *_arguments: answer)


@as_root
@pytest.mark.parametrize(
    ("version", "name"),
    [("24.7", "env-remove"), ("24.7", "install-satisfied"), ("26.7", "install-satisfied")],
)
def test_success_is_read_from_the_prefix_and_never_from_an_answer(built, tmp_path, version, name):
    assert recordings.content(version, name)["status"] == 0
    (built.prefix / "conda-meta" / "gunicorn-22.0.0-py_0.json").unlink()
    conda = Conda(tmp_path, version, name)
    with pytest.raises(Refusal, match="still is not what its lock says"):
        built.converge(conda, conda, check_mode=False)
    assert conda.asked


@both
def test_whether_there_is_an_environment_is_read_from_its_folder(built, tmp_path, version):
    # Each version lists environments, and misses one, in another way.
    listed = set(recordings.content(version, "env-list")["stdout"])
    assert ("envs_details" in listed) is (version == "26.7")
    assert recordings.content(version, "env-remove-missing")["status"] == int(version == "26.7")
    assert prefixes.is_conda(str(built.prefix))
    assert not prefixes.is_conda(str(tmp_path))


@as_root
@both
def test_removing_needs_no_channel(asked, version):
    failed = recordings.content(version, "remove-without-channel")
    assert failed["stdout"]["exception_name"] == "CondaHTTPError"
    assert actions(version, "remove-offline")["UNLINK"] == ["packaging-26.3-py_0"]
    removals = [argv for argv in conda_commands(asked) if argv[0] == "remove"]
    assert removals
    assert all("--offline" in argv for argv in removals)


@as_root
@both
def test_pip_is_asked_by_hash_and_not_through_conda(built, tmp_path, version):
    # conda hands a pip part on without any digest.
    found = recordings.content(version, "env-create-with-pip")["stdout"]["actions"]
    assert found["PIP"] == ["six-1.17.0"]
    asked = []

    def execute(argv, _environment):
        asked.append(argv)
        return subprocess.CompletedProcess(argv, 0, "", "")

    pin = {"name": "six", "version": "1.17.0", "line": "six==1.17.0 --hash=sha256:" + "0" * 64}
    with pytest.raises(Refusal, match=r"install six==1\.17\.0"):
        built.converge(Conda(tmp_path, version), execute, check_mode=False, dists=[pin])
    assert all(argv[2:4] == ["pip", "install"] and "--require-hashes" in argv for argv in asked)


@both
def test_digests_are_read_from_conda_meta_which_always_has_them(built, version):
    planned = recordings.content(version, "create-dry-run")["stdout"]["actions"]
    assert planned["FETCH"] == []  # it is all in the cache
    assert not [item for item in planned["LINK"] if {"md5", "sha256", "url"} & set(item)]
    # What it did fetch it calls otherwise than what it linked.
    done = recordings.content(version, "create")["stdout"]["actions"]
    assert {"build", "fn", "url", "md5", "sha256"} <= set.intersection(*map(set, done["FETCH"]))
    assert {"build_string", "dist_name"} <= set.intersection(*map(set, done["LINK"]))
    assert not [item for item in done["LINK"] if {"build", "fn", "md5", "sha256"} & set(item)]
    record = prefixes.conda_records(str(built.prefix))["gunicorn"]
    assert record["url"].endswith("/noarch/gunicorn-22.0.0-py_0.conda")
    assert (len(record["md5"]), len(record["sha256"])) == (32, 64)


def solve_with(conda, answer):
    """Solve for a package with a conda that answers so."""
    cli.solve(
        str(conda.base), "/envs/new", ["conda-forge"], ["x"], lambda *_arguments: answer, "/pkgs"
    )


@pytest.mark.parametrize(
    ("version", "name"),
    [("24.7", "not-found"), ("26.7", "not-found"), ("26.7", "not-found-rattler")],
)
def test_a_missing_package_is_named_alike_whatever_conda_calls_that(conda, version, name):
    answer = recordings.answer(version, name)
    called = json.loads(answer.stdout)["exception_name"]
    assert called == {"24.7": "PackagesNotFoundError"}.get(
        version, "PackagesNotFoundInChannelsError"
    )
    with pytest.raises(Refusal) as refused:
        solve_with(conda, answer)
    assert refused.value.because == "no channel has nosuchpkg"
    assert refused.value.remedy.startswith("Correct its name or version, or add the channel")


@pytest.mark.parametrize(
    ("name", "because", "remedy"),
    [
        ("not-found-version", "no channel has gunicorn=99", "Correct its name"),
        ("not-found-both", "no channel has gunicorn[version='22.*,23.*']", "Correct its name"),
        ("unsatisfiable", "flask=3.0 -> python[version='>=3.8']", "Ask for less exact versions"),
        ("channel-dead", "<http://127.0.0.1:9/gone/linux-64", "Correct the channel, or the mirror"),
        ("channel-unknown", "404", "Correct the channel, or the mirror"),
        ("spec-invalid", "Invalid spec 'python==3.11='", "Write it as name=version"),
    ],
)
@both
def test_a_solve_that_fails_names_what_is_wrong_and_what_to_do(
    conda, version, name, because, remedy
):
    answer = recordings.answer(version, name)
    with pytest.raises(Refusal) as refused:
        solve_with(conda, answer)
    assert because in refused.value.because
    assert refused.value.remedy.startswith(remedy)
    assert "\n" not in str(refused.value)


def test_another_solver_puts_its_name_before_the_same_error(tmp_path):
    conda = Conda(tmp_path, "26.7", "unsatisfiable-rattler")
    with pytest.raises(Refusal, match=r"__glibc >=2\.35.*Ask for less exact versions"):
        cli.solve(str(conda.base), "/envs/new", ["conda-forge"], ["x"], conda, "/pkgs")


@both
def test_a_lock_for_conda_never_holds_a_sha256(version):
    failed = recordings.content(version, "lock-sha256")["stdout"]["exception_name"]
    assert (failed == "ParseError") is (version == "24.7")
    record = recordings.content(version, "conda-meta")
    lock = lock_file.parse(f"@EXPLICIT\n{record['url']}#sha256:{record['sha256']}\n")
    assert record["sha256"] not in lock_file.render(lock)


@both
def test_a_wrong_digest_is_told_with_both(conda, version):
    answer = recordings.answer(version, "lock-wrong-digest")
    with pytest.raises(Refusal) as refused:
        cli.run(str(conda.base), ["create"], lambda *_arguments: answer)
    real = recordings.content(version, "conda-meta")["md5"]
    assert f"has md5 {real}, the lock says {'0' * 32}" in refused.value.because


@both
def test_an_environment_of_either_format_is_as_its_lock_says(built, conda, version):
    (web,) = built.wanted(conda)["environments"]
    assert contents.Contents(web).is_as_wanted()
    os.unlink(built.prefix / SITE / "gunicorn-22.0.0.dist-info" / "METADATA")
    assert not contents.Contents(web).is_as_wanted()
