"""What is wanted of applications: from options to wanted state, and what a host says against it."""

from __future__ import annotations

import re

import pytest
import yaml

from ansible_collections.gpunode.stack.plugins.module_utils._node.facts import shape
from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import fabric_manager, gridd
from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app import (
    candidate,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app import (
    release as app_release,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app import (
    service as app_service,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.mlnx_ofed import openibd
from ansible_collections.gpunode.stack.plugins.module_utils._node.nvidia_driver import services
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import project, wanted_state
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.components import (
    gunicorn_app,
)
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.gunicorn import (
    source as app_source,
)

LOCK = """\
@EXPLICIT
https://mirror.example/conda-forge/linux-64/python-3.11.7-0_cp311.conda#0123456789abcdef0123456789abcdef
https://mirror.example/conda-forge/noarch/gunicorn-{gunicorn}-py_0.conda#0123456789abcdef0123456789abcdef
"""
FREE = {"kind": "absent", "empty": True, "conda": False, "unfinished": False}
# Those that are started, or overridden, beside the applications.
DAEMONS = [services.PERSISTENCED, fabric_manager.UNIT, gridd.UNIT, openibd.UNIT]
GOOD_USER = {"exists": False, "uid": -1, "home": "", "shell": "", "sudo": False}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "web"
    folder.mkdir()
    (folder / "main.py").write_text("app = print\n")
    return folder


@pytest.fixture
def resolve(tmp_path, source):
    """Return a function from changes of one good application to the wanted state."""

    def resolved(*apps, gunicorn="23.0.0", facts=None, **variables):
        (tmp_path / "env.lock").write_text(LOCK.format(gunicorn=gunicorn))
        base = {"name": "web", "environment": "env", "source": "web", "listen": "0.0.0.0:9001"}
        values = {
            "conda_env_list": [{"name": "env", "lock": "env.lock"}],
            "gunicorn_app_list": [{**base, **app} for app in apps or [{}]],
            **variables,
        }
        site = wanted_state.Site(values, tmp_path)
        if facts:
            site.look(facts)
        return site.wanted("gunicorn_app")

    return resolved


def service(state, index=0):
    app = state["applications"][index]
    return app["units"][app_service.service_of(app)]


def lines(text, key):
    return re.findall(rf"^{key}=(.*)$", text, re.MULTILINE)


# The wanted state


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


def notices(state, mode="", programs=(), zone="", ports=()):
    facts = {
        "selinux": {"mode": mode, "programs": list(programs)},
        "firewalld": {"zone": zone, "ports": list(ports)},
    }
    return [row["says"] for row in gunicorn_app.notices(state, facts)]


@pytest.mark.parametrize(
    ("folder", "programs"),
    [
        ("/srv/envs", []),
        ("/home/web/envs", ["/srv/envs"]),
        ("/data/envs", ["/data/env", "/data/envs2"]),
        ("/optional/envs", []),
    ],
)
def test_programs_that_selinux_keeps_a_service_from_are_named_with_the_commands(
    resolve, folder, programs
):
    (said,) = notices(resolve(conda_env_dir=folder), "enforcing", programs)
    assert f"`semanage fcontext -a -t bin_t '{folder}(/.*)?'`" in said
    assert f"`restorecon -R {folder}`" in said


@pytest.mark.parametrize(
    ("folder", "mode", "programs"),
    [
        ("/opt/gpunode/envs", "enforcing", []),
        ("/usr/local/envs", "enforcing", []),
        ("/srv/envs", "enforcing", ["/srv/envs"]),
        ("/srv/envs", "enforcing", ["/srv/envs/"]),
        ("/srv/envs", "enforcing", ["/home", "/srv"]),
        ("/srv/envs", "permissive", []),
        ("/srv/envs", "disabled", []),
        ("/srv/envs", "", []),
    ],
)
def test_selinux_is_no_matter_where_programs_may_run(resolve, folder, mode, programs):
    assert notices(resolve(conda_env_dir=folder), mode, programs) == []


@pytest.mark.parametrize(
    ("listen", "ports", "is_closed"),
    [
        ("0.0.0.0:9001", [], True),
        ("0.0.0.0:9001", ["22", "9000"], True),
        ("0.0.0.0:9001", ["9001"], False),
        ("0.0.0.0:9001", ["9000-9010"], False),
        ("0.0.0.0:9001", ["9002-9010"], True),
        ("[::]:9001", ["22"], True),
        ("127.0.0.1:9001", [], False),
        ("[::1]:9001", [], False),
        ("/run/web/http.sock", [], False),
    ],
)
def test_a_port_that_firewalld_keeps_closed_is_named_with_the_commands(
    resolve, listen, ports, is_closed
):
    state = resolve({"listen": listen})
    said = notices(state, zone="public", ports=ports)
    assert len(said) == is_closed
    for words in said:
        assert "`firewall-cmd --permanent --zone=public --add-port=9001/tcp`" in words
    assert notices(state, zone="", ports=ports) == []


def test_an_entry_that_is_not_in_the_source_is_told_in_the_plan(resolve):
    assert notices(resolve()) == []
    assert notices(resolve({"entry": "acme_portal.wsgi"})) == [
        "application web: acme_portal.wsgi is not in its source, and is to come with env"
    ]


def test_a_configuration_beside_the_application_holds_but_for_what_is_named(resolve, source):
    (source / "gunicorn.conf.py").write_text("workers = 5\ntimeout = 120\nbind = ':8000'\n")
    state = resolve()
    start = lines(service(state), "ExecStart")[0]
    assert "--workers" not in start
    assert "--timeout" not in start
    assert lines(service(state), "TimeoutStopSec") == ["125"]
    assert " --workers 1 " in lines(state["applications"][0]["candidate"], "ExecStart")[0]
    assert notices(state) == [
        "application web: bind :8000 of gunicorn.conf.py is overruled by listen: 0.0.0.0:9001"
    ]


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
    gpu = {**shape.empty(shape.Gpu), "driver": "nvidia"}
    size = {"processor_nproc": processors, "memtotal_mb": memory_mib, "gpus": [gpu] * gpus}
    return {**shape.empty(shape.Facts), **size}


def test_workers_that_the_host_decides_are_in_the_unit_and_told_with_the_reason(resolve):
    state = resolve({"workers": "auto"}, facts=of_host())
    start = lines(service(state), "ExecStart")[0]
    assert " --workers 9 " in start
    assert " --workers 1 " in lines(state["applications"][0]["candidate"], "ExecStart")[0]
    assert notices(state) == ["application web: workers: auto is 9 here: (2 x 4 processors) + 1"]


def test_workers_that_the_host_decides_go_before_those_of_the_application(resolve, source):
    (source / "gunicorn.conf.py").write_text("workers = 5\n")
    state = resolve({"workers": "auto"}, facts=of_host(gpus=2))
    assert " --workers 9 " in lines(service(state), "ExecStart")[0]
    assert "application web: workers 5 of gunicorn.conf.py is overruled by workers: 9" in notices(
        state
    )


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


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgres://shop:geheim@db/shop"),
        ("REDIS_URL", "redis://:geheim@cache:6379/0"),
        ("INDEX", "https://geheim@pypi.example/simple"),
        ("HOOK", "https://chat.example/x?token=geheim"),
        ("https_proxy", "jane:geheim@proxy.example:3128"),
        ("GUNICORN_CMD_ARGS", "--env=BROKER=amqp://shop:geheim@mq/"),
        ("PGPASSWORD", "geheim"),
        ("DB_PASS", "geheim"),
        ("SECRET_KEY", "geheim"),
        ("AWS_SECRET_ACCESS_KEY", "geheim"),
        ("sentry_auth_token", "geheim"),
        ("OPENAI_API_KEY", "geheim"),
        ("SSL_KEY_PASSPHRASE", "geheim"),
    ],
)
def test_a_secret_that_anyone_on_the_host_can_read_is_named_without_it(resolve, name, value):
    (says,) = notices(resolve({"environment_variables": {name: value}}))
    assert says.startswith(f"application web: {name} in environment_variables ")
    assert "gunicorn_app_secrets" in says
    assert "geheim" not in says


@pytest.mark.parametrize(
    "value",
    [
        "postgres://db/shop",
        "http://proxy.example:3128",
        "a@b",
        "jane@example.org",
        "",
        "5:30 @ noon",
    ],
)
def test_a_variable_without_a_secret_is_not_told(resolve, value):
    assert notices(resolve({"environment_variables": {"A": value}})) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DB_PASSWORD_FILE", "geheim"),
        ("DB_PASSWORD", "/run/secrets/db"),
        ("SECRET_KEY", ""),
        ("TOKEN_URL", "https://login.example/token"),
        ("MAX_TOKENS", "4096"),
        ("AWS_ACCESS_KEY_ID", "AKIA"),
        ("COMPASS", "north"),
        ("PUBLIC_KEY", "ssh-ed25519 AAAA"),
    ],
)
def test_a_variable_that_only_leads_to_a_secret_is_not_told(resolve, name, value):
    assert notices(resolve({"environment_variables": {name: value}})) == []


def test_a_secret_among_the_secrets_is_not_told(resolve):
    secrets = {"web": {"DATABASE_URL": "postgres://shop:geheim@db/shop"}}
    assert notices(resolve(gunicorn_app_secrets=secrets)) == []


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


def test_a_people_line_and_an_outside_port_are_summed_up(resolve):
    state = resolve(
        {}, {"name": "local", "listen": "127.0.0.1:1"}, {"name": "file", "listen": "/run/a.sock"}
    )
    summary = gunicorn_app.summary(state)
    assert [item["port"] for item in summary] == [9001, None, None]
    assert summary[0]["units"] == ["web.service", "web.socket"]
    assert "web answers on 0.0.0.0:9001" in summary[0]["says"]


def test_headers_of_the_health_check_are_known_to_every_proof(resolve):
    headers = {"Host": "shop.example", "X-Forwarded-Proto": "https"}
    state = resolve({"health_headers": headers})
    assert state["applications"][0]["health_headers"] == headers
    assert gunicorn_app.summary(state)[0]["health_headers"] == headers
    assert gunicorn_app.summary(state)[0]["health_scheme"] == "http"
    assert service(state) == service(resolve())


# Folders of data

DATA = {
    "all": ("writable", "/", "a path is made of letters"),
    "all to be read": ("readable", "/", "a path is made of letters"),
    "the kernel's": ("readable", "/proc/1", "no folder of data"),
    "secrets of gpunode": ("readable", "/etc/gpunode/web.env", "gpunode's own"),
    "the system's": ("writable", "/etc/web", "the system's"),
    "programs": ("writable", "/usr/local/bin", "the system's"),
    "homes": ("writable", "/home", "all programs' together"),
    "all services'": ("writable", "/var/lib", "all programs' together"),
    "its releases": ("writable", "/srv/web/releases", "another one, lies there: /srv/web/rel"),
    "what holds its releases": ("writable", "/srv/web", "another one, lies there: /srv/web/rel"),
    "environments": ("writable", "/opt/gpunode/envs/env-1", "lies there: /opt/gpunode/envs"),
    "what is in conda": ("writable", "/opt/miniforge3/envs", "lies there: /opt/miniforge3"),
    "what holds conda": ("writable", "/opt/miniforge3/..", "all programs' together"),
    "relative": ("writable", "data", "it is not an absolute path"),
    "two in one": ("writable", "/srv/a /srv/b", "a path is made of letters"),
    "of a unit": ("readable", "/srv/a:/etc", "a path is made of letters"),
    "on other terms": ("readable", "-/srv/a", "it is not an absolute path"),
}


@pytest.mark.parametrize("case", DATA)
def test_a_folder_that_is_none_of_an_application_s_data_is_not_opened_to_it(resolve, case):
    option, path, said = DATA[case]
    with pytest.raises(Refusal, match=re.escape(option)) as refusal:
        resolve({option: [path]})
    assert said in str(refusal.value)


def test_folders_that_are_asked_for_are_opened_and_no_other(resolve):
    asked = {"readable": ["/home/jane/models/"], "writable": ["/var/lib/web", "/home/web/data"]}
    state = resolve(asked)
    (app,) = state["applications"]
    assert (app["readable"], app["writable"]) == (["/home/jane/models"], asked["writable"])
    assert lines(service(state), "BindPaths") == ["/var/lib/web /home/web/data"]
    assert lines(service(state), "BindReadOnlyPaths")[1:] == ["/home/jane/models"]
    assert lines(service(resolve()), "BindPaths") == []
    assert {*app["readable"], *app["writable"]} <= {*gunicorn_app.probe(state)["paths"]}


# Secrets


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


# Releases that the host keeps

KEPT = {"release": "0123456789ab", "source": None}


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


def test_a_release_that_the_host_does_not_keep_is_refused_by_its_id(resolve):
    state = resolve(KEPT)
    (said,) = reasons(state)
    assert "release 0123456789ab of application web" in said
    assert "make releases" in said
    there = {state["applications"][0]["release"]: {**FREE, "kind": "directory"}}
    assert reasons(state, paths={**facts(state)["paths"], **there}) == []


def test_a_kept_build_of_an_environment_is_known_to_its_host_alone(resolve):
    build = [{"name": "env", "build": "0123456789ab"}]
    (app,) = resolve(conda_env_list=build)["applications"]
    assert app["prefix"] == "/opt/gpunode/envs/env-0123456789ab"


# Servers


def test_a_python_server_needs_no_gunicorn_and_runs_main_py(resolve, tmp_path):
    (tmp_path / "bare.lock").write_text("".join(LOCK.splitlines(keepends=True)[:2]))
    bare = [{"name": "env", "lock": "bare.lock"}]
    (app,) = resolve({"server": "python"}, conda_env_list=bare)["applications"]
    assert app["server"] == "python"
    assert lines(app["units"]["web.service"], "ExecStart")[0].endswith("/bin/python main.py")


# Removal

GONE = {"name": "old", "state": "absent", "environment": None, "source": None, "listen": None}


def test_an_application_that_is_to_go_needs_no_more_than_its_name(resolve):
    state = resolve({}, GONE, {**GONE, "name": "older", "user": "ob", "dir": "/home/ob/"})
    assert state["absent"] == [
        {"name": "old", "user": "old", "dir": "/srv/old"},
        {"name": "older", "user": "ob", "dir": "/home/ob"},
    ]
    assert gunicorn_app.present(state) == ["web"]
    assert gunicorn_app.absent(state) == ["old", "older"]
    assert reasons(state) == []


def test_all_can_go_without_an_environment_being_left(resolve):
    state = resolve(GONE, conda_env_list=[])
    assert state["applications"] == []
    assert gunicorn_app.absent(state) == ["old"]


def test_secrets_of_an_application_that_is_to_go_may_stay_in_the_vault(resolve):
    assert resolve({}, GONE, gunicorn_app_secrets={"old": {"TOKEN": "x"}})["absent"]


def test_an_application_cannot_be_present_and_absent(resolve):
    with pytest.raises(Refusal, match="to be present and to be absent"):
        resolve({}, {**GONE, "name": "web"})


def test_what_goes_cannot_take_the_folder_of_what_stays(resolve):
    with pytest.raises(Refusal, match="/srv/web"):
        resolve({}, {**GONE, "dir": "/srv/web"})


def test_an_application_cannot_run_from_an_environment_that_is_to_go(resolve):
    with pytest.raises(Refusal, match="environment env of application web: conda_env_list says"):
        resolve(conda_env_list=[{"name": "env", "state": "absent"}])


@pytest.mark.parametrize("missing", ["environment", "listen", "source"])
def test_a_present_application_says_what_it_is(resolve, missing):
    with pytest.raises(Refusal, match=missing):
        resolve({missing: None})


def test_a_name_that_was_taken_once_and_is_too_long_by_now_can_still_go(resolve):
    item = {"name": "n" * 100, "user": "web", "dir": "/srv/web"}
    state = resolve({**item, "state": "absent"})
    assert [app["name"] for app in state["absent"]] == ["n" * 100]
    with pytest.raises(Refusal, match="up to 100"):
        resolve({**item, "name": "n" * 101, "state": "absent"})


# Bad input

BAD = {
    "name with a slash": ({"name": "a/b"}, "a/b"),
    "name whose sockets would be too long": ({"name": "n" * 81, "user": "web"}, "up to 80 letters"),
    "socket that is too long": ({"listen": "/run/web/" + "s" * 100}, "107 bytes"),
    "socket of two-byte letters": ({"listen": "/run/web/" + "ö" * 50}, "107 bytes"),
    "dir with a long name": ({"dir": "/srv/" + "d" * 300}, "255"),
    "dir with a long path": ({"dir": "/srv" + "/d" * 2000}, "3000"),
    "dir that is an environment": ({"dir": "/opt/gpunode/envs/env"}, "environments"),
    "dir in a build": ({"dir": "/opt/gpunode/envs/old-0123456789ab/web"}, "environments"),
    "dir in conda": ({"dir": "/opt/miniforge3/web"}, "conda"),
    "dir among receipts": ({"dir": "/var/lib/gpunode/web"}, "gpunode's own"),
    "dir among secrets": ({"dir": "/etc/gpunode"}, "gpunode's own"),
    "name that is an option": ({"name": "-x"}, "-x"),
    "unknown environment": ({"environment": "enf"}, "Did you mean env"),
    "no such source": ({"source": "webb"}, "there is no .*webb on the controller"),
    "sha256 of a folder": ({"sha256": "0" * 64}, "it is a folder"),
    "no such module": ({"entry": "man:app"}, "neither man.py nor a package man"),
    "no such object": ({"entry": "main:aap"}, "main.py defines no 'aap'"),
    "python file that is not there": ({"server": "python", "entry": "x.py"}, "no x.py in"),
    "python entry of another form": ({"server": "python", "entry": "main:app"}, "Python file"),
    "entry of a kept release": ({"release": "0" * 12, "entry": "main:"}, "module:object"),
    "server that is none": ({"server": "waitress"}, "waitress"),
    "release that is a path": ({"release": "../0123456789"}, "12 digits"),
    "release that is a whole digest": ({"release": "0" * 64}, "12 digits"),
    "name of a candidate": ({"name": "web-candidate"}, "candidate"),
    "state that is none": ({"state": "gone"}, "gone"),
    "entry of another form": ({"entry": "main:app.wsgi"}, "module:object"),
    "entry with a blank": ({"entry": "main:app --reload"}, "module:object"),
    "user that is no user": ({"user": "a b"}, "a b"),
    "relative dir": ({"dir": "srv/web"}, "absolute path"),
    "dir that would split a line": ({"dir": "/srv/a b"}, "absolute path"),
    "address without a port": ({"listen": "0.0.0.0"}, "ADDRESS:PORT"),
    "socket in a folder that goes": ({"listen": "/run/gpunode-web/x"}, "comes and goes"),
    "socket that a program cannot make": (
        {"server": "python", "entry": "main.py", "listen": "/run/web/x"}, "/run/gpunode-web alone",
    ),
    "no workers": ({"workers": 0}, "less than 1"),
    "workers below none": ({"workers": "-2"}, "less than 1"),
    "workers in words": ({"workers": "Auto"}, "neither a whole number nor auto"),
    "workers of a formula": ({"workers": "2*cores"}, "neither a whole number nor auto"),
    "half a worker": ({"workers": "2.5"}, "neither a whole number nor auto"),
    "half a worker without quotes": ({"workers": 2.5}, "it is to be a text"),
    "workers in other digits": ({"workers": "\u0664"}, "neither a whole number nor auto"),
    "workers as a truth": ({"workers": True}, "true or false"),
    "health path": ({"health_path": "healthz"}, "begins with '/'"),
    "header that frames": ({"health_headers": {"Content-Length": "1"}}, "frames the request"),
    "header with a colon": ({"health_headers": {"Host:": "a"}}, "no name of a header"),
    "header with a password": ({"health_headers": {"authorization": "Basic x"}}, "needs no login"),
    "header with a token": ({"health_headers": {"Authorization": "Bearer x"}}, "needs no login"),
    "header with a session": ({"health_headers": {"Cookie": "id=x"}}, "needs no login"),
    "header beyond ASCII": ({"health_headers": {"Host": "caf\u00e9.example"}}, "no text of ASCII"),
    "header of two lines": ({"health_headers": {"Host": "a\r\nX: b"}}, "no text of ASCII"),
    "header that is a number": ({"health_headers": {"X-Level": 1}}, "in quotes"),
    "memory": ({"memory_max": "lots"}, "number of bytes"),
    "variable that is none": ({"environment_variables": {"A B": "x"}}, "A B"),
    "variable of the unit": ({"environment_variables": {"PATH": "/x"}}, "PATH"),
    "variable that is a number": ({"environment_variables": {"PORT": 1}}, "in quotes"),
    "variable with a NUL": ({"environment_variables": {"A": "x\0"}}, r"U\+0000"),
    "variable of Windows": ({"environment_variables": {"A": "x\r\ny"}}, r"U\+000D"),
    "variable with colours": ({"environment_variables": {"A": "\x1b[1mx"}}, r"U\+001B"),
    "variable with a DEL": ({"environment_variables": {"A": "x\x7f"}}, r"U\+007F"),
    "variable that is no UTF-8": ({"environment_variables": {"A": "\udce9"}}, r"U\+DCE9"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_with_its_value_and_a_remedy(resolve, case):
    change, said = BAD[case]
    with pytest.raises(Refusal, match=said) as refusal:
        resolve(change)
    assert refusal.value.remedy


@pytest.mark.parametrize(
    ("dirs", "states"),
    [
        (("/srv/web", "/srv/web/releases/x"), ("present", "present")),
        (("/srv/web", "/srv/web/releases"), ("present", "present")),
        (("/srv/web/releases/0123456789ab/api", "/srv/web"), ("present", "present")),
        (("/srv/web", "/srv/web/current/api"), ("present", "present")),
        (("/srv/web", "/srv/web/releases/x"), ("present", "absent")),
    ],
)
def test_an_application_in_the_releases_of_another_is_refused(resolve, dirs, states):
    apps = [
        {"name": name, "dir": folder, "state": state, "listen": f"127.0.0.1:{port}"}
        for name, folder, state, port in zip(("a", "b"), dirs, states, (8001, 8002), strict=True)
    ]
    with pytest.raises(Refusal, match=r"lies where application [ab] has its releases") as refused:
        resolve(*apps)
    assert refused.value.what.startswith("dir /srv/web/")


def test_folders_beside_and_below_each_other_do_no_harm(resolve):
    apps = [("a", "/srv/web"), ("b", "/srv/web/api"), ("c", "/srv/web/releases2"), ("d", "/srv/w")]
    rows = [
        {"name": name, "dir": folder, "listen": f"127.0.0.1:{8000 + at}"}
        for at, (name, folder) in enumerate(apps)
    ]
    assert len(resolve(*rows, conda_env_dir="/srv")["applications"]) == 4
    assert resolve({"dir": "/opt/gpunode/envs"})["applications"]


def test_environments_among_releases_are_refused(resolve):
    with pytest.raises(Refusal, match="conda_env_dir /srv/web/releases/envs"):
        resolve(conda_env_dir="/srv/web/releases/envs")
    with pytest.raises(Refusal, match="miniforge_prefix /srv/web/releases"):
        resolve(miniforge_prefix="/srv/web/releases")


def test_the_longest_name_of_an_application_leads_to_sockets_that_linux_has(resolve):
    (app,) = resolve({"name": "n" * 80, "user": "web"})["applications"]
    assert len(candidate.socket_path(app["name"])) <= 107


def test_a_secret_with_a_control_character_is_refused_and_not_told(resolve):
    with pytest.raises(Refusal, match=r"TOKEN in gunicorn_app_secrets of .*U\+000D") as refusal:
        resolve(gunicorn_app_secrets={"web": {"TOKEN": "hush\r"}})
    assert "hush" not in str(refusal.value)


@pytest.mark.parametrize("value", ["a\tb\nc", "e\u0301\u00a0\U0001f600", "\u0085\u2028", ""])
def test_every_other_value_of_a_variable_is_taken(resolve, value):
    resolve({"environment_variables": {"A": value}})


def test_every_bad_application_is_named_and_not_the_first_alone(resolve):
    bad = [
        {"name": "one", "source": "gone"},
        {"name": "two", "listen": "0.0.0.0", "dir": "/srv/two"},
        {"name": "three", "environment": "enf", "listen": "0.0.0.0:9003"},
        {"name": "a/b", "state": "absent"},
    ]
    with pytest.raises(Refusal) as refused:
        resolve(*bad, gunicorn_app_secrets={"four": {}})
    told = [str(refusal) for refusal in refused.value.each()]
    assert len(told) == 5
    for name in ("gone", "two", "three", "a/b", "four"):
        assert any(name in text for text in told)


def test_a_misspelt_option_is_refused(resolve):
    with pytest.raises(Refusal, match="wokers"):
        resolve({"wokers": 2})


def test_two_applications_cannot_share_a_name_or_an_address(resolve):
    with pytest.raises(Refusal, match="two applications"):
        resolve({}, {"listen": "0.0.0.0:9002"})
    with pytest.raises(Refusal, match="application web has"):
        resolve({}, {"name": "other", "listen": "127.0.0.1:9001"})


def test_secrets_of_an_unknown_application_are_refused_with_the_nearest_name(resolve):
    with pytest.raises(Refusal, match="Did you mean web"):
        resolve(gunicorn_app_secrets={"wep": {"A": "x"}})


@pytest.mark.parametrize("secrets", [{"web": "hunter2"}, {"web": ["hunter2"]}, "hunter2"])
def test_secrets_without_a_name_are_refused_and_not_told(resolve, secrets):
    with pytest.raises(Refusal, match="gunicorn_app_secrets") as refusal:
        resolve(gunicorn_app_secrets=secrets)
    assert refusal.value.remedy
    assert "hunter2" not in str(refusal.value)


def test_an_environment_without_gunicorn_is_refused(resolve, tmp_path):
    (tmp_path / "bare.lock").write_text("".join(LOCK.splitlines(keepends=True)[:2]))
    with pytest.raises(Refusal, match="nor its requirements name gunicorn"):
        resolve(conda_env_list=[{"name": "env", "lock": "bare.lock"}])


# What a host says against it


def facts(state, **changes):
    paths = dict.fromkeys(gunicorn_app.probe(state)["paths"], FREE)
    found = {
        "service_mgr": "systemd",
        "users": dict.fromkeys(gunicorn_app.probe(state)["users"], GOOD_USER),
        "units": dict.fromkeys(gunicorn_app.probe(state)["units"], ""),
        "listening": [],
        "paths": paths,
        "mounts": [
            {"mount": "/", "fstype": "ext4", "size_total": 1 << 40, "size_available": 1 << 30}
        ],
    }
    return {**found, **changes}


def reasons(state, **changes):
    return [str(refusal) for refusal in gunicorn_app.refusals(state, facts(state, **changes))]


def test_a_fit_host_says_nothing_against_it(resolve):
    assert reasons(resolve()) == []


def test_a_user_that_may_become_root_is_refused(resolve):
    (said,) = reasons(resolve(), users={"web": {**GOOD_USER, "exists": True, "sudo": True}})
    assert "user web" in said
    assert "become root" in said


def taken_by(unit):
    return [{"address": "0.0.0.0", "port": 9001, "pid": 7, "process": "nginx", "unit": unit}]


def test_a_taken_address_names_who_has_it(resolve):
    (said,) = reasons(resolve(), listening=taken_by("nginx.service"))
    assert "0.0.0.0:9001" in said
    assert "nginx (pid 7) of nginx.service" in said


@pytest.mark.parametrize("unit", ["web.socket", "web.service"])
def test_an_address_held_by_a_unit_of_the_applications_name_is_free(resolve, unit):
    assert reasons(resolve(), listening=taken_by(unit)) == []


def test_an_address_held_by_an_application_that_is_to_go_is_free(resolve):
    state = resolve({}, {"name": "old", "state": "absent"})
    assert reasons(state, listening=taken_by("old.socket")) == []
    assert reasons(state, listening=taken_by("older.socket")) != []


@pytest.mark.parametrize("unit", ["web.service", "web.socket"])
def test_a_unit_of_that_name_that_comes_from_elsewhere_is_refused(resolve, unit):
    state = resolve()
    theirs = {**facts(state)["units"], unit: f"/usr/lib/systemd/system/{unit}"}
    (said,) = reasons(state, units=theirs)
    assert f"{unit} is there already, from /usr/lib/systemd/system/{unit}" in said
    # Ours, or one that was made by hand.
    assert reasons(state, units={**theirs, unit: f"/etc/systemd/system/{unit}"}) == []


def test_what_is_to_be_read_or_written_is_looked_for_on_the_host(resolve):
    state = resolve({"readable": ["/srv/models"], "writable": ["/srv/data"]})
    (said,) = reasons(state)
    assert "readable /srv/models of application web: it is not there" in said
    there = {**facts(state)["paths"], "/srv/models": {**FREE, "kind": "file"}}
    assert reasons(state, paths=there) == []
    for kind in ("file", "other"):
        (said,) = reasons(state, paths={**there, "/srv/data": {**FREE, "kind": kind}})
        assert "writable /srv/data of application web: it is not a folder" in said


def test_a_file_where_the_folder_should_be_is_refused(resolve):
    state = resolve()
    paths = {**facts(state)["paths"], "/srv/web": {**FREE, "kind": "file"}}
    (said,) = reasons(state, paths=paths)
    assert "/srv/web" in said


def test_a_disk_without_room_is_refused_unless_the_release_is_there(resolve, source):
    (source / "model.bin").write_bytes(b"x" * 5000)
    state = resolve()
    full = [{"mount": "/", "fstype": "ext4", "size_total": 1 << 40, "size_available": 4096}]
    assert "/" in "".join(reasons(state, mounts=full))
    release = state["applications"][0]["release"]
    paths = {**facts(state)["paths"], release: {**FREE, "kind": "directory"}}
    assert reasons(state, mounts=full, paths=paths) == []


def test_a_host_without_systemd_is_refused(resolve):
    (said,) = reasons(resolve(), service_mgr="openrc")
    assert "systemd" in said


# The inventories of this project


def test_the_example_is_complete_but_for_its_lock(tmp_path):
    folder = project.ROOT / "inventory" / "example"
    values = yaml.safe_load((folder / "group_vars" / "all.yml").read_text())
    assert set(values) <= wanted_state.known_variables()
    (environment,) = values["conda_env_list"]
    (tmp_path / "ob_prod.lock").write_text(
        LOCK.format(gunicorn="1").replace("python-3.11.7-0_cp311", "python-3.6.13-h12debd9_1")
        + LOCK.splitlines()[1].replace("python-3.11.7-0_cp311", "pip-21.2.2-py36h06a4308_0")
    )
    environment["lock"] = str(tmp_path / "ob_prod.lock")
    for item, key in ((environment, "requirements"), (values["gunicorn_app_list"][0], "source")):
        item[key] = item[key].replace("{{ inventory_dir }}", str(folder))
    (app,) = wanted_state.Site(values, folder).wanted("gunicorn_app")["applications"]
    assert app["release"].startswith("/home/ob/ob_cuda_server/releases/")
    text = app["units"]["ob_cuda.service"]
    assert lines(text, "User") == ["ob"]
    assert re.search(r"--workers 8 .*main:app$", lines(text, "ExecStart")[0])
    assert lines(text, "DeviceAllow") == ["char-nvidia* rwm"]
    assert lines(app["units"]["ob_cuda.socket"], "ListenStream") == ["0.0.0.0:9001"]


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
