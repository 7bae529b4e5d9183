"""The catalog: every row is complete, and newer ones stand first."""

from __future__ import annotations

import re

import pytest

from ansible_collections.gpunode.stack.plugins.plugin_utils import catalog

MINIFORGE = catalog.rows("miniforge")


def order(version):
    return [int(part) for part in re.split(r"[.-]", version)]


@pytest.mark.parametrize("row", MINIFORGE, ids=lambda row: row["version"])
def test_a_miniforge_row_names_one_file_and_its_digest(row):
    assert set(row) == {"version", "architecture", "url", "sha256"}
    assert re.fullmatch("[0-9a-f]{64}", row["sha256"])
    version, architecture = row["version"], row["architecture"]
    assert row["url"] == (
        f"https://github.com/conda-forge/miniforge/releases/download/{version}/"
        f"Miniforge3-{version}-Linux-{architecture}.sh"
    )


def test_miniforge_versions_are_listed_once_and_newest_first():
    versions = [order(row["version"]) for row in MINIFORGE]
    assert versions == sorted(versions, reverse=True)
    assert len({tuple(version) for version in versions}) == len(versions)
    assert len({row["sha256"] for row in MINIFORGE}) == len(versions)
