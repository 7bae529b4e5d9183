"""Each failure that nvidia-gridd logs is told by what it means."""

from __future__ import annotations

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.vgpu_license import gridd_log
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import project
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.inputs import yaml_file


@pytest.mark.parametrize(
    ("line", "means"),
    [
        ("Invalid feature type requested", "does not know the feature type"),
        ("Licensing not supported for GPUs in the system", "none is virtual"),
        ("Unable to fetch the client configuration token file", "finds no token"),
        ("Failed to decode signature from token received", "cannot read the token"),
        (
            "Failed to acquire license from lic (Info: x - Error: The allowed time to process "
            "response has expired)",
            "clocks",
        ),
        (
            "Failed to acquire license from lic (Info: x - Error: No pool features found for : x)",
            "kind",
        ),
        (
            "Failed to acquire license from lic (Info: x - Error: Couldn't connect to server)",
            "answer",
        ),
        (
            "Failed to acquire license from lic (Info: x - Error: Couldn't resolve host name)",
            "name",
        ),
        ("Failed to register client (2)", "gave no licence"),
        (
            "Failed to update local trusted store - Maximum buffer size exceeded",
            "keep what the license server tells it",
        ),
        ("Failed to open file /etc/nvidia/gridd.conf (No such file or directory)", "configuration"),
        ("Something new", "does not say why"),
    ],
)
def test_a_known_line_of_the_log_is_told_by_what_it_means(line, means):
    log = f"Started (5)\n{line}\nValid GRID license not found. GPU features\n"
    if means == "does not say why":
        log = f"Started (5)\n{line}\n"
    meaning, remedy, quoted = gridd_log.reason(log)
    assert means in meaning
    assert quoted == line
    assert remedy


WORDS = yaml_file.load(project.ROOT / "tests" / "standins" / "machine" / "words.yml")["licensing"]
FAILURES = [
    *(row["token"] for row in WORDS["servers"].values() if "license" not in row),
    *(
        WORDS[key]["says"]
        for key in ("no_configuration", "bad_feature", "unsupported", "no_token", "bad_token")
    ),
]


@pytest.mark.parametrize("line", FAILURES)
def test_each_failure_that_was_seen_has_a_meaning_of_its_own(line):
    log = f"Started (5)\n{line}\n{WORDS['valid_not_found']['says']}\n"
    meaning, _remedy, quoted = gridd_log.reason(log)
    assert quoted == line
    assert meaning != gridd_log.reason(WORDS["valid_not_found"]["says"])[0]


def test_a_licence_that_was_had_is_no_failure():
    line = WORDS["servers"]["licensed"]["token"]
    assert gridd_log.reason(line)[0] == "the daemon does not say why"


def test_a_cause_that_is_not_known_is_quoted_with_the_general_line_behind_it():
    log = "Started (5)\nUnable to parse the lease: bad field\nFailed to acquire license from lic\n"
    means, _remedy, quoted = gridd_log.reason(log)
    assert means == "the license server gave no licence"
    assert quoted == "Unable to parse the lease: bad field; Failed to acquire license from lic"


def test_an_empty_log_is_said_to_be_empty():
    assert gridd_log.reason("")[2] == "its log is empty"
