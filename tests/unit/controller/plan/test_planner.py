"""The plan of one host: facts and digests in, reasons out."""

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.plan import planner

NAMES = st.lists(st.sampled_from(["miniforge", "conda_env", "gunicorn_app"]), unique=True)


def receipt(digest="d", drift=(), names=()):
    rows = [{"kind": "file", "of": "/x", "says": says} for says in drift]
    return {"digest": digest, "drift": rows, "names": list(names), "asked": {}}


def test_a_component_without_a_receipt_is_due():
    plan = planner.plan({"miniforge": "d"}, {}, [])
    assert planner.due(plan) == ["miniforge"]
    assert plan["components"]["miniforge"]["why"] == ["no receipt on the host"]


def test_a_receipt_for_something_else_makes_the_component_due():
    assert planner.due(planner.plan({"miniforge": "new"}, {"miniforge": receipt("old")}, [])) == [
        "miniforge"
    ]


def test_drift_makes_a_component_due_and_is_the_reason_given():
    plan = planner.plan({"miniforge": "d"}, {"miniforge": receipt(drift=["file /x is gone"])}, [])
    assert plan["components"]["miniforge"] == {
        "due": True,
        "why": ["file /x is gone"],
        "waits": [],
    }


@given(NAMES)
def test_a_converged_host_is_never_due(names):
    plan = planner.plan(dict.fromkeys(names, "d"), {name: receipt() for name in names}, [])
    assert (plan["status"], planner.due(plan)) == ("converged", [])


@given(NAMES)
def test_what_is_due_keeps_the_order_of_application(names):
    assert planner.due(planner.plan(dict.fromkeys(names, "d"), {}, [])) == names


@given(NAMES)
def test_a_refused_host_has_nothing_due(names):
    plan = planner.plan(dict.fromkeys(names, "d"), {}, [Refusal("a", "b", "c")])
    assert (plan["status"], planner.due(plan)) == ("refused", [])


def test_the_same_refusal_is_said_once():
    plan = planner.plan({}, {}, [Refusal("a", "b", "c"), Refusal("a", "b", "c")])
    assert plan["refusals"] == [{"what": "a", "because": "b", "remedy": "c", "rule": ""}]


STANDS_ON = {"gunicorn_app": ["conda_env"]}


def test_what_runs_from_something_due_is_due_as_well():
    digests = {"conda_env": "new", "gunicorn_app": "d"}
    found = {"conda_env": receipt("old"), "gunicorn_app": receipt()}
    plan = planner.plan(digests, found, [], STANDS_ON)
    assert planner.due(plan) == ["conda_env", "gunicorn_app"]
    assert plan["components"]["gunicorn_app"]["why"] == [
        "it runs from what conda_env is about to change"
    ]


def test_what_runs_from_something_converged_is_left_alone():
    names = ["conda_env", "gunicorn_app"]
    plan = planner.plan(
        dict.fromkeys(names, "d"), {name: receipt() for name in names}, [], STANDS_ON
    )
    assert planner.due(plan) == []


def test_what_vanished_from_the_inventory_is_unwanted_and_nothing_else():
    found = {"conda_env": receipt(names=["a", "b"]), "gunicorn_app": receipt(names=["web"])}
    assert planner.unwanted({"conda_env": ["a", "c"]}, found) == {
        "conda_env": ["b"],
        "gunicorn_app": ["web"],
    }
    assert planner.unwanted({"conda_env": ["a", "b"], "gunicorn_app": ["web"]}, found) == {}


def step(component, waits=()):
    return {"component": component, "why": ["550 is installed"], "waits": list(waits)}


def test_a_host_with_steps_besides_its_components_is_to_be_changed():
    plan = planner.plan({"miniforge": "d"}, {"miniforge": receipt()}, [], steps=[step("mlnx_ofed")])
    assert (plan["status"], planner.due(plan)) == ("changes", [])


def test_what_a_host_shows_makes_a_component_due_in_spite_of_its_receipt():
    found = {"nvidia_driver": receipt(drift=["file /x is gone"])}
    plan = planner.plan({"nvidia_driver": "d"}, found, [], steps=[step("nvidia_driver")])
    assert planner.due(plan) == ["nvidia_driver"]
    assert plan["components"]["nvidia_driver"]["why"] == ["550 is installed", "file /x is gone"]


def test_a_step_that_waits_for_consent_is_not_due_and_leaves_the_host_to_be_changed():
    steps = [step("nvidia_driver", ["change_method"]), step("reboot", ["reboot"])]
    plan = planner.plan({"nvidia_driver": "new"}, {"nvidia_driver": receipt()}, [], steps=steps)
    assert (plan["status"], planner.due(plan)) == ("changes", [])
    assert plan["components"]["reboot"]["waits"] == ["reboot"]


def test_a_reboot_is_due_last_and_without_any_receipt():
    steps = [step("nvidia_driver"), step("reboot")]
    plan = planner.plan({"nvidia_driver": "d"}, {}, [], steps=steps)
    assert planner.due(plan) == ["nvidia_driver", "reboot"]
