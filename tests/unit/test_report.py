"""Plans as text and as a document."""

from ansible_collections.gpunode.stack.plugins.plugin_utils import report


def converged(*runs):
    wanted = {"gunicorn_app": [{"says": says} for says in runs]}
    return {
        "status": "converged",
        "components": {},
        "refusals": [],
        "wanted": wanted,
        "address": "",
        "unwanted": {},
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
    }


REFUSED = {
    "status": "refused",
    "components": {},
    "wanted": {},
    "address": "",
    "unwanted": {},
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


def test_hosts_that_differ_in_their_address_alone_are_alike_and_named_with_it():
    plans = {name: {**converged("web on 80"), "address": f"10.0.0.{name}"} for name in "12"}
    assert report.as_text(plans, []).startswith("2 hosts (1 at 10.0.0.1, 2 at 10.0.0.2): converged")


def test_what_nobody_asks_for_any_more_is_named_with_the_way_to_remove_it():
    text = report.as_text({"n1": {**converged(), "unwanted": {"gunicorn_app": ["web"]}}}, [])
    assert "gunicorn_app web" in text
    assert "state: absent" in text
