"""The project as the commit before the present one has it: what converged the users' hosts."""

from __future__ import annotations

import subprocess

import pytest

from system import playbooks


def unpacked(folder):
    """Unpack that commit into a folder and return it; skip the test where no history is at hand."""
    archive = subprocess.run(
        ["git", "archive", "--format=tar", "HEAD^"],
        cwd=playbooks.PROJECT,
        capture_output=True,
        check=False,
    )
    if archive.returncode:
        pytest.skip(f"no commit before this one: {archive.stderr.decode(errors='replace')}")
    folder.mkdir()
    subprocess.run(["tar", "--extract"], cwd=folder, input=archive.stdout, check=True)
    return folder


def site(checkout, *arguments, log):
    """Run the site.yml of an unpacked checkout on the present lab; see :func:`playbooks.run`."""
    inventory = playbooks.PROJECT / "inventory" / "lab"
    return playbooks.run(
        checkout / "site.yml", "--inventory", inventory, *arguments, log=log, folder=checkout
    )
