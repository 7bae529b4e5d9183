"""What gunicorn is told, and which of an application's own settings hold."""

from __future__ import annotations

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import wanted_state
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.gunicorn import (
    python_source,
    settings,
)

OPTIONS = wanted_state.options_of("gunicorn_app")["gunicorn_app_list"]["options"]
RELEASE = "/srv/web/releases/0123456789ab"
# As the sources of public projects have them: nickjj/docker-django-example, config/gunicorn.py.
DOCKER = """\
import multiprocessing
import os

bind = f"0.0.0.0:{os.getenv('PORT', '8000')}"
accesslog = "-"
access_log_format = "%(h)s %(t)s"
workers = 5
threads = int(os.getenv("PYTHON_MAX_THREADS", 1))
timeout = 120
"""


@pytest.fixture
def told(tmp_path):
    """Return a function from options, and files of the source, to what gunicorn is told."""

    def resolved(conf="", files=None, source=tmp_path, **changes):
        for name, text in {"gunicorn.conf.py": conf, **(files or {})}.items():
            if text:
                (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
                (tmp_path / name).write_text(text)
        item = {name: option.get("default") for name, option in OPTIONS.items()}
        item |= {"name": "web", "user": "web", "listen": "0.0.0.0:9001", **changes}
        return settings.resolve(item, RELEASE, source and str(source), "main:app")

    return resolved


def line(found):
    return " ".join([f"--workers {found.workers}" if found.workers else "", *found.arguments])


# What holds


def test_without_a_word_of_its_own_an_application_gets_the_defaults(told):
    found = told()
    assert line(found) == (
        "--workers 2 --threads 1 --timeout 30 --graceful-timeout 30 --keep-alive 0 "
        "--worker-tmp-dir /dev/shm --access-logfile -"
    )
    assert (found.stop_s, found.entry, found.notices) == (35, "main:app", [])


def test_what_an_application_says_itself_holds_and_what_does_not_is_named(told):
    found = told(DOCKER)
    assert line(found) == " --graceful-timeout 120 --keep-alive 0 --worker-tmp-dir /dev/shm"
    assert found.stop_s == 125
    assert found.notices == ["bind of gunicorn.conf.py is overruled by listen: 0.0.0.0:9001"]


def test_an_option_goes_before_what_the_application_says_and_that_is_named(told):
    found = told(DOCKER, workers=2, timeout_s=30)
    assert "--workers 2 --timeout 30 --graceful-timeout 30" in line(found)
    assert found.notices[:2] == [
        "workers 5 of gunicorn.conf.py is overruled by workers: 2",
        "timeout 120 of gunicorn.conf.py is overruled by timeout_s: 30",
    ]
    assert not any("workers" in notice for notice in told(DOCKER, workers=5).notices)


OVERRULED = {
    "kept connections": ("keepalive = 5", {}, "keepalive 5 of gunicorn.conf.py is overruled by"),
    "a timeout that is computed": (
        "import os\ntimeout = int(os.environ['T'])", {},
        "timeout of gunicorn.conf.py is overruled by timeout_s, which is 30 where it is not said",
    ),
    "no timeout": ("timeout = 0", {}, "timeout 0 of gunicorn.conf.py is overruled by time"),
    "another user": ("user = 'www-data'", {}, "user www-data of gunicorn.conf.py is overruled by"),
    "another folder": ("chdir = '/app'", {}, "chdir /app of gunicorn.conf.py is overruled by "),
    "a pid file": ("pidfile = '/var/run/a.pid'", {}, "is overruled by a folder that the servi"),
    "a setting": (
        "max_requests = 9", {"settings": {"max_requests": 10}},
        "max_requests 9 of gunicorn.conf.py is overruled by settings: {max_requests: 10}",
    ),
    "what only a branch says": (
        "import os\nif os.getenv('X'):\n    keepalive = 9", {}, "keepalive of gunicorn.conf.py is",
    ),
    "concurrency": (
        "", {"environment_variables": {"WEB_CONCURRENCY": "4"}, "workers": 3},
        "workers 4 of WEB_CONCURRENCY is overruled by workers: 3",
    ),
    "a command line": (
        "", {"environment_variables": {"GUNICORN_CMD_ARGS": "-w 4 --keep-alive=7"}, "workers": 3},
        "workers 4 of GUNICORN_CMD_ARGS is overruled by workers: 3",
    ),
    "what is written when it is run": (
        "import os\nfor k, v in os.environ.items():\n    locals()[k.lower()] = v", {},
        "what gunicorn.conf.py says is not known before it is run: workers 2, threads 1, time",
    ),
    "what no Python reads": ("workers = (", {}, "what gunicorn.conf.py says is not known"),
}  # fmt: skip


@pytest.mark.parametrize("case", OVERRULED)
def test_each_setting_that_is_overruled_is_named_with_what_goes_before_it(told, case):
    conf, options, said = OVERRULED[case]
    assert [notice for notice in told(conf, **options).notices if said in notice]


@pytest.mark.parametrize(
    ("conf", "options", "lacks"),
    [
        ("import multiprocessing\nworkers = multiprocessing.cpu_count() * 2 + 1", {}, "--workers"),
        ("worker_class = 'gthread'\nthreads: int = 8", {}, "--threads"),
        ("graceful_timeout = 90", {}, "--graceful-timeout"),
        ("accesslog = None", {}, "--access-logfile"),
        ("worker_tmp_dir = '/tmp'", {}, "--worker-tmp-dir"),
        ("", {"environment_variables": {"WEB_CONCURRENCY": "4"}}, "--workers"),
        ("", {"environment_variables": {"GUNICORN_CMD_ARGS": "--threads=4"}}, "--threads"),
        ("", {"settings": {"keepalive": 5}}, "--keep-alive 0"),
    ],
)
def test_what_somebody_else_says_is_not_on_the_command_line(told, conf, options, lacks):
    found = told(conf, **options)
    assert lacks not in line(found)
    assert found.notices == []


@pytest.mark.parametrize(
    ("conf", "options", "stop_s"),
    [
        ("graceful_timeout = 90", {}, 95),
        ("timeout = 300\ngraceful_timeout = 20", {}, 25),
        ("timeout = 300", {"settings": {"graceful_timeout": 40}}, 45),
        ("timeout = 300", {"timeout_s": 60}, 65),
        ("import os\ngraceful_timeout = int(os.environ['G'])", {"timeout_s": 60}, 65),
        ("timeout = 0", {}, 35),
        ("graceful_timeout = 90", {"settings": {"graceful_timeout": 40}}, 45),
        ("", {"settings": {"graceful_timeout": "50"}}, 55),
    ],
)
def test_systemd_waits_a_little_longer_than_gunicorn(told, conf, options, stop_s):
    assert told(conf, **options).stop_s == stop_s


@pytest.mark.parametrize(
    ("seconds", "said"), [(86400, "86400"), (1234567, "1234567"), (10**7, "10000000")]
)
def test_a_long_time_is_said_in_all_its_digits(told, seconds, said):
    assert f"--graceful-timeout {said} " in line(told(timeout_s=seconds))


def test_a_configuration_of_another_name_is_read_where_it_is_said(told):
    files = {"deploy/gunicorn.py": "workers = 7\nwsgi_app = 'shop:make()'\n"}
    found = told("workers = 1", files, settings={"config": "deploy/gunicorn.py"})
    assert line(found).endswith(" --config=deploy/gunicorn.py")
    assert (found.workers, found.entry) == ("", "shop:make()")
    assert told(
        "workers = 1", files, settings={"config": "deploy/gunicorn.py"}, entry="a:b"
    ).entry == ("a:b")


@pytest.mark.parametrize("config", ["deploy/gunicorn.py", "file:deploy/gunicorn.py"])
def test_a_configuration_is_found_however_gunicorn_may_be_told_of_it(told, config):
    found = told("workers = 1", {"deploy/gunicorn.py": "workers = 7"}, settings={"config": config})
    assert (found.workers, found.notices) == ("", [])


def test_a_configuration_in_the_environment_is_not_known_and_that_is_told(told):
    found = told("workers = 1", settings={"config": "python:shop.conf"})
    assert "what python:shop.conf says is not known before it is run" in found.notices[0]


def test_of_what_is_not_known_only_what_nobody_says_is_named(told):
    (notice,) = told("workers = (", environment_variables={"WEB_CONCURRENCY": "4"}).notices
    assert notice.endswith(": threads 1, timeout 30 go before it")


def test_a_folder_that_it_would_be_started_in_is_where_its_modules_lie(told):
    found = told("chdir = 'src'\npythonpath = 'lib'")
    assert f"--chdir {RELEASE} --pythonpath lib,{RELEASE}/src" in line(found)
    assert found.paths == ["lib", "src"]


@pytest.mark.parametrize("folder", ["../src", "/app/src", "src/../.."])
def test_a_folder_outside_of_the_release_has_none_of_its_modules(told, folder):
    found = told(f"chdir = '{folder}'\npythonpath = '{folder}'")
    assert (found.paths, "--pythonpath" in line(found)) == ([], False)


def test_of_a_kept_release_its_own_settings_are_not_known_and_that_is_told(told):
    found = told(DOCKER, source=None)
    assert found.workers == "2"
    assert "what gunicorn.conf.py says is not known before it is run" in found.notices[0]
    assert told(DOCKER, source=None, workers=2, threads=1, timeout_s=30).notices == []


# Further settings


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"max_requests": 1000, "max_requests_jitter": "50"},
            "--max-requests=1000 --max-requests-j",
        ),
        ({"preload_app": True}, "--preload"),
        ({"sendfile": False}, "--no-sendfile"),
        ({"proxy_protocol": True}, "--proxy-protocol"),
        ({"proxy_protocol": "v2"}, "--proxy-protocol=v2"),
        ({"reload_extra_files": ["a", "b"]}, "--reload-extra-file=a --reload-extra-file=b"),
        ({"forwarded_allow_ips": "*"}, "--forwarded-allow-ips=*"),
        ({"access_log_format": '%(h)s "%(r)s"'}, '--access-logformat=%(h)s "%(r)s"'),
        ({"limit_request_line": 0}, "--limit-request-line=0"),
        ({"accesslog": "-"}, "--access-logfile=-"),
    ],
)
def test_a_setting_is_said_by_the_option_that_gunicorn_has_for_it(told, given, said):
    assert said in line(told(settings=given))


@pytest.mark.parametrize("given", [{"preload_app": False}, {"sendfile": True}])
def test_a_setting_that_is_as_it_is_anyway_needs_no_option(told, given):
    assert line(told(settings=given)) == line(told())


BAD = {
    "misspelt": ({"max_request": 1}, "Did you mean max_requests"),
    "unknown": ({"turbo": True}, "gunicorn has no such setting"),
    "an option of its own": ({"workers": 3}, "Say it with workers"),
    "the address": ({"bind": "0.0.0.0:80"}, "Say it with listen"),
    "variables": ({"raw_env": ["A=b"]}, "Say it with environment_variables"),
    "a function": ({"post_fork": "print"}, "Say it in gunicorn.conf.py"),
    "a table": ({"logconfig_dict": {}}, "Say it in gunicorn.conf.py"),
    "a daemon": ({"daemon": True}, "systemd looks after"),
    "a switch with a number": ({"preload_app": 1}, "Write true or false"),
    "a number that is on": ({"max_requests": True}, "one value"),
    "a list for one": ({"max_requests": [1, 2]}, "one value"),
    "a table for one": ({"loglevel": {"a": 1}}, "no plain value"),
    "nothing": ({"loglevel": None}, "no plain value"),
    "two lines": ({"loglevel": "info\n[Install]"}, "control character"),
    "no such configuration": ({"config": "x.py"}, "there is no x.py in"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_setting_that_cannot_be_is_refused_with_a_remedy(told, case):
    given, said = BAD[case]
    with pytest.raises(Refusal, match=r"settings of application web: ") as refusal:
        told(settings=given)
    assert said in str(refusal.value)


@pytest.mark.parametrize(
    ("conf", "said"),
    [
        ("daemon = True", "systemd looks after"),
        ("group = 'www-data'", "settings: {group: ...}"),
        ("import os\ngroup = os.environ['G']", "settings: {group: ...}"),
    ],
)
def test_what_no_command_line_takes_back_is_refused(told, conf, said):
    with pytest.raises(Refusal, match=r"of application web") as refusal:
        told(conf)
    assert said in str(refusal.value)
    assert told("daemon = False\ncertfile = None\ngroup = None").notices == []


@pytest.mark.parametrize("arguments", ["--daemon", "-D", "--workers 4 -D"])
def test_a_daemon_is_refused_in_a_command_line_of_its_own_too(told, arguments):
    with pytest.raises(Refusal, match="daemon True in GUNICORN_CMD_ARGS of application web"):
        told(environment_variables={"GUNICORN_CMD_ARGS": arguments})


def test_what_may_be_said_where_it_runs_is_not_refused(told):
    told("import os\ndaemon = bool(os.environ.get('D'))")


@pytest.mark.parametrize(
    ("conf", "options", "scheme"),
    [
        ("", {}, "http"),
        ("certfile = None\nkeyfile = ''", {}, "http"),
        ("certfile = '/etc/ssl/a.pem'", {}, "https"),
        ("keyfile = '/etc/ssl/a.key'", {}, "https"),
        ("", {"settings": {"certfile": "/etc/ssl/a.pem", "keyfile": "/etc/ssl/a.key"}}, "https"),
        ("", {"environment_variables": {"GUNICORN_CMD_ARGS": "--certfile=/a.pem"}}, "https"),
        ("certfile = '/etc/ssl/a.pem'", {"health_scheme": "http"}, "http"),
        ("", {"health_scheme": "https"}, "https"),
    ],
)
def test_who_has_a_certificate_is_asked_over_tls(told, conf, options, scheme):
    assert told(conf, **options).scheme == scheme


def test_whether_a_certificate_is_there_may_be_known_by_the_running_application_alone(told):
    conf = "import os\ncertfile = os.environ.get('C')"
    found = told(conf)
    assert found.scheme == "http"
    assert found.notices == [
        "certfile of gunicorn.conf.py is not known before it is run, and its health is asked over "
        "http: say health_scheme where it speaks TLS"
    ]
    assert told(conf, health_scheme="https").notices == []


def test_a_program_that_serves_by_itself_says_how_it_is_asked():
    item = {"name": "web", "timeout_s": None, "entry": None}
    for said, scheme in ((None, "http"), ("https", "https")):
        assert settings.of_program({**item, "health_scheme": said}, "main.py").scheme == scheme


def test_a_group_that_settings_say_goes_before_that_of_the_application(told):
    found = told("group = 'www-data'", settings={"group": "web"})
    assert "--group=web" in line(found)
    assert "group www-data of gunicorn.conf.py is overruled" in found.notices[0]


# Classes of workers


@pytest.mark.parametrize(
    ("worker_class", "package"),
    [
        ("uvicorn.workers.UvicornWorker", "uvicorn"),
        ("uvicorn_worker.UvicornWorker", "uvicorn-worker"),
        ("gevent", "gevent"),
        ("geventwebsocket.gunicorn.workers.GeventWebSocketWorker", "gevent"),
        ("tornado", "tornado"),
        ("gunicorn.workers.ggevent.GeventWorker", "gevent"),
        ("gunicorn.workers.geventlet.EventletWorker", "eventlet"),
        ("egg:gunicorn#gevent_pywsgi", "gevent"),
        ("egg:meinheld#gunicorn_worker", "meinheld"),
        ("aiohttp.GunicornUVLoopWebWorker", "aiohttp"),
    ],
)
def test_workers_of_a_class_need_its_package_in_the_environment(told, worker_class, package):
    found = told(worker_class=worker_class)
    with pytest.raises(Refusal, match=f"Add {package} to the requirements"):
        settings.demand_packages(found.worker_class, "env", {"gunicorn"}, "application web")
    settings.demand_packages(found.worker_class, "env", {"gunicorn", package}, "application web")
    settings.demand_packages(found.worker_class, "env", None, "application web")
    assert f"--worker-class {worker_class} " in line(found)


def test_workers_of_a_class_that_the_application_says_itself_need_its_package_as_well(told):
    found = told("worker_class = 'gevent'")
    with pytest.raises(Refusal, match="worker_class gevent of application web"):
        settings.demand_packages(found.worker_class, "env", {"gunicorn"}, "application web")
    unknown = told("import os\nworker_class = os.environ['K']")
    settings.demand_packages(unknown.worker_class, "env", {"gunicorn"}, "application web")


# gunicorn, app/base.py, load_config(): the command line's configuration, else that of the variable.
def test_a_configuration_that_the_variable_names_is_the_applications(told):
    variables = {"GUNICORN_CMD_ARGS": "-c deploy/settings.py"}
    files = {"deploy/settings.py": "workers = 5\n"}
    found = told("workers = 7", files, environment_variables=variables)
    assert found.workers == ""
    assert told(files=files, environment_variables=variables, workers=3).notices == [
        "workers 5 of deploy/settings.py is overruled by workers: 3"
    ]
    with pytest.raises(Refusal, match=r"there is no gone\.py in"):
        told(environment_variables={"GUNICORN_CMD_ARGS": "--config gone.py"})


@pytest.mark.parametrize(
    "worker_class", ["sync", "gthread", "asgi", "mine.workers:Quick", "egg:a#b"]
)
def test_any_other_class_is_left_to_gunicorn(worker_class):
    settings.demand_packages(worker_class, "env", {"gunicorn"}, "application web")


@pytest.mark.parametrize("worker_class", ["a b", "-k", "x\n", "$HOME"])
def test_what_is_no_class_is_refused(worker_class):
    with pytest.raises(Refusal, match="path of a class"):
        settings.demand_packages(worker_class, "env", None, "application web")


@pytest.mark.parametrize("option", [{"worker_class": "gevent"}, {"settings": {"backlog": 9}}])
def test_a_program_that_serves_by_itself_is_told_nothing(option):
    item = {"name": "web", "timeout_s": None, "worker_class": None, "settings": {}, **option}
    with pytest.raises(Refusal, match="server: python has none"):
        settings.of_program(item, "main.py")


@pytest.mark.parametrize(("timeout_s", "stop_s"), [(None, 35), (60, 65)])
def test_systemd_waits_a_little_longer_than_a_program_may_take(timeout_s, stop_s):
    item = {"name": "web", "timeout_s": timeout_s, "worker_class": None, "settings": {}}
    assert settings.of_program(item, "main.py").stop_s == stop_s


# What is read


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a = 1", 1),
        ("a: str = 'x'", "x"),
        ("a = b = [1, 'x']", [1, "x"]),
        ("a = -1", -1),
        ("a = 1\na = 2", 2),
        ("a = 1\nif x:\n    a = 2", python_source.UNKNOWN),
        ("a = f'{x}'", python_source.UNKNOWN),
        ("a, b = 1, 2", python_source.UNKNOWN),
        ("for a in x: pass", python_source.UNKNOWN),
        ("a = 1\na += 1", python_source.UNKNOWN),
    ],
)
def test_a_value_is_known_where_reading_tells_it(tmp_path, text, value):
    (tmp_path / "x.py").write_text(text)
    assert python_source.values_of(tmp_path / "x.py")["a"] == value


@pytest.mark.parametrize("text", ["def f():\n    a = 1", "a: int", "x.a = 1", "a = ("])
def test_what_a_module_does_not_assign_has_no_value(tmp_path, text):
    (tmp_path / "x.py").write_text(text)
    found = python_source.values_of(tmp_path / "x.py")
    assert found.get("a", python_source.UNKNOWN) is python_source.UNKNOWN
