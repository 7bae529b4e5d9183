"""Specs and the files they are solved into: what agrees is used, all else is refused or solved."""

from __future__ import annotations

import json
import os

import pytest
import recordings

from ansible_collections.gpunode.stack.plugins.module_utils._node.conda import lock_file
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import wanted_state
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.components import conda_env
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.conda import (
    pip_requirements,
)
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.conda import (
    spec as conda_spec,
)

ITEM = {"name": "web", "packages": ["python=3.11", "gunicorn"], "pip": ["idna>=3"]}
SIX = {"name": "six", "version": "1.17.0", "sha256": "a" * 64}
COMMAND = r"Run `make lock INVENTORY=/srv/inv`"


def packages(version="22.0.0"):
    """Return what the node found: gunicorn as conda records it, python and pip beside it."""
    record = recordings.content("24.7", "conda-meta")
    found = []
    for name, its in (("gunicorn", version), ("python", "3.11.7"), ("pip", "26.3")):
        file = record["url"].rpartition("/")[2].replace("gunicorn-22.0.0", f"{name}-{its}")
        url = f"https://conda.anaconda.org/conda-forge/noarch/{file}"
        found.append({**record, "name": name, "version": its, "url": url})
    return found


class Inventory:
    def __init__(self, folder):
        self.folder = folder

    def site(self, *items, **variables):
        asked = {"conda_env_list": list(items), **variables}
        return wanted_state.Site(asked, self.folder, ["/srv/inv"])

    def orders(self, *items, upgrade=(), **variables):
        return conda_env.orders(self.site(*items, **variables), upgrade)

    def order(self, item=None, **variables):
        (order,) = self.orders(item or ITEM, **variables)
        return order

    def solve(self, item=None, version="22.0.0", dists=(SIX,)):
        """Do what `make lock` does, with a node that finds these, in whichever channels."""
        order = {**self.order(item), "channels": ["https://conda.anaconda.org/conda-forge/"]}
        solution = {"packages": packages(version), "dists": list(dists)}
        for path, text in zip(order["files"], conda_spec.texts(order, solution), strict=True):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as handle:
                handle.write(text)

    def resolve(self, item=None, **variables):
        (env,) = self.site(item or ITEM, **variables).wanted("conda_env")["environments"]
        return env

    def refusal(self, item=None, **variables):
        with pytest.raises(Refusal) as refused:
            self.resolve(item, **variables)
        return str(refused.value)


@pytest.fixture
def inventory(tmp_path):
    return Inventory(tmp_path)


def test_what_was_solved_is_what_is_built(inventory):
    inventory.solve()
    env = inventory.resolve()
    assert [package["name"] for package in env["lock"]] == ["gunicorn", "pip", "python"]
    assert [dist["line"] for dist in env["dists"]] == [f"six==1.17.0 --hash=sha256:{'a' * 64}"]
    assert inventory.order()["why"] == []


def test_the_files_lie_beside_the_inventory_under_the_name_of_the_environment(inventory):
    inventory.solve()
    names = sorted(
        str(path.relative_to(inventory.folder)) for path in inventory.folder.rglob("*.*")
    )
    assert names == ["files/web.lock", "files/web.requirements.txt"]


def test_files_of_other_names_are_used_where_they_are_named(inventory):
    item = {**ITEM, "lock": "a/b.lock", "requirements": str(inventory.folder / "c.txt")}
    inventory.solve(item)
    assert inventory.resolve(item)["dists"]
    assert (inventory.folder / "a" / "b.lock").exists()


def test_the_header_says_what_was_solved_and_disturbs_no_reader(inventory):
    inventory.solve()
    lock = (inventory.folder / "files" / "web.lock").read_text()
    requirements = (inventory.folder / "files" / "web.requirements.txt").read_text()
    spec = [
        "# channel: conda-forge",
        "# package: gunicorn",
        "# package: python=3.11",
        "# pip requirement: idna>=3",
    ]
    assert lock.splitlines()[1:6] == [*spec, "@EXPLICIT"]
    assert requirements.splitlines()[1:5] == spec
    assert len(lock_file.parse(lock)) == 3
    assert len(pip_requirements.parse(requirements, "3.11.7", "x86_64")) == 1


def test_a_lock_names_sha256_and_md5_where_there_is_no_other():
    spec = {"channels": [], "packages": ["gunicorn"], "pip": []}
    strong, weak = packages()[0], {**packages()[0], "sha256": None}
    assert conda_spec.lock_text(spec, [strong]).endswith(f"#sha256:{strong['sha256']}\n")
    assert conda_spec.lock_text(spec, [weak]).endswith(f"#{weak['md5']}\n")


def test_a_spec_that_was_never_solved_is_refused_with_the_command(inventory):
    said = inventory.refusal()
    assert f"environment web: {inventory.folder}/files/web.lock is not there yet; " in said
    assert said.endswith(COMMAND)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"packages": ["python=3.12", "gunicorn"]},
            "package python=3.12 is asked for and not in it",
        ),
        ({"packages": ["python=3.11"]}, "package gunicorn is in it and not asked for"),
        ({"pip": ["idna>=3", "six"]}, "pip requirement six is asked for and not in it"),
        ({"pip": None}, "pip requirement idna>=3 is in it and not asked for"),
        ({"channels": ["pytorch", "conda-forge"]}, "channel pytorch is asked for and not in it"),
    ],
)
def test_another_spec_than_was_solved_is_refused_and_solved_anew(inventory, change, words):
    inventory.solve()
    changed = {**ITEM, **change}
    said = inventory.refusal(changed)
    assert f"{inventory.folder}/files/web.lock was solved for something else: " in said
    assert words in said
    assert said.endswith(COMMAND)
    assert words in inventory.order(changed)["why"][0]
    inventory.solve(changed)
    assert inventory.resolve(changed)


def test_other_default_channels_are_another_spec(inventory):
    inventory.solve()
    assert "channel mirrored" in inventory.refusal(miniforge_channels=["mirrored"])
    said = {**ITEM, "channels": ["conda-forge"]}
    assert inventory.resolve(said, miniforge_channels=["mirrored"])


def test_the_order_matters_for_channels_alone(inventory):
    item = {**ITEM, "channels": ["a", "b"]}
    inventory.solve(item)
    turned = {**item, "packages": ["  gunicorn", "python=3.11", "gunicorn"]}
    assert inventory.resolve(turned)
    said = inventory.refusal({**item, "channels": ["b", "a"]})
    assert "the channels are asked for in the order b, a" in said


def test_requirements_of_another_solution_are_noticed(inventory):
    inventory.solve()
    path = inventory.folder / "files" / "web.requirements.txt"
    old = path.read_text()
    inventory.solve(version="23.0.0")
    path.write_text(old)  # as when the controller died between the two
    said = inventory.refusal()
    assert f"{path} was not solved with {inventory.folder}/files/web.lock as it is now" in said
    assert inventory.order()["why"]


def test_a_lost_half_of_the_pair_is_solved_again(inventory):
    inventory.solve()
    (inventory.folder / "files" / "web.requirements.txt").unlink()
    assert inventory.order()["why"] == [
        f"{inventory.folder}/files/web.requirements.txt is not there yet"
    ]


@pytest.mark.parametrize("name", ["web.lock", "web.requirements.txt"])
def test_a_file_made_by_hand_is_never_overwritten(inventory, name):
    inventory.solve()
    path = inventory.folder / "files" / name
    path.write_text("@EXPLICIT\n" if name == "web.lock" else "six==1.17.0\n")
    assert f"{path} does not say what it was solved for" in inventory.refusal()
    with pytest.raises(Refusal, match="Move it away"):
        inventory.order()


def test_lines_for_pip_itself_that_say_what_holds_anyway_ask_for_nothing(inventory):
    index = "https://wheels.example/simple"
    item = {
        **ITEM,
        "pip": [*ITEM["pip"], f"--extra-index-url {index}", "-i https://pypi.org/simple"],
    }
    order = inventory.order(item, miniforge_pip_extra_index_urls=[index])
    assert order["spec"]["pip"] == ITEM["pip"]
    assert "say it with miniforge_pip_extra_index_urls" in inventory.refusal(item)
    assert "write all into one file" in inventory.refusal({**ITEM, "pip": ["-r more.txt"]})


def test_requirements_made_by_hand_go_with_packages_that_ask_pip_for_nothing(inventory):
    (inventory.folder / "own.txt").write_text("six==1.17.0 --hash=sha256:" + "b" * 64)
    item = {"name": "web", "packages": ["python", "pip"], "requirements": "own.txt"}
    inventory.solve(item, dists=())
    assert inventory.resolve(item)["dists"][0]["name"] == "six"


def test_a_lock_alone_needs_no_header(inventory):
    lines = "\n".join(f"{package['url']}#{package['md5']}" for package in packages())
    (inventory.folder / "web.lock").write_text(f"@EXPLICIT\n{lines}\n")
    item = {"name": "web", "lock": "web.lock"}
    assert len(inventory.resolve(item)["lock"]) == 3
    assert inventory.orders(item) == []


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({}, "it has neither packages nor a lock"),
        ({"packages": []}, "it has neither packages nor a lock"),
        ({"lock": "x", "channels": ["a"]}, "channels is said without packages"),
        ({"lock": "x", "pip": ["a"]}, "pip is said without packages"),
        ({"packages": ["--file=/etc/passwd"]}, "package '--file=/etc/passwd'"),
        ({"packages": [" "]}, "package '': it is empty"),
        ({"packages": ["a"], "channels": ["-x"]}, "channel '-x'"),
        (
            {"packages": ["a"], "pip": ["-r x.txt"]},
            "pip requirement -r x.txt: it is for pip itself",
        ),
        ({"packages": ["a"], "pip": ["flask=3"]}, "pip would not understand it"),
        ({"packages": ["a"], "pip": ["a @ https://x.example/a.whl"]}, "it is an address"),
    ],
)
def test_half_a_spec_and_one_that_cannot_be_are_refused(inventory, item, words):
    assert words in inventory.refusal({"name": "web", **item})


def test_a_password_in_a_channel_is_refused_and_not_shown(inventory):
    said = inventory.refusal({**ITEM, "channels": ["https://ob:geheim@x.example/c"]})
    assert "channel https://***@x.example/c: a secret in it would stand" in said
    assert "geheim" not in said


@pytest.mark.parametrize("secret", ["", "ob:geheim@"])
def test_the_node_is_told_whether_its_channels_have_passwords(inventory, secret):
    order = inventory.order(miniforge_channel_alias=f"https://{secret}x.example/c")
    assert order["node"]["has_passwords"] is bool(secret)
    assert "geheim" not in json.dumps(order)


def test_the_node_solves_where_an_unfinished_build_would_lie(inventory):
    node = inventory.order(miniforge_prefix="/srv/conda", conda_env_dir="/srv/envs/")["node"]
    assert node["prefix"].startswith("/srv/envs/web-")
    assert len(node["prefix"]) == len("/srv/envs/web-") + 12
    assert (node["conda"], node["pip_config"]) == ("/srv/conda", "/srv/conda/pip.conf")
    assert json.loads(json.dumps(node)) == node


def test_an_environment_that_is_to_go_is_not_solved(inventory):
    site = inventory.site(ITEM)
    site.options = lambda component: {
        "conda_env": {"list": [{**ITEM, "state": "absent"}], "dir": "/srv/envs"}
    }[component]
    assert conda_env.orders(site) == []


def test_a_name_that_could_lead_elsewhere_is_no_name_of_a_lock(inventory):
    with pytest.raises(Refusal, match="environment name"):
        inventory.orders({**ITEM, "name": "../web"})


def test_each_lock_is_solved_once_by_the_first_host_that_wants_it(inventory):
    web, other = inventory.order(), inventory.order({**ITEM, "name": "other"})
    orders = {"n1": [web], "n2": [web, other], "n3": [other]}
    assert conda_spec.choose(orders) == ({"n1": ["web"], "n2": ["other"]}, [])
    said = conda_spec.announcement(orders, {"n1": ["web"], "n2": ["other"]}, ["n4"])
    assert said.splitlines()[0].startswith("web is to be solved on n1: ")
    assert said.splitlines()[-1] == "n4: not reached, left out"


def test_where_all_is_solved_nobody_solves(inventory):
    inventory.solve()
    orders = {"n1": [inventory.order()], "n2": [inventory.order()]}
    assert conda_spec.choose(orders) == ({}, [])
    lock = f"{inventory.folder}/files/web.lock"
    assert conda_spec.announcement(orders, {}, []) == f"nothing to solve, as asked for: {lock}"
    said = conda_spec.announcement({"n1": []}, {}, [])
    assert said == "nothing to solve, no environment has packages"


def test_what_is_to_be_upgraded_is_solved_again_though_its_lock_is_as_asked_for(inventory):
    inventory.solve()
    assert inventory.order(upgrade=["other"])["why"] == []
    order = inventory.order(upgrade=["web"])
    assert order["why"] == ["newer versions are asked for"]
    assert conda_spec.choose({"n1": [order]}) == ({"n1": ["web"]}, [])


def test_what_is_to_be_upgraded_and_is_not_there_is_refused(inventory):
    orders = {"n1": [], "n2": [inventory.order()]}
    assert conda_spec.unknown(orders, ["web"]) == []
    (refusal,) = conda_spec.unknown(orders, ["web", "wbe"])
    assert str(refusal).startswith("lock_upgrade wbe: no host that was reached")
    assert refusal.remedy == "There are web"


@pytest.mark.parametrize("key", ["lock", "requirements"])
def test_two_specs_for_one_file_are_refused(inventory, key):
    one = inventory.order({**ITEM, key: "shared"})
    two = inventory.order({**ITEM, "name": "two", "packages": ["python"], key: "shared"})
    refusals = conda_spec.choose({"n1": [one], "n2": [two]})[1]
    assert [refusal.what for refusal in refusals] == [f"{inventory.folder}/shared"]
    assert "n1 and n2 would have two different specs" in str(refusals[0])
    assert "n1 would have two" in str(conda_spec.choose({"n1": [one, two]})[1][0])


def test_the_report_names_what_changed_in_both_files(inventory):
    order = inventory.order()
    before = conda_spec.texts(order, {"packages": packages(), "dists": [SIX]})
    later = [{**SIX, "version": "1.18.0"}, {**SIX, "name": "idna"}]
    after = conda_spec.texts(order, {"packages": packages("23.0.0"), "dists": later})
    assert conda_spec.report(order, before, after).splitlines()[1:] == [
        "    added: idna (pip) 1.17.0",
        "    changed: gunicorn 22.0.0 (py_0) -> 23.0.0 (py_0)",
        "    changed: six (pip) 1.17.0 -> 1.18.0",
    ]
    assert "no package changed" in conda_spec.report(order, after, after)
    assert "added: python 3.11.7" in conda_spec.report(order, ["# package: x\n<<<<", ""], after)


def test_what_no_lock_can_say_is_not_written(inventory):
    url = "https://conda.anaconda.org/conda-forge/not-a-package"
    broken = [{**packages()[0], "url": url}]
    with pytest.raises(ValueError, match="not the address of a conda package"):
        conda_spec.texts(inventory.order(), {"packages": broken, "dists": []})


FOREIGN = "https://evil.example/conda-forge/noarch/six-1-0.conda"
OWN = "https://conda.anaconda.org/conda-forge/noarch/six-1-0.conda"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"url": FOREIGN}, "evil.example.* lies in none of the channels that were asked for"),
        ({"url": OWN.replace("conda-forge", "conda-forge-evil")}, "lies in none of the channels"),
        ({"url": f"{OWN}#{'0' * 32}\n{FOREIGN}"}, "packages has a url that is none"),
        ({"url": f"{OWN}\r"}, "packages has a url that is none"),
        ({"url": ["x"]}, "packages has a url that is none"),
        ({"url": None}, "packages has a url that is none"),
        ({"name": "six\n@EXPLICIT"}, "packages has a name that is none"),
        ({"sha256": 5}, "packages has a sha256 that is none"),
        ({"md5": "0" * 31}, "packages has a md5 that is none"),
        # What begins like a channel, and leads elsewhere.
        ({"url": OWN.replace("noarch", "../evil/noarch")}, "lies in none of the channels"),
        ({"url": OWN.replace("noarch", "%2e%2E/evil/noarch")}, "lies in none of the channels"),
        ({"url": OWN.replace("noarch", "..\\evil/noarch")}, "lies in none of the channels"),
        ({"url": OWN.replace("noarch", "label/evil/noarch")}, "lies in none of the channels"),
        ({"url": OWN.replace("noarch", "x?to=http://evil/noarch")}, "in none of the channels"),
        ({"url": OWN.replace("six-1", "..%2F..%2Fevil-1")}, "lies in none of the channels"),
        # Another package than it says.
        ({"url": OWN.replace("six-", "evil-")}, "is evil and no gunicorn"),
        ({"name": "Python", "url": OWN.replace("six-", "Python-")}, "a name that is none"),
    ],
)
def test_what_a_hostile_node_answers_is_in_no_lock(inventory, change, words):
    rows = packages()
    rows[0] = {**rows[0], **change}
    with pytest.raises(ValueError, match=words):
        conda_spec.texts(inventory.order(), {"packages": rows, "dists": [SIX]})


@pytest.mark.parametrize(
    "change",
    [{"dists": [{**SIX, "version": "1.17.0 \\\n  --index-url=http://evil"}]}, {"dists": None},
     {"dists": [{**SIX, "version": "1.17.0;python_version<'3'"}]},
     {"dists": [{**SIX, "version": "1.17.0--hash=sha256:" + "b" * 64}]},
     {"packages": {}}, {"packages": ["six"]}, {"packages": [None] * 20_001}],
)  # fmt: skip
def test_an_answer_of_another_shape_is_none(inventory, change):
    with pytest.raises(ValueError, match=r"that is none|is no list"):
        conda_spec.texts(inventory.order(), {"packages": packages(), "dists": [SIX], **change})


def test_an_answer_without_the_python_that_pip_adds_to_is_none(inventory):
    rows = [row for row in packages() if row["name"] != "python"]
    with pytest.raises(ValueError, match="there is no python among them"):
        conda_spec.texts(inventory.order(), {"packages": rows, "dists": [SIX]})


def test_a_version_with_an_epoch_is_taken_as_conda_quotes_it(inventory):
    rows = packages()
    rows[0] = {**rows[0], "url": rows[0]["url"].replace("gunicorn-22.0.0", "gunicorn-1%2122.0.0")}
    lock, _requirements = conda_spec.texts(inventory.order(), {"packages": rows, "dists": [SIX]})
    assert "noarch/gunicorn-1%2122.0.0" in lock


def test_a_channel_that_denies_the_defaults_is_none(inventory):
    order = inventory.order({**ITEM, "channels": ["conda-forge", "nodefaults"]})
    assert order["spec"]["channels"] == ["conda-forge"]
    with pytest.raises(Refusal, match="nodefaults alone names none"):
        inventory.order({**ITEM, "channels": ["nodefaults"]})


@pytest.mark.parametrize("wish", ["git+https://github.com/a/b?x=1", "b @ git+ssh://h/a/b"])
def test_a_place_of_version_control_is_refused_with_the_reason(inventory, wish):
    with pytest.raises(Refusal, match="version control, which has no sha256"):
        inventory.order({**ITEM, "pip": [wish]})


@pytest.mark.parametrize("line", ["--extra-index-url https://bot:hush@h/s", "git+https://hush@h/a"])
def test_a_line_that_is_refused_is_shown_without_its_secret(inventory, line):
    inventory.solve()
    (inventory.folder / "own.txt").write_text(f"{line}\n")
    item = {"name": "web", "lock": "files/web.lock", "requirements": "own.txt"}
    said = inventory.refusal(item)
    assert "line 1" in said
    assert "hush" not in said


ENVIRONMENT = """\
name: web
channels: [conda-forge, nodefaults]
dependencies:
  - python=3.11
  - gunicorn
  - pip:
      - idna>=3
prefix: /home/jane/envs/web
"""


def test_an_environment_file_asks_for_what_it_says(inventory):
    (inventory.folder / "environment.yml").write_text(ENVIRONMENT)
    item = {"name": "web", "environment_file": "environment.yml"}
    said = {**ITEM, "channels": ["conda-forge"]}
    assert inventory.order(item)["spec"] == inventory.order(said)["spec"]
    assert "is not there yet. Run" in inventory.refusal(item)
    inventory.solve(said)
    assert inventory.resolve(item) == inventory.resolve(said)
    for changed in (("gunicorn", "flask"), ("idna>=3", "idna>=4")):
        (inventory.folder / "environment.yml").write_text(ENVIRONMENT.replace(*changed))
        assert f"{changed[1]} is asked for and not in it" in inventory.refusal(item)


def test_an_environment_file_is_asked_for_alone(inventory):
    (inventory.folder / "environment.yml").write_text(ENVIRONMENT)
    said = inventory.refusal({**ITEM, "environment_file": "environment.yml"})
    assert "packages and pip and an environment_file are said" in said
    own = {"name": "web", "environment_file": "environment.yml"}
    assert "channels and an environment_file are said" in inventory.refusal(
        {**own, "channels": ["conda-forge"]}
    )
    assert "cannot be read" in inventory.refusal({"name": "web", "environment_file": "gone.yml"})


def test_what_an_environment_file_cannot_ask_for_is_refused_with_its_path(inventory):
    (inventory.folder / "environment.yml").write_text("dependencies: []\n")
    said = inventory.refusal({"name": "web", "environment_file": "environment.yml"})
    assert "environment web: environment.yml: it is no environment.yml: it has no depend" in said
