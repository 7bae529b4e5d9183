"""What is planned for an RDMA stack follows from what was seen, without a look at the host."""

from __future__ import annotations

import dataclasses

import gpu_hosts
import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape, steps
from ansible_collections.gpunode.stack.plugins.module_utils._node.component import bring
from ansible_collections.gpunode.stack.plugins.module_utils._node.mlnx_ofed import (
    by_bundle,
    by_distribution,
    by_repository,
    method,
    observe,
    package_sets,
    plan,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.packages import repositories
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import text_files
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.stack import (
    plan as stack_plan,
)
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.stack import selection

K, OTHER = "6.1.0-56-amd64", "6.1.0-55-amd64"
VERSION = "24.10-1.1.4.0"
TREE, KNEM = ("mlnx-ofed-kernel", "24.10"), ("knem", "1.1")
PACKAGES = {"ofed-scripts": "24.10"}
DIGEST = "0123456789abcdef" * 4
WANTED = {
    **{"kind": "mlnx_ofed", "version": VERSION, "file": "/srv/bundle.tgz", "sha256": DIGEST},
    **{"firmware_update": False, "tmpdir": "/tmp", "options": []},
    **{"doca": "3.2", "repository": {}, "repository_url": "", "inbox_packages": {}},
}


def kernel(release, running=True, headers=True):
    return {"release": release, "running": running, "next": running, "headers": headers}


def facts(**changes):
    """A host of Debian with a kernel of its own, and MLNX_OFED loaded as it is wanted."""
    found = facts_shape.empty(facts_shape.Facts)
    found.update(own_kernel=True, pkg_mgr="apt", kernels=[kernel(K)])
    found["rdma_stack"].update(kind="mlnx_ofed", version=VERSION, kernels=[K], loaded=True)
    found["driver"]["dkms"] = [{"name": TREE[0], "version": TREE[1]}]
    return {**found, **changes}


def seen(**changes):
    """What was seen of that host, its pins as they are to be."""
    packages = observe.Packages(PACKAGES, PACKAGES, True, list(PACKAGES), None)
    pins = package_sets.held("apt", PACKAGES, None)
    found = observe.Seen(
        facts(),
        packages,
        observe.Past(False, "", False),
        {
            **{(TREE, K): ["/ib_core.ko"], (TREE, OTHER): []},
            **{(KNEM, release): ["/knem.ko"] for release in (K, OTHER)},
        },
        ["/ib_core.ko"],
        "",
        True,
        False,
        {path: text_files.OnDisk(file.text, file.mode) for path, file in pins.items()},
        {},
        [],
        False,
    )
    return dataclasses.replace(found, **changes)


def untouched(*_asked, **_options):
    pytest.fail("the host was asked")


NODE = bring.Node(None, untouched, untouched, untouched, untouched)


def planned(found, *consent, way=by_bundle.ByBundle, **said):
    return plan.plan(way({**WANTED, **said}, found, NODE), list(consent))


def told(*asked, **said):
    return steps.sentences(planned(*asked, **said).steps)


def inbox(**changes):
    found = {"kind": "inbox", "version": "", "kernels": [], "loaded": True, "stale": False}
    nothing = observe.Packages({}, {}, True, [], None)
    return seen(facts=facts(rdma_stack=found, **changes), packages=nothing, cores=[], files={})


def test_a_stack_that_is_as_wanted_is_left_alone():
    assert planned(seen(), "restart_openibd") == ([], [], [], [])


def down(**changes):
    """Return what is seen of a host whose openibd stopped and did not start."""
    found = facts()["rdma_stack"]
    idle = {**found, "loaded": False, "idle": ["0000:5e:00.0"]}
    return facts(**{"kernel": K, "rdma_stack": idle, **changes})


@pytest.mark.parametrize("consent", [(), ("restart_openibd",), ("reboot",)])
def test_rdma_that_is_down_is_started_with_whatever_consent(consent):
    found = planned(seen(facts=down()), *consent)
    assert steps.sentences(found.steps) == ["start openibd"]


@pytest.mark.parametrize(
    "changes",
    [
        {"own_kernel": False},
        {"kernel": "6.1.0-1-amd64"},
        {"secure_boot": {**facts()["secure_boot"], "enabled": True, "key": "/mok.pub"}},
    ],
    ids=["no kernel", "no modules", "no key"],
)
def test_what_would_not_load_is_not_started(changes):
    assert planned(seen(facts=down(**changes))).steps == []


@pytest.mark.parametrize(
    ("manager", "is_there", "brought"),
    [
        # What dnf holds to versions by; without it the list of pins is void.
        ("dnf", True, ["install python3-dnf-plugin-versionlock"]),
        ("dnf", False, ["install python3-dnf-plugin-versionlock"]),
        # DKMS, which is for an installation alone.
        ("apt", True, []),
        ("apt", False, ["install python3-dnf-plugin-versionlock"]),
    ],
)
def test_what_a_bundle_needs_of_the_distribution_comes_before_it(manager, is_there, brought):
    found = seen(missing=["python3-dnf-plugin-versionlock"])
    version = VERSION if is_there else "23.10-1.1.9.0"
    stack = {**facts()["rdma_stack"], "version": version}
    found = dataclasses.replace(found, facts=facts(pkg_mgr=manager, rdma_stack=stack))
    way = by_bundle.ByBundle(WANTED, found, NODE)
    preparing = [words for words in steps.sentences(way.preparing()) if "unpack" not in words]
    assert preparing == brought


def test_pins_that_differ_are_shown_and_held():
    path = package_sets.PREFERENCES
    found = planned(seen(files={path: text_files.OnDisk("Package: other\n")}))
    assert steps.sentences(found.steps) == [f"hold the packages of the RDMA stack by {path}"]
    (diff,) = found.diff
    assert (diff["before"], "ofed-scripts" in diff["after"]) == ("Package: other\n", True)


def test_what_an_exchange_brings_is_not_shown_before_it():
    found = planned(inbox(), "restart_openibd")
    assert [len(part) for part in found] == [1, 1, 2, 0]
    assert told(inbox(), "restart_openibd") == [
        f"unpack the bundle of MLNX_OFED {VERSION}",
        f"install MLNX_OFED {VERSION}",
        f"hold the packages of the RDMA stack by {package_sets.PREFERENCES}",
        "restart openibd",
    ]


@pytest.mark.parametrize(("is_own_build", "words"), [(True, []), (False, ["install dkms"])])
def test_dkms_comes_first_where_the_installer_leaves_modules_to_it(is_own_build, words):
    found = dataclasses.replace(inbox(), is_own_build=is_own_build, missing=["dkms"])
    assert steps.sentences(planned(found).preparing)[1:] == words


@pytest.mark.parametrize(
    "past", [observe.Past(True, "", False), observe.Past(False, "", True)], ids=["cut", "symbols"]
)
def test_what_was_cut_or_lost_is_mended_by_an_exchange(past):
    assert planned(seen(past=past)).exchanging


def test_a_service_that_is_disabled_is_enabled_without_an_exchange():
    assert told(seen(starts_not=True)) == ["enable openibd.service"]


def test_what_is_left_is_the_exchange_and_what_follows_it():
    found = planned(inbox())
    assert found.left == found.steps[1:]


def test_a_repository_comes_before_its_packages_and_those_before_what_gives_way():
    offering = {repositories.RDMA.source: text_files.of("x")}
    found = dataclasses.replace(inbox(), offering=offering, missing=["a-plugin"])
    assert told(found, way=by_repository.ByRepository, kind="doca", version="25.10")[:4] == [
        f"write {repositories.RDMA.source}",
        "fetch the packages of DOCA-OFED 25.10",
        "install a-plugin",
        "install DOCA-OFED 25.10",
    ]


def test_where_the_distributions_own_is_wanted_what_tells_of_a_repository_goes():
    files = {
        repositories.RDMA.source: text_files.OnDisk("x"),
        package_sets.PREFERENCES: text_files.NOTHING,
    }
    found = dataclasses.replace(inbox(), files=files, missing=["rdma-core"])
    pins = f"hold the packages of the RDMA stack by {package_sets.PREFERENCES}"
    assert told(found, way=by_distribution.ByDistribution, kind="inbox") == [
        "install rdma-core",
        f"remove {repositories.RDMA.source}",
        pins,
    ]


@pytest.mark.parametrize(
    ("said", "words"),
    [({"file": "", "release": {}}, "no sha256 is known"), ({}, "no kernel of this host")],
)
def test_what_could_not_be_installed_is_refused_before_anything_is_done(said, words):
    found = inbox(kernels=[])
    with pytest.raises(Refusal, match=words):
        by_bundle.ByBundle({**WANTED, **said}, found, NODE).refuse([])


# The rest is decided by the plan of a host on the controller as well.

DEVICE = {"name": "mlx5_0", "interfaces": ["ib0"]}
OBSTACLES = {
    "image": {"own_kernel": False},
    "connection": {"management": {"interface": "ib0", "lower": ["ib0"], "drivers": {}}},
    "key": {"secure_boot": {**facts()["secure_boot"], "enabled": True}},
}
STALE = {"kind": "mlnx_ofed", "version": VERSION, "kernels": [K], "loaded": True, "stale": True}
CHANGES = {
    "nothing": {},
    "another version": {"rdma_stack": {**STALE, "version": "23.10", "stale": False}},
    "stale modules": {"rdma_stack": STALE},
    "a kernel to come": {"kernels": [kernel(K), kernel(OTHER, running=False)]},
    # The installer, which brings those for the next kernel, brings all of them anew.
    "modules that came built": {
        "kernels": [{**kernel(K), "next": False}, {**kernel(OTHER, running=False), "next": True}],
        "driver": {**facts()["driver"], "dkms": [{"name": KNEM[0], "version": KNEM[1]}]},
    },
    "the kernel that runs": {"kernels": [kernel(K, running=False), kernel(OTHER)]},
    "a module beside the core": {
        "driver": {
            **facts()["driver"],
            "dkms": [{"name": name, "version": version} for name, version in (TREE, KNEM)],
        },
    },
}
RESTARTING = set(CHANGES) - {"nothing", "a kernel to come", "a module beside the core"}


def lost(changes):
    """Return what was seen of a host on which a module beside the RDMA core is gone."""
    found = seen(facts=facts(**changes))
    return dataclasses.replace(found, modules={**found.modules, (KNEM, K): []})


def node_restarts(changes, consent):
    look = lost if changes is CHANGES["a module beside the core"] else _seen
    return "restart openibd" in told(look(changes), *consent)


def _seen(changes):
    return seen(facts=facts(**changes))


def test_a_module_beside_the_core_is_built_again_and_nothing_is_exchanged_for_it():
    built = [f"build the RDMA modules for kernel {K}"]
    for trees in ((TREE, KNEM), (KNEM,)):
        rows = [{"name": name, "version": version} for name, version in trees]
        changes = {"driver": {**facts()["driver"], "dkms": rows}}
        assert told(lost(changes), "restart_openibd") == built


def plan_restarts(changes, consent):
    said = {"kind": "mlnx_ofed", "version": VERSION, "file": f"/srv/b.tgz#sha256={DIGEST}"}
    options = {**{f"ofed_{key}": value for key, value in said.items()}, "consent": consent}
    wanted = selection.resolve(options, gpu_hosts.KNOWN)
    found = stack_plan.plan(wanted, facts(**changes), gpu_hosts.KNOWN)
    return any("restart_openibd" in step["consent"] for step in found["steps"])


@pytest.mark.parametrize("name", CHANGES)
def test_the_plan_of_a_host_and_the_node_restart_openibd_alike(name):
    consent = ["restart_openibd", "unenrolled_key"]
    both = [decides(CHANGES[name], consent) for decides in (node_restarts, plan_restarts)]
    assert both == [name in RESTARTING] * 2
    for obstacle in OBSTACLES.values():
        changes = {**CHANGES[name], **obstacle, "rdma_devices": [DEVICE]}
        assert not node_restarts(changes, consent)
        assert not plan_restarts(changes, consent)


@pytest.mark.parametrize("consent", [[], ["reboot"], ["unenrolled_key"]])
@pytest.mark.parametrize("name", CHANGES)
def test_the_node_restarts_openibd_with_consent_to_that_alone(name, consent):
    assert not node_restarts(CHANGES[name], consent)


class Nothing(method.Method):
    """A way that never exchanges anything."""

    exchanges = False

    def preparing(self):
        return []

    def exchanging(self):
        return []

    def pins(self, _packages):
        return {}

    def brought(self):
        return {}

    def finished(self):
        pass


def test_a_kernel_that_lacks_modules_gets_them_whichever_way_the_stack_came():
    found = seen(facts=facts(**CHANGES["a kernel to come"]))
    assert told(found, way=Nothing) == [f"build the RDMA modules for kernel {OTHER}"]


def test_a_way_that_leaves_out_a_part_of_its_interface_is_none():
    with pytest.raises(TypeError, match="finished"):
        type("Half", (Nothing,), {"finished": method.Method.finished})(WANTED, seen(), NODE)
