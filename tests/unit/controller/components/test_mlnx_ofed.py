"""From variables to the wanted RDMA stack."""

from __future__ import annotations

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import wanted_state
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.components import mlnx_ofed
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.stack import case

FILE = f"files/MLNX.tgz#sha256={'0' * 64}"
SAID = {"gpunode_ofed_kind": "mlnx_ofed", "gpunode_ofed_version": "24.10-1.1.4.0"}

DOCA = {"gpunode_ofed_kind": "doca", "gpunode_ofed_version": "25.10"}
ARCHIVE = {**DOCA, "gpunode_ofed_version": "26.01", "mlnx_ofed_repository": "ubuntu"}


def site(**said):
    return wanted_state.Site({**SAID, **said}, "/inventory")


def state(**said):
    return site(**said).wanted("mlnx_ofed")


def test_without_a_word_of_it_the_stack_is_not_looked_after():
    assert not mlnx_ofed.is_wanted(wanted_state.Site({}, "/"))
    assert wanted_state.Site({}, "/").wanted("mlnx_ofed") == {"state": "unsaid"}


def test_a_stack_that_is_named_is_wanted_with_its_row_of_the_catalog():
    found = state()
    assert mlnx_ofed.is_wanted(site())
    assert (found["kind"], found["version"]) == ("mlnx_ofed", "24.10-1.1.4.0")
    assert found["release"]["url"].endswith("{distribution}-x86_64.tgz")
    assert found["inbox_packages"]["apt"] == ["rdma-core", "ibverbs-providers"]


def test_a_file_is_of_the_inventory_and_an_address_stays():
    assert state(gpunode_ofed_file=FILE)["file"] == "/inventory/files/MLNX.tgz"
    address = f"https://mirror.example.com/{FILE}"
    assert state(gpunode_ofed_file=address)["file"] == address.partition("#")[0]


def test_by_default_firmware_stays():
    assert state()["firmware_update"] is False


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"mlnx_ofed_tmpdir": "tmp"}, "mlnx_ofed_tmpdir tmp"),
        ({"mlnx_ofed_options": ["--basics"]}, "Did you mean --basic?"),
        ({"mlnx_ofed_options": ["--without-fw-update"]}, "mlnx_ofed_firmware_update"),
        (
            {**DOCA, "mlnx_ofed_options": ["--basic"]},
            "mlnx_ofed_options --basic: DOCA",
        ),
        (
            {**DOCA, "mlnx_ofed_repository_url": "m/d"},
            "mlnx_ofed_repository_url m/d: ",
        ),
        ({**DOCA, "gpunode_ofed_version": "27.01"}, "Say mlnx_ofed_repository_url"),
        ({**DOCA, "mlnx_ofed_repository": "debian"}, "mlnx_ofed_repository"),
        ({**ARCHIVE, "gpunode_ofed_version": "25.10"}, "the archive has 26.04 and 26.01"),
        # Its packages tell no build.
        ({**ARCHIVE, "gpunode_ofed_version": "26.01-1.0.0"}, "26.01-1.0.0: the archive has"),
        ({**ARCHIVE, "mlnx_ofed_firmware_update": True}, "mlnx_ofed_firmware_update: "),
        *(
            ({**DOCA, "mlnx_ofed_repository_key": key}, f"mlnx_ofed_repository_key: {key}")
            for key in ("D42D0685", "9CD0A493D42D0685", "0" * 39, "0" * 41, "0" * 39 + "G")
        ),
    ],
)
def test_what_cannot_be_is_refused_by_name(said, words):
    with pytest.raises(Refusal) as caught:
        state(**said)
    assert words in str(caught.value)


def test_the_repository_of_a_series_is_that_of_its_release():
    found = state(**DOCA)["repository"]
    assert found["address"].endswith("/doca/3.2.2/{directory}/x86_64/")
    assert state(**{**DOCA, "gpunode_ofed_version": "25.10-1.7.1"})["repository"] == found
    assert state()["repository"] == {}


@pytest.mark.parametrize(
    ("series", "doca", "profile"),
    [("26.01", "3.3", "doca-ofed-26.01-dkms"), ("26.04", "3.4", "doca-ofed-3.4-dkms")],
)
def test_the_archive_has_a_package_of_each_series_and_a_key_of_its_own(series, doca, profile):
    said = {**ARCHIVE, "gpunode_ofed_version": series, "mlnx_ofed_repository_key": "0" * 40}
    found = state(**said)
    assert (found["doca"], found["profile"]) == (doca, profile)
    assert found["repository"]["components"] == ["main", "universe"]
    assert "0" * 40 not in str(found)


def test_a_mirror_may_be_signed_with_a_key_of_its_own():
    said = {"mlnx_ofed_repository_key": "610C 7B14 E068 A878 070D  A4E9 9CD0 A493 d42d 0685"}
    parts = state(**DOCA, **said)["repository"]["distributions"]
    assert {part["fingerprint"] for part in parts} == {"610C7B14E068A878070DA4E99CD0A493D42D0685"}


def test_a_series_that_the_catalog_does_not_know_may_be_in_a_mirror():
    said = {**DOCA, "gpunode_ofed_version": "27.01", "mlnx_ofed_repository_url": "https://m/d"}
    assert (state(**said)["repository_url"], state(**said)["doca"]) == ("https://m/d", "")


@pytest.mark.parametrize(
    ("said", "name", "version", "count"),
    [
        (DOCA, "Debian", "12", 0),
        (DOCA, "Debian", "9", 1),
        (ARCHIVE, "Ubuntu", "26.04", 0),
        (ARCHIVE, "Ubuntu", "24.04", 1),
        (ARCHIVE, "Debian", "12", 1),
    ],
)
def test_a_distribution_that_doca_has_no_packages_for_is_refused_in_the_plan(
    said, name, version, count
):
    facts = {"distribution": name, "distribution_major_version": version.partition(".")[0]}
    facts["distribution_version"] = version
    assert len(mlnx_ofed.refusals(state(**said), facts)) == count


def test_a_file_that_is_not_on_the_controller_is_refused_unless_it_is_not_needed():
    facts = {"rdma_stack": {**case.EMPTY["rdma_stack"]}}
    wish = state(gpunode_ofed_file=FILE)
    (refusal,) = mlnx_ofed.refusals(wish, facts)
    assert refusal.what == "gpunode_ofed_file: /inventory/files/MLNX.tgz"
    facts["rdma_stack"].update(kind="mlnx_ofed", version="24.10-1.1.4.0")
    assert mlnx_ofed.refusals(wish, facts) == []


@pytest.mark.parametrize(
    ("said", "says"),
    [
        (SAID, "RDMA stack MLNX_OFED 24.10-1.1.4.0"),
        ({"gpunode_ofed_kind": "inbox"}, "RDMA stack the distribution's own"),
        (DOCA, "RDMA stack DOCA-OFED 25.10"),
    ],
)
def test_a_converged_host_says_which_it_has(said, says):
    found = wanted_state.Site(said, "/").wanted("mlnx_ofed")
    assert mlnx_ofed.summary(found)[0]["says"] == says
    assert mlnx_ofed.present(found) == ["RDMA stack"]
