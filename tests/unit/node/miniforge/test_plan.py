"""What is to be done about Miniforge, from what is there: no file is read, nothing runs."""

from __future__ import annotations

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node import steps
from ansible_collections.gpunode.stack.plugins.module_utils._node.miniforge import plan, removal
from ansible_collections.gpunode.stack.plugins.module_utils._node.miniforge.observe import Seen
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import text_files

PREFIX, CERTIFICATES = "/no/such/conda", "/no/such/etc/ca.pem"
WANTED = {
    "prefix": PREFIX,
    "version": "24.7.1-0",
    "conda_version": "24.7.1",
    "condarc": "channels: [https://ob:geheim@mirror.example/main]\n",
    "pip_config": f"{PREFIX}/pip.conf",
    "pip_conf": "[global]\n",
    "ca_path": CERTIFICATES,
    "ca_text": None,
}
AS_WANTED = {
    path: text_files.OnDisk(file.text, file.mode) for path, file in plan.configured(WANTED).items()
}
NOTES = "/no/such/root/.conda/environments.txt"
NOTHING = removal.Remains("free", False, "", [], None, False)


class Installer:
    """Does nothing, and is not asked to."""

    def install(self):
        raise AssertionError

    update = install


def sentences(seen, wanted=None):
    return steps.sentences(plan.plan(wanted or WANTED, seen, Installer()))


@pytest.mark.parametrize(
    ("verdict", "version", "said"),
    [
        ("free", None, [f"install Miniforge 24.7.1-0 in {PREFIX}"]),
        ("unfinished", None, [f"install Miniforge 24.7.1-0 in {PREFIX}"]),
        ("conda", "24.7.1", []),
        ("conda", "24.1.0", [f"bring {PREFIX} from conda 24.1.0 to Miniforge 24.7.1-0"]),
        ("conda", None, [f"bring {PREFIX} from conda that does not answer to Miniforge 24.7.1-0"]),
    ],
)
def test_conda_is_installed_or_updated_by_what_is_there(verdict, version, said):
    assert sentences(Seen(verdict, version, AS_WANTED)) == said
    assert plan.obstacles(WANTED, Seen(verdict, version, AS_WANTED)) == []


def test_what_is_no_installation_is_an_obstacle():
    (refusal,) = plan.obstacles(WANTED, Seen("foreign", None, AS_WANTED))
    assert "holds something else" in refusal.because


def test_files_that_are_not_as_wanted_are_written_and_shown_without_passwords():
    there = {CERTIFICATES: text_files.OnDisk("old"), f"{PREFIX}/.condarc": text_files.NOTHING}
    seen = Seen("conda", "24.7.1", {**AS_WANTED, **there})
    assert sentences(seen) == [f"remove {CERTIFICATES}", f"write {PREFIX}/.condarc"]
    certificates, condarc = plan.diffs(WANTED, seen)
    assert (certificates["before"], certificates["after"]) == ("old", "")
    assert condarc["after"] == "channels: [https://***@mirror.example/main]\n"


def test_a_file_with_a_password_is_for_root_alone():
    modes = {path: file.mode for path, file in plan.configured(WANTED).items()}
    assert modes == {
        CERTIFICATES: 0o644,
        f"{PREFIX}/.condarc": 0o600,
        f"{PREFIX}/pip.conf": 0o644,
    }


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        ({}, []),
        ({"is_folder": True}, [f"remove {PREFIX}"]),
        ({"verdict": "conda"}, [f"remove {PREFIX}"]),
        ({"verdict": "conda", "noted": ""}, [f"remove {NOTES}", f"remove {PREFIX}"]),
        ({"noted": f"{PREFIX}/envs/x\n"}, [f"remove {NOTES}"]),
        ({"noted": f"{PREFIX}\n{PREFIX}-too\n"}, [f"take {PREFIX} out of {NOTES}"]),
        ({"noted": "/srv\n"}, []),
        ({"noted": ""}, []),
        ({"certificates": True}, [f"remove {CERTIFICATES}"]),
    ],
)
def test_what_is_left_of_an_installation_goes_and_nothing_else(seen, said):
    found = removal.plan(PREFIX, NOTES, CERTIFICATES, NOTHING._replace(**seen), "/no/such/state")
    assert steps.sentences(found) == said


@pytest.mark.parametrize(
    ("seen", "because"),
    [
        ({"verdict": "foreign"}, ["holds something else"]),
        ({"verdict": "conda", "user": "process cat"}, ["process cat lives in it"]),
        ({"verdict": "unfinished", "environments": ["/x"]}, ["were made by hand: /x"]),
        ({"user": "process cat"}, []),
    ],
)
def test_what_keeps_an_installation_from_being_removed_is_told(seen, because):
    refusals = removal.obstacles(PREFIX, NOTHING._replace(**seen))
    assert len(refusals) == len(because)
    assert all(words in str(refusal) for words, refusal in zip(because, refusals, strict=True))
