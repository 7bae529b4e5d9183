"""The main job on real hosts: converge, change nothing, predict, repair, survive being killed."""

from __future__ import annotations

import json
import re
import shlex
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import costs
from lab.node import Lab
from system import commit_before, environments, playbooks

pytestmark = [
    pytest.mark.lab,
    pytest.mark.executes("applications", "debian12"),
    pytest.mark.executes("applications", "debian13"),
]


@pytest.fixture(scope="module")
def first(lab, tmp_path_factory):
    """Check mode on hosts never seen before, and the real run that follows."""
    for node in lab.nodes:
        lab.fresh(node.name)
    log = tmp_path_factory.mktemp("first") / "ssh"
    predicted = playbooks.site("--check", "--diff", log=log)
    return predicted, playbooks.site("--diff", log=log)


@pytest.fixture(scope="module")
def second(first, lab, tmp_path_factory):
    """The run after that, with nothing to do, and {node: bytes that it sent there, with ssh's}."""
    assert first[1].status == 0, first[1].text
    before = sent(lab)
    run = playbooks.site(log=tmp_path_factory.mktemp("second") / "ssh")
    return run, {name: count - before[name] for name, count in sent(lab).items()}


def sent(lab):
    """Return {node: bytes that this machine has sent to it}."""
    counters = "/sys/class/net/{}/statistics/tx_bytes"
    return {
        node.name: int(Path(counters.format(lab.paths.host_interface(node.number))).read_text())
        for node in lab.nodes
    }


@pytest.fixture(scope="module")
def converged(second):
    return second[0]


def test_the_first_run_ends_well(first):
    assert first[1].status == 0, first[1].messages()


def test_a_run_that_changed_something_ends_with_the_checks_of_that(first, converged, lab):
    said = first[1].messages()
    assert re.search(
        rf"^{len(lab.nodes)} hosts .*: checks of what was changed: \d+ passed$", said, re.M
    )
    # Nothing was applied, or changed.
    for run in (first[0], converged):
        assert "checks of what was changed" not in run.messages()


def test_check_mode_on_a_virgin_host_ends_well(first):
    assert first[0].status == 0, first[0].messages()


def test_check_mode_predicts_each_change_of_the_real_run(first, lab):
    predicted, real = first
    for node in lab.nodes:
        assert real.changes(node.name), "the real run on a virgin host changes something"
        assert predicted.changes(node.name) == real.changes(node.name)


def test_check_mode_predicts_what_the_real_run_shows_as_diff(first, lab):
    predicted, real = first
    for node in lab.nodes:
        assert predicted.diffs(node.name) == real.diffs(node.name) != []


def test_the_second_run_changes_nothing_on_any_host(converged, lab):
    assert converged.changed == {node.name: 0 for node in lab.nodes}
    assert converged.status == 0


def test_the_second_run_costs_each_host_one_round_trip(converged, lab):
    counted = {node.address: converged.round_trips.count(node.address) for node in lab.nodes}
    assert counted == {node.address: costs.MOST["round_trips"] for node in lab.nodes}


def test_the_second_run_sends_each_host_little_but_names(second, lab):
    _run, sent_bytes = second
    assert sorted(sent_bytes) == [node.name for node in lab.nodes]
    assert max(sent_bytes.values()) <= costs.MOST["sent_bytes"]


def test_the_second_run_plays_nothing_after_preflight(converged):
    assert converged.plays == ["Probe, plan and refuse"]


def test_the_run_says_what_runs_where(converged):
    assert "converged, nothing to do" in converged.messages()
    assert "ob_cuda" in converged.messages()


def test_the_application_answers_from_outside(converged, lab):
    for node in lab.nodes:
        with urllib.request.urlopen(f"http://{node.address}:9001/", timeout=10) as answer:
            assert answer.read() == b"ob cuda server online!"


# The receipts of another version of this project name other digests: those of its own code.
OTHER_VERSION = r"""
sed -i 's/"digest": "[0-9a-f]*"/"digest": "0"/' /var/lib/gpunode/*.json
grep -c '"digest": "0"' /var/lib/gpunode/*.json
"""
UNITS = "systemctl cat ob_cuda.socket ob_cuda.service"
STARTED = "systemctl show --property=MainPID,ActiveEnterTimestampMonotonic ob_cuda.service"


def test_what_another_version_converged_is_adopted_and_nothing_is_restarted(
    converged, lab, tmp_path
):
    def receipts():
        return lab.ssh("node1", "sudo sha256sum /var/lib/gpunode/*.json").stdout

    own, started = receipts(), lab.ssh("node1", STARTED).stdout
    assert "MainPID=0" not in started
    renamed = lab.ssh("node1", f"sudo sh -c {shlex.quote(OTHER_VERSION)}")
    assert renamed.returncode == 0, renamed.stdout
    adopted = playbooks.site("--limit", "node1", log=tmp_path / "ssh")
    assert adopted.status == 0, adopted.messages()
    assert adopted.changes("node1") == []
    assert lab.ssh("node1", STARTED).stdout == started
    assert receipts() == own
    again = playbooks.site("--limit", "node1", log=tmp_path / "ssh")
    assert again.changed == {"node1": 0}


@pytest.mark.slow
def test_what_the_commit_before_converged_is_adopted_and_nothing_is_restarted(
    converged, lab, tmp_path
):
    earlier = commit_before.unpacked(tmp_path / "before")
    lab.fresh("node2")
    first = commit_before.site(earlier, "--limit", "node2", log=tmp_path / "ssh")
    assert first.status == 0, first.messages()
    built = "sudo sh -c 'ls -di /opt/miniforge3 /opt/gpunode/envs/* /srv/ob_cuda/releases/*'"
    builds, units, started = (
        lab.ssh("node2", command).stdout for command in (built, UNITS, STARTED)
    )
    assert len(builds.splitlines()) >= 3
    adopted = playbooks.site("--limit", "node2", log=tmp_path / "ssh")
    assert adopted.status == 0, adopted.messages()
    assert lab.ssh("node2", built).stdout == builds
    # A commit may be there for another text of a unit.
    if lab.ssh("node2", UNITS).stdout == units:
        assert adopted.changes("node2") == []
        assert lab.ssh("node2", STARTED).stdout == started
    again = playbooks.site("--limit", "node2", log=tmp_path / "ssh")
    assert again.changed == {"node2": 0}


# An older conda, as its record and its code have it.
AGED = """
import glob, json, os, re
(path,) = glob.glob("/opt/miniforge3/conda-meta/conda-[0-9]*.json")
record = {**json.load(open(path)), "version": "4.9.2"}
os.unlink(path)
json.dump(record, open("/opt/miniforge3/conda-meta/conda-4.9.2-0.json", "w"))
(path,) = glob.glob("/opt/miniforge3/lib/python3*/site-packages/conda/_version.py")
text = re.sub("(?m)^__version__ = .*", "__version__ = version = '4.9.2'", open(path).read())
os.unlink(path)
open(path, "w").write(text)
"""
# Each breaks one kind of thing a role manages; what the next run must say of it stands beside it.
DAMAGE = {
    "stopped service": ("systemctl stop ob_cuda.service", "unit ob_cuda.service is inactive"),
    "stopped socket": (
        "systemctl stop ob_cuda.socket ob_cuda.service",
        "unit ob_cuda.socket is inactive",
    ),
    "disabled socket": ("systemctl disable ob_cuda.socket", "unit ob_cuda.socket is disabled"),
    "changed unit": (
        "sed -i s/TimeoutStopSec=.*/TimeoutStopSec=1/ /etc/systemd/system/ob_cuda.service",
        "file /etc/systemd/system/ob_cuda.service was changed",
    ),
    "removed unit": (
        "rm /etc/systemd/system/ob_cuda.service",
        "file /etc/systemd/system/ob_cuda.service is gone",
    ),
    "changed release": (
        "sh -c 'echo x >> $(readlink -f /srv/ob_cuda/current)/main.py'",
        "was changed",
    ),
    "turned release link": (
        "ln -sfn /tmp /srv/ob_cuda/current",
        "link /srv/ob_cuda/current has target /tmp",
    ),
    "turned environment link": (
        "ln -sfn /tmp /opt/gpunode/envs/ob_cuda",
        "link /opt/gpunode/envs/ob_cuda has target /tmp",
    ),
    "package taken out by conda": (
        "/opt/miniforge3/bin/conda remove -yq --force --offline -p /opt/gpunode/envs/ob_cuda click",
        "lacks click-",
    ),
    "package put in by pip": (
        "/opt/gpunode/envs/ob_cuda/bin/python -m pip install -q six==1.16.0",
        "unasked six==1.16.0",
    ),
    "package taken out by pip": (
        "/opt/gpunode/envs/ob_cuda/bin/python -m pip uninstall -y -q numpy",
        "lacks numpy==",
    ),
    "changed conda configuration": (
        "sh -c 'echo offline: true >> /opt/miniforge3/.condarc'",
        "file /opt/miniforge3/.condarc was changed",
    ),
    "older conda": (
        f"/opt/miniforge3/bin/python -c {shlex.quote(AGED)}",
        "miniforge: file /opt/miniforge3/conda-meta/conda-",
    ),
    "wrong owner": (
        "chown nobody /etc/systemd/system/ob_cuda.socket",
        "ob_cuda.socket has owner nobody",
    ),
    "changed account": ("usermod -s /bin/bash ob_cuda", "user ob_cuda has shell /bin/bash"),
}


# One of each kind, of which none hides another: units, accounts, links, conda itself, its packages
# and pip's. Together they are for every run, and each by itself for `make test-full`.
_ONE_OF_EACH_KIND = (
    "stopped socket",
    "removed unit",
    "turned release link",
    "package taken out by conda",
    "package put in by pip",
    "older conda",
    "changed account",
)


@pytest.mark.parametrize(
    "damages",
    [
        pytest.param(_ONE_OF_EACH_KIND, id="one of each kind"),
        *(pytest.param([name], id=name, marks=pytest.mark.slow) for name in DAMAGE),
    ],
)
def test_what_was_broken_by_hand_is_reported_and_repaired(converged, lab, tmp_path, damages):
    for command, _said in map(DAMAGE.get, damages):
        broken = lab.ssh("node1", f"sudo {command}", timeout_s=120)
        assert broken.returncode == 0, broken.stderr
    repair = playbooks.site("--limit", "node1", log=tmp_path / "ssh")
    assert repair.status == 0, repair.messages()
    for _command, said in map(DAMAGE.get, damages):
        assert said in repair.messages()
    assert repair.changes("node1"), "the repair says what it changed"
    assert playbooks.site("--limit", "node1", log=tmp_path / "ssh").changed == {"node1": 0}


def test_a_host_that_rebooted_serves_again_and_is_converged(converged, lab, tmp_path):
    boot_id = lab.ssh("node2", "cat /proc/sys/kernel/random/boot_id").stdout
    lab.ssh("node2", "sudo systemctl reboot")
    playbooks.wait_for_reboot(lab, "node2", boot_id)
    again = playbooks.site("--limit", "node2", log=tmp_path / "ssh")
    assert (again.status, again.changed) == (0, {"node2": 0}), again.messages()


def test_an_unreachable_host_is_reported_and_stops_nobody(converged, lab, tmp_path):
    lab.stop("node2")
    try:
        run = playbooks.site(log=tmp_path / "ssh")
    finally:
        lab.start("node2")
    assert run.stats["node2"]["unreachable"] == 1
    assert run.stats["node1"]["failures"] == 0
    assert "1 host (node2): not reached" in run.messages()


def test_a_refused_host_stops_all_or_is_left_out_where_that_is_said(converged, lab, tmp_path):
    leaving = ("-e", "gpunode_refused_hosts=leave_out")
    assert lab.ssh("node1", "sudo systemctl stop ob_cuda.socket ob_cuda.service").returncode == 0
    assert lab.ssh("node2", "sudo usermod --append --groups sudo ob_cuda").returncode == 0
    try:
        stopped = playbooks.site(log=tmp_path / "ssh")
        run = playbooks.site(*leaving, log=tmp_path / "ssh")
    finally:
        lab.ssh("node2", "sudo gpasswd --delete ob_cuda sudo")
    for each in (stopped, run):
        assert each.status != 0
        assert "1 host (node2" in each.messages()
        assert each.messages().count("it may become root on this host") == 1
        assert each.changes("node2") == []
    assert stopped.changes("node1") == []
    assert run.changes("node1")
    assert playbooks.site(log=tmp_path / "ssh").changed == {"node1": 0, "node2": 0}


def test_a_host_that_answers_whatever_it_likes_stops_nobody(converged, lab, tmp_path):
    """Its Python is another one's, who knows of an operator's terminal and of templates."""
    mark = tmp_path / "owned-by-a-host"
    facts = {
        "distribution": "\x1b[2J\x1b]0;owned\x07",
        "receipts": {"../../x": {"digest": "{{ 7 * 7 }}"}},
        "listening": f"{{{{ lookup('pipe', 'touch {mark}') }}}}",
    }
    answer = {
        "gpunode_facts": facts,
        "plan": {"status": "converged"},
        "due": ["reboot"],
        "changed": False,
        "is_root": True,
        "ansible_facts": {"gpunode_driver_file": "/etc/shadow"},
    }
    said = shlex.quote(json.dumps(answer))
    text = shlex.quote(f"#!/bin/sh\ncat >/dev/null\nprintf '%s\\n' {said}\n")
    place = "/usr/local/bin/another-python"
    lab.ssh("node2", f"printf %s {text} | sudo tee {place}; sudo chmod 755 {place}")
    assert lab.ssh("node1", "sudo systemctl stop ob_cuda.socket ob_cuda.service").returncode == 0
    python = f"{{{{ '{place}' if inventory_hostname == 'node2' else '/usr/bin/python3' }}}}"
    try:
        run = playbooks.site(
            "-e", json.dumps({"ansible_python_interpreter": python}), log=tmp_path / "ssh"
        )
    finally:
        lab.ssh("node2", f"sudo rm {place}")
    assert run.stats["node2"]["failures"] == 1
    assert "the host answers what are no facts" in run.messages()
    assert run.changes("node1")
    assert "\x1b" not in run.text
    assert not mark.exists()


DROP_IN = "/etc/systemd/system/ob_cuda.service.d/loose.conf"
# Which checks fail for what is broken, by its name in DAMAGE, and for what only loosens a unit.
FAILING = {
    "stopped service": {"application.running"},
    "stopped socket": {"application.running"},
    "disabled socket": {"application.boot"},
    "changed unit": {"application.unit_files", "application.loaded_unit"},
    "changed release": {"application.release"},
    "turned release link": {"application.release"},
    "turned environment link": {"environment.link"},
    "package taken out by conda": {"environment.packages"},
    "package put in by pip": {"environment.packages"},
    "package taken out by pip": {"environment.packages"},
    "changed conda configuration": {"miniforge.files"},
    "wrong owner": {"application.unit_files"},
    "changed account": {"application.files"},
    "loosening drop-in": {"application.drop_ins"},
}
LOOSENED = (
    f"sh -c 'mkdir -p {Path(DROP_IN).parent}; echo [Service] > {DROP_IN};"
    f" echo ProtectSystem=no >> {DROP_IN}; systemctl daemon-reload'"
)


def checked(folder):
    """Check all nodes; return (the Run, {node: names of the checks that failed there})."""
    written = folder / "verify.json"
    done = playbooks.run(
        "playbooks/verify.yml", "-e", f"verification_json={written}", log=folder / "ssh"
    )
    hosts = json.loads(written.read_text())["hosts"]
    return done, {
        name: {row["check"] for row in host["checks"] if row["outcome"] == "failed"}
        for name, host in hosts.items()
    }


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("stopped socket", "package put in by pip"),
        *(
            pytest.param(*pair, marks=pytest.mark.slow)
            for pair in (
                ("changed unit", "loosening drop-in"),
                ("turned environment link", "changed release"),
                ("package taken out by conda", "disabled socket"),
                ("changed conda configuration", "turned release link"),
                ("changed account", "stopped service"),
                ("wrong owner", "package taken out by pip"),
            )
        ),
    ],
)
def test_what_is_broken_on_each_host_fails_its_check_there_alone_until_it_is_repaired(
    converged, lab, tmp_path, one, other
):
    commands = {**{name: row[0] for name, row in DAMAGE.items()}, "loosening drop-in": LOOSENED}
    damages = {"node1": one, "node2": other}
    try:
        for name, damage in damages.items():
            broken = lab.ssh(name, f"sudo {commands[damage]}", timeout_s=120)
            assert broken.returncode == 0, broken.stderr
        done, failed = checked(tmp_path)
        assert failed == {name: FAILING[damage] for name, damage in damages.items()}
        assert done.status == 2
        assert sorted(done.round_trips) == sorted(node.address for node in lab.nodes)
        repair = playbooks.site(log=tmp_path / "ssh")
        assert repair.status == 0, repair.messages()
        done, failed = checked(tmp_path)
        assert failed == {"node1": set(), "node2": set()}, done.messages()
        assert done.status == 0
    finally:
        # It is not ours, and no run removes it.
        lab.ssh("node2", f"sudo sh -c 'rm -f {DROP_IN}; systemctl daemon-reload'")
        playbooks.site(log=tmp_path / "ssh")


def test_tags_apply_the_named_component_and_no_other(converged, lab, tmp_path):
    broken = "ln -sfn /tmp /opt/gpunode/envs/ob_cuda; ln -sfn /tmp /srv/ob_cuda/current"
    assert lab.ssh("node1", f"sudo sh -c '{broken}'").returncode == 0
    tagged = playbooks.site("--limit", "node1", "--tags", "conda_env", log=tmp_path / "ssh")
    assert tagged.status == 0, tagged.messages()
    assert lab.ssh("node1", "readlink /opt/gpunode/envs/ob_cuda").stdout != "/tmp\n"
    assert lab.ssh("node1", "readlink /srv/ob_cuda/current").stdout == "/tmp\n"
    rest = playbooks.site("--limit", "node1", log=tmp_path / "ssh")
    assert rest.status == 0, rest.messages()
    assert lab.ssh("node1", "readlink /srv/ob_cuda/current").stdout != "/tmp\n"


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(environments.fresh, id="for applications alone"),
        pytest.param(Lab.fresh, id="for all", marks=pytest.mark.slow),
    ],
)
def test_two_runs_at_once_both_end_well(converged, lab, tmp_path, made):
    made(lab, "node1")
    with ThreadPoolExecutor() as pool:
        logs = [tmp_path / "one", tmp_path / "two"]
        runs = list(pool.map(lambda log: playbooks.site("--limit", "node1", log=log), logs))
    for run in runs:
        assert run.status == 0, run.messages()
    assert playbooks.site("--limit", "node1", log=tmp_path / "ssh").changed == {"node1": 0}


# The task during which the controller dies, and how long into it.
KILLED_AT = {
    "while Miniforge installs": ("Bring Miniforge to its wanted state", 1.0),
    "while an environment is built": ("Bring the environments to their wanted state", 3.0),
    "after the environments": ("Bring the applications to their wanted state", 0.0),
    "while an application is set up": ("Bring the applications to their wanted state", 0.6),
    "while an application is proven": ("Bring the applications to their wanted state", 1.5),
}


def bring_to(lab, task):
    """Make node1 what a run has made of it when it comes to a task."""
    if "Miniforge" in task:
        lab.fresh("node1")
        return
    environments.fresh(lab, "node1")
    if "environments" in task:
        gone = lab.ssh("node1", "sudo rm -r /opt/gpunode /var/lib/gpunode/conda_env.json")
        assert gone.returncode == 0, gone.stderr


# Half a minute each: these are for every run, the others for `make test-full`.
_OFTEN_KILLED = (
    "while an environment is built",
    "while an application is set up",
)


@pytest.mark.parametrize(
    "place",
    [
        pytest.param(name, marks=[] if name in _OFTEN_KILLED else pytest.mark.slow)
        for name in KILLED_AT
    ],
)
def test_a_killed_run_started_again_reaches_the_same_state(converged, lab, tmp_path, place):
    wanted = playbooks.fingerprint(lab, "node1")
    task, delay_s = KILLED_AT[place]
    bring_to(lab, task)
    playbooks.site_killed_at(task, delay_s, "--limit", "node1")
    again = playbooks.site("--limit", "node1", log=tmp_path / "ssh")
    assert again.status == 0, again.messages()
    assert playbooks.fingerprint(lab, "node1") == wanted
    assert playbooks.site("--limit", "node1", log=tmp_path / "ssh").changed == {"node1": 0}
