"""A name that is suggested is one that a hand may have slipped from."""

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node import near_miss


@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        ("conda_env_lsit", "conda_env_list"),
        ("condaenv_list", "conda_env_list"),
        ("conda_envs_list", "conda_env_list"),
        ("Conda_Env_List", "conda_env_list"),
        ("r58O", "r580"),
        ("wbe", "web"),
        ("r5O0", "r580"),
        ("gunicron_app_kep", "gunicorn_app_keep"),
    ],
)
def test_one_slip_in_four_letters_is_a_near_miss(slip, meant):
    assert near_miss.of(slip, ["r580", "web", "conda_env_list", "gunicorn_app_keep"]) == meant


@pytest.mark.parametrize(
    "name", ["", "db", "prod", "branch", "conda_env_packages", "my_x", "r9999", "cunda_emv_lisp"]
)
def test_what_only_begins_or_ends_alike_is_none(name):
    assert near_miss.of(name, ["batch", "ab", "web", "conda_env_list", "r580"]) == ""


def test_of_several_the_nearest_is_meant():
    assert near_miss.of("mirors", ["mirror", "mirrors"]) == "mirrors"
    assert near_miss.of("mirrrors_url", ["mirror_url", "mirrors_url"]) == "mirrors_url"


def test_of_several_that_are_as_near_it_is_the_same_whatever_their_order():
    for known in (["app2", "app1"], ["app1", "app2"]):
        assert near_miss.of("app3", known) == "app1"


def test_names_of_lengths_that_no_edits_make_good_are_not_compared(monkeypatch):
    compared = []
    monkeypatch.setattr(near_miss, "_least_distance", lambda *pair: compared.append(pair) or 3)
    near_miss.of("hostvars", ["r580", "hostcars", "conda_env_list"])
    assert compared == [("hostvars", "hostcars")]


def test_the_longer_name_tells_how_many_slips_it_may_have():
    assert near_miss.of("wokres1", ["workers1"]) == "workers1"


def test_without_a_near_one_the_remedy_is_another():
    assert near_miss.remedy("prod", ["web"], "Describe it") == "Describe it"
    assert near_miss.remedy("wep", ["web"], "Describe it") == "Did you mean web?"
