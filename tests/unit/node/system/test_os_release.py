"""What a host's os-release says."""

from __future__ import annotations

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.system import os_release
from ansible_collections.gpunode.stack.plugins.module_utils._node.system.root import Root


def read(tmp_path, text, place="etc"):
    folder = tmp_path / place
    folder.mkdir(parents=True)
    (folder / "os-release").write_bytes(text)
    return os_release.read(Root(str(tmp_path)))


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (b"NAME=Debian", "Debian"),
        (b'NAME="Debian GNU/Linux"', "Debian GNU/Linux"),
        (b"NAME='Debian GNU/Linux'", "Debian GNU/Linux"),
        (rb'NAME="The \"best\" \\ Linux"', 'The "best" \\ Linux'),
        (b"  NAME=Debian  # ours", "Debian"),
        (b"NAME=Debian\r", "Debian"),
        (b"NAME=", ""),
        (b'NAME=""', ""),
        (b"NAME=one\nNAME=two", "two"),
        (b"NAME=\xff", "\ufffd"),
    ],
)
def test_a_value_is_what_a_shell_takes_it_for(tmp_path, line, value):
    assert read(tmp_path, line)["NAME"] == value


@pytest.mark.parametrize("line", [b"#NAME=x", b"NAME", b"NAME=two words", b'NAME="no end', b"\0"])
def test_what_is_no_assignment_of_one_word_says_nothing(tmp_path, line):
    assert read(tmp_path, line + b"\nID=debian\n") == {"ID": "debian"}


def test_where_the_administrators_is_missing_the_vendors_counts(tmp_path):
    assert read(tmp_path, b"ID=debian\n", "usr/lib") == {"ID": "debian"}


def test_a_host_without_one_is_some_linux(tmp_path):
    assert os_release.lineage(os_release.read(Root(str(tmp_path)))) == ["linux"]


def test_the_lineage_begins_with_the_distribution_itself(tmp_path):
    said = read(tmp_path, b'ID=Rocky\nID_LIKE="rhel centos fedora"\n')
    assert os_release.lineage(said) == ["rocky", "rhel", "centos", "fedora"]
