"""From variables to wanted states: defaults, digests, and what a component depends on."""

import copy
import datetime
import json
import os
import shutil

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import (
    project,
    wanted_state,
)
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.components import registry
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.inputs import asked
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.plan import host_plan

LOCK = """\
# platform: linux-64
@EXPLICIT
https://example.org/conda-forge/linux-64/python-3.11.7-h1_0.conda#11111111111111111111111111111111
https://example.org/conda-forge/noarch/gunicorn-23.0.0-py_0.conda#22222222222222222222222222222222
"""


@pytest.fixture
def inventory(tmp_path):
    """A folder as an inventory's, with a lock and an application."""
    (tmp_path / "web.lock").write_text(LOCK)
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "main.py").write_text("app = object()\n")
    return tmp_path


VARIABLES = {
    "conda_env_list": [{"name": "web", "lock": "web.lock"}],
    "gunicorn_app_list": [
        {
            "name": "web",
            "environment": "web",
            "source": "app",
            "entry": "main:app",
            "listen": "127.0.0.1:8000",
        }
    ],
}


def site(inventory, **changes):
    return wanted_state.Site({**copy.deepcopy(VARIABLES), **changes}, inventory)


def test_a_host_that_asks_for_nothing_has_no_component(inventory):
    assert host_plan.wishes(wanted_state.Site({}, inventory), ()).states == {}


def test_environments_bring_miniforge_and_come_before_applications(inventory):
    wanted = host_plan.wishes(site(inventory), ()).states
    assert list(wanted) == ["miniforge", "conda_env", "gunicorn_app"]


def test_an_option_that_was_not_said_has_the_default_of_its_specification(inventory):
    spec = wanted_state.options_of("miniforge")["miniforge_prefix"]
    assert site(inventory).options("miniforge")["prefix"] == spec["default"]


def test_an_option_of_an_item_that_is_left_empty_was_not_said(inventory):
    listed = [{**VARIABLES["gunicorn_app_list"][0], "start_timeout_s": None, "source": None}]
    with pytest.raises(Refusal, match="source, release"):
        site(inventory, gunicorn_app_list=listed).options("gunicorn_app")
    listed[0]["source"] = "app"
    (item,) = site(inventory, gunicorn_app_list=listed).options("gunicorn_app")["list"]
    spec = wanted_state.options_of("gunicorn_app")["gunicorn_app_list"]["options"]
    assert item["start_timeout_s"] == spec["start_timeout_s"]["default"]


def test_an_unknown_key_of_an_item_is_refused_by_name(inventory):
    listed = [{**VARIABLES["conda_env_list"][0], "lcok": "x"}]
    with pytest.raises(Refusal, match="lcok"):
        site(inventory, conda_env_list=listed).options("conda_env")


def test_relative_paths_start_at_the_inventory(inventory):
    assert site(inventory).read_text("web.lock", "lock") == LOCK


def test_a_file_that_cannot_be_read_is_refused_with_its_path(inventory):
    with pytest.raises(Refusal, match=str(inventory / "none.lock")):
        site(inventory).read_text("none.lock", "lock")


@pytest.mark.parametrize("component", registry.COMPONENTS)
def test_equal_wishes_have_equal_digests(inventory, component):
    assert site(inventory).digest(component) == site(inventory).digest(component)


@pytest.mark.parametrize("component", ["conda_env", "gunicorn_app"])
def test_another_lock_is_another_wish_for_all_that_stand_on_it(inventory, component):
    before = site(inventory).digest(component)
    (inventory / "web.lock").write_text(LOCK.replace("2222", "3333"))
    assert site(inventory).digest(component) != before


def test_another_line_of_code_is_another_wish_for_the_application_alone(inventory):
    before = site(inventory)
    digests = [before.digest(component) for component in ("conda_env", "gunicorn_app")]
    (inventory / "app" / "main.py").write_text("app = None\n")
    after = site(inventory)
    assert after.digest("conda_env") == digests[0]
    assert after.digest("gunicorn_app") != digests[1]


def test_where_the_project_lies_is_no_part_of_a_wish(inventory, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "inventory"
    shutil.copytree(inventory, elsewhere)
    assert site(inventory).digest("gunicorn_app") == site(elsewhere).digest("gunicorn_app")


@pytest.mark.parametrize("component", registry.COMPONENTS)
def test_defaults_hold_no_templates(component):
    assert "{{" not in str(wanted_state.options_of(component))


@pytest.fixture
def clone(tmp_path_factory, monkeypatch):
    """A copy of the project, of which nothing is remembered and which leaves nothing behind."""
    folder = tmp_path_factory.mktemp("project")
    for part in ("roles", "plugins"):
        shutil.copytree(project.ROOT / part, folder / part)
    monkeypatch.setattr(project, "ROOT", folder)
    wanted_state.work_of.cache_clear()
    yield folder
    wanted_state.work_of.cache_clear()


def touched(clone, piece):
    """Return the components whose work is another one once a file of the project changed."""
    before = {component: wanted_state.work_of(component) for component in registry.COMPONENTS}
    with (clone / piece).open("a") as file:
        file.write("# another version\n")
    wanted_state.work_of.cache_clear()
    after = {component: wanted_state.work_of(component) for component in registry.COMPONENTS}
    return {component for component in before if before[component] != after[component]}


NODE = "plugins/module_utils/_node"


@pytest.mark.parametrize(
    ("piece", "components"),
    {
        "roles/conda_env/tasks/main.yml": {"conda_env"},
        "roles/conda_env/README.md": set(),
        "plugins/modules/conda_env.py": {"conda_env"},
        "plugins/modules/node_info.py": set(),
        f"{NODE}/nvidia_driver/converge.py": {"nvidia_driver"},
        f"{NODE}/gunicorn_app/converge.py": {"gunicorn_app"},
        f"{NODE}/conda/cli.py": {"miniforge", "conda_env"},
        f"{NODE}/system/files.py": set(registry.COMPONENTS),
    }.items(),
)
def test_another_version_of_what_does_the_work_is_other_work_for_those_who_use_it(
    clone, piece, components
):
    assert touched(clone, piece) == components


def test_another_version_of_what_does_the_work_is_another_wish(inventory, clone):
    before = site(inventory).digest("conda_env")
    assert site(inventory).digest("conda_env") == before
    assert touched(clone, "plugins/modules/conda_env.py") == {"conda_env"}
    assert site(inventory).digest("conda_env") != before


def test_the_module_is_told_what_is_wanted_and_what_its_receipt_is_to_say(inventory):
    wanted = site(inventory)
    assert wanted.arguments("conda_env") == {
        "wanted": wanted.wanted("conda_env"),
        "receipt": {
            "digest": wanted.digest("conda_env"),
            "asked": wanted.asked("conda_env"),
            "present": ["web"],
            "absent": [],
        },
    }


def test_what_is_to_go_can_be_done_alone_and_leaves_no_receipt(inventory):
    old = {"name": "old", "state": "absent"}
    wanted = site(inventory, conda_env_list=[*VARIABLES["conda_env_list"], old])
    arguments = wanted.arguments("conda_env", "absent")
    assert list(arguments) == ["wanted"]
    assert arguments["wanted"]["environments"] == []
    assert [env["name"] for env in arguments["wanted"]["absent"]] == ["old"]
    rest = wanted.arguments("conda_env", "present")
    assert rest["receipt"] == wanted.arguments("conda_env")["receipt"]
    assert rest["wanted"] == {**wanted.wanted("conda_env"), "absent": []}


@pytest.mark.parametrize("part", ["present", "absent"])
def test_a_component_that_is_no_list_has_no_parts(inventory, part):
    with pytest.raises(Refusal, match="miniforge is no list of items"):
        site(inventory).arguments("miniforge", part)


def test_consents_and_units_to_drain_reach_the_modules_that_ask_for_them(inventory):
    said = {"gpunode_consent": ["reboot"], "gpunode_drain": ["serve.service"]}
    wanted = site(inventory, **said, nvidia_driver_state="absent", gpunode_ofed_kind="inbox")
    driver = wanted.arguments("nvidia_driver")
    assert (driver["consent"], driver["drain"]) == (["reboot"], ["serve.service"])
    assert wanted.arguments("mlnx_ofed")["consent"] == ["reboot"]
    assert site(inventory, nvidia_driver_state="absent").arguments("nvidia_driver")["drain"] == []


@pytest.mark.parametrize("component", ["nvidia_driver", "mlnx_ofed", "peer_memory"])
def test_a_consent_that_is_none_is_refused_by_each_that_reads_it(inventory, component):
    with pytest.raises(Refusal, match="everything"):
        site(inventory, gpunode_consent=["everything"]).arguments(component)


def test_secrets_reach_the_module_of_applications_and_no_other(inventory):
    secrets = {"web": {"TOKEN": "s3cret"}}
    wanted = site(inventory, gunicorn_app_secrets=secrets)
    assert json.loads(wanted.arguments("gunicorn_app")["secrets"]) == secrets
    assert "s3cret" not in json.dumps(wanted.arguments("gunicorn_app")["wanted"])
    assert "s3cret" not in json.dumps(wanted.arguments("conda_env"))


@pytest.mark.parametrize("component", registry.COMPONENTS)
def test_nobody_changes_the_stack_that_all_are_told_of(inventory, component):
    wanted = site(inventory, gpunode_stack="r580", gpunode_peer_memory_route="nv_peer_mem")
    before = copy.deepcopy(wanted.stack())
    wanted.arguments(component)
    assert wanted.stack() == before
    assert wanted.stack() is wanted.stack()


def test_what_is_said_of_a_part_that_nobody_wants_is_no_reason_to_refuse():
    said = {"peer_memory_delivery": "by pigeon", "gpunode_ofed_kind": "inbox"}
    assert list(host_plan.wishes(wanted_state.Site(said, "/"), ()).states) == ["mlnx_ofed"]


FUNCTIONS = ["is_wanted", "resolve", "present", "absent", "probe", "refusals", "summary"]
FOR_ITS_ACTION = ["arguments", "sendable"]


@pytest.mark.parametrize("component", registry.COMPONENTS)
def test_each_component_has_the_functions_that_are_asked_of_it(component):
    asked = [*FUNCTIONS, *FOR_ITS_ACTION]
    if component in registry.OF_ITEMS:
        asked += ["only_absent", "without_absent"]
    if component in registry.IN_STACK:
        asked += ["in_stack"]
    if component in registry.TELLING:
        asked += ["notices"]
    assert [name for name in asked if not hasattr(registry.COMPONENTS[component], name)] == []


def test_variables_that_nobody_reads_are_told_all_at_once(inventory):
    names = ["conda_env_lsit", "gpunode_site", "nccl_prot", "preflight_jsno", "nccl_version"]
    told = [refusal.what for refusal in site(inventory).unread(names)]
    assert told == [
        f"variable {name}" for name in ("conda_env_lsit", "gpunode_site", "preflight_jsno")
    ]
    with pytest.raises(Refusal) as refused:
        site(inventory).refuse_unread(names, ["nccl"])
    assert all(f"variable {name}: no role reads it" in str(refused.value) for name in names)


def test_what_the_inventory_lists_as_its_own_is_not_refused(inventory):
    own = site(inventory, gpunode_own_variables=["gpunode_site"])
    assert own.unread(["gpunode_site", "gpunode_own_variables"]) == []
    own.refuse_unread(["gpunode_site"])


class NoTemplates:
    @staticmethod
    def template(text):
        return text


def base_of(said):
    return wanted_state.base_of(said, NoTemplates)


@pytest.mark.parametrize("folder", ["None", None, ""])
def test_hosts_of_the_command_line_have_their_files_where_one_works(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = {"inventory_dir": folder, "playbook_dir": "/usr/share/ansible/collections/playbooks"}
    assert base_of(said) == str(tmp_path)
    assert base_of({**said, "inventory_dir": "/srv/fleet"}) == "/srv/fleet"
    assert base_of({**said, "gpunode_base": "a"}) == f"{tmp_path}/a"
    assert base_of({"inventory_dir": "/srv/fleet", "gpunode_base": "/srv"}) == "/srv"


@pytest.mark.parametrize(
    ("said", "option"),
    [
        ({"conda_env_list": [{"name": False, "lock": "web.lock"}]}, "name of conda_env_list"),
        ({"conda_env_list": [{"name": 1.1, "lock": "web.lock"}]}, "name of conda_env_list"),
        ({"conda_env_list": [{"name": "web", "packages": [3.1]}]}, "packages of conda_env_list"),
        ({"conda_env_list": [{"name": {"a": 1}}]}, "name of conda_env_list"),
        ({"conda_env_system_packages": ["libgl1", True]}, "conda_env_system_packages"),
        ({"conda_env_dir": datetime.date(2026, 1, 2)}, "conda_env_dir"),
    ],
)
def test_what_yaml_made_of_a_name_is_not_taken_for_one(inventory, said, option):
    with pytest.raises(Refusal) as refused:
        site(inventory, **said).options("conda_env")
    assert refused.value.what.partition(": ")[0] == option
    assert "quotes" in refused.value.remedy


def test_a_version_that_yaml_read_as_a_number_is_refused(inventory):
    # 25.10 is 25.1 then.
    with pytest.raises(Refusal, match=r"gpunode_ofed_version: 25\.1: ") as refused:
        site(inventory, gpunode_ofed_version=25.10).stack()
    assert "quotes" in refused.value.remedy


def test_a_whole_number_and_texts_are_texts(inventory):
    said = {"conda_env_list": [{"name": 7, "lock": "web.lock"}, {"name": "no", "lock": "web.lock"}]}
    assert [item["name"] for item in site(inventory, **said).options("conda_env")["list"]] == [
        "7",
        "no",
    ]


@pytest.mark.parametrize(
    "said",
    [
        {"conda_env_list": [{"name": "web", "lock": "a\0b"}]},
        {"conda_env_dir": "/opt/\0"},
        {"conda_env_mirrors": {"https://a/": "https://b/\0"}},
        {"conda_env_system_packages": ["lib\0gl1"]},
        # Half of a pair, which YAML takes for a letter.
        {"conda_env_list": [{"name": "web", "lock": "a\ud800b"}]},
        {"conda_env_dir": "/opt/\udfff"},
        {"conda_env_mirrors": {"https://a/\ud83d": "https://b/"}},
    ],
)
def test_what_no_path_can_have_is_refused_before_it_reaches_one(inventory, said):
    (option,) = said
    with pytest.raises(Refusal, match=f"{option}: there is the character U") as refused:
        site(inventory, **said).options("conda_env")
    assert str(refused.value).encode()


def test_a_secret_with_a_nul_is_refused_and_not_told(inventory):
    with pytest.raises(Refusal, match="U\\+0000") as refused:
        site(inventory, gunicorn_app_secrets={"web": {"A": "hunter\0two"}}).options("gunicorn_app")
    assert "hunter" not in str(refused.value)


def test_an_environment_in_a_folder_that_packages_leave_no_room_for_is_refused(inventory):
    folder = "/" + "f" * 200
    site(inventory, conda_env_dir=folder).wanted("conda_env")
    item = {"name": "n" * 60, "lock": "web.lock"}
    with pytest.raises(Refusal, match="has 275 bytes, and packages of conda leave room for 255"):
        site(inventory, conda_env_dir=folder, conda_env_list=[item]).wanted("conda_env")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_text_is_read_as_editors_of_either_kind_write_it(tmp_path, encoding, end):
    (tmp_path / "web.txt").write_bytes(f"flask==3 # \u00e9{end}gunicorn==23{end}".encode(encoding))
    found = wanted_state.Site({}, tmp_path).read_text("web.txt", "requirements")
    assert found == "flask==3 # \u00e9\ngunicorn==23\n"


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"caf\xe9", b"\xfe\xff\xd8\x00"])
def test_a_file_that_is_no_text_is_refused(tmp_path, data):
    (tmp_path / "web.txt").write_bytes(data)
    with pytest.raises(Refusal, match="cannot be read on the controller"):
        wanted_state.Site({}, tmp_path).read_text("web.txt", "requirements")


def test_a_file_without_end_is_refused_and_not_waited_for(tmp_path):
    with open(tmp_path / "long.txt", "wb") as handle:
        handle.truncate(1 << 40)
    os.mkfifo(tmp_path / "pipe")
    for path, why in (("long.txt", "more than 16 MiB"), ("pipe", "no regular file")):
        with pytest.raises(Refusal, match=f"cannot be read on the controller: .*{why}"):
            wanted_state.Site({}, tmp_path).read_text(path, "requirements")


def sized(processors):
    return {
        **facts_shape.empty(facts_shape.Facts),
        "processor_nproc": processors,
        "memtotal_mb": 64_000,
    }


def of_auto(inventory):
    app = {**VARIABLES["gunicorn_app_list"][0], "workers": "auto"}
    return site(inventory, gunicorn_app_list=[app])


def test_what_hangs_on_the_host_is_resolved_anew_once_it_was_looked_at(inventory):
    found = of_auto(inventory)
    before, environments = found.digest("gunicorn_app"), found.wanted("conda_env")
    assert found.hangs_on_host()
    found.look(sized(4))
    assert found.digest("gunicorn_app") != before
    assert not found.hangs_on_host()
    assert found.wanted("conda_env") is environments


def test_a_state_that_hangs_on_nothing_waits_for_no_host(inventory):
    found = site(inventory)
    state = found.wanted("gunicorn_app")
    assert not found.hangs_on_host()
    found.look(sized(4))
    assert found.wanted("gunicorn_app") is state


def test_the_receipt_names_what_the_host_decided_and_a_larger_one_is_told_by_its_option(inventory):
    before, after, same = (of_auto(inventory) for _each in range(3))
    for looked_at, processors in ((before, 4), (after, 8), (same, 4)):
        looked_at.look(sized(processors))
    digest, asked_before = (
        before.arguments("gunicorn_app")["receipt"][key] for key in ("digest", "asked")
    )
    assert (same.digest("gunicorn_app"), same.asked("gunicorn_app")) == (digest, asked_before)
    assert after.digest("gunicorn_app") != digest
    assert asked.differences(asked_before, after.asked("gunicorn_app")) == [
        "application web is asked for with other workers"
    ]
