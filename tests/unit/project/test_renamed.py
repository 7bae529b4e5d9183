"""Modules that were given another name are found by the old one, for one version."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import project

ROUTING = yaml.safe_load((project.ROOT / "meta" / "runtime.yml").read_text())["plugin_routing"]
RENAMED = {"kept": "kept_info", "node_facts": "node_info"}


def ran(module, arguments):
    """Run a module with these arguments on this machine; return what it said."""
    return subprocess.run(
        [
            Path(sys.executable).with_name("ansible"),
            *("--inventory", "localhost,", "--connection", "local", "all"),
            *("--module-name", f"gpunode.stack.{module}", "--extra-vars"),
            f"ansible_python_interpreter={sys.executable}",
            *("--args", arguments),
        ],
        cwd=project.ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("kind", ["action", "modules"])
def test_an_old_name_leads_to_the_new_one_until_the_next_version(kind):
    assert {
        old: (row["redirect"], row["deprecation"]["removal_version"])
        for old, row in ROUTING[kind].items()
        if "redirect" in row
    } == {old: (f"gpunode.stack.{new}", "0.2.0") for old, new in RENAMED.items()}


@pytest.mark.parametrize(("old", "answer"), [("kept", "kept"), ("node_facts", "gpunode_facts")])
def test_a_module_answers_by_its_old_name_and_says_the_new_one(tmp_path, old, answer):
    said = ran(old, f"root={tmp_path}" if old == "node_facts" else "")
    assert said.returncode == 0, said.stdout + said.stderr
    assert f"    {answer}:\n" in said.stdout
    assert f"Use gpunode.stack.{RENAMED[old]} instead" in " ".join(said.stderr.split())


@pytest.mark.parametrize("gone", ["receipt", "wanted"])
def test_a_module_that_went_says_what_does_its_work_now(gone):
    done = ran(gone, "component=miniforge")
    assert done.returncode != 0
    assert "gpunode.stack.component" in done.stdout + done.stderr
