"""A spec becomes packages and pins by building it for a while; nothing of that stays."""

from __future__ import annotations

import getpass
import json
import os
import subprocess
from pathlib import Path

import pytest
import recordings

from ansible_collections.gpunode.stack.plugins.module_utils._node.conda import pip as pip_cli
from ansible_collections.gpunode.stack.plugins.module_utils._node.conda_env import solve
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import unfinished_folder

pytestmark = pytest.mark.skipif(
    getpass.getuser() != "root", reason="files belong to root; run as root"
)

IDNA = {
    "name": "idna",
    "version": "3.20",
    "sha256": "ab7ae7122974553370f0bdb919e1a960b2cd1bc1ef0276416d896db81c14582c",
}


class Node:
    """A host whose conda makes an environment of the named packages, as it really records them."""

    def __init__(self, tmp_path):
        self.base = tmp_path / "conda"
        (self.base / "bin").mkdir(parents=True)
        (self.base / "bin" / "conda").write_text("")
        self.prefix = tmp_path / "envs" / "web-0123456789ab"
        self.state_dir, self.cache = str(tmp_path / "state"), tmp_path / "cache" / "conda_solve"
        self.version, self.brings, self.changes = "24.7", ("gunicorn", "python", "pip"), {}
        self.pip = recordings.answer("pip", "report")
        self.has_passwords = False
        self.asked, self.cache_modes = [], []

    def __call__(self, argv, environment):
        self.asked.append((argv, environment))
        if argv[0] == f"{self.prefix}/bin/python":
            return self.pip
        if os.path.isdir(environment["CONDA_PKGS_DIRS"]):
            self.cache_modes.append(os.stat(environment["CONDA_PKGS_DIRS"]).st_mode & 0o777)
        meta = self.prefix / "conda-meta"
        meta.mkdir(parents=True)
        (meta / "history").write_text("")
        for name in self.brings:
            record = {**recordings.content(self.version, "conda-meta"), **self.changes}
            (meta / f"{name}.json").write_text(json.dumps({**record, "name": name}))
        return subprocess.CompletedProcess(argv, 0, "", "")

    def solve(self, *pip, execute=None):
        order = {
            "name": "web",
            "spec": {"channels": ["conda-forge"], "packages": ["gunicorn=22"], "pip": list(pip)},
            "node": {
                "conda": str(self.base),
                "pip_config": f"{self.base}/pip.conf",
                "has_passwords": self.has_passwords,
                "prefix": str(self.prefix),
            },
        }
        return solve.solve(order, execute or self, self.state_dir, str(self.cache))

    def is_clean(self):
        left = os.listdir(self.prefix.parent)
        return (
            not left
            and not self.cache.exists()
            and not unfinished_folder.is_unfinished(str(self.prefix), self.state_dir)
        )


@pytest.fixture
def node(tmp_path):
    return Node(tmp_path)


@pytest.mark.parametrize("version", recordings.VERSIONS)
def test_packages_are_what_conda_put_there_with_address_and_digests(node, version):
    node.version, node.brings = version, ("gunicorn",)
    real = recordings.content(version, "conda-meta")
    kept = ("name", "version", "build", "url", "md5", "sha256")
    assert node.solve() == {"packages": [{key: real[key] for key in kept}], "dists": []}
    assert node.is_clean()


def test_the_solver_is_the_one_this_conda_is_set_up_with(node):
    node.solve()
    ((argv, environment),) = node.asked
    assert argv[-5:] == ["gunicorn=22", "--prefix", str(node.prefix), "--json", "--quiet"]
    assert "CONDA_SOLVER" not in environment


def test_packages_are_fetched_to_where_they_are_kept(node):
    node.solve()
    assert node.asked[0][1]["CONDA_PKGS_DIRS"] == f"{node.base}/pkgs"


def test_what_conda_writes_of_passwords_is_for_root_alone_and_does_not_stay(node):
    node.has_passwords = True
    node.solve()
    assert node.asked[0][1]["CONDA_PKGS_DIRS"] == str(node.cache)
    assert node.cache_modes == [0o700]
    assert node.is_clean()
    with pytest.raises(Refusal):
        node.solve(execute=lambda argv, _env: recordings.answer("24.7", "not-found", argv))
    assert node.is_clean()


def test_pip_finds_its_part_in_the_environment_that_conda_made(node):
    found = node.solve("idna", "colorama==0.4.6")
    assert IDNA in found["dists"]
    assert [dist["name"] for dist in found["dists"]] == ["colorama", "idna"]
    argv, environment = node.asked[-1]
    assert argv[1:] == [
        *("-m", "pip", "install", "--dry-run", "--quiet", "--report", "-"),
        *("idna", "colorama==0.4.6"),
    ]
    assert environment["PIP_CONFIG_FILE"] == f"{node.base}/pip.conf"
    assert node.is_clean()


def test_what_conda_brought_is_no_part_of_the_pins(node):
    node.pip = recordings.answer("pip", "report-satisfied")
    assert node.solve("six")["dists"] == []


def test_a_pip_part_without_a_pip_is_refused(node):
    node.brings = ("gunicorn", "python")
    with pytest.raises(Refusal, match=r"the packages bring no pip\. Add pip to the packages"):
        node.solve("idna")
    assert node.is_clean()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("not-found", "No matching distribution found for idna==99"),
        ("index-dead", "No matching distribution found for idna"),
    ],
)
def test_what_pip_cannot_find_is_named_with_the_environment(node, name, words):
    node.pip = recordings.answer("pip", name)
    with pytest.raises(Refusal, match=rf"environment web: pip install in .*{words}"):
        node.solve("idna")
    assert node.is_clean()


def test_a_distribution_without_a_sha256_is_refused(node):
    report = recordings.content("pip", "report")["stdout"]
    del report["install"][0]["download_info"]["archive_info"]
    with pytest.raises(Refusal, match=r"colorama 0\.4\.6: the index gives no sha256"):
        pip_cli.resolve(
            "/envs/web",
            ["colorama"],
            "",
            lambda argv, _env: subprocess.CompletedProcess(argv, 0, json.dumps(report), ""),
        )


def test_a_package_that_no_lock_can_name_is_refused(node):
    node.brings, node.changes = ("gunicorn",), {"md5": None, "sha256": None}
    with pytest.raises(Refusal, match="no address and digest of gunicorn"):
        node.solve()
    assert node.is_clean()


def test_a_password_in_what_conda_noted_is_left_out(node):
    url = recordings.content("24.7", "conda-meta")["url"]
    node.brings, node.changes = ("gunicorn",), {"url": url.replace("//", "//ob:geheim@")}
    assert [package["url"] for package in node.solve()["packages"]] == [url]


def test_a_solve_that_fails_leaves_nothing(node):
    def fails(argv, environment):
        node(argv, environment)
        return recordings.answer("24.7", "not-found", argv)

    with pytest.raises(
        Refusal, match=r"environment web: conda create in .*no channel has nosuchpkg"
    ):
        node.solve(execute=fails)
    assert node.is_clean()


def test_what_a_killed_solve_left_is_cleared_by_the_next(node):
    def killed(argv, environment):
        node(argv, environment)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        node.solve(execute=killed)
    assert node.prefix.exists()
    node.solve()
    assert node.is_clean()


def test_what_is_not_ours_is_refused_and_left_alone(node):
    node.prefix.mkdir(parents=True)
    (node.prefix / "mine").write_text("")
    with pytest.raises(Refusal, match="holds something else"):
        node.solve()
    assert Path(node.prefix, "mine").exists()
    assert node.asked == []
