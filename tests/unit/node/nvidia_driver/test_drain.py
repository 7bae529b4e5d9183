"""What uses the GPUs goes out of the driver's way, and comes back as it ran."""

from __future__ import annotations

import json
import subprocess

import pytest
from trees import planted
from web_app import Systemd

from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import drained
from ansible_collections.gpunode.stack.plugins.module_utils._node.nvidia_driver import drain
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import own_paths

MODULES = "nvidia_uvm 1 0 - Live 0x0 (OE)\nnvidia 1 1 nvidia_uvm, Live 0x0 (OE)\n"
ALONE = "nvidia 1 0 - Live 0x0 (OE)\n"


def unit(name, active="active", **relations):
    return {"Id": name, "LoadState": "loaded", "ActiveState": active, **relations}


class Host(Systemd):
    """A systemd that stops and starts, before a tree of files."""

    def __init__(self, folder, *units, modules=ALONE, client=None):
        super().__init__()
        self.units = {state["Id"]: state for state in units}
        process = {
            "/proc/77/comm": "python3\n",
            "/proc/77/cgroup": f"0::/system.slice/{client}\n",
        }
        links = {"/proc/77/fd/3": "/dev/nvidia0"}
        self.folder = folder
        self.modules = folder / "proc" / "modules"
        self.tree = planted(
            folder,
            {"/proc/modules": modules, **(process if client else {})},
            links if client else {},
        )
        self._client = client

    def run(self, argv, **options):
        done = super().run(argv, **options)
        if argv[0] == "systemctl" and argv[1] in ("stop", "start") and not done.returncode:
            for name in argv[2:]:
                self.units[name]["ActiveState"] = "active" if argv[1] == "start" else "inactive"
                if name == self._client and argv[1] == "stop":
                    (self.folder / "proc/77/fd/3").unlink()
        elif argv[0] == "rmmod" and not done.returncode:
            self.modules.write_text(
                "".join(
                    f"{line}\n"
                    for line in self.modules.read_text().splitlines()
                    if line.split()[0] != argv[1]
                )
            )
        return done

    @property
    def active(self):
        return sorted(
            name for name, state in self.units.items() if state["ActiveState"] == "active"
        )


@pytest.fixture(autouse=True)
def _state_dir(tmp_path, monkeypatch):
    monkeypatch.setattr(own_paths, "STATE_DIR", str(tmp_path / "state"))


TRAIN = unit("train.service", TriggeredBy="train.socket train.timer")
UNITS = (
    TRAIN,
    unit("train.socket"),
    unit("train.timer", "inactive"),
    unit("idle.service", "inactive", TriggeredBy="idle.path"),
    unit("idle.path"),
)


def host_of(folder, *units, **options):
    return Host(folder, *(dict(state) for state in units), **options)


def test_what_is_at_work_and_what_would_start_it_again_is_to_stop(tmp_path):
    host = host_of(tmp_path, *UNITS)
    found = drain.survey(["train.service", "idle.service"], host.run)
    assert found == {"triggers": ["idle.path", "train.socket"], "services": ["train.service"]}
    assert drain.sentence(found) == (
        "stop idle.path, train.socket, train.service for the time of the change"
    )


def test_a_unit_counts_that_systemd_would_stop_along_with_another(tmp_path):
    host = host_of(
        tmp_path,
        unit("docker.service", RequiredBy="multi-user.target", BoundBy="inference.service"),
        unit("inference.service", ConsistsOf="sidecar.service"),
        unit("sidecar.service"),
        unit("multi-user.target", RequiredBy="all.service"),
        unit("all.service"),
    )
    found = drain.survey(["docker.service"], host.run)
    assert found["services"] == ["docker.service", "inference.service", "sidecar.service"]


def test_the_drivers_daemons_run_again_before_who_computes(tmp_path):
    units = [unit(name) for name in ("app.service", "app.socket", "nvidia-fabricmanager.service")]
    host = host_of(tmp_path, *units)
    found = drain.survey(["app.service", "nvidia-fabricmanager.service"], host.run)
    drain.drain({**found, "triggers": ["app.socket"]}, host.tree, host.run)
    drain.restore(host.run)
    assert host.told[-3:] == [
        "start nvidia-fabricmanager.service",
        "start app.socket",
        "start app.service",
    ]


def test_a_unit_that_needs_an_idle_one_stays(tmp_path):
    host = host_of(
        tmp_path,
        unit("idle.service", "inactive", RequiredBy="other.service"),
        unit("other.service"),
    )
    assert drain.survey(["idle.service"], host.run)["services"] == []


def test_an_alias_is_the_unit_that_it_stands_for(tmp_path):
    host = host_of(tmp_path, unit("train.service"))
    host.units["gpu.service"] = host.units["train.service"]
    found = drain.survey(["gpu.service", "train.service"], host.run)
    assert found["services"] == ["train.service"]


def test_where_nothing_runs_nothing_is_said_and_no_note_is_left(tmp_path):
    host = host_of(tmp_path, unit("train.service", "inactive"))
    found = drain.survey(["train.service", "ghost.service"], host.run)
    assert drain.sentence(found) == ""
    drain.drain(found, host.tree, host.run)
    assert host.told == []
    assert not (tmp_path / "state").exists()


def test_triggers_go_before_services_and_come_before_them(tmp_path):
    host = host_of(tmp_path, *UNITS, client="train.service")
    before = host.active
    drain.drain(drain.survey(["train.service"], host.run), host.tree, host.run)
    assert host.told == ["stop train.socket", "stop train.service"]
    assert drain.restore(host.run) == []
    assert host.told[2:] == ["start train.socket", "start train.service"]
    assert host.active == before
    assert not (tmp_path / "state" / "drained.json").exists()


def test_the_note_is_there_before_anything_stops(tmp_path):
    host = host_of(tmp_path, *UNITS)
    host.refuses = ("stop train.socket",)
    notes = []

    def run(argv, **options):
        if argv[:2] == ["systemctl", "stop"]:
            notes.append(drained.noted())
        return host.run(argv, **options)

    found = drain.survey(["train.service"], run)
    with pytest.raises(Refusal):
        drain.drain(found, host.tree, run)
    assert notes == [found]


def test_a_client_that_is_no_such_unit_is_named_and_all_runs_again(tmp_path):
    host = host_of(tmp_path, *UNITS, client="session-3.scope")
    before = host.active
    with pytest.raises(Refusal) as refused:
        drain.drain(drain.survey(["train.service"], host.run), host.tree, host.run)
    assert refused.value.because == "python3 (pid 77) of session-3.scope has /dev/nvidia0 open"
    assert "runs again" in refused.value.remedy
    assert host.active == before
    assert not (tmp_path / "state" / "drained.json").exists()


def test_a_daemon_that_stays_is_no_client(tmp_path):
    host = host_of(tmp_path, *UNITS, client="nvidia-persistenced.service")
    (tmp_path / "proc/77/comm").write_text("nvidia-persiste\n")
    drain.drain(drain.survey(["train.service"], host.run), host.tree, host.run)
    assert "train.service" not in host.active


def test_a_unit_that_does_not_stop_is_named_and_all_runs_again(tmp_path):
    host = host_of(tmp_path, *UNITS)
    before = host.active
    host.refuses = ("stop train.service",)
    with pytest.raises(Refusal, match=r"systemctl stop train\.service: no"):
        drain.drain(drain.survey(["train.service"], host.run), host.tree, host.run)
    assert host.active == before


def test_what_a_killed_run_stopped_is_started_by_the_next_one(tmp_path):
    host = host_of(tmp_path, *UNITS)
    before = host.active
    drain.drain(drain.survey(["train.service"], host.run), host.tree, host.run)
    # The next one finds nothing of it at work, but something else.
    again = drain.survey(["train.service", "idle.service"], host.run)
    drain.drain(again, host.tree, host.run)
    drain.restore(host.run)
    assert host.active == before


def test_after_a_reboot_only_what_did_not_come_back_is_started(tmp_path):
    host = host_of(tmp_path, *UNITS)
    drain.drain(drain.survey(["train.service"], host.run), host.tree, host.run)
    host.units["train.service"]["ActiveState"] = "active"
    host.told.clear()
    drain.restore(host.run)
    assert host.told == ["start train.socket"]


def test_a_unit_that_is_gone_is_named_and_the_rest_comes_back(tmp_path):
    host = host_of(tmp_path, *UNITS)
    drain.drain(drain.survey(["train.service"], host.run), host.tree, host.run)
    host.units["train.socket"] = {"LoadState": "not-found", "ActiveState": "inactive"}
    assert drain.restore(host.run) == ["train.socket"]
    assert host.units["train.service"]["ActiveState"] == "active"
    assert not (tmp_path / "state" / "drained.json").exists()


def test_a_unit_that_does_not_start_keeps_the_note_for_the_next_run(tmp_path):
    host = host_of(tmp_path, *UNITS)
    drain.drain(drain.survey(["train.service"], host.run), host.tree, host.run)
    host.refuses = ("start train.socket",)
    with pytest.raises(Refusal, match=r"systemctl start train\.socket: no"):
        drain.restore(host.run)
    assert host.units["train.service"]["ActiveState"] == "active"
    note = json.loads((tmp_path / "state" / "drained.json").read_text())
    assert note == {"triggers": ["train.socket"], "services": ["train.service"]}


def test_the_modules_go_and_come_in_the_order_of_their_needs(tmp_path):
    host = host_of(tmp_path, modules=MODULES)
    asked = []

    def run(argv, **options):
        asked.append(" ".join(argv))
        return host.run(argv, **options)

    assert drain.reload_modules(host.tree, run) == ""
    assert asked == ["rmmod nvidia_uvm", "rmmod nvidia", "modprobe nvidia", "modprobe nvidia_uvm"]


def test_where_none_is_loaded_the_driver_is_loaded(tmp_path):
    host = host_of(tmp_path, modules="")
    assert drain.reload_modules(host.tree, host.run) == ""
    assert host.told == ["nvidia"]


@pytest.mark.parametrize(
    ("modules", "client", "says"),
    [
        (
            f"gdrdrv 1 0 - Live 0x0 (OE)\n{ALONE.replace('-', 'gdrdrv,')}",
            None,
            "gdrdrv stands on nvidia",
        ),
        (
            ALONE,
            "nvidia-persistenced.service",
            "python3 (pid 77) of nvidia-persistenced.service has /dev/nvidia0 open",
        ),
    ],
)
def test_a_driver_that_is_in_use_is_not_touched(tmp_path, modules, client, says):
    host = host_of(tmp_path, modules=modules, client=client)
    assert drain.reload_modules(host.tree, host.run) == says
    assert host.told == []


def test_what_went_comes_back_where_the_rest_stays(tmp_path):
    host = host_of(tmp_path, modules=MODULES)
    asked = []

    def run(argv, **options):
        asked.append(" ".join(argv))
        if argv == ["rmmod", "nvidia"]:
            return subprocess.CompletedProcess(argv, 1, "", "rmmod: ERROR: Module nvidia is in use")
        return host.run(argv, **options)

    said = drain.reload_modules(host.tree, run)
    assert said == "rmmod nvidia: rmmod: ERROR: Module nvidia is in use"
    assert asked[2:] == ["modprobe nvidia_uvm"]


@pytest.mark.parametrize(
    "failure", [subprocess.TimeoutExpired("rmmod", 1), FileNotFoundError(2, "No such file")]
)
def test_a_program_that_does_not_end_or_is_not_there_is_a_reason(tmp_path, failure):
    host = host_of(tmp_path)

    def run(argv, **_options):
        raise failure

    assert drain.reload_modules(host.tree, run).startswith("rmmod nvidia")


def test_the_words_of_a_driver_that_does_not_load_are_told(tmp_path):
    host = host_of(tmp_path, modules="")
    host.refuses = ("nvidia",)
    assert drain.reload_modules(host.tree, host.run) == "modprobe nvidia: no"
