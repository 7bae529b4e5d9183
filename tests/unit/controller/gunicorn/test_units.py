"""The units of applications: what they say, how far they confine, what systemd thinks of them."""

from __future__ import annotations

import difflib
import json
import pathlib
import re
import shlex
import subprocess
import sys

import pytest
from applications import lines

from ansible_collections.gpunode.stack.plugins.module_utils._node.system import systemd
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import project, wanted_state
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.gunicorn import (
    settings,
    units,
)

OPTIONS = wanted_state.options_of("gunicorn_app")["gunicorn_app_list"]["options"]
RESOLVED = {
    "name": "web",
    "user": "web",
    "dir": "/srv/web",
    "entry": "main:app",
    "listen": "0.0.0.0:9001",
    "release": "/srv/web/releases/0123456789ab",
    "prefix": "/opt/gpunode/envs/env-0123456789ab",
    "environment_variables": {},
    "secrets_digest": "",
}
PYTHON = {"server": "python", "entry": "main.py"}


def rendered(**changes):
    """Return the units of an application with these options changed."""
    defaults = {name: option.get("default") for name, option in OPTIONS.items()}
    item = {**defaults, **RESOLVED, **changes}
    told = (
        settings.of_program(item, "main.py")
        if item["server"] == "python"
        else settings.resolve(item, item["release"], None, "main:app")
    )
    return units.render({**item, **told._asdict()})


def service(**changes):
    return rendered(**changes)["units"]["web.service"]


def candidate(**changes):
    return rendered(**changes)["candidate"]


def differences(one, other):
    """Return ({lines of one alone}, {lines of the other alone}), comments and blanks left out."""
    found = [
        line
        for line in difflib.ndiff(one.splitlines(), other.splitlines())
        if line[0] in "+-"
        and line[2:].strip()
        and not line[2:].startswith(("#", "Environment=GPU"))
    ]
    return tuple({line[2:] for line in found if line[0] == sign} for sign in "-+")


# What each option changes


def test_a_variable_is_quoted_so_that_systemd_reads_it_back_unchanged():
    text = service(environment_variables={"MODE": 'a "b" \\ 50% of\n$HOME'})
    assert r'''Environment="MODE=a \"b\" \\ 50%% of\n$HOME"''' in text.splitlines()


@pytest.mark.parametrize(
    ("entry", "written"),
    [
        ("main:app", "main:app"),
        ("main:make('production')", "\"main:make('production')\""),
        ('main:make("a b")', r'"main:make(\"a b\")"'),
        ("main:make('100% $HOME')", "\"main:make('100%% $$HOME')\""),
    ],
)
def test_a_factory_is_one_argument_whatever_it_is_called_with(entry, written, prefix):
    found = rendered(entry=entry, prefix=prefix)
    text = found["units"]["web.service"]
    assert lines(text, "ExecStart")[0].endswith(f" {written}")
    assert lines(text, "Description")[0] == f"web: {entry.replace('%', '%%')} under gunicorn"
    systemd.verify({**found["units"], "web-candidate.service": found["candidate"]})


def test_the_service_carries_the_digest_of_its_own_text():
    found = rendered()
    assert lines(found["units"]["web.service"], "Environment=GPUNODE_UNIT") == [
        found["unit_digest"]
    ]
    assert rendered(workers=3)["unit_digest"] != found["unit_digest"]


def test_a_stop_may_take_a_time_of_many_digits():
    assert lines(service(timeout_s=10**7), "TimeoutStopSec") == ["10000005"]
    asked = service(settings={"graceful_timeout": 1234567.5})
    assert lines(asked, "TimeoutStopSec") == ["1234572.5"]


def test_a_jit_may_have_memory_that_is_written_and_run_and_nothing_else():
    assert differences(service(), service(jit=True)) == ({"MemoryDenyWriteExecute=true"}, set())


def test_what_reads_proc_sees_all_of_it_but_processes_of_others():
    assert differences(service(), service(proc=True)) == ({"ProcSubset=pid"}, set())
    assert "ProtectProc=invisible" in service(proc=True).splitlines()


def test_folders_of_data_loosen_nothing_else():
    lost, gained = differences(service(), service(readable=["/srv/a"], writable=["/srv/b"]))
    assert (lost, gained) == (set(), {"BindReadOnlyPaths=/srv/a", "BindPaths=/srv/b"})


def words_of(command):
    """Return the words of a command line of a unit, as systemd reads them."""
    return [
        word.replace("\\n", "\n")
        for word in shlex.split(command.replace("$$", "$").replace("%%", "%"))
    ]


def program_in(prefix):
    """Give an environment a program, and return what a unit's text would start it by."""
    python = pathlib.Path(prefix, "bin/python")
    python.unlink()
    python.symlink_to(sys.executable)
    return words_of(units.activated(prefix))


@pytest.fixture
def started(prefix):
    """Return a function that starts a program as a unit's text would, and returns what it has.

    Its files are {path in the environment: text}.
    """

    def run(files, **variables):
        for name, text in files.items():
            path = pathlib.Path(prefix, name if "/" in name else f"etc/conda/activate.d/{name}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        shown = [sys.executable, "-c", "print(open('/proc/self/environ').read())"]
        done = subprocess.run(
            [*program_in(prefix), *shown], env=variables, capture_output=True, text=True, check=True
        )
        run.said = done.stderr
        return dict(line.split("=", 1) for line in done.stdout.rstrip("\0\n").split("\0"))

    return run


# What bash sets itself, keeps to itself, or reads: bash(1), "Shell Variables".
@pytest.mark.parametrize(
    "name",
    ["path", "said", "f", "IFS", "RANDOM", "SECONDS", "OPTIND", "PS4", "LINENO", "UID", "EUID",
     "PPID", "SHLVL", "PWD", "OLDPWD", "_", "LC_CTYPE", "DIRSTACK", "X.Y"],
)  # fmt: skip
def test_a_variable_that_the_shell_uses_itself_is_the_applications(started, name):
    scripts = {"path.sh": 'export PATH="$CONDA_PREFIX/extra:$PATH"\n'}
    found = started(scripts, CONDA_PREFIX="/opt/e", PATH="/usr/bin:/bin", **{name: "its own"})
    assert (found["PATH"], found[name]) == ("/opt/e/extra:/usr/bin:/bin", "its own")


def test_what_activation_sets_is_set(started):
    scripts = {
        "gdal.sh": 'export GDAL_DATA="$CONDA_PREFIX/share/gdal"\nnot_for_others=1\n',
        "path.sh": 'export PATH="$CONDA_PREFIX/extra:$PATH"\n',
        "odd.sh": "set -- lost arguments\nfalse\nno-such-command\n",
        "bash.sh": "_words=(a b)\nexport LAST=${_words[1]}\n",
        "other.fish": "export FISH=1\n",
    }
    found = started(scripts, CONDA_PREFIX="/opt/e", PATH="/usr/bin:/bin")
    assert (found["GDAL_DATA"], found["LAST"]) == ("/opt/e/share/gdal", "b")
    assert found["PATH"] == "/opt/e/extra:/usr/bin:/bin"
    assert not {"FISH", "not_for_others", "said", "SHLVL", "_"} & set(found)


# conda, core/envs_manager.py and activate.py, _get_environment_env_vars: those of packages by the
# names of their files, then those of `conda env config vars set`; before any script.
def test_variables_that_packages_and_the_environment_bring_are_set(started):
    files = {
        "etc/conda/env_vars.d/a.json": '{"PROJ_DATA": "/a", "GDAL_DRIVER_PATH": "x", "N": 1}',
        "etc/conda/env_vars.d/b.json": '{"PROJ_DATA": "/b", "TEXT": "a \\"b\\" $HOME \\u00e9"}',
        "conda-meta/state": '{"env_vars": {"N": "2", "GONE": "***unset***"}, "version": 1}',
        "look.sh": 'export SEEN="$PROJ_DATA"\n',
    }
    found = started(files, PATH="/usr/bin:/bin")
    assert (found["PROJ_DATA"], found["N"], found["SEEN"]) == ("/b", "2", "/b")
    assert (found["TEXT"], found["GDAL_DRIVER_PATH"]) == ('a "b" $HOME é', "x")
    assert "GONE" not in found
    assert started({}, PROJ_DATA="its own", PATH="/usr/bin:/bin")["PROJ_DATA"] == "its own"


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"A=B": "x"}', '{"C": "a\\u0000b"}', "\x80"])
def test_variables_that_cannot_be_read_stop_nothing_and_are_told(started, text):
    files = {"etc/conda/env_vars.d/a.json": text, "etc/conda/env_vars.d/b.json": '{"D": "d"}'}
    assert started(files, PATH="/usr/bin:/bin")["D"] == "d"
    assert "etc/conda/env_vars.d/a.json" in started.said


def test_what_a_script_prints_is_no_variable_and_goes_to_the_log(started):
    found = started({"loud.sh": "echo LOUD=1\nexport A=a\n"}, PATH="/usr/bin:/bin")
    assert ("LOUD" in found, found["A"]) == (False, "a")
    assert "LOUD=1" in started.said


def test_what_an_application_is_given_goes_before_what_activation_sets(started):
    given = {"GDAL_DATA": 'a "b" $HOME\n`c`\\ d', "path": "kept", "said": "kept too"}
    found = started({"gdal.sh": "export GDAL_DATA=x\nunset KEPT\n"}, KEPT="k", **given)
    assert given.items() <= found.items()
    assert found["KEPT"] == "k"


def test_what_activates_becomes_the_program(prefix):
    program = [sys.executable, "-c", "import os; print(os.getpid())"]
    with subprocess.Popen(
        [*program_in(prefix), *program], stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout.read() == f"{first.pid}\n"


def test_an_environment_without_scripts_starts_as_it_is(started):
    assert started({}, A="b", PATH="/usr/bin:/bin")["A"] == "b"


def test_a_gpu_opens_its_devices_and_starts_after_what_brings_them():
    lost, gained = differences(service(), service(gpu=True))
    assert lost == {"MemoryDenyWriteExecute=true", "PrivateDevices=true", "ProcSubset=pid"}
    assert gained == {
        "DeviceAllow=char-nvidia* rwm",
        "Wants=modprobe@nvidia_uvm.service",
        "After=modprobe@nvidia_uvm.service nvidia-persistenced.service "
        "nvidia-fabricmanager.service nvidia-gridd.service",
        "ExecStartPre=+-/usr/bin/nvidia-smi -L",
        "ExecStartPre=+-/usr/bin/nvidia-modprobe -c0 -u",
    }


def test_a_gpu_implies_a_jit():
    assert service(gpu=True) == service(gpu=True, jit=True)


def test_gunicorn_finds_a_folder_for_its_control_socket_that_is_no_other_units():
    text = service(listen="/run/web/web.sock")
    assert lines(text, "RuntimeDirectory") == ["gpunode-web"]
    assert "Environment=XDG_RUNTIME_DIR=/run/gpunode-web" in text.splitlines()
    assert "control-socket" not in text


def test_a_python_server_has_a_folder_for_a_socket_that_others_can_reach():
    text = service(**PYTHON, listen="/run/gpunode-web/http.sock")
    assert lines(text, "RuntimeDirectory") == ["gpunode-web"]
    assert lines(text, "RuntimeDirectoryMode") == []


def test_a_connection_carries_one_request():
    assert " --keep-alive 0 " in lines(service(), "ExecStart")[0]


def test_a_python_server_is_one_unit_that_runs_the_file():
    found = rendered(**PYTHON)
    assert list(found["units"]) == ["web.service"]
    assert found["candidate"] is None
    text = found["units"]["web.service"]
    assert lines(text, "ExecStart")[0].endswith(f" {RESOLVED['prefix']}/bin/python main.py")
    assert lines(text, "Type") == ["exec"]
    assert "web.socket" not in text
    assert "ExecReload" not in text


# The candidate


def test_the_candidate_is_the_service_with_one_worker_and_an_address_of_its_own():
    secrets = {"secrets_digest": "ab", "workers": 8, "gpu": True, "memory_max": "8G"}
    lost, gained = differences(service(**secrets), candidate(**secrets))
    start = lines(service(**secrets), "ExecStart")[0]
    alone = start.replace("--workers 8", "--workers 1").replace(
        "main:app", "--bind unix:/run/web-candidate/http.sock main:app"
    )
    checked = alone.replace("main:app", "--check-config main:app")
    assert lost == {
        "Description=web: main:app under gunicorn",
        "Requires=web.socket",
        "After=web.socket",
        "RuntimeDirectory=gpunode-web",
        "Environment=XDG_RUNTIME_DIR=/run/gpunode-web",
        "EnvironmentFile=/etc/gpunode/web.env",
        f"ExecStart={start}",
        "Restart=always",
        "RestartSec=2",
        "[Install]",
        "WantedBy=multi-user.target",
    }
    assert gained == {
        "Description=web: candidate of main:app under gunicorn",
        "RuntimeDirectory=web-candidate",
        "Environment=XDG_RUNTIME_DIR=/run/web-candidate",
        "EnvironmentFile=/run/gpunode/web-candidate.env",
        f"ExecStartPre={checked}",
        f"ExecStart={alone}",
        "Restart=no",
        "RuntimeMaxSec=120",
        "SystemCallFilter=@chown",
    }


def test_the_candidate_says_that_it_was_started_from_the_text_it_is_to_prove():
    found = rendered()
    assert lines(found["candidate"], "Environment=GPUNODE_UNIT") == [found["unit_digest"]]


def test_wanting_no_candidate_leaves_the_service_as_it_is():
    assert candidate(candidate=False) is None
    assert service(candidate=False) == service()


# systemd's own opinion

APPS = {
    "plain": {},
    "everything": {
        "user": "ob", "dir": "/home/ob/code", "listen": "[2001:db8::1]:9001", "workers": 8,
        "threads": 4, "timeout_s": 90, "start_timeout_s": 180, "memory_max": "8G",
        "environment_variables": {"MODE": 'a "b" \\ 50% of\n$HOME'}, "secrets_digest": "ab",
        "gpu": True,
    },
    "unix": {"listen": "/run/web/web.sock"},
    "jit": {"jit": True},
    "python": PYTHON,
    "python on a unix socket": {**PYTHON, "listen": "/run/gpunode-web/http.sock"},
}  # fmt: skip


@pytest.fixture
def prefix(tmp_path):
    """An environment whose python exists."""
    python = tmp_path / "prefix" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    return str(tmp_path / "prefix")


@pytest.mark.parametrize("app", APPS)
def test_systemd_finds_nothing_wrong_with_the_units(app, prefix):
    found = rendered(**APPS[app], prefix=prefix)
    systemd.verify(found["units"])
    if found["candidate"]:
        systemd.verify({"web-candidate.service": found["candidate"]})


@pytest.mark.parametrize(
    "text",
    [
        "[Service]\nExecStart=/no/such/program\n",
        "[Service]\nExecStart=/bin/true\nNoNewThings=yes\n",
        "[Service]\nExecStart=/bin/true\nUser=nobody\n",
    ],
)
def test_a_broken_unit_is_refused_in_systemds_words(text):
    with pytest.raises(systemd.UnitError, match=r"x\.service"):
        systemd.verify({"x.service": text})


# What docs/serving.md says of the exposure

SERVING = (project.ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
VARIANTS = {
    "none": {},
    "`server: python`": PYTHON,
    "`jit: true`": {"jit": True},
    "`proc: true`": {"proc": True},
    "`readable`, `writable`": {"readable": ["/srv/a"], "writable": ["/srv/b"]},
    "`gpu: true`": {"gpu": True},
}


def rows(header):
    """Return the rows of the table in docs/serving.md that has this header, as lists of cells."""
    table = SERVING.split(f"{header}\n", 1)[1].split("\n\n", 1)[0]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()[1:]]


def systemd_version():
    """Return the version of systemd-analyze, 0 where there is none."""
    try:
        done = subprocess.run(["systemd-analyze", "--version"], capture_output=True, check=True)
    except FileNotFoundError:
        return 0
    return int(re.search(rb"systemd (\d+)", done.stdout).group(1))


counts_as_documented = pytest.mark.skipif(
    systemd_version() < 252, reason="the documented figures are those of systemd 252 and later"
)


@pytest.fixture
def security(tmp_path):
    """Return a function from options to what `systemd-analyze security` says of the service."""
    unit = tmp_path / "web.service"

    def analysed(*arguments, **options):
        unit.write_text(service(**options))
        return subprocess.run(
            ["systemd-analyze", "security", "--offline=true", "--no-pager", *arguments, unit],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip

    return analysed


@counts_as_documented
def test_the_documented_exposure_is_what_systemd_says(security):
    found = {}
    for name, options in VARIANTS.items():
        said = security(**options)
        found[name] = re.search(r"exposure level for web\.service: ([\d.]+) ", said).group(1)
    assert dict(rows("| options | exposure |")) == found
    assert max(map(float, found.values())) <= 2.0


@counts_as_documented
def test_the_documented_loosenings_are_those_that_systemd_counts(security):
    def counted(**options):
        settings = json.loads(security("--json=short", **options))
        return {
            setting["name"]: (setting["exposure"], setting["description"])
            for setting in settings
            if setting["exposure"]
        }

    found = {}
    for option in ("jit", "gpu", "proc"):
        for name, (exposure, description) in counted(**{option: True}).items():
            if counted().get(name) != (exposure, description):
                found.setdefault(f"`{name}`", [exposure]).append(f"`{option}`")
    documented = rows("| setting | loosened by | to | counts |")
    assert {name: [counts, *by.split(", ")] for name, by, _to, counts in documented} == found
