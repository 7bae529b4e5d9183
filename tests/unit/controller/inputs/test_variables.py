"""Misspelt variables are named, other people's variables are left alone."""

from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.inputs import variables

KNOWN = {"conda_env_list", "conda_env_dir", "gunicorn_app_list", "miniforge_prefix"}
PREFIXES = ("conda_env", "gunicorn_app", "miniforge", "gpunode")


def refused(*names):
    return {refusal.what: refusal.remedy for refusal in variables.unknown(names, KNOWN, PREFIXES)}


def test_a_misspelt_option_is_refused_with_the_nearest_name():
    assert "conda_env_list" in refused("conda_env_lsit")["variable conda_env_lsit"]


def test_a_misspelt_prefix_is_refused_with_the_nearest_name():
    assert "gunicorn_app_list" in refused("gunicron_app_list")["variable gunicron_app_list"]


def test_an_unknown_name_with_our_prefix_is_refused():
    assert refused("gpunode_stakc")


def test_known_names_and_other_peoples_names_pass():
    assert refused(*KNOWN, "mirror", "ansible_user", "http_port", "__internal", "conda") == {}
