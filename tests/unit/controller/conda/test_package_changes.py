"""Packages of yesterday and of today."""

from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.conda import package_changes


def test_what_was_added_removed_and_changed_is_named():
    before = {"flask": "3.0.3", "click": "8.1", "idna": "3.10"}
    after = {"flask": "3.1.3", "idna": "3.10", "blinker": "1.9"}
    assert package_changes.sentences(before, after) == [
        "added: blinker 1.9",
        "removed: click 8.1",
        "changed: flask 3.0.3 -> 3.1.3",
    ]


def test_equal_packages_are_no_change():
    assert package_changes.sentences({"flask": "3.1.3"}, {"flask": "3.1.3"}) == []
