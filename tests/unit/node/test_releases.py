"""What a host keeps: found on its disk, and shown to people."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from types import SimpleNamespace

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node import releases as on_host
from ansible_collections.gpunode.stack.plugins.module_utils._node.conda import builds
from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app import observe
from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app import (
    release as app_release,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import unfinished_folder
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.plan import releases as kept

PACKAGE = {
    "name": "python", "version": "3.11.7", "build": "0", "md5": "0" * 32,
    "url": "https://conda.example/linux-64/python-3.11.7-0.conda",
}  # fmt: skip
DAY = 86400


# On the host


@pytest.fixture
def release(tmp_path):
    """Place a release with this text, so many days ago; its id comes back."""

    def place(text, days_ago):
        fresh = tmp_path / "fresh"
        fresh.mkdir()
        (fresh / "main.py").write_text(text)
        name = app_release.id_of(app_release.digest_of(fresh))
        path = tmp_path / "web" / "releases" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.rename(path)
        os.utime(path, (0, time.time() - days_ago * DAY))
        return name

    return place


def applications(tmp_path, **state):
    """Look at application web, whose service is in the given state."""
    shown = "".join(f"{key}={value}\n" for key, value in state.items())
    (found,) = on_host.applications(
        [{"name": "web", "dir": str(tmp_path / "web")}],
        str(tmp_path / "proc"),
        lambda *_argv, **_options: SimpleNamespace(stdout=shown, returncode=0),
    )
    return found


def test_releases_are_listed_newest_first(release, tmp_path):
    old, new = release("1", days_ago=2), release("2", days_ago=1)
    (tmp_path / "web" / "releases" / ".gpunode-new-x").mkdir()
    found = applications(tmp_path)
    assert [one["id"] for one in found["releases"]] == [new, old]
    assert all(one["intact"] for one in found["releases"])
    assert found["releases"][0]["placed"] == pytest.approx(time.time() - DAY, abs=60)
    assert (found["named"], found["runs"]) == ("", "")


def test_a_release_that_was_changed_is_not_intact(release, tmp_path):
    name = release("1", days_ago=1)
    (tmp_path / "web" / "releases" / name / "more.py").write_text("")
    assert [one["intact"] for one in applications(tmp_path)["releases"]] == [False]


def test_what_the_unit_names_and_what_the_process_runs_are_told_apart(tmp_path):
    process = tmp_path / "proc" / "7"
    process.mkdir(parents=True)
    (process / "cwd").symlink_to("/srv/web/releases/old")
    found = applications(tmp_path, WorkingDirectory="/srv/web/releases/new", MainPID=7)
    assert found["named"] == "/srv/web/releases/new"
    assert found["runs"] == "/srv/web/releases/old"


def test_a_process_that_is_gone_runs_nothing(tmp_path):
    assert applications(tmp_path, MainPID=7)["runs"] == ""


def test_a_host_with_nothing_is_an_empty_answer(tmp_path):
    assert applications(tmp_path)["releases"] == []
    assert on_host.environments(str(tmp_path / "envs")) == []
    assert on_host.environments("") == []


@pytest.fixture
def build(tmp_path):
    """Make a build of environment env from so many packages, so many days ago; its path."""

    def make(count, days_ago):
        lock = [{**PACKAGE, "name": f"package{number}"} for number in range(count)]
        name = builds.folder_of("env", builds.id_of(lock, []))
        path = tmp_path / "envs" / name
        (path / "conda-meta").mkdir(parents=True)
        (path / "conda-meta" / "history").write_text("")
        record = path / builds.RECORD
        record.write_text(json.dumps({"lock": lock, "dists": []}))
        os.utime(record, (0, time.time() - days_ago * DAY))
        return path

    return make


@pytest.fixture
def environments(tmp_path):
    """Look at the builds on a host where no process lives and no unit names them."""

    def look():
        folders = [str(tmp_path / name) for name in ("envs", "proc", "units", "state")]
        (tmp_path / "proc").mkdir(exist_ok=True)
        return on_host.environments(*folders)

    return look


def test_builds_are_listed_newest_first_with_the_one_that_the_link_leads_to(
    build, environments, tmp_path
):
    old, new = build(1, days_ago=2), build(2, days_ago=1)
    (tmp_path / "envs" / "env").symlink_to(old.name)
    (found,) = environments()
    assert found["name"] == "env"
    assert [one["id"] for one in found["builds"]] == [path.name[-12:] for path in (new, old)]
    assert found["link"] == old.name[-12:]
    assert all(one["whole"] for one in found["builds"])


def test_a_link_that_leads_elsewhere_is_shown_as_it_is(build, environments, tmp_path):
    build(1, days_ago=1)
    (tmp_path / "envs" / "env").symlink_to("/tmp")
    assert environments()[0]["link"] == "/tmp"


def test_a_build_that_is_unfinished_or_says_not_what_it_was_built_from_is_not_whole(
    build, environments, tmp_path
):
    bare, unfinished = build(1, days_ago=1), build(2, days_ago=2)
    (bare / builds.RECORD).unlink()
    with (
        pytest.raises(KeyboardInterrupt),
        unfinished_folder.building(str(unfinished), tmp_path / "state"),
    ):
        raise KeyboardInterrupt
    assert [one["whole"] for one in environments()[0]["builds"]] == [False, False]


def test_a_file_shared_with_the_package_cache_is_not_a_builds_own(tmp_path):
    folder, cache = tmp_path / "build", tmp_path / "cache"
    (folder / "lib").mkdir(parents=True)
    cache.mkdir()
    empty = on_host.disk_use(folder)[0]
    (folder / "own").write_bytes(b"x" * 50_000)
    (folder / "lib" / "own-too").hardlink_to(folder / "own")
    (cache / "shared").write_bytes(b"x" * 90_000)
    (folder / "lib" / "shared").hardlink_to(cache / "shared")
    taken, own = on_host.disk_use(folder)
    assert taken - empty == pytest.approx(140_000, abs=10_000)
    assert own - empty == pytest.approx(50_000, abs=5_000)


# On the controller

NEW, OLD = "aaaaaaaaaaaa", "bbbbbbbbbbbb"


def host(address="", refusals=(), named=NEW, runs=NEW, placed=1, **changes):
    """Return what the module would say of a host with two releases and two builds."""
    folder = "/srv/web/releases"
    app = {
        "name": "web", "dir": "/srv/web",
        "releases": [
            {"id": NEW, "placed": placed, "intact": True},
            {"id": OLD, "placed": placed, "intact": True},
        ],
        "named": f"{folder}/{named}", "runs": runs and f"{folder}/{runs}", **changes,
    }  # fmt: skip
    build = {"built": placed, "bytes": 400 << 20, "own": 100 << 20, "whole": True}
    env = {
        "name": "env", "dir": "/opt/envs", "link": NEW,
        "builds": [
            {**build, "id": NEW, "users": ["web.service"]},
            {**build, "id": OLD, "users": []},
        ],
    }  # fmt: skip
    return {
        "kept": {"applications": [app], "environments": [env]},
        "refusals": list(refusals),
        "address": address,
    }


def line(text, name):
    """Return the first line that is about a release or build."""
    return next(line for line in text.splitlines() if line.strip().startswith(name))


def test_what_is_in_service_and_the_line_for_going_back_are_shown():
    text = kept.as_text({"n1": host()}, [])
    assert line(text, NEW).endswith("in service")
    assert line(text, OLD).endswith(f"release: {OLD}")
    environment = text.partition("environment env")[2]
    assert line(environment, NEW).endswith(
        "400 MiB,   100 of its own  in service, used by web.service"
    )
    assert line(environment, OLD).endswith(f"build: {OLD}")


def test_a_release_that_never_was_in_service_is_none_to_go_back_to():
    text = kept.as_text({"n1": host(placed=observe.NEVER)}, [])
    assert line(text, NEW).endswith(f"{NEW}  in service")
    assert line(text, OLD).endswith(f"{OLD}  was never in service")


def test_a_process_that_still_runs_another_release_is_told():
    text = kept.as_text({"n1": host(runs=OLD)}, [])
    assert line(text, NEW).endswith("web.service is to run it, and does not")
    assert line(text, OLD).endswith("web.service still runs it, and is to run another")


def test_a_process_in_a_folder_that_is_gone_is_told():
    text = kept.as_text({"n1": host(runs="cccccccccccc (deleted)")}, [])
    assert "web.service runs in /srv/web/releases/cccccccccccc (deleted), which is not kept" in text


def test_nobody_is_told_to_go_back_to_a_release_that_was_changed():
    found = host()
    found["kept"]["applications"][0]["releases"][1]["intact"] = False
    text = kept.as_text({"n1": found}, [])
    assert f"release: {OLD}" not in text
    assert line(text, OLD).endswith("changed by hand")


def test_nobody_is_told_to_go_back_to_a_build_that_is_not_whole():
    found = host()
    found["kept"]["environments"][0]["builds"][1]["whole"] = False
    text = kept.as_text({"n1": found}, [])
    assert f"build: {OLD}" not in text
    assert line(text.partition("environment env")[2], OLD).endswith("cannot be gone back to")


def test_hosts_that_differ_in_times_and_addresses_alone_share_a_paragraph():
    hosts = {"n1": host("10.0.0.1", placed=DAY), "n2": host("10.0.0.2", placed=DAY * 2)}
    text = kept.as_text(hosts, ["n3"])
    assert text.startswith("2 hosts (n1 at 10.0.0.1, n2 at 10.0.0.2)")
    assert len(re.findall(NEW, text)) == 2
    assert "1 host (n3)" in text
    apart = kept.as_text({**hosts, "n2": host(runs=OLD)}, [])
    assert apart.count("1 host (") == 2


def test_a_host_that_keeps_nothing_says_so():
    found = {"kept": {"applications": [], "environments": []}, "refusals": [], "address": ""}
    assert "nothing is kept" in kept.as_text({"n1": found}, [])


def test_an_item_that_is_wrong_hides_no_other():
    places, refusals = kept.places(
        {
            "gunicorn_app_list": [
                {"name": "web", "environment": "env", "source": "nowhere", "listen": "/run/a"},
                {"name": "a/b", "environment": "env", "source": "x", "listen": "/run/b"},
                {"name": "db", "lisen": "x"},
                "words",
            ],
            "conda_env_list": [{"name": "env"}],
        }
    )
    assert places["applications"] == [{"name": "web", "dir": "/srv/web"}]
    assert places["environments"] == "/opt/gpunode/envs"
    assert len(refusals) == 3
    assert "a/b" in str(refusals[0])
    assert "lisen" in str(refusals[1])


def test_variables_that_are_no_lists_are_refused_and_not_a_crash():
    places, refusals = kept.places({"gunicorn_app_list": 3, "conda_env_dir": "relative"})
    assert places == {"applications": [], "environments": ""}
    assert [refusal.what for refusal in refusals] == [
        "item 1 of gunicorn_app_list: the variables of gunicorn_app",
        "conda_env_dir relative",
    ]


def test_a_host_of_which_nothing_is_wanted_is_looked_at_too():
    places, refusals = kept.places({})
    assert places == {"applications": [], "environments": "/opt/gpunode/envs"}
    assert refusals == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives folders away")
def test_what_a_user_has_put_in_the_place_of_a_release_is_not_read(tmp_path):
    folder = tmp_path / "releases" / ("a" * 12)
    folder.mkdir(parents=True)
    with open(folder / "endless", "wb") as sparse:
        sparse.truncate(1 << 42)
    os.mkfifo(folder / "pipe")
    os.chown(folder, 65534, 65534)
    (row,) = on_host.applications([{"name": "web", "dir": str(tmp_path)}], run=nothing)
    assert [kept["intact"] for kept in row["releases"]] == [False]
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "releases").symlink_to(tmp_path / "releases")
    (row,) = on_host.applications([{"name": "web", "dir": f"{tmp_path}/home"}], run=nothing)
    assert row["releases"] == []


def nothing(argv, **_options):
    return subprocess.CompletedProcess(argv, 0, "", "")
