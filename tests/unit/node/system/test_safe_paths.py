"""Paths that only root can turn are told from those that others can."""

from __future__ import annotations

import os
import struct

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import safe_paths

OWN = os.getuid()


@pytest.fixture
def place(tmp_path):
    """A folder that belongs to whoever runs the tests, as those above it do."""
    made = tmp_path / "prefix" / "bin"
    made.mkdir(parents=True)
    (made / "conda").write_text("")
    return made


def why(path):
    return safe_paths.why_unsafe(str(path))


def test_what_is_roots_alone_is_safe(place):
    assert safe_paths.why_unsafe("/usr/bin/env") == ""
    assert why(place / "conda") == why(place / "to" / "come") == ""


@pytest.mark.parametrize("part", [".", "..", "conda"])
@pytest.mark.parametrize(("mode", "who"), [(0o777, "by all"), (0o757, "by all")])
def test_what_others_write_on_the_way_is_named(place, part, mode, who):
    (place / part).chmod(mode)
    assert why(place / "conda") == f"{os.path.normpath(place / part)} is written {who}"


@pytest.mark.skipif(OWN != 0, reason="only root gives files away")
@pytest.mark.parametrize("part", [".", "..", "conda"])
def test_whose_it_is_on_the_way_is_named(place, part):
    os.chown(place / part, 65534, 0)
    assert why(place / "conda") == f"{os.path.normpath(place / part)} belongs to nobody"
    os.chown(place / part, OWN, 65534)
    (place / part).chmod(0o775)
    assert why(place / "conda").endswith("is written by group nogroup")


def test_a_link_is_followed_to_where_it_leads(place):
    link = place.parent / "link"
    link.symlink_to("bin/../bin")
    assert why(link / "conda") == ""
    place.chmod(0o777)
    assert why(link / "conda") == f"{place} is written by all"


def test_a_link_in_a_circle_is_no_end(place):
    (place / "a").symlink_to("b")
    (place / "b").symlink_to("a")
    assert why(place / "a").endswith("leads in a circle")


def test_where_all_may_come_first_is_not_safe_for_what_is_not_there(place):
    place.chmod(0o1777)
    assert why(place / "conda") == ""
    assert why(place / "new") == f"{place} is open to all"


def test_one_thing_that_others_write_spoils_a_tree(place):
    tree = str(place.parent)
    (place / "away").symlink_to("/proc/self")
    assert safe_paths.why_unsafe_tree(tree) == ""
    (place / "conda").chmod(0o666)
    assert safe_paths.why_unsafe_tree(tree) == f"{place}/conda is written by all"


def test_the_refusal_names_value_reason_and_remedy(place):
    place.chmod(0o777)
    with pytest.raises(Refusal) as caught:
        safe_paths.refuse_unsafe("run conda", str(place), "miniforge_prefix")
    assert str(place) in caught.value.because
    assert "choose another miniforge_prefix" in caught.value.remedy


def test_a_held_folder_stays_the_same_whatever_takes_its_place(place):
    with safe_paths.held(str(place)) as name:
        place.rename(place.with_name("moved"))
        place.symlink_to("/etc")
        assert os.listdir(name) == ["conda"]


def test_what_fails_in_a_held_folder_tells_of_the_path(place):
    with pytest.raises(FileNotFoundError) as caught, safe_paths.held(str(place)) as name:
        os.unlink(os.path.join(name, "missing"))
    assert caught.value.filename == f"{place}/missing"


@pytest.mark.skipif(OWN != 0, reason="only root gives files away")
def test_a_link_of_others_is_not_followed_to_a_folder(place):
    link = place.parent / "link"
    link.symlink_to("bin")
    with safe_paths.held(str(link)) as name:
        assert os.listdir(name) == ["conda"]
    os.chown(link, 65534, 65534, follow_symlinks=False)
    with (
        pytest.raises(Refusal, match="link on the way there is a link"),
        safe_paths.held(str(link)),
    ):
        pass


USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
NOBODY = 65534


def grant(path, *entries, kind="access"):
    """Give a path an access control list, as acl(5) and the kernel's posix_acl_xattr.h have it."""
    every = [(USER_OBJ, 7, -1), *entries, (OTHER, 5, -1)]
    data = b"".join(struct.pack("<HHi", *entry) for entry in every)
    try:
        os.setxattr(path, f"system.posix_acl_{kind}", struct.pack("<I", 2) + data)
    except OSError as error:
        pytest.skip(f"no access control lists here: {error}")


@pytest.mark.parametrize("part", [".", "..", "conda"])
@pytest.mark.parametrize(
    ("entries", "who"),
    [
        ([(USER, 7, NOBODY), (GROUP_OBJ, 5, -1), (MASK, 7, -1)], "user nobody"),
        ([(GROUP_OBJ, 5, -1), (GROUP, 6, NOBODY), (MASK, 7, -1)], "group nogroup"),
        ([(USER, 4, 0), (USER, 2, 4242), (GROUP_OBJ, 5, -1), (MASK, 2, -1)], "user 4242"),
    ],
)
def test_whom_a_list_lets_write_is_named(place, part, entries, who):
    grant(place / part, *entries)
    assert why(place / "conda") == f"{os.path.normpath(place / part)} is written by {who}"
    tree = safe_paths.why_unsafe_tree(str(place.parent))
    assert tree == f"{os.path.normpath(place / part)} is written by {who}"


@pytest.mark.skipif(OWN != 0, reason="the group is root's; run as root")
@pytest.mark.parametrize(
    "entries",
    [
        [(USER, 7, NOBODY), (GROUP_OBJ, 5, -1), (MASK, 5, -1)],
        [(USER, 5, NOBODY), (GROUP_OBJ, 7, -1), (MASK, 7, -1)],
        [(USER, 7, 0), (GROUP_OBJ, 5, -1), (GROUP, 7, 0), (MASK, 7, -1)],
    ],
)
def test_a_list_that_lets_nobody_else_write_is_no_flaw(place, entries):
    grant(place, *entries)
    assert why(place / "conda") == ""


@pytest.mark.parametrize(
    ("entries", "who"),
    [([(USER, 7, NOBODY), (GROUP_OBJ, 5, -1), (MASK, 7, -1)], "user nobody")],
)
def test_a_list_that_new_things_inherit_is_a_flaw_of_what_is_to_come(place, entries, who):
    grant(place, *entries, kind="default")
    flaw = f"what is made in {place} is written by {who}"
    assert why(place / "conda") == ""
    assert why(place / "new") == why(place / "new" / "er") == flaw
    assert safe_paths.why_unsafe_tree(str(place.parent)) == flaw


def test_a_list_by_which_all_write_what_is_new_is_a_flaw(place):
    entries = [(USER_OBJ, 7, -1), (GROUP_OBJ, 5, -1), (OTHER, 7, -1)]
    data = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    os.setxattr(place, "system.posix_acl_default", data)
    assert why(place / "new") == f"what is made in {place} is written by all"


def test_what_a_link_in_a_tree_leads_to_is_a_part_of_it(place, tmp_path):
    tree, elsewhere = str(place.parent), tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "python").write_text("")
    (place / "python").symlink_to(elsewhere / "python")
    (place / "dangling").symlink_to("nowhere")
    (place / "inside").symlink_to("../bin/conda")
    assert safe_paths.why_unsafe_tree(tree) == ""
    elsewhere.chmod(0o777)
    assert safe_paths.why_unsafe_tree(tree) == f"{elsewhere} is written by all"


def nfs4(*entries):
    """Return a list of NFS 4 as its client hands it out: [(type, flags, mask, who)]."""
    data = struct.pack(">I", len(entries))
    for kind, flags, mask, who in entries:
        data += struct.pack(">4I", kind, flags, mask, len(who)) + who.encode()
        data += b"\0" * (-len(who) % 4)
    return data


# As a server of Linux makes them of the modes 0755 and 0775 (nfs4_getfacl: rwaDxtTnNcCoy, rxtncy).
ROOTS = [(0, 0, 0x1F01FF, "OWNER@"), (0, 0, 0x1200A9, "GROUP@"), (0, 0, 0x1200A9, "EVERYONE@")]
NFS4 = {
    "the mode alone": ([], ""),
    "a user who writes": ([(0, 0, 0x2, "jane@example.org")], "jane@example.org"),
    "a number that appends": ([(0, 0, 0x4, "1000")], "1000"),
    "a group that deletes": ([(0, 0x40, 0x40, "staff@example.org")], "staff@example.org"),
    "a user who may change the list": ([(0, 0, 0x40000, "jane@x")], "jane@x"),
    "a user who may take it": ([(0, 0, 0x80000, "jane@x")], "jane@x"),
    "a user who may remove it": ([(0, 0, 0x10000, "jane@x")], "jane@x"),
    "what comes below": ([(0, 0xB, 0x2, "jane@x")], "jane@x"),
    "all": ([(0, 0, 0x2, "EVERYONE@")], "all"),
    "a user who reads": ([(0, 0, 0x1200A9, "jane@x")], ""),
    "a user who is denied": ([(1, 0, 0x1F01FF, "jane@x")], ""),
    "root by name": ([(0, 0, 0x1F01FF, "root@example.org"), (0, 0, 0x2, "0")], ""),
    "the group of root": ([(0, 0, 0x2, "GROUP@")], ""),
}


@pytest.mark.skipif(OWN != 0, reason="only root's group is no other")
@pytest.mark.parametrize("case", NFS4)
def test_a_list_of_nfs_4_lets_nobody_else_change_it(place, monkeypatch, case):
    entries, writer = NFS4[case]
    data = {str(place): nfs4(*ROOTS, *entries)}

    def getxattr(path, name, *, follow_symlinks):
        if name != "system.nfs4_acl" or str(path) not in data:
            raise OSError
        return data[str(path)]

    monkeypatch.setattr(os, "getxattr", getxattr)
    assert why(place / "conda") == (f"{place} is written by {writer}" if writer else "")
    assert why(place / "to come") == (f"{place} is written by {writer}" if writer else "")
    data[str(place)] = data[str(place)][:-8]
    assert why(place / "conda") == f"{place} is written by whom a list names that cannot be read"
