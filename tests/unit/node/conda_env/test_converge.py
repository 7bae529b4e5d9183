"""Environments: what is asked for is resolved or refused; prefixes converge from what they hold."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import shutil
import subprocess

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.conda import builds
from ansible_collections.gpunode.stack.plugins.module_utils._node.conda.contents import Contents
from ansible_collections.gpunode.stack.plugins.module_utils._node.conda_env import (
    builder,
    converge,
    observe,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.packages import (
    database,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.packages import (
    package_manager as packages,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import (
    disk,
    unfinished_folder,
)
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import wanted_state
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.components import conda_env

MIRROR = "https://mirror.example/conda-forge"
PYTHON = f"{MIRROR}/linux-64/python-3.11.7-h_0.conda#{'1' * 32}"
PIP = f"{MIRROR}/noarch/pip-26.3-py_0.conda#{'2' * 32}"
FLASK = f"{MIRROR}/noarch/flask-3.1.3-py_0.conda#{'3' * 32}"
SIX = f"six==1.17.0 --hash=sha256:{'a' * 64}"
ITEM = ("build", "imports", "state")
FREE = {"kind": "absent", "empty": True, "conda": False, "unfinished": False}

as_root = pytest.mark.skipif(
    getpass.getuser() != "root", reason="files belong to root; run as root"
)


def text_of(*packages):
    return "\n".join(["@EXPLICIT", *packages, ""])


@pytest.fixture
def resolve(tmp_path):
    """Resolve environments whose locks and requirements lie beside an inventory."""

    def resolve(packages=(PYTHON, PIP), requirements=None, name="web", **variables):
        (tmp_path / "lock.txt").write_text(text_of(*packages))
        item = {"name": name, "lock": "lock.txt"}
        item.update({key: variables.pop(key) for key in ITEM if key in variables})
        if requirements is not None:
            (tmp_path / "requirements.txt").write_text(requirements)
            item["requirements"] = "requirements.txt"
        variables = {"conda_env_list": [item], **variables}
        return wanted_state.Site(variables, str(tmp_path)).wanted("conda_env")

    return resolve


def only(state):
    (environment,) = state["environments"]
    return environment


def facts(state, architecture="x86_64", room=10 * disk.GIB, pkg_mgr="apt", **paths):
    """Return facts of a bare host, but for the paths named by the keys they have in the state."""
    env = only(state)
    found = dict.fromkeys((state["dir"], env["prefix"], env["link"]), FREE)
    found.update({{"dir": state["dir"], **env}[key]: value for key, value in paths.items()})
    row = {"mount": "/", "fstype": "ext4", "size_total": room, "size_available": room}
    return {
        "architecture": architecture,
        "mounts": [row],
        "paths": found,
        "pkg_mgr": pkg_mgr,
        "distribution_release": "bookworm",
        "os_family": "Debian",
    }


def test_another_mirror_changes_the_addresses_and_nothing_else(resolve):
    there = {MIRROR: "https://company.example/conda"}
    env, moved = only(resolve()), only(resolve(conda_env_mirrors=there))
    assert moved["lock"][0]["url"] == (
        "https://company.example/conda/linux-64/python-3.11.7-h_0.conda"
    )
    assert {**env, "lock": []} == {**moved, "lock": []}


def test_an_environment_lies_under_its_name_and_content(resolve):
    env = only(resolve())
    assert env["link"] == "/opt/gpunode/envs/web"
    assert env["prefix"].startswith("/opt/gpunode/envs/web-")
    assert len(env["prefix"]) == len("/opt/gpunode/envs/web-") + 12


def test_another_content_is_another_prefix_and_another_mirror_is_not(resolve):
    plain = only(resolve())["prefix"]
    other_mirror = [line.replace("mirror.example", "other.example") for line in (PYTHON, PIP)]
    assert only(resolve(reversed(other_mirror)))["prefix"] == plain
    others = {
        plain,
        only(resolve([PYTHON, PIP, FLASK]))["prefix"],
        only(resolve([PYTHON, PIP.replace("2" * 32, "4" * 32)]))["prefix"],
        only(resolve(requirements=SIX))["prefix"],
        only(resolve(requirements=SIX.replace("a" * 64, "b" * 64)))["prefix"],
    }
    assert len(others) == 5


def test_the_state_is_complete_for_the_node(resolve):
    state = resolve(requirements=SIX, miniforge_prefix="/srv/conda", conda_env_dir="/srv/envs/")
    assert (state["conda"], state["pip_config"]) == ("/srv/conda", "/srv/conda/pip.conf")
    assert (state["dir"], state["keep"]) == ("/srv/envs", 1)
    assert only(state)["platform"] == "linux-64"
    assert only(state)["dists"] == [{"name": "six", "version": "1.17.0", "line": SIX}]
    assert json.loads(json.dumps(state)) == state


@pytest.mark.parametrize("name", ["web", "ob_prod", "_x", "py3.6", "a-b", "A..b"])
def test_a_plain_name_is_taken(resolve, name):
    assert only(resolve(name=name))["name"] == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../web", "a/b", "/web", "-web", ".web", "we b", "wéb", "web\n"]
)
def test_a_name_that_could_lead_elsewhere_is_refused(resolve, name):
    with pytest.raises(Refusal, match="environment name"):
        resolve(name=name)


def test_a_name_like_a_build_is_refused(resolve):
    with pytest.raises(Refusal, match="ends like the folder of a build"):
        resolve(name="web-0123456789ab")


def test_two_environments_of_one_name_are_refused(resolve):
    twice = [{"name": "web", "lock": "lock.txt"}] * 2
    with pytest.raises(Refusal, match="two environments have that name"):
        resolve(conda_env_list=twice)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"conda_env_dir": "envs"}, "not an absolute path"),
        ({"conda_env_keep": -1}, "fewer than none"),
        (
            {"packages": [PYTHON.split("#", maxsplit=1)[0]]},
            "web: lock.txt: line 2 has no md5 or sha256",
        ),
        ({"requirements": "six"}, "web: requirements.txt: line 1 does not pin"),
        ({"packages": [PYTHON], "requirements": SIX}, "the lock has no pip"),
        ({"packages": [FLASK], "requirements": SIX}, "the lock has no python and no pip"),
        ({"conda_env_list": [{"name": "web", "lock": "gone.txt"}]}, "gone.txt cannot be read"),
        ({"conda_env_list": [{"name": "web"}]}, "it has neither packages nor a lock"),
        ({"imports": ["os; x"]}, "imports: 'os; x': it is no name of a Python module"),
        ({"imports": ["-c"]}, "no name of a Python module"),
        ({"build": "latest"}, "build 'latest': a build is named by the 12 digits"),
        ({"conda_env_system_packages": ["libgl1", "libx11-6-"]}, "'libx11-6-': it is no name of"),
    ],
)
def test_what_cannot_be_resolved_is_refused_with_its_file(resolve, variables, words):
    with pytest.raises(Refusal, match=words):
        resolve(**variables)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        ({"prefix": {**FREE, "kind": "directory", "empty": False, "conda": True}}, None),
        ({"prefix": {**FREE, "kind": "directory", "empty": False, "unfinished": True}}, None),
        ({"prefix": {**FREE, "kind": "directory", "empty": False}}, "holds something else"),
        ({"link": {**FREE, "kind": "link", "empty": False}}, None),
        ({"link": {**FREE, "kind": "directory"}}, "is not a link"),
        ({"dir": {**FREE, "kind": "directory", "empty": False}}, None),
        ({"dir": {**FREE, "kind": "file", "empty": False}}, "is not a folder"),
        ({"architecture": "aarch64"}, "another platform, linux-64; the host is linux-aarch64"),
        ({"room": disk.GIB // 2}, "0.5 GiB free, 1.0 GiB is needed"),
    ],
)
def test_the_plan_refuses_what_cannot_work_on_the_host(resolve, changes, words):
    state = resolve()
    refusals = [str(refusal) for refusal in conda_env.refusals(state, facts(state, **changes))]
    assert len(refusals) == (0 if words is None else 1)
    assert all(words in refusal for refusal in refusals)


@pytest.mark.parametrize(
    ("prefix", "words"),
    [
        ({**FREE, "kind": "directory", "empty": False, "conda": True}, None),
        (FREE, "it is not kept on the host"),
        ({**FREE, "kind": "directory", "conda": True, "unfinished": True}, "never finished"),
    ],
)
def test_a_build_that_is_named_must_be_kept_on_the_host(resolve, prefix, words):
    state = resolve(build="0123456789ab")
    found = facts(state, architecture="aarch64", room=0, prefix=prefix)
    refusals = [str(refusal) for refusal in conda_env.refusals(state, found)]
    assert len(refusals) == (0 if words is None else 1)
    assert all(words in refusal for refusal in refusals)


def test_a_build_that_is_named_is_wanted_without_its_lock(resolve):
    env = only(resolve(build="0123456789ab", conda_env_dir="/srv"))
    assert (env["prefix"], env["link"]) == ("/srv/web-0123456789ab", "/srv/web")
    assert (env["lock"], env["dists"], env["platform"]) == (None, None, None)


def test_system_packages_need_a_manager_that_is_known(resolve):
    state = resolve(conda_env_system_packages=["libgl1", "libgl1"])
    assert state["system_packages"] == ["libgl1"]
    assert conda_env.refusals(state, facts(state)) == []
    (refusal,) = conda_env.refusals(state, facts(state, pkg_mgr="zypper"))
    assert "managed by zypper, which is none of apt, dnf" in str(refusal)


def test_a_library_without_a_package_is_refused_before_the_host_is_touched(resolve):
    state = resolve(conda_env_system_packages=["libGL.so.1", "libodd.so.1"])
    (refusal,) = conda_env.refusals(state, facts(state))
    assert refusal.what == "conda_env_system_packages: libodd.so.1"


def test_the_catalogs_libraries_go_along_where_something_is_imported(resolve):
    assert resolve()["libraries"] == []
    libraries = resolve(imports=["cv2"])["libraries"]
    assert {"soname": "libcuda.so.1", "brought_by": "the NVIDIA driver"} in libraries


def test_an_environment_that_is_to_go_needs_its_name_alone(resolve):
    items = [{"name": "old", "state": "absent"}, {"name": "web", "lock": "lock.txt"}]
    state = resolve(conda_env_list=items)
    link = "/opt/gpunode/envs/old"
    assert state["absent"] == [{"name": "old", "link": link, "dir": "/opt/gpunode/envs"}]
    assert (conda_env.present(state), conda_env.absent(state)) == (["web"], ["old"])
    assert state["remove_dir"] is False
    assert resolve(conda_env_list=items[:1])["remove_dir"] is True


def test_a_lock_bound_to_no_platform_fits_any(resolve):
    state = resolve([FLASK])
    assert conda_env.refusals(state, facts(state, architecture="aarch64")) == []


def test_the_plan_asks_for_what_it_judges(resolve):
    state = resolve()
    assert set(conda_env.probe(state)["paths"]) == set(facts(state)["paths"])


class Records(builder.Builder):
    """Stands for the builder: leaves the records that conda would, or fails half-way."""

    def __init__(self, state_dir):
        super().__init__({"conda": "", "pip_config": ""}, None, state_dir)
        self.fails = None

    def build(self, env):
        with unfinished_folder.building(env["prefix"], self.state_dir):
            os.makedirs(os.path.join(env["prefix"], "conda-meta"))
            if self.fails is not None:
                raise self.fails from None
            self.repair(env)

    def repair(self, env):
        meta = os.path.join(env["prefix"], "conda-meta")
        open(os.path.join(meta, "history"), "w", encoding="utf-8").close()
        for name in os.listdir(meta):
            if name.endswith(".json"):
                os.unlink(os.path.join(meta, name))
        for package in env["lock"]:
            name = "-".join(package[key] for key in ("name", "version", "build"))
            with open(os.path.join(meta, f"{name}.json"), "w", encoding="utf-8") as handle:
                json.dump({**package, "files": []}, handle)
        builds.record(env)


class Host:
    def __init__(self, tmp_path, resolve):
        self.path = tmp_path / "envs"
        self.state_dir = str(tmp_path / "state")
        self.builder = Records(self.state_dir)
        self._resolve = resolve

    def real_builder(self, state, execute):
        return builder.Builder(state, execute, self.state_dir, f"{self.state_dir}/work")

    def wanted(self, *packages, **variables):
        return self._resolve(packages or (PYTHON, PIP), conda_env_dir=str(self.path), **variables)

    def converge(self, state, check_mode=False):
        state = observe.complete(state, self.state_dir)
        return converge.settle(state, self.builder, ("bookworm", "Debian"), check_mode)

    def changes(self, state, check_mode=False):
        found = self.converge(state, check_mode).changes
        return [sentence.replace(f"{self.path}/", "") for sentence in found]

    def old_build(self, digit, age_s):
        meta = self.path / f"web-{digit * 12}" / "conda-meta"
        meta.mkdir(parents=True)
        (meta / "history").write_text("")
        moment = os.stat(self.path).st_mtime - age_s
        os.utime(meta.parent, (moment, moment))
        return meta.parent


@pytest.fixture
def host(tmp_path, resolve):
    return Host(tmp_path, resolve)


@as_root
def test_a_bare_host_gets_the_environment_and_the_prediction_comes_true(host):
    state = host.wanted()
    predicted = host.converge(state, check_mode=True)
    assert not host.path.exists()
    done = host.converge(state)
    target = os.path.basename(only(state)["prefix"])
    assert predicted.changes == done.changes
    assert [text.replace(f"{host.path}/", "") for text in done.changes] == [
        f"create {host.path}",
        f"build environment web (2 packages, 0 distributions) in {target}",
        f"point web to {target}",
    ]
    assert predicted.diff == done.diff
    assert done.diff[0]["before"] == ""
    assert done.diff[0]["after"] == "pip=26.3=py_0\npython=3.11.7=h_0\n"
    kinds = [entry["kind"] for entry in done.manifest]
    assert kinds == ["directory", "environment", "file", "link"]
    assert predicted.manifest == []
    assert host.changes(state) == []


@as_root
def test_the_host_is_looked_at_once_before_and_a_build_at_rest_not_again(host, monkeypatch):
    asked = []

    def counted(module, name):
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *arguments: asked.append(name) or real(*arguments))

    counted(converge.observe, "observe")
    counted(observe.contents, "Contents")
    counted(database, "missing")
    state = host.wanted()
    for seen in (["observe", "missing", "missing"], ["observe", "missing", "Contents", "missing"]):
        host.converge(state)
        assert sorted(asked) == sorted(seen)
        asked.clear()


@as_root
def test_drift_is_put_right_in_place(host):
    state = host.wanted()
    host.converge(state)
    prefix = only(state)["prefix"]
    os.unlink(f"{prefix}/conda-meta/pip-26.3-py_0.json")
    predicted = host.converge(state, check_mode=True)
    done = host.converge(state)
    assert predicted.changes == done.changes == [f"install pip=26.3=py_0 in {prefix}"]
    assert done.diff[0]["before"] == "python=3.11.7=h_0\n"
    assert host.changes(state) == []


@as_root
def test_a_removed_or_turned_link_is_pointed_again(host):
    state = host.wanted()
    host.converge(state)
    target = os.path.basename(only(state)["prefix"])
    for damage in (os.unlink, lambda link: (os.unlink(link), os.symlink("elsewhere", link))):
        damage(only(state)["link"])
        assert host.changes(state) == [f"point web to {target}"]
        assert os.readlink(only(state)["link"]) == target


@as_root
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda path: os.chown(path, 65534, -1), "belongs to nobody"),
        (lambda path: os.chmod(path, 0o777), "is written by all"),
    ],
)
def test_a_build_that_others_could_change_serves_nobody(host, change, words):
    host.converge(host.wanted())
    prefix = only(host.wanted())["prefix"]
    change(prefix)
    with pytest.raises(Refusal, match=rf"{prefix} {words}, and may have.* Remove {prefix}"):
        host.converge(host.wanted(), check_mode=True)


@as_root
def test_a_closed_folder_is_opened_again(host):
    state = host.wanted()
    host.converge(state)
    host.path.chmod(0o700)
    assert host.changes(state) == [f"give {host.path} to root, readable by all"]
    assert host.changes(state) == []


@as_root
@pytest.mark.parametrize(
    ("mode", "owner", "inside", "words"),
    [
        (0o750, 0, "precious", "holds .*precious, which is no environment"),
        (0o1777, 0, "precious", "holds .*precious, which is no environment"),
        (0o1777, 0, "", "anybody may put something there"),
        (0o755, 65534, "precious", "holds .*precious, which is no environment"),
    ],
)
def test_a_folder_that_is_not_ours_stays_as_it_is(host, mode, owner, inside, words):
    host.path.mkdir()
    if inside:
        (host.path / inside).write_text("")
    os.chown(host.path, owner, owner)
    host.path.chmod(mode)
    before = host.path.stat()
    with pytest.raises(Refusal, match=words) as caught:
        host.converge(host.wanted())
    assert "conda_env_dir" in caught.value.remedy
    after = host.path.stat()
    assert (before.st_mode, before.st_uid) == (after.st_mode, after.st_uid)


@as_root
def test_below_a_folder_of_a_user_nothing_is_made(host):
    host.path.parent.chmod(0o777)
    with pytest.raises(Refusal, match="is written by all"):
        host.converge(host.wanted())
    assert not host.path.exists()


@as_root
def test_a_build_that_fails_leaves_what_was_there(host):
    old = host.wanted()
    host.converge(old)
    host.builder.fails = Refusal("conda", "mirror down", "wait")
    with pytest.raises(Refusal, match="mirror down"):
        host.converge(host.wanted(PYTHON, PIP, FLASK))
    assert sorted(os.listdir(host.path)) == ["web", os.path.basename(only(old)["prefix"])]
    assert os.readlink(only(old)["link"]) == os.path.basename(only(old)["prefix"])


@as_root
def test_what_a_killed_run_left_is_built_anew(host):
    state = host.wanted()
    host.path.mkdir()
    host.builder.fails = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        host.converge(state)
    assert os.path.isdir(only(state)["prefix"])
    host.builder.fails = None
    assert host.changes(state, check_mode=True)[-2].startswith("build environment web")
    host.converge(state)
    assert host.changes(state) == []


@as_root
@pytest.mark.parametrize("key", ["prefix", "link"])
def test_what_is_not_ours_is_refused_and_left_alone(host, key):
    state = host.wanted()
    path = only(state)[key]
    os.makedirs(path)
    with open(os.path.join(path, "mine"), "w", encoding="utf-8"):
        pass
    for check_mode in (True, False):
        with pytest.raises(Refusal, match=r"environment web"):
            host.converge(state, check_mode)
    assert os.listdir(path) == ["mine"]
    assert os.listdir(host.path) == [os.path.basename(path)]


@as_root
def test_earlier_builds_beyond_the_newest_are_removed(host):
    host.path.mkdir()
    for digit, age_s in (("a", 30), ("b", 10), ("c", 20)):
        host.old_build(digit, age_s)
    state = host.wanted()
    predicted = host.changes(state, check_mode=True)
    assert host.changes(state) == predicted
    assert predicted[-2:] == ["remove web-cccccccccccc", "remove web-aaaaaaaaaaaa"]
    assert (host.path / "web-bbbbbbbbbbbb").exists()
    assert host.changes(host.wanted(conda_env_keep=0)) == ["remove web-bbbbbbbbbbbb"]


@as_root
def test_a_build_that_a_process_lives_in_is_never_removed(host):
    host.path.mkdir()
    old = host.old_build("a", 10)
    state = host.wanted(conda_env_keep=0)
    with subprocess.Popen(["cat"], cwd=old, stdin=subprocess.PIPE) as process:
        host.converge(state)
        assert old.exists()
        process.stdin.close()
    assert host.changes(state) == ["remove web-aaaaaaaaaaaa"]


@as_root
def test_only_builds_of_environments_in_the_list_are_removed(host):
    host.path.mkdir()
    others = [
        shutil.move(host.old_build("a", 10), host.path / name)
        for name in ("other-aaaaaaaaaaaa", "web-notes", "web-aaaaaaaaaaaaa")
    ]
    stranger = host.path / "web-dddddddddddd"
    stranger.mkdir()
    host.converge(host.wanted(conda_env_keep=0))
    assert all(os.path.exists(path) for path in [*others, stranger])


@as_root
def test_an_unfinished_build_of_another_content_is_removed(host):
    state = host.wanted(PYTHON, PIP, FLASK)
    host.path.mkdir()
    host.builder.fails = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        host.converge(state)
    host.builder.fails = None
    left = os.path.basename(only(state)["prefix"])
    assert f"remove unfinished {left}" in host.changes(host.wanted())
    assert not os.path.exists(only(state)["prefix"])
    assert not unfinished_folder.is_unfinished(only(state)["prefix"], host.state_dir)


@as_root
def test_a_build_says_what_it_was_built_from_to_root_alone(host):
    state = host.wanted(requirements=SIX)
    host.converge(state)
    path = builds.record_of(only(state)["prefix"])
    with open(path, encoding="utf-8") as handle:
        said = json.load(handle)
    assert said == {key: only(state)[key] for key in ("lock", "dists")}
    assert os.stat(path).st_mode & 0o777 == 0o600


@as_root
@pytest.mark.parametrize(
    "damage",
    [os.unlink, lambda path: os.chmod(path, 0o644), lambda path: open(path, "w").close()],
)
def test_a_build_that_does_not_say_it_any_more_is_made_to(host, damage):
    state = host.wanted()
    host.converge(state)
    damage(builds.record_of(only(state)["prefix"]))
    sentence = f"write {os.path.basename(only(state)['prefix'])}/{builds.RECORD}"
    assert host.changes(state, check_mode=True) == [sentence]
    assert host.changes(state) == [sentence]
    assert host.changes(state) == []


@as_root
def test_only_a_build_or_repair_tells_that_an_environment_changed(host):
    state = host.wanted()
    host.converge(state)
    prefix = only(state)["prefix"]
    path = builds.record_of(prefix)
    os.utime(path, (1000, 1000))
    os.chmod(path, 0o644)
    host.converge(state)
    assert os.stat(path).st_mtime == 1000
    os.unlink(f"{prefix}/conda-meta/pip-26.3-py_0.json")
    host.converge(state)
    assert os.stat(path).st_mtime > 1000


@as_root
def test_a_kept_build_is_gone_back_to_and_held_to_its_own_lock(host):
    old, new = host.wanted(), host.wanted(PYTHON, PIP, FLASK)
    host.converge(old)
    host.converge(new)
    prefix = only(old)["prefix"]
    back = host.wanted(build=prefix[-12:])
    predicted, done = host.converge(back, check_mode=True), host.converge(back)
    assert predicted.changes == done.changes
    assert done.changes == [f"point {host.path}/web to {os.path.basename(prefix)}"]
    assert predicted.diff == done.diff
    assert done.diff[0]["before_header"] == only(new)["prefix"]
    assert done.diff[0]["after_header"] == prefix
    assert os.path.exists(only(new)["prefix"])
    os.unlink(f"{prefix}/conda-meta/pip-26.3-py_0.json")
    assert host.changes(back) == [f"install pip=26.3=py_0 in {os.path.basename(prefix)}"]
    assert host.changes(back) == []


@as_root
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (os.unlink, "cannot be read: No such file"),
        (lambda path: open(path, "w").close(), "is no record of a build"),
        (lambda path: builds.files.write_text(path, "[]"), "is no record of a build"),
        (
            lambda path: builds.files.write_text(path, '{"lock": [], "dists": []}'),
            "was changed: what it says would make web-",
        ),
    ],
)
def test_a_kept_build_that_does_not_say_what_it_is_is_not_gone_back_to(host, damage, words):
    state = host.wanted()
    host.converge(state)
    damage(builds.record_of(only(state)["prefix"]))
    with pytest.raises(Refusal, match=words):
        host.converge(host.wanted(build=only(state)["prefix"][-12:]))


@as_root
def test_a_build_that_is_not_kept_is_refused(host):
    with pytest.raises(Refusal, match="it is not kept on the host"):
        host.converge(host.wanted(build="0123456789ab"))


@as_root
def test_a_new_build_is_compared_with_the_one_in_service(host):
    old = host.wanted(PYTHON, PIP)
    host.converge(old)
    new = host.wanted(PYTHON.replace("3.11.7", "3.11.8"), FLASK)
    predicted, done = host.converge(new, check_mode=True), host.converge(new)
    assert predicted.diff == done.diff
    (shown,) = done.diff
    assert shown["before_header"] == only(old)["prefix"]
    assert shown["before"] == "pip=26.3=py_0\npython=3.11.7=h_0\n"
    assert shown["after"] == "flask=3.1.3=py_0\npython=3.11.8=h_0\n"
    assert "(2 packages, 0 distributions, 1 added, 1 changed, 1 removed)" in done.changes[0]
    assert predicted.changes == done.changes


@as_root
def test_the_builds_that_were_in_service_last_are_kept(host):
    first, second = host.wanted(), host.wanted(PYTHON, PIP, FLASK)
    third = host.wanted(PYTHON, FLASK)
    host.converge(first)
    host.converge(second)
    # Back to the first, which now was in service later than the second was built.
    host.converge(host.wanted(build=only(first)["prefix"][-12:]))
    assert os.path.exists(only(second)["prefix"])
    host.converge(third)
    assert os.path.exists(only(first)["prefix"])
    assert not os.path.exists(only(second)["prefix"])


class Python:
    """Stands for an environment's Python: modules that cannot be imported, until they can."""

    def __init__(self, *broken):
        self.broken = list(broken)

    def __call__(self, argv, **options):
        answer = {}
        if argv[-1] in self.broken:
            answer = {"type": "ImportError", "text": f"no {argv[-1]}", "path": None}
        options["stdout"].write(json.dumps(answer).encode())
        return subprocess.CompletedProcess(argv, 0)


@pytest.fixture
def trying(host):
    """Converge with a Python whose imports fail as one says."""

    def trying(state, *broken, check_mode=False):
        state = observe.complete(state, host.state_dir)
        return converge.settle(
            state, host.builder, ("bookworm",), check_mode, Python(*broken)
        ).changes

    return trying


@as_root
def test_a_build_that_cannot_be_imported_stays_and_is_not_put_into_service(host, trying):
    old = host.wanted()
    host.converge(old)
    new = host.wanted(PYTHON, PIP, FLASK, imports=["flask", "six"], conda_env_keep=0)
    predicted = trying(new, check_mode=True)
    with pytest.raises(Refusal, match="web: flask: ImportError: no flask; web: six"):
        trying(new, "flask", "six")
    assert os.readlink(only(old)["link"]) == os.path.basename(only(old)["prefix"])
    assert os.path.exists(only(new)["prefix"])
    assert os.path.exists(only(old)["prefix"])
    with pytest.raises(Refusal, match="web: six"):
        trying(new, "six", check_mode=True)
    done = trying(new)
    assert done == predicted[1:]
    assert done[0].startswith("point ")


@as_root
def test_nothing_is_imported_before_there_is_something_to_import(host, trying):
    trying(host.wanted(imports=["flask"]), "flask", check_mode=True)


@as_root
def test_an_environment_that_is_adopted_is_imported_too(host, trying):
    host.converge(host.wanted())
    with pytest.raises(Refusal, match="no flask"):
        trying(host.wanted(imports=["flask"]), "flask")


@as_root
def test_packages_are_installed_before_anything_is_built(host, monkeypatch):
    installed = []
    monkeypatch.setattr(
        database,
        "missing",
        lambda names, _run: [name for name in names if name not in installed],
    )
    monkeypatch.setattr(packages, "check", lambda _names, _execute: None)
    monkeypatch.setattr(packages, "install", lambda names, *_how: installed.extend(names))
    state = host.wanted(conda_env_system_packages=["libgl1", "libsm6"])
    predicted, done = host.changes(state, check_mode=True), host.converge(state)
    assert predicted[:2] == done.changes[:2] == ["install libgl1", "install libsm6"]
    assert [entry["name"] for entry in done.manifest if entry["kind"] == "package"] == installed
    assert host.changes(state) == []


@as_root
def test_a_library_that_is_asked_for_comes_by_the_package_of_the_hosts_distribution(
    host, monkeypatch
):
    monkeypatch.setattr(database, "missing", lambda names, _run: list(names))
    monkeypatch.setattr(packages, "check", lambda _names, _execute: None)
    state = host.wanted(conda_env_system_packages=["libGL.so.1", "htop"])
    assert host.changes(state, check_mode=True)[:2] == ["install libgl1", "install htop"]


@as_root
def test_packages_that_would_do_harm_leave_everything_as_it_is(host, monkeypatch):
    monkeypatch.setattr(database, "missing", lambda names, _run: names)

    def check(names, _execute):
        raise Refusal(f"install {names[0]}", "it would touch the kernel", "do not")

    monkeypatch.setattr(packages, "check", check)
    for check_mode in (True, False):
        with pytest.raises(Refusal, match="touch the kernel"):
            host.converge(host.wanted(conda_env_system_packages=["libgl1"]), check_mode)
    assert not host.path.exists()


def gone(host, *names, **variables):
    items = [{"name": name, "state": "absent"} for name in names]
    return host.wanted(conda_env_list=items, **variables)


@as_root
def test_an_environment_that_is_to_go_leaves_nothing(host):
    host.converge(host.wanted())
    host.converge(host.wanted(PYTHON, PIP, FLASK))
    half = host.wanted(PYTHON)
    host.builder.fails = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        host.converge(half)
    state = gone(host, "web")
    predicted, done = host.converge(state, check_mode=True), host.converge(state)
    assert predicted.changes == done.changes
    assert len(done.changes) == 5
    assert not host.path.exists()
    assert not unfinished_folder.is_unfinished(only(half)["prefix"], host.state_dir)
    assert done.manifest == [{"kind": "absence", "path": f"{host.path}/web"}]
    assert host.changes(state) == []


@as_root
@pytest.mark.parametrize("wish", [gone, lambda host, _name: host.wanted(conda_env_keep=0)])
def test_a_removal_that_was_cut_off_is_brought_to_its_end(host, monkeypatch, wish):
    old = host.wanted(PYTHON, PIP, FLASK)
    host.converge(old)
    host.converge(host.wanted())

    def cut_off(path):
        os.unlink(os.path.join(path, "conda-meta", "history"))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", cut_off)
        with pytest.raises(KeyboardInterrupt):
            host.converge(wish(host, "web"))
    host.converge(wish(host, "web"))
    assert not os.path.exists(only(old)["prefix"])
    assert os.listdir(f"{host.state_dir}/building") == []


@as_root
def test_what_is_beside_an_environment_that_is_to_go_stays(host):
    host.converge(host.wanted())
    host.converge(host.wanted(name="web-old"))
    (host.path / "web-notes").mkdir()
    (host.path / "web-0123456789ab").mkdir()
    host.converge(gone(host, "web"))
    assert {"web-old", "web-notes", "web-0123456789ab"} < set(os.listdir(host.path))
    assert not (host.path / "web").is_symlink()


@as_root
def test_an_environment_that_something_lives_in_does_not_go(host):
    state = host.wanted()
    host.converge(state)
    with subprocess.Popen(["cat"], cwd=only(state)["prefix"], stdin=subprocess.PIPE) as process:
        for check_mode in (True, False):
            with pytest.raises(Refusal, match=rf"process cat \(pid {process.pid}\).* lives in"):
                host.converge(gone(host, "web"), check_mode)
        process.stdin.close()
    assert host.changes(state) == []


ARCHIVE = b"an archive"


class Conda:
    """Stands for the conda program: fetches an archive, and says that it linked it."""

    def __init__(self, base, content=ARCHIVE):
        self.cache = base / "pkgs"
        self.content = content
        self.asked = []
        (base / "bin").mkdir(parents=True)
        (base / "bin" / "conda").write_text("")
        self.cache.mkdir()

    def __call__(self, argv, _environment):
        self.asked.append(
            [word for word in argv if word in ("create", "--download-only", "--offline")]
        )
        if "--download-only" in argv:
            (self.cache / "flask-3.1.3-py_0.conda").write_bytes(self.content)
        return subprocess.CompletedProcess(argv, 0, "", "")


@as_root
@pytest.mark.parametrize("content", [ARCHIVE, b"tampered"])
def test_an_archive_is_proven_by_its_sha256_before_conda_links_it(host, tmp_path, content):
    package = f"{FLASK.split('#', maxsplit=1)[0]}#sha256:{hashlib.sha256(ARCHIVE).hexdigest()}"
    state = {**host.wanted(package), "conda": str(tmp_path / "conda")}
    conda = Conda(tmp_path / "conda", content)
    host.builder = host.real_builder(state, conda)
    # It never links, so the proof at the end fails where the digest did not.
    words = "still is not what its lock says" if content == ARCHIVE else "the lock says"
    with pytest.raises(Refusal, match=words):
        host.converge(state)
    linked = ["create", "--offline"] in conda.asked
    assert linked is (content == ARCHIVE)
    assert not os.path.exists(only(state)["prefix"])


@as_root
def test_what_cannot_be_repaired_is_said(host, tmp_path):
    state = {**host.wanted(FLASK), "conda": str(tmp_path / "conda")}
    host.converge(state)
    os.unlink(f"{only(state)['prefix']}/conda-meta/flask-3.1.3-py_0.json")
    host.builder = host.real_builder(state, Conda(tmp_path / "conda"))
    with pytest.raises(Refusal, match=r"to do would be install flask=3\.1\.3=py_0"):
        host.converge(state)
    assert not Contents(only(state)).is_as_wanted()
