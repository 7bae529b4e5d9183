"""How a vGPU guest gets its license."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trees import looked_at

from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import gridd

TOKEN = "client_configuration_token_01-02-2026-10-11-12.tok"
# As nvidia-gridd logs with a license server of NVIDIA License System.
LOG = (
    "vGPU Software package (0)\n"
    "NLS initialized\n"
    "Acquiring license. (Info: api.cls.licensing.nvidia.com; NVIDIA Virtual Compute Server)\n"
    "License acquired successfully. (Info: api.cls.licensing.nvidia.com, NVIDIA Virtual Compute "
    "Server; Expiry: 2026-4-3 19:11:16 GMT)\n"
    "Mapped GPU instance\n"
)


def facts_of(files, answers=None, load="loaded", active="active"):
    states = {"LoadState": load, "ActiveState": active}
    return looked_at(lambda tree: gridd.survey(tree, states), files, answers=answers)


def test_the_configuration_the_tokens_and_the_log_are_told():
    files = {
        "/etc/nvidia/gridd.conf": (
            '# ServerAddress=not.this.one\n\nServerAddress = "10.5.8.208"\nServerPort=7070\n'
            "FeatureType=4\n"
        ),
        f"/etc/nvidia/ClientConfigToken/{TOKEN}": "content",
        "/etc/nvidia/ClientConfigToken/README": "",
    }
    assert facts_of(files, {"journalctl": LOG}) == {
        "unit": True,
        "active": True,
        "server": "10.5.8.208",
        "tokens": [TOKEN],
        "feature_type": "4",
        "says": LOG.splitlines()[3],
    }


def test_tokens_are_looked_for_where_the_configuration_says():
    files = {
        "/etc/nvidia/gridd.conf": "ClientConfigTokenPath=/srv/tokens/\n",
        f"/srv/tokens/{TOKEN}": "content",
        "/etc/nvidia/ClientConfigToken/other.tok": "content",
    }
    assert facts_of(files)["tokens"] == [TOKEN]


def test_the_content_of_a_token_is_told_nowhere():
    files = {f"/etc/nvidia/ClientConfigToken/{TOKEN}": "eyJhbGciOiJSUzI1NiJ9"}
    assert "eyJ" not in str(facts_of(files, {"journalctl": LOG}))


def test_a_failure_of_the_daemon_is_its_last_word():
    failure = "Valid GRID license not found. GPU features and performance will be restricted."
    assert facts_of({}, {"journalctl": f"{LOG}{failure}\nother\n"})["says"] == failure


# NVIDIA/nvidia-docker#1787.
CAUSE = "Failed to update local trusted store - Maximum buffer size exceeded"
GENERAL = "Failed to acquire license from 192.0.2.7"


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([CAUSE, "Failed to register client (2)", GENERAL], f"{CAUSE}; {GENERAL}"),
        (["Unable to open the socket", "Mapped", GENERAL], f"Unable to open the socket; {GENERAL}"),
        ([CAUSE, *LOG.splitlines()], LOG.splitlines()[3]),
        # What was before the daemon was started again is over.
        ([CAUSE, "Stopped nvidia-gridd.service - NVIDIA Grid Daemon.", GENERAL], GENERAL),
        (
            [
                CAUSE,
                "nvidia-gridd.service: Scheduled restart job, restart counter is at 1.",
                GENERAL,
            ],
            GENERAL,
        ),
        (
            ["Starting nvidia-gridd.service...", CAUSE, "Started nvidia-gridd.service.", GENERAL],
            f"{CAUSE}; {GENERAL}",
        ),
        # Said also where a token does the job.
        (["Configuration parameter ( ServerAddress  ) not set", GENERAL], GENERAL),
        # What was before there was a license is over.
        ([CAUSE, *LOG.splitlines(), GENERAL], GENERAL),
        (
            [CAUSE, f"{GENERAL} (Info: x - Error: Couldn't resolve host name)"],
            f"{GENERAL} (Info: x - Error: Couldn't resolve host name)",
        ),
        (["NLS initialized"], ""),
    ],
)
def test_a_general_line_has_the_cause_before_it(lines, says):
    assert facts_of({}, {"journalctl": "\n".join(lines)})["says"] == says
    assert gridd.last_word("\n".join(lines)) == says


def test_the_journal_is_not_asked_where_the_unit_is_not_there():
    facts = facts_of({}, {"journalctl": LOG}, "not-found", "inactive")
    assert (facts["unit"], facts["active"], facts["says"]) == (False, False, "")


def test_a_unit_that_failed_is_there_and_not_active():
    facts = facts_of({}, active="failed")
    assert (facts["unit"], facts["active"]) == (True, False)


def test_a_host_of_whose_unit_nothing_is_known_has_none():
    assert looked_at(lambda tree: gridd.survey(tree, {}))["unit"] is False


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=200), st.sampled_from([b"", b"ClientConfigTokenPath=", b"FeatureType="]))
def test_rubbish_in_the_configuration_and_the_log_is_no_error(rubbish, before):
    files = {"/etc/nvidia/gridd.conf": before + rubbish}
    assert facts_of(files, {"journalctl": rubbish})["unit"] is True


@pytest.mark.parametrize("value", ["/a\0b", "../../..", "", "relative"])
def test_a_path_of_tokens_that_cannot_be_is_no_error(value):
    files = {"/etc/nvidia/gridd.conf": f"ClientConfigTokenPath={value}\n"}
    assert facts_of(files)["tokens"] == []
