"""Names and places of a lab."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lab.network import MAX_NODES
from lab.paths import INTERFACE_NAME_MAX, LabPaths, lab_id

FOLDERS = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1).map(
    "/x/{}".format
)


@given(FOLDERS, st.integers(1, MAX_NODES))
def test_interface_names_fit(folder, number):
    paths = LabPaths.of(folder)
    assert len(paths.bridge) <= INTERFACE_NAME_MAX
    assert len(paths.host_interface(number)) <= INTERFACE_NAME_MAX


def test_a_link_to_a_checkout_has_the_checkouts_lab(tmp_path):
    (tmp_path / "checkout").mkdir()
    (tmp_path / "link").symlink_to("checkout")
    assert lab_id(tmp_path / "link") == lab_id(tmp_path / "checkout")
    assert lab_id(tmp_path / "link") != lab_id(tmp_path)


def test_two_labs_share_no_name():
    one, other = LabPaths.of("/a"), LabPaths.of("/b")
    assert one.bridge != other.bridge
    assert one.label != other.label
    assert one.host_interface(1) != other.host_interface(1)
    assert one.state != other.state
