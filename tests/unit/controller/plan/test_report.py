"""Plans as text and as a document."""

import json
import os
import pathlib

import pytest

from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.plan import report

NO_STACK = {"name": "", "steps": [], "notices": []}


def converged(*runs):
    wanted = {"gunicorn_app": [{"says": says} for says in runs]}
    return {
        "status": "converged",
        "components": {},
        "refusals": [],
        "wanted": wanted,
        "address": "",
        "unwanted": {},
        "stack": NO_STACK,
    }


def changing(*why):
    components = {
        "conda_env": {"due": True, "why": list(why)},
        "miniforge": {"due": False, "why": []},
    }
    return {
        "status": "changes",
        "components": components,
        "refusals": [],
        "wanted": {},
        "address": "",
        "unwanted": {},
        "stack": NO_STACK,
    }


REFUSED = {
    "status": "refused",
    "components": {},
    "wanted": {},
    "address": "",
    "unwanted": {},
    "stack": NO_STACK,
    "refusals": [{"what": "port 9001", "because": "nginx has it", "remedy": "Stop nginx"}],
}


def test_alike_hosts_share_a_paragraph_with_their_count():
    text = report.as_text({f"n{i}": converged("web on 80") for i in range(2000)}, [])
    assert text.startswith("2000 hosts (")
    assert text.count("\n") == 1


def test_a_change_names_the_component_that_is_due_and_why():
    text = report.as_text({"n1": changing("no receipt on the host")}, [])
    assert "conda_env: no receipt on the host" in text
    assert "miniforge" not in text


def test_a_refusal_shows_what_why_and_the_remedy():
    text = report.as_text({"n1": REFUSED}, [])
    assert all(word in text for word in ("port 9001", "nginx has it", "Stop nginx"))


def test_unreachable_hosts_are_named():
    assert "n2" in report.as_text({"n1": converged()}, ["n2"])


def test_the_fleet_is_as_grave_as_its_gravest_host():
    assert report.fleet_status({"a": converged(), "b": changing("x")}) == "changes"
    assert report.fleet_status({"a": converged(), "b": changing("x"), "c": REFUSED}) == "refused"
    assert report.fleet_status({"a": converged()}) == "converged"


def test_a_fleet_rests_where_nothing_is_to_be_done_on_any_host():
    assert report.rests({"a": converged(), "b": converged()})
    for other in (changing("x"), changing(), REFUSED):
        assert not report.rests({"a": converged(), "b": other})


def test_hosts_that_differ_in_their_address_alone_are_alike_and_named_with_it():
    plans = {name: {**converged("web on 80"), "address": f"10.0.0.{name}"} for name in "12"}
    assert report.as_text(plans, []).startswith("2 hosts (1 at 10.0.0.1, 2 at 10.0.0.2): converged")


def test_what_nobody_asks_for_any_more_is_named_with_the_way_to_remove_it():
    text = report.as_text({"n1": {**converged(), "unwanted": {"gunicorn_app": ["web"]}}}, [])
    assert "gunicorn_app web" in text
    assert "state: absent" in text


def step(component, **changes):
    return {
        "component": component,
        "rules": [],
        "why": ["550.90.07 is installed"],
        "from": "550.90.07",
        "to": "580 open",
        "interrupts": [],
        "consent": [],
        **changes,
    }


def stacked(*steps, notices=()):
    stack = {
        "name": "r580",
        "steps": list(steps),
        "notices": [{"rule": "end-of-life", "says": says} for says in notices],
    }
    return {**changing(), "stack": stack}


def test_a_step_shows_from_to_and_why_in_columns():
    plan = stacked(step("nvidia_driver"), step("reboot", **{"from": "", "to": "580"}))
    lines = report.as_text({"n1": plan}, []).splitlines()
    assert lines[1].startswith("    nvidia_driver  550.90.07 -> 580 open  550.90.07 is installed")
    assert lines[2].index("580") == lines[1].index("550.90.07")
    assert lines[2].index("550.90.07 is") == lines[1].index("550.90.07 is")


def test_a_step_says_what_it_interrupts():
    plan = stacked(step("reboot", interrupts=["everything on the host"]))
    assert "interrupts everything on the host" in report.as_text({"n1": plan}, [])


def test_a_converged_host_says_which_stack_it_has():
    plan = {**converged("web on 80"), "stack": {"name": "r580", "steps": [], "notices": []}}
    assert "GPU stack r580" in report.as_text({"n1": plan}, [])


def test_notices_are_shown_whatever_becomes_of_the_host():
    noticed = stacked(notices=["R470 has ended"])["stack"]
    for plan in (converged("web"), changing("x"), REFUSED):
        assert "note: R470 has ended" in report.as_text({"n1": {**plan, "stack": noticed}}, [])


def test_two_thousand_hosts_of_a_few_kinds_are_read_at_a_glance():
    kinds = [
        converged("web on 80"),
        stacked(step("nvidia_driver")),
        {**REFUSED, "address": ""},
        stacked(step("mlnx_ofed"), step("nvidia_driver"), step("reboot")),
    ]
    text = report.as_text({f"gpu{i}": kinds[i % 4] for i in range(2000)}, ["gone"])
    assert len(text.splitlines()) < 30
    assert text.count("500 hosts (") == 4


@pytest.mark.parametrize(
    ("statuses", "refused", "stops"),
    [
        (["converged", "changes"], "stop", False),
        (["changes", "refused"], "stop", True),
        (["changes", "refused"], "leave_out", False),
        (["refused", "refused"], "leave_out", True),
        ([], "leave_out", False),
    ],
)
def test_a_refused_host_stops_the_run_unless_it_is_to_be_left_out(statuses, refused, stops):
    plans = {str(number): {"status": status} for number, status in enumerate(statuses)}
    assert report.stops(plans, refused) is stops


def test_the_plan_as_a_file_is_ones_own_and_goes_into_a_pipe_as_well(tmp_path):
    path = tmp_path / "made" / "plan.json"
    report.write(path, report.as_document({"n1": converged("web")}, ["gone"]))
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text())["unreachable"] == ["gone"]
    reads, writes = os.pipe()
    with os.fdopen(reads, encoding="utf-8") as pipe:
        report.write(pathlib.Path(f"/proc/self/fd/{writes}"), {})
        os.close(writes)
        assert json.load(pipe) == {}
