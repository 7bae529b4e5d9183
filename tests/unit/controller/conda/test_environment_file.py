"""The environment.yml of conda."""

from __future__ import annotations

import pytest

from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.conda import (
    environment_file,
)

BEGIN = "dependencies:\n  - python=3.11\n"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (BEGIN, ([], ["python=3.11"], [])),
        (f"name: x\nprefix: /y\nplatforms: [linux-64]\n{BEGIN}", ([], ["python=3.11"], [])),
        (f"channels:\n  - conda-forge\n{BEGIN}", (["conda-forge"], ["python=3.11"], [])),
        (f"variables:\n{BEGIN}", ([], ["python=3.11"], [])),
        (f"variables: {{}}\n{BEGIN}", ([], ["python=3.11"], [])),
        (f"channels:\n{BEGIN}  - pip:\n", ([], ["python=3.11"], [])),
        (f"{BEGIN}  - pip\n  - pip: [a]\n  - pip: [b>=1]\n",
         ([], ["python=3.11", "pip"], ["a", "b>=1"])),
        (f"{BEGIN}  - conda-forge::numpy=1.26=py311_0\n",
         ([], ["python=3.11", "conda-forge::numpy=1.26=py311_0"], [])),
    ],
)  # fmt: skip
def test_what_it_asks_for_is_read(text, found):
    said = environment_file.read(text)
    assert (said["channels"], said["packages"], said["pip"]) == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no dependencies"),
        ("name: web\n", "no dependencies"),
        ("- python\n", "no dependencies"),
        ("dependencies: [\n", "it is no YAML"),
        ("[" * 3000, "it is no YAML"),
        ("dependencies: {python: 3}\n", "dependencies are no list"),
        (f"channels: conda-forge\n{BEGIN}", "channels are no list"),
        (f"variables: {{A: b}}\n{BEGIN}", "environment_variables of the application"),
        (f"{BEGIN}  - 3.11\n", "3.11, which is no text"),
        (f"{BEGIN}  -\n", "have an entry with nothing in it"),
        (f"{BEGIN}  - sel(linux): [x]\n", "say sel"),
        (f"{BEGIN}  - pip: [1]\n", "pip have 1"),
        (f"package: x\n{BEGIN}", "it says package"),
        ("dependencies: !!python/object/apply:os.getcwd []\n", "it is no YAML"),
    ],
)
def test_what_cannot_be_had_is_refused_by_name(text, words):
    with pytest.raises(ValueError, match=words):
        environment_file.read(text)
