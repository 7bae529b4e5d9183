"""Names and places of a lab."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lab.network import MAX_KERNEL_HOSTS, MAX_NODES
from lab.paths import INTERFACE_NAME_MAX, LabPaths, lab_id

FOLDERS = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1).map(
    "/x/{}".format
)


@given(FOLDERS, st.integers(1, MAX_NODES))
def test_interface_names_fit(folder, number):
    paths = LabPaths.of(folder)
    assert len(paths.bridge) <= INTERFACE_NAME_MAX
    assert len(paths.host_interface(number)) <= INTERFACE_NAME_MAX


@given(FOLDERS, st.integers(1, MAX_KERNEL_HOSTS))
def test_cables_and_cards_of_kernel_hosts_have_names_that_fit_and_are_no_others(folder, number):
    paths = LabPaths.of(folder)
    cables = paths.kernel_host_interfaces(number)
    assert max(map(len, cables)) <= INTERFACE_NAME_MAX
    cards = [mac for one in range(1, MAX_KERNEL_HOSTS + 1) for mac in paths.kernel_host_macs(one)]
    assert len(set(cards)) == 2 * MAX_KERNEL_HOSTS
    # IEEE 802: the last bit says of a group, the one before it that no maker gave it away.
    assert {int(mac[:2], 16) & 0b11 for mac in cards} == {0b10}
    assert {len(mac.split(":")) for mac in cards} == {6}


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
    assert not set(one.kernel_host_interfaces(1)) & set(other.kernel_host_interfaces(1))
