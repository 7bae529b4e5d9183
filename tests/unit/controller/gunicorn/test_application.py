"""What is wanted of one application: from its options to its row of the wanted state."""

from __future__ import annotations

import re

import pytest
from applications import LOCK, lines, refused, service

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape
from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import fabric_manager, gridd
from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app import (
    candidate,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app import (
    release as app_release,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.mlnx_ofed import openibd
from ansible_collections.gpunode.stack.plugins.module_utils._node.nvidia_driver import services
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.gunicorn import (
    source as app_source,
)

# Those that are started, or overridden, beside the applications.
DAEMONS = [services.PERSISTENCED, fabric_manager.UNIT, gridd.UNIT, openibd.UNIT]
KEPT = {"release": "0123456789ab", "source": None}


def notices(state):
    """Return what people should know of a state's one application."""
    return state["applications"][0]["notices"]


def test_units_name_the_resolved_environment_and_release(resolve, source):
    state = resolve()
    (app,) = state["applications"]
    digest = app_release.digest_of(source)
    assert app["release"] == f"/srv/web/releases/{digest[:12]}"
    assert re.fullmatch(r"/opt/gpunode/envs/env-[0-9a-f]{12}", app["prefix"])
    text = service(state)
    assert lines(text, "WorkingDirectory") == [app["release"]]
    assert f" {app['prefix']}/bin/python -m gunicorn " in lines(text, "ExecStart")[0]
    assert lines(text, "Environment")[0].startswith(f"PATH={app['prefix']}/bin:")
    assert lines(text, "BindReadOnlyPaths") == [f"{app['release']} {app['prefix']}"]


def test_an_application_in_a_folder_of_its_source_is_found_by_the_path_of_python(resolve, source):
    (source / "src" / "shop").mkdir(parents=True)
    (source / "src" / "shop" / "wsgi.py").write_text("application = print\n")
    entry = {"entry": "shop.wsgi", "environment_variables": {"PYTHONPATH": "/opt/more:src"}}
    assert lines(service(resolve(entry)), "ExecStart")[0].endswith(" shop.wsgi")


def test_an_entry_that_is_not_in_the_source_is_told_in_the_plan(resolve):
    assert notices(resolve()) == []
    assert notices(resolve({"entry": "acme_portal.wsgi"})) == [
        "acme_portal.wsgi is not in its source, and is to come with env"
    ]


def test_a_configuration_beside_the_application_holds_but_for_what_is_named(resolve, source):
    (source / "gunicorn.conf.py").write_text("workers = 5\ntimeout = 120\nbind = ':8000'\n")
    state = resolve()
    start = lines(service(state), "ExecStart")[0]
    assert "--workers" not in start
    assert "--timeout" not in start
    assert lines(service(state), "TimeoutStopSec") == ["125"]
    assert " --workers 1 " in lines(state["applications"][0]["candidate"], "ExecStart")[0]
    assert notices(state) == ["bind :8000 of gunicorn.conf.py is overruled by listen: 0.0.0.0:9001"]


def test_workers_of_another_class_are_those_of_a_package_in_the_environment(resolve, tmp_path):
    pip = LOCK.splitlines()[1].replace("python-3.11.7-0", "pip-24.0-0")
    (tmp_path / "web.lock").write_text(LOCK.format(gunicorn="23.0.0") + pip)
    (tmp_path / "web.txt").write_text(f"uvicorn==0.30.1 --hash=sha256:{'0' * 64}\n")
    asked = {"worker_class": "uvicorn.workers.UvicornWorker", "settings": {"backlog": 64}}
    with pytest.raises(Refusal, match="Add uvicorn to the requirements"):
        resolve(asked)
    environment = {"name": "env", "lock": "web.lock", "requirements": "web.txt"}
    found = resolve(asked, conda_env_list=[environment])
    start = lines(service(found), "ExecStart")[0]
    assert " --worker-class uvicorn.workers.UvicornWorker " in start
    assert start.endswith(" --backlog=64 main:app")


def of_host(processors=4, memory_mib=64_000, gpus=0):
    """Return the facts of a host of that size."""
    gpu = {**facts_shape.empty(facts_shape.Gpu), "driver": "nvidia"}
    size = {"processor_nproc": processors, "memtotal_mb": memory_mib, "gpus": [gpu] * gpus}
    return {**facts_shape.empty(facts_shape.Facts), **size}


def test_workers_that_the_host_decides_are_in_the_unit_and_told_with_the_reason(resolve):
    state = resolve({"workers": "auto"}, facts=of_host())
    start = lines(service(state), "ExecStart")[0]
    assert " --workers 9 " in start
    assert " --workers 1 " in lines(state["applications"][0]["candidate"], "ExecStart")[0]
    assert notices(state) == ["workers: auto is 9 here: (2 x 4 processors) + 1"]


def test_workers_that_the_host_decides_go_before_those_of_the_application(resolve, source):
    (source / "gunicorn.conf.py").write_text("workers = 5\n")
    state = resolve({"workers": "auto"}, facts=of_host(gpus=2))
    assert " --workers 9 " in lines(service(state), "ExecStart")[0]
    assert "workers 5 of gunicorn.conf.py is overruled by workers: 9" in notices(state)


def test_workers_of_an_application_that_uses_gpus_are_one_for_each(resolve):
    state = resolve({"workers": "auto", "gpu": True}, facts=of_host(gpus=2))
    assert " --workers 2 " in lines(service(state), "ExecStart")[0]


def test_workers_that_the_host_decides_are_the_unit_that_the_number_gives(resolve):
    units = [
        resolve({"workers": workers}, facts=of_host())["applications"][0]["units"]
        for workers in ("auto", 9, "9")
    ]
    assert units[0] == units[1] == units[2]


def test_a_host_that_is_the_same_is_asked_for_the_same_and_a_larger_one_for_another(resolve):
    first, same, larger = (
        resolve({"workers": "auto"}, facts=of_host(*size)) for size in [(4,), (4, 64_100), (8,)]
    )
    assert first == same
    assert first != larger


def test_a_program_that_serves_itself_has_no_workers_to_decide(resolve, source):
    state = resolve({"server": "python", "workers": "auto"}, facts=of_host())
    assert notices(state) == []


def test_what_is_served_is_looked_for_where_gunicorn_is_to_start(resolve, source):
    (source / "src").mkdir()
    (source / "src" / "shop.py").write_text("app = print\n")
    asked = {"entry": "shop:app"}
    (found,) = resolve(asked)["applications"][0]["notices"]
    assert found.startswith("shop:app is not in its source")
    (source / "gunicorn.conf.py").write_text("chdir = 'src'\n")
    told = resolve(asked)["applications"][0]["notices"]
    assert not [says for says in told if "not in its source" in says]


def test_what_is_excluded_is_no_part_of_the_release_and_of_no_digest(resolve, tmp_path, source):
    before = resolve()["applications"][0]
    (source / ".gitignore").write_text("*.sqlite3\n")
    (source / ".venv").mkdir()
    (source / ".venv" / "python").symlink_to("/usr/bin/python3")
    (source / "dev.sqlite3").write_text("x" * 1000)
    with pytest.raises(Refusal, match="python"):
        resolve({"gitignore": True})
    asked = {"exclude": [".venv", ".gitignore"], "gitignore": True}
    (app,) = resolve(asked)["applications"]
    assert (app["digest"], app["size"]) == (before["digest"], before["size"])
    (app,) = resolve({"exclude": [".venv"]})["applications"]
    app_release.unpack(app_source.archive_of(app["digest"]), tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        ".gitignore", "dev.sqlite3", "main.py",
    ]  # fmt: skip


def test_the_address_stands_in_one_place(resolve):
    (app,) = resolve({"listen": "192.0.2.7:9001"})["applications"]
    holding = [unit for unit, text in app["units"].items() if "9001" in text]
    assert holding == ["web.socket"]
    assert lines(app["units"]["web.socket"], "ListenStream") == ["192.0.2.7:9001"]


def test_the_state_is_the_same_on_every_controller(resolve, tmp_path, source):
    before = resolve()
    source.rename(tmp_path / "elsewhere")
    assert resolve({"source": str(tmp_path / "elsewhere")}) == before
    assert str(tmp_path) not in str(before)


def test_changed_code_is_another_release_and_another_unit(resolve, source):
    before = resolve()["applications"][0]
    (source / "main.py").write_text("app = repr\n")
    after = resolve()["applications"][0]
    assert after["release"] != before["release"]
    assert after["unit_digest"] != before["unit_digest"]


def test_another_address_is_the_same_service(resolve):
    one, other = resolve(), resolve({"listen": "0.0.0.0:9002"})
    assert service(one) == service(other)


def test_the_archive_of_the_release_is_ready_to_be_sent(resolve, tmp_path, source):
    (app,) = resolve()["applications"]
    app_release.unpack(app_source.archive_of(app["digest"]), tmp_path / "out")
    assert (tmp_path / "out" / "main.py").read_text() == "app = print\n"


def test_secrets_are_not_in_the_wanted_state_and_still_make_it_another(resolve):
    plain = resolve()
    one = resolve(gunicorn_app_secrets={"web": {"TOKEN": "hunter2"}})
    other = resolve(gunicorn_app_secrets={"web": {"TOKEN": "hunter3"}})
    assert "hunter" not in str(one)
    digests = [state["applications"][0]["secrets_digest"] for state in (plain, one, other)]
    assert digests[0] == ""
    assert len(set(digests)) == 3
    assert lines(service(one), "EnvironmentFile") == ["/etc/gpunode/web.env"]
    assert lines(service(plain), "EnvironmentFile") == []


def test_a_kept_release_is_served_without_reading_the_source(resolve, source):
    (source / "main.py").unlink()
    (app,) = resolve({"release": "0123456789ab"})["applications"]
    assert app["release"] == "/srv/web/releases/0123456789ab"
    assert (app["digest"], app["size"]) == ("0123456789ab", 0)
    assert resolve(KEPT)["applications"] == [app]


def test_a_kept_release_has_the_unit_that_it_had_when_it_was_new(resolve, source):
    new = resolve()["applications"][0]
    (source / "main.py").write_text("app = repr\n")
    kept = resolve({"release": new["digest"][:12]})["applications"][0]
    assert kept["units"] == new["units"]


def test_a_kept_build_of_an_environment_is_known_to_its_host_alone(resolve):
    build = [{"name": "env", "build": "0123456789ab"}]
    (app,) = resolve(conda_env_list=build)["applications"]
    assert app["prefix"] == "/opt/gpunode/envs/env-0123456789ab"


def test_a_python_server_needs_no_gunicorn_and_runs_main_py(resolve, tmp_path):
    (tmp_path / "bare.lock").write_text("".join(LOCK.splitlines(keepends=True)[:2]))
    bare = [{"name": "env", "lock": "bare.lock"}]
    (app,) = resolve({"server": "python"}, conda_env_list=bare)["applications"]
    assert app["server"] == "python"
    assert lines(app["units"]["web.service"], "ExecStart")[0].endswith("/bin/python main.py")


def test_an_application_cannot_run_from_an_environment_that_is_to_go(resolve):
    with pytest.raises(Refusal, match="environment env of application web: conda_env_list says"):
        resolve(conda_env_list=[{"name": "env", "state": "absent"}])


def test_a_name_that_was_taken_once_and_is_too_long_by_now_can_still_go(resolve):
    item = {"name": "n" * 100, "user": "web", "dir": "/srv/web"}
    state = resolve({**item, "state": "absent"})
    assert [app["name"] for app in state["absent"]] == ["n" * 100]
    with pytest.raises(Refusal, match="up to 100"):
        resolve({**item, "name": "n" * 101, "state": "absent"})


def test_the_longest_name_of_an_application_leads_to_sockets_that_linux_has(resolve):
    (app,) = resolve({"name": "n" * 80, "user": "web"})["applications"]
    assert len(candidate.socket_path(app["name"])) <= 107


def test_an_environment_without_gunicorn_is_refused(resolve, tmp_path):
    (tmp_path / "bare.lock").write_text("".join(LOCK.splitlines(keepends=True)[:2]))
    with pytest.raises(Refusal, match="nor its requirements name gunicorn"):
        resolve(conda_env_list=[{"name": "env", "lock": "bare.lock"}])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        *((("a" * length), "up to 80") for length in (81, 100, 300)),
        ("gpunode-conda_env", "units whose names begin with gpunode-"),
        ("gpunode-web", "units whose names begin with gpunode-"),
        *((unit.partition(".")[0], "a daemon that this project looks after") for unit in DAEMONS),
    ],
)
def test_a_name_that_no_unit_can_have_is_refused_before_any_host_is_asked(resolve, name, words):
    with pytest.raises(Refusal, match=words):
        resolve({"name": name, "user": "web"})


BAD = {
    "name with a slash": ({"name": "a/b"}, "a/b"),
    "name whose sockets would be too long": ({"name": "n" * 81, "user": "web"}, "up to 80 letters"),
    "dir with a long name": ({"dir": "/srv/" + "d" * 300}, "255"),
    "dir with a long path": ({"dir": "/srv" + "/d" * 2000}, "3000"),
    "name that is an option": ({"name": "-x"}, "-x"),
    "unknown environment": ({"environment": "enf"}, "Did you mean env"),
    "no such source": ({"source": "webb"}, "there is no .*webb on the controller"),
    "sha256 of a folder": ({"sha256": "0" * 64}, "it is a folder"),
    "no such module": ({"entry": "man:app"}, "neither man.py nor a package man"),
    "no such object": ({"entry": "main:aap"}, "main.py defines no 'aap'"),
    "python file that is not there": ({"server": "python", "entry": "x.py"}, "no x.py in"),
    "python entry of another form": ({"server": "python", "entry": "main:app"}, "Python file"),
    "entry of a kept release": ({"release": "0" * 12, "entry": "main:"}, "module:object"),
    "release that is a path": ({"release": "../0123456789"}, "12 digits"),
    "release that is a whole digest": ({"release": "0" * 64}, "12 digits"),
    "name of a candidate": ({"name": "web-candidate"}, "candidate"),
    "entry of another form": ({"entry": "main:app.wsgi"}, "module:object"),
    "entry with a blank": ({"entry": "main:app --reload"}, "module:object"),
    "user that is no user": ({"user": "a b"}, "a b"),
    "relative dir": ({"dir": "srv/web"}, "absolute path"),
    "dir that would split a line": ({"dir": "/srv/a b"}, "absolute path"),
    "address without a port": ({"listen": "0.0.0.0"}, "ADDRESS:PORT"),
    "socket that a program cannot make": (
        {"server": "python", "entry": "main.py", "listen": "/run/web/x"}, "/run/gpunode-web alone",
    ),
    "workers below none": ({"workers": "-2"}, "less than 1"),
    "health path": ({"health_path": "healthz"}, "begins with '/'"),
    "header with a password": ({"health_headers": {"authorization": "Basic x"}}, "needs no login"),
    "memory": ({"memory_max": "lots"}, "number of bytes"),
    "variable with a NUL": ({"environment_variables": {"A": "x\0"}}, r"U\+0000"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_with_its_value_and_a_remedy(resolve, case):
    refused(resolve, *BAD[case])
