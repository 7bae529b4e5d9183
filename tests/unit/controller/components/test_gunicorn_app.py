"""What is wanted of applications: from options to wanted state, and what a host says against it."""

from __future__ import annotations

import re

import pytest
import yaml
from applications import LOCK, lines, refused, service

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import project, wanted_state
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.components import (
    gunicorn_app,
)

FREE = {"kind": "absent", "empty": True, "conda": False, "unfinished": False}
GOOD_USER = {"exists": False, "uid": -1, "home": "", "shell": "", "sudo": False}


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


def test_a_secret_that_anyone_on_the_host_can_read_is_told_with_its_application(resolve):
    (said,) = notices(resolve({"environment_variables": {"PGPASSWORD": "geheim"}}))
    assert said.startswith("application web: PGPASSWORD in environment_variables ")
    assert "geheim" not in said


def test_a_secret_among_the_secrets_is_not_told(resolve):
    secrets = {"web": {"DATABASE_URL": "postgres://shop:geheim@db/shop"}}
    assert notices(resolve(gunicorn_app_secrets=secrets)) == []


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
    "the kernel's": ("readable", "/proc/1", "the kernel's, and keeps nothing"),
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


KEPT = {"release": "0123456789ab", "source": None}


def test_a_release_that_the_host_does_not_keep_is_refused_by_its_id(resolve):
    state = resolve(KEPT)
    (said,) = reasons(state)
    assert "release 0123456789ab of application web" in said
    assert "make releases" in said
    there = {state["applications"][0]["release"]: {**FREE, "kind": "directory"}}
    assert reasons(state, paths={**facts(state)["paths"], **there}) == []


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


@pytest.mark.parametrize("missing", ["environment", "listen", "source"])
def test_a_present_application_says_what_it_is(resolve, missing):
    with pytest.raises(Refusal, match=missing):
        resolve({missing: None})


# Bad input

BAD = {
    "dir that is an environment": ({"dir": "/opt/gpunode/envs/env"}, "environments"),
    "dir in a build": ({"dir": "/opt/gpunode/envs/old-0123456789ab/web"}, "environments"),
    "dir in conda": ({"dir": "/opt/miniforge3/web"}, "conda"),
    "dir among receipts": ({"dir": "/var/lib/gpunode/web"}, "gpunode's own"),
    "dir by another name of the root": ({"dir": "/proc/1/root/srv/web"}, "the kernel's"),
    "dir in memory": ({"dir": "/dev/shm/web"}, "the kernel's"),
    "dir of devices": ({"dir": "/sys/fs/cgroup/web"}, "the kernel's"),
    "dir among secrets": ({"dir": "/etc/gpunode"}, "gpunode's own"),
    "server that is none": ({"server": "waitress"}, "waitress"),
    "state that is none": ({"state": "gone"}, "gone"),
    "no workers": ({"workers": 0}, "less than 1"),
    "half a worker without quotes": ({"workers": 2.5}, "it is to be a text"),
    "workers as a truth": ({"workers": True}, "true or false"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_with_its_value_and_a_remedy(resolve, case):
    refused(resolve, *BAD[case])


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


def test_a_secret_with_a_control_character_is_refused_and_not_told(resolve):
    with pytest.raises(Refusal, match=r"TOKEN in gunicorn_app_secrets of .*U\+000D") as refusal:
        resolve(gunicorn_app_secrets={"web": {"TOKEN": "hush\r"}})
    assert "hush" not in str(refusal.value)


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


def test_every_archive_that_cannot_be_had_is_named_beside_what_else_is_bad(resolve, tmp_path):
    """And of each only that, in the order of the list."""
    bad = [
        {"name": "one", "source": f"file://{tmp_path}/one.tar", "sha256": "1" * 64},
        {"name": "two", "source": "gone"},
        {"name": "three", "source": f"file://{tmp_path}/three.tar", "sha256": "3" * 64},
    ]
    with pytest.raises(Refusal) as refused:
        resolve(*bad)
    told = [str(refusal) for refusal in refused.value.each()]
    for name, text in zip(("one.tar", "gone", "three.tar"), told, strict=True):
        assert name in text


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
