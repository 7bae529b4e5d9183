"""What is to be done about peer memory follows from what was seen, and from nothing else."""

from __future__ import annotations

import copy
from typing import ClassVar

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape
from ansible_collections.gpunode.stack.plugins.module_utils._node.component import bring
from ansible_collections.gpunode.stack.plugins.module_utils._node.peer_memory import (
    basis,
    boot,
    nv_peer_mem,
    outlook,
    plan,
    refusals,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.peer_memory.case import Case
from ansible_collections.gpunode.stack.plugins.module_utils._node.peer_memory.delivery import (
    Delivery,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.peer_memory.observe import (
    Kernel,
    Seen,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.peer_memory.target import Target
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.steps import Step, sentences
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import text_files

K = "6.1.0-56-amd64"
VERSION = "450.248.02"
OFED = "/usr/src/ofa_kernel/default"
TAG = {"tag": "1.1-0", "needs_client_ex": False, "file": "a.tar.gz", "sha256": "0"}
MISFIT = Refusal("nv_peer_mem", "it would not load", "Mend it")


def nothing(*_asked, **_options):
    raise AssertionError("a plan does nothing and looks at nothing")


NODE = bring.Node(None, nothing, nothing, nothing)


class ByHand(Delivery):
    """A way of delivery whose answers a test gives; it does nothing."""

    name = "HAND"
    lacks_sources = False
    foreign = ""
    files: ClassVar = {}

    def __init__(self, tag="", has=True, puts=(), leaves=()):
        order = nv_peer_mem.NO_ORDER._replace(tag=tag)
        super().__init__(order, NODE, None)
        self._has = has
        self._puts = puts
        self._leaves = leaves

    packages = staticmethod(nothing)
    observe = staticmethod(nothing)
    build = install = manifest = nothing

    def has(self, _release):
        return self._has

    def has_put(self, row):
        return row["path"] in self._puts

    def places(self, release):
        return [path_of(release)]

    def removing(self):
        return [Step(f"remove {name}", nothing) for name in self._leaves]


def path_of(release, name="nv_peer_mem"):
    return f"/lib/modules/{release}/extra/{name}.ko"


def module(name, version, path=None):
    row = {"kernel": K, "name": name, "path": path or path_of(K, name), "version": version}
    return {**row, "open": False, "depends": [], "signer": ""}


def case(route="nv_peer_mem", misfit=None, way=None, other=None, tag=None, is_foretold=False):
    """A host with a driver, an RDMA stack and, of the wanted way, the module of the route."""
    row = {"release": K, "running": True, "next": True, "headers": True}
    facts = {**facts_shape.empty(facts_shape.Facts), "own_kernel": True, "kernel": K}
    facts["driver"]["loaded"]["version"] = VERSION
    facts["driver"]["modules"] = [module("nvidia", VERSION), module("nv_peer_mem", "1.1-0")]
    facts["peer_memory"]["loaded"] = [route] if route == "nv_peer_mem" else []
    at_boot = boot.AtBoot({}, set())
    built_for = basis.of_host(facts).called if route == "nv_peer_mem" else ""
    wanted = boot.wanted_files(at_boot, route, False, built_for)
    there = {path: text_files.OnDisk(file.text) for path, file in wanted.items()}
    inputs = nv_peer_mem.BuildInputs(K, path_of(K, "nvidia"), "/usr/src/nvidia", OFED)
    seen = Seen(
        facts,
        [Kernel(row, path_of(K, "nvidia"), OFED, False, inputs, {path_of(K): misfit})],
        {},
        [],
        ["gcc"],
        at_boot,
        there,
    )
    target = Target(route, [row], basis.of_host(facts), [tag or TAG], [K] if is_foretold else [])
    way = way or ByHand("1.1-0", puts=[path_of(K)])
    ways = {"hand": way, "other": other or ByHand()}
    return Case(target, seen, ways, "hand", outlook.of_host(facts))


def planned(made):
    made.outlook = outlook.of_host(made.seen.facts)
    refusals.refuse_in_use(made.target, made.seen)
    refusals.refuse(made, [])
    return plan.plan(made, NODE)


def test_what_is_as_wanted_rests():
    assert planned(case()) == ([], [], [], planned(case()).files)


@pytest.mark.parametrize(
    ("made", "tag"),
    [
        (case(misfit=MISFIT), "1.1-0"),
        (case(way=ByHand("1.1-0", has=False, puts=[path_of(K)])), "1.1-0"),
        (case(way=ByHand("1.3-0", puts=[path_of(K)])), "1.3-0"),
        (case(way=ByHand("1.1-0", has=False), is_foretold=True), "1.1-0"),
    ],
    ids=["it would not load", "of other sources", "another tag", "all is still to come"],
)
def test_what_is_not_as_wanted_is_built_anew_for_its_kernel(made, tag):
    assert sentences(planned(made).steps) == [
        "install gcc",
        f"build nv_peer_mem {tag} for kernel {K}",
        "unload nv_peer_mem",
        f"install nv_peer_mem {tag} for kernel {K}",
        "load nv_peer_mem",
    ]


def test_what_was_built_for_that_which_is_to_come_back_rests_though_it_fits_nothing_now():
    assert planned(case(misfit=MISFIT, is_foretold=True)).steps == []


def test_the_other_way_goes_before_and_what_is_old_of_the_wanted_one_after():
    way = ByHand("1.1-0", has=False, puts=[path_of(K)], leaves=["an old one"])
    said = sentences(planned(case(way=way, other=ByHand(leaves=["the other"]))).steps)
    install = f"install nv_peer_mem 1.1-0 for kernel {K}"
    at = said.index(install)
    assert said[at - 1 : at + 2] == ["remove the other", install, "remove an old one"]


@pytest.mark.parametrize(("is_sent", "needs"), [(False, ["a.tar.gz"]), (True, [])])
def test_an_archive_of_the_controller_is_asked_for_where_it_is_built_from(is_sent, needs):
    way = ByHand("1.1-0", has=False, puts=[path_of(K)])
    way.lacks_sources = True
    host = bring.Node(
        None, nothing, nothing, nothing, sent={"a.tar.gz": "/tmp/a"} if is_sent else {}
    )
    assert plan.plan(case(way=way), host).needs == needs
    assert plan.plan(case(way=way, tag={**TAG, "file": "https://x/a"}), host).needs == []
    assert plan.plan(case(), host).needs == []


def test_without_a_route_what_nobody_answers_for_goes_unless_a_package_has_it():
    made = case("none", way=ByHand())
    assert sentences(planned(made).steps) == [f"remove {path_of(K)}"]
    made.seen.packaged.append(path_of(K))
    with pytest.raises(Refusal, match="it belongs to a package"):
        planned(made)
    assert planned(case("none")).steps == []


def test_who_uses_a_module_that_has_to_give_way_is_left_in_peace():
    made = case("none", way=ByHand())
    made.seen.facts["peer_memory"].update(loaded=["nv_peer_mem"], in_use=["nv_peer_mem"])
    with pytest.raises(Refusal, match="unload nv_peer_mem: it is in use"):
        planned(made)
    made.seen.facts["peer_memory"]["in_use"] = []
    assert "unload nv_peer_mem" in sentences(planned(made).steps)


@pytest.mark.parametrize(
    ("changes", "is_loaded"),
    [
        ({}, True),
        ({"own_kernel": False}, False),
        ({"kernel": "6.1.0-1-amd64"}, False),
        ({"driver": {"loaded": {"version": "535.1"}}}, False),
        ({"rdma_stack": {"stale": True}}, False),
        ({"secure_boot": {"enabled": True, "key_enrolled": False}}, False),
    ],
)
def test_a_module_is_loaded_where_all_is_that_it_was_built_for(changes, is_loaded):
    made = case()
    made.seen.facts["peer_memory"]["loaded"] = []
    for row in made.seen.facts["driver"]["modules"]:
        row["signer"] = "somebody"
    for key, value in copy.deepcopy(changes).items():
        if isinstance(value, dict):
            made.seen.facts[key].update(value)
        else:
            made.seen.facts[key] = value
    assert ("load nv_peer_mem" in sentences(planned(made).steps)) is is_loaded


def test_what_is_seen_to_be_missing_is_refused_where_it_matters():
    made = case("nvidia_peermem")
    with pytest.raises(Refusal, match="the driver that is there has not brought it"):
        planned(made)
    made.seen.facts["driver"]["modules"].append(module("nvidia_peermem", VERSION))
    made.seen.kernels[0].misfits[path_of(K, "nvidia_peermem")] = MISFIT
    with pytest.raises(Refusal, match="it would not load"):
        planned(made)
    assert "load nvidia_peermem" in sentences(planned(peermem_of_a_driver_to_come()).steps)


def peermem_of_a_driver_to_come():
    made = case("nvidia_peermem", is_foretold=True)
    made.seen.kernels.clear()
    return made
