"""Manifests and receipts: every kind of thing is seen when it was broken by hand."""

import functools
import getpass
import json
import os
import pwd
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape
from ansible_collections.gpunode.stack.plugins.module_utils._node.records import manifest, receipts
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import (
    commands,
    drop_ins,
    systemd,
)


def distribution(prefix, name):
    folder = prefix / "lib/python3.11/site-packages" / f"{name}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("")


def conda_package(prefix, name):
    (prefix / "conda-meta" / f"{name}.json").write_text("{}")


@pytest.fixture
def prefix(tmp_path):
    """A folder with the records of a conda prefix: two conda packages, one distribution."""
    prefix = tmp_path / "env"
    (prefix / "conda-meta").mkdir(parents=True)
    (prefix / "conda-meta" / "history").write_text("")
    conda_package(prefix, "python-3.11.7-0")
    conda_package(prefix, "flask-3.1.3-py_0")
    distribution(prefix, "Flask_Thing-1.0")
    return prefix


def systemctl(answer):
    return lambda argv, **_: subprocess.CompletedProcess(argv, 0, answer, "")


def sentences(*arguments):
    """Return the sentences about what differs from a manifest."""
    return [row["says"] for row in manifest.drift(*arguments)]


def drift(entry):
    return sentences([entry])


def test_an_untouched_file_has_no_drift(tmp_path):
    path = tmp_path / "f"
    path.write_text("a")
    assert drift(manifest.file(str(path))) == []


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (lambda path: path.write_text("b"), "was changed"),
        (lambda path: path.chmod(0o600), "has mode 0600, should be 0644"),
        (lambda path: path.unlink(), "is gone"),
    ],
)
def test_a_damaged_file_is_drift(tmp_path, damage, word):
    path = tmp_path / "f"
    path.write_text("a")
    path.chmod(0o644)
    entry = manifest.file(str(path))
    damage(path)
    assert len(drift(entry)) == 1
    assert word in drift(entry)[0]


def test_a_file_that_is_only_to_be_there_may_hold_anything(tmp_path):
    path = tmp_path / "f"
    path.write_text("a")
    entry = manifest.presence(str(path))
    path.write_text("b")
    assert drift(entry) == []
    path.unlink()
    assert drift(entry) == [f"file {path} is gone"]


def test_a_link_that_points_elsewhere_is_drift(tmp_path):
    link = tmp_path / "l"
    link.symlink_to("a")
    entry = manifest.link(str(link))
    assert drift(entry) == []
    link.unlink()
    link.symlink_to("b")
    assert "target b, should be a" in drift(entry)[0]


@pytest.mark.parametrize(
    "damage",
    [
        lambda tree: (tree / "sub" / "new.py").write_text(""),
        lambda tree: (tree / "sub" / "a.py").write_text("other"),
        lambda tree: (tree / "sub" / "a.py").unlink(),
        lambda tree: (tree / "sub" / "a.py").chmod(0o755),
    ],
)
def test_a_tree_in_which_anything_changed_is_drift(tmp_path, damage):
    tree = tmp_path / "t"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub" / "a.py").write_text("")
    entry = manifest.tree(str(tree), ["__pycache__"])
    assert drift(entry) == []
    damage(tree)
    assert drift(entry) == [f"tree {tree} was changed"]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda tree: (tree / "sub" / "a.py").chmod(0o666), "a.py is written by all"),
        (lambda tree: (tree / "sub").chmod(0o777), "sub is written by all"),
        (lambda tree: give_away(tree / "sub" / "a.py"), "a.py belongs to nobody"),
        (lambda tree: give_away(tree / "sub"), "sub belongs to nobody"),
    ],
)
def test_a_tree_in_which_something_was_given_away_is_drift(tmp_path, damage, said):
    tree = tmp_path / "t"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub" / "a.py").write_text("")
    entry = manifest.tree(str(tree))
    damage(tree)
    (sentence,) = drift(entry)
    assert sentence.startswith(f"tree {tree} is not root's alone: ")
    assert sentence.endswith(said)


def give_away(path):
    if os.getuid():
        pytest.skip("only root gives files away")
    os.chown(path, 65534, -1)


def test_ignored_names_in_a_tree_are_no_drift(tmp_path):
    entry = manifest.tree(str(tmp_path), ["__pycache__"])
    (tmp_path / "__pycache__").mkdir()
    assert drift(entry) == []


def test_a_package_of_the_distribution_that_was_removed_is_drift(monkeypatch):
    there = ["libc6"]
    database = manifest.database
    monkeypatch.setattr(
        database, "missing", lambda names, _run: [name for name in names if name not in there]
    )
    entries = [manifest.package("libc6"), manifest.package("libgl1")]
    assert sentences(entries) == ["package libgl1 is gone"]
    there.append("libgl1")
    assert sentences(entries) == []


def test_packages_of_which_nobody_can_tell_are_drift_with_the_reason(monkeypatch):
    def cannot_tell(*_asked):
        raise commands.NotRun("packages", "rpmdb open failed", "Mend it")

    monkeypatch.setattr(manifest.database, "missing", cannot_tell)
    entries = [manifest.package("libc6"), manifest.package("libgl1")]
    assert sentences(entries) == ["packages: rpmdb open failed. Mend it"]


def test_packages_that_were_replaced_or_removed_are_drift(monkeypatch):
    there = {"libcuda1": "535.1-1", "nvidia-smi": "535.1-1"}
    monkeypatch.setattr(manifest.stack_packages, "installed", lambda _tree: dict(there))
    entry = manifest.packages(dict(there))
    assert drift(entry) == []
    there["libcuda1"] = "535.2-1"
    del there["nvidia-smi"]
    assert drift(entry) == [
        "package libcuda1 is 535.2-1, should be 535.1-1",
        "package nvidia-smi is gone",
    ]


@pytest.mark.skipif(getpass.getuser() != "root", reason="only root gives folders away")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda path: os.chown(path, 65534, -1), "has owner nobody, should be root"),
        (lambda path: os.chown(path, -1, 65534), "has group nogroup, should be root"),
        (lambda path: os.chmod(path, 0o777), "has mode 0777, should be 0755"),
    ],
)
def test_an_environment_that_was_given_away_is_drift(prefix, change, words):
    os.chmod(prefix, 0o755)
    entry = manifest.environment(str(prefix))
    assert sentences([entry]) == []
    change(prefix)
    assert sentences([entry]) == [f"environment {prefix} {words}"]
    # As an earlier version of this project noted it.
    old = {key: entry[key] for key in ("kind", "path", "conda", "dists")}
    assert sentences([old]) == []


def test_a_package_taken_out_of_an_environment_is_drift(prefix):
    entry = manifest.environment(str(prefix))
    assert drift(entry) == []
    (prefix / "conda-meta" / "flask-3.1.3-py_0.json").unlink()
    assert drift(entry) == [f"environment {prefix} lacks flask-3.1.3-py_0"]


def test_a_distribution_put_into_an_environment_is_drift(prefix):
    entry = manifest.environment(str(prefix))
    distribution(prefix, "requests-2.0")
    assert drift(entry) == [f"environment {prefix} has unasked requests==2.0"]


def test_a_stopped_unit_is_drift_and_other_units_are_not():
    entries = [
        manifest.unit("a.socket", "active", "enabled"),
        manifest.unit("b.service", "active", "enabled"),
    ]
    answer = (
        "Id=a.socket\nActiveState=active\nUnitFileState=enabled\nNeedDaemonReload=no\n\n"
        "Id=b.service\nActiveState=inactive\nUnitFileState=enabled\nNeedDaemonReload=no\n"
    )
    assert sentences(entries, systemctl(answer)) == ["unit b.service is inactive, should be active"]


def test_whether_a_unit_runs_may_be_nobodys_business():
    answer = "Id=a.service\nActiveState=inactive\nUnitFileState=enabled\n"
    assert sentences([manifest.unit("a.service", None, "enabled")], systemctl(answer)) == []
    answer = "Id=a.service\nActiveState=inactive\nUnitFileState=disabled\n"
    (says,) = sentences([manifest.unit("a.service", None, "enabled")], systemctl(answer))
    assert says == "unit a.service is disabled, should be enabled"


@pytest.mark.parametrize(
    ("state", "is_fine"),
    [
        *((state, True) for state in ("enabled", "static", "alias", "indirect", "generated")),
        *((state, False) for state in ("enabled-runtime", "linked", "disabled", "masked", "")),
    ],
)
def test_what_is_wanted_of_a_unit_depends_on_whether_its_kind_can_be_enabled(state, is_fine):
    answer = f"ActiveState=active\nUnitFileState={state}\nNeedDaemonReload=no\n"
    found = sentences([manifest.unit("a.service", "active", "enabled")], systemctl(answer))
    assert found == (
        [] if is_fine else [f"unit a.service is {state or 'unknown'}, should be enabled"]
    )


def test_a_unit_changed_on_disk_and_not_reloaded_is_drift():
    answer = "Id=a.service\nActiveState=active\nUnitFileState=enabled\nNeedDaemonReload=yes\n"
    found = sentences([manifest.unit("a.service", "active", "enabled")], systemctl(answer))
    assert found == ["unit a.service was changed on disk and not reloaded"]


def test_a_running_process_that_another_text_of_the_unit_started_is_drift():
    process = subprocess.Popen(["/bin/sleep", "60"], env={systemd.UNIT_MARK: "old"})
    try:
        deadline = time.monotonic() + 10
        # The kernel lets the parent go on a moment before it knows the environment.
        while not systemd.environment_of(process.pid) and time.monotonic() < deadline:
            time.sleep(0.01)
        answer = f"ActiveState=active\nUnitFileState=enabled\nMainPID={process.pid}\n"
        old, new = (
            sentences([manifest.unit("a.service", "active", "enabled", mark)], systemctl(answer))
            for mark in ("old", "new")
        )
    finally:
        process.kill()
        process.wait(10)
    assert old == []
    assert new == ["unit a.service runs what another text of it started"]


def test_what_was_removed_and_is_there_again_is_drift(tmp_path):
    path = tmp_path / "app.service"
    entry = manifest.absence(str(path))
    assert drift(entry) == []
    path.symlink_to("/nowhere")
    assert drift(entry) == [f"{path} is back"]


@pytest.fixture
def override(tmp_path, monkeypatch):
    """Return a function that writes what changes web.service besides its file."""
    monkeypatch.setattr(drop_ins, "PLACES", [str(tmp_path)])
    path = tmp_path / "web.service.d" / "override.conf"

    def write(text):
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"[Service]\n{text}\n")
        return str(path)

    return write


def test_what_changes_a_unit_since_its_proof_is_drift_and_told_with_what_it_sets(override):
    entry = manifest.drop_ins("web.service")
    assert drift(entry) == manifest.notes([entry]) == []
    path = override("User=root\nProtectSystem=no")
    assert drift(entry) == [f"unit web.service is changed by {path} (User=root, ProtectSystem=no)"]


def test_what_changed_a_unit_at_its_proof_is_no_drift_and_noted_as_long_as_it_is_there(override):
    path = override("Restart=no")
    entry = manifest.drop_ins("web.service")
    assert drift(entry) == []
    assert manifest.notes([entry]) == [f"unit web.service is changed by {path} (Restart=no)"]
    override("Restart=on-failure")
    assert drift(entry) == [f"unit web.service is changed by {path} (Restart=on-failure)"]
    os.unlink(path)
    assert drift(entry) == [f"{path}, which changed unit web.service, is gone"]
    assert manifest.notes([entry]) == []


@pytest.mark.parametrize(
    ("user", "pid", "said"),
    [
        (getpass.getuser(), os.getpid(), []),
        ("web", 0, []),
        (
            "web", os.getpid(),
            [f"unit web.service runs as {getpass.getuser()}, should run as web"],
        ),
    ],
)  # fmt: skip
def test_a_service_that_runs_as_somebody_else_is_drift(user, pid, said):
    answer = subprocess.CompletedProcess([], 0, f"MainPID={pid}\n", "")
    entry = manifest.account("web.service", user)
    assert sentences([entry], lambda argv, **_options: answer) == said


def test_a_service_that_runs_as_another_name_of_its_user_is_none(monkeypatch):
    found = pwd.getpwuid(os.geteuid())
    monkeypatch.setattr(pwd, "getpwnam", {"web": found, found.pw_name: found}.__getitem__)
    answer = subprocess.CompletedProcess([], 0, f"MainPID={os.getpid()}\n", "")
    entry = manifest.account("web.service", "web")
    assert sentences([entry], lambda argv, **_options: answer) == []


def test_a_user_that_is_gone_is_drift():
    entry = {"kind": "user", "name": "no-such-user-here", "home": "/", "shell": "/bin/sh"}
    assert drift(entry) == ["user no-such-user-here is gone"]


UNIT = functools.partial(manifest.unit, "a.service")


@pytest.mark.parametrize(
    ("entry", "answer", "kind", "of"),
    [
        (manifest.presence("/no/such"), "", "file", "/no/such"),
        ({"kind": "link", "path": "/no/such", "target": "x"}, "", "link", "/no/such"),
        (manifest.absence("/etc"), "", "absence", "/etc"),
        ({"kind": "user", "name": "no-such", "home": "", "shell": ""}, "", "user", "no-such"),
        (UNIT("active", None), "ActiveState=failed", "unit-state", "a.service"),
        (UNIT(None, "enabled"), "UnitFileState=disabled", "unit-boot", "a.service"),
        (UNIT(None, None), "NeedDaemonReload=yes", "unit-reload", "a.service"),
        (UNIT("active", None, "m"), "ActiveState=active", "unit-process", "a.service"),
        (
            manifest.account("a.service", "no-such"),
            f"MainPID={os.getpid()}",
            "unit-account",
            "a.service",
        ),
    ],
)
def test_what_differs_says_of_which_kind_it_is_and_what_it_is_about(entry, answer, kind, of):
    (row,) = manifest.drift([entry], systemctl(f"{answer}\n"))
    assert (row["kind"], row["of"]) == (kind, of)


def test_this_user_is_as_it_is():
    assert drift(manifest.user(getpass.getuser())) == []


def test_receipts_survive_being_cut_short(tmp_path):
    owner = getpass.getuser()
    if owner != "root":
        pytest.skip("receipts belong to root; run as root to prove them")
    receipts.write("conda_env", "d", [], ["web"], str(tmp_path))
    assert receipts.survey(str(tmp_path)) == {
        "conda_env": {"digest": "d", "drift": [], "names": ["web"], "notes": [], "asked": {}}
    }
    assert os.stat(tmp_path / "conda_env.json").st_mode & 0o777 == 0o600
    (tmp_path / "conda_env.json").write_text('{"schema": 1, "dig')
    assert unread(tmp_path)
    # What else is noted there is none.
    (tmp_path / "conda_env.json").unlink()
    (tmp_path / "drained.json").write_text('{"services": []}')
    assert receipts.survey(str(tmp_path)) == {}


@pytest.mark.parametrize(
    ("noted", "told"),
    [
        ({"application web: workers": "1a2b3c4d"}, {"application web: workers": "1a2b3c4d"}),
        (None, {}),
        (["application web"], {}),
        ({"application web": 7}, {"application web": "7"}),
    ],
)
def test_a_receipt_tells_the_parts_of_what_was_asked_for(tmp_path, noted, told):
    (tmp_path / "gunicorn_app.json").write_text(json.dumps({**GOOD, "asked": noted}))
    assert receipts.survey(str(tmp_path))["gunicorn_app"]["asked"] == told
    # An earlier one has none.
    (tmp_path / "gunicorn_app.json").write_text(json.dumps(GOOD))
    assert receipts.survey(str(tmp_path))["gunicorn_app"]["asked"] == {}


def unread(folder):
    """Say whether the receipt counts as none, and is told."""
    path = folder / "conda_env.json"
    says = f"{path} is no receipt that can be read"
    told = [{"kind": "receipt", "of": str(path), "says": says}]
    unread = {"digest": "", "drift": told, "names": [], "notes": [], "asked": {}}
    return receipts.survey(str(folder)) == {"conda_env": unread}


GOOD = {"schema": 2, "digest": "d", "manifest": [], "names": []}


@pytest.mark.parametrize(
    "content",
    [
        {"schema": 1, "digest": "d", "manifest": []},
        {**GOOD, "digest": None},
        {**GOOD, "names": [1]},
        {**GOOD, "names": "web"},
        {**GOOD, "manifest": {}},
        {**GOOD, "manifest": ["file"]},
        {**GOOD, "manifest": [{"kind": "file", "path": "/etc/passwd"}]},
        {**GOOD, "manifest": [{"kind": "nothing", "path": "/"}]},
        {**GOOD, "manifest": [{"kind": [], "path": "/"}]},
        {**GOOD, "manifest": [{"kind": "absence", "path": "/tmp/\0"}]},
        {**GOOD, "manifest": [{"kind": "packages", "versions": {"a": 1}}]},
        {**GOOD, "manifest": [{"kind": "unit", "name": "a", "active": 1, "enabled": None}]},
        {**GOOD, "manifest": [{"kind": "unit", "name": "a"}]},
    ],
)
def test_a_receipt_of_another_shape_counts_as_none_and_is_told(tmp_path, content):
    (tmp_path / "conda_env.json").write_text(json.dumps(content))
    assert receipts.read("conda_env", str(tmp_path)) is None
    assert unread(tmp_path)


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xfe\x00", b"[" * 100_000, b"null", b"7", b'"text"'], ids=repr
)
def test_a_receipt_that_is_no_json_of_ours_counts_as_none_and_is_told(tmp_path, data):
    (tmp_path / "conda_env.json").write_bytes(data)
    assert unread(tmp_path)


def test_a_pipe_or_a_folder_in_the_place_of_a_receipt_keeps_nobody_waiting(tmp_path):
    os.mkfifo(tmp_path / "conda_env.json")
    assert unread(tmp_path)
    (tmp_path / "conda_env.json").unlink()
    (tmp_path / "conda_env.json").mkdir()
    assert unread(tmp_path)


@pytest.mark.skipif(getpass.getuser() != "root", reason="only root gives files away")
@pytest.mark.parametrize(
    "change",
    [
        lambda path: os.chown(path, 65534, -1),
        lambda path: path.chmod(0o666),
        lambda path: path.chmod(0o620),
    ],
)
def test_a_receipt_that_others_could_have_written_counts_as_none_and_is_told(tmp_path, change):
    receipts.write("conda_env", "d1", [], state_dir=str(tmp_path))
    assert receipts.read("conda_env", str(tmp_path))["digest"] == "d1"
    change(tmp_path / "conda_env.json")
    assert receipts.read("conda_env", str(tmp_path)) is None
    assert unread(tmp_path)


def test_a_receipt_without_end_is_not_read_to_it(tmp_path):
    with open(tmp_path / "conda_env.json", "wb") as handle:
        handle.truncate(1 << 40)
    assert unread(tmp_path)


def test_what_another_user_has_put_there_is_not_read(tmp_path):
    entry = {**manifest.file(__file__), "path": str(tmp_path / "main.py")}
    os.mkfifo(tmp_path / "main.py")
    # Not even where owner and mode are those of the file before.
    os.chmod(tmp_path / "main.py", int(entry["mode"], 8))
    told = f"file {tmp_path}/main.py"
    assert any(row.startswith(told) for row in drift(entry))
    os.chmod(tmp_path / "main.py", 0o600)
    assert drift({**entry, "mode": "0644"}) == [f"{told} has mode 0600, should be 0644"]


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
KINDS = st.sampled_from(sorted(manifest._ENTRIES))
ENTRIES = st.lists(
    st.dictionaries(
        st.sampled_from(
            ["path", "name", "sha256", "owner", "mode", "ignore", "target", "versions"]
        ),
        ANY,
    ).flatmap(lambda entry: KINDS.map(lambda kind: {**entry, "kind": kind}))
    | ANY,
    max_size=3,
)


@given(ENTRIES | ANY)
def test_whatever_a_receipt_holds_it_is_compared_or_counts_as_none(entries):
    def run(argv, **_options):
        return subprocess.CompletedProcess(argv, 1, "", "")

    if manifest.is_sound(entries):
        rows = manifest.drift(entries, run)
        assert facts_shape.misfits(rows, list[facts_shape.Drift]) == []


@given(st.binary(max_size=200) | ANY.map(lambda value: json.dumps(value).encode()))
def test_whatever_lies_in_the_place_of_a_receipt_is_read_or_told(data):
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "conda_env.json").write_bytes(data)
        found = receipts.survey(folder)
    assert set(found) <= {"conda_env"}
    assert all(
        row.keys() == {"digest", "drift", "names", "notes", "asked"} for row in found.values()
    )
