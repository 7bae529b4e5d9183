"""Images: nodes begin with what was done to one once, and with nothing of that one itself."""

from __future__ import annotations

import pytest

from lab.images import Image
from lab.node import Lab

pytestmark = pytest.mark.lab

WRITTEN = "/srv/written"


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A lab of one node."""
    lab = Lab(tmp_path_factory.mktemp("images") / "checkout")
    lab.paths.checkout.mkdir()
    lab.up(1)
    yield lab
    lab.remove()


class Prepared:
    """An image of that lab's node, and how often it was made."""

    def __init__(self, key):
        self.image = Image(key, self._prepare, is_own=True)
        self.times = 0

    def _prepare(self, lab, name):
        self.times += 1
        told(lab, f"sudo sh -c 'echo {self.image.key} >{WRITTEN}; rm /etc/debian_version'")


def told(lab, command):
    done = lab.ssh("node1", command)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def prepared(own):
    """An image that the node has begun with twice; (it, {what the node said of itself})."""
    made = Prepared("first")
    identity = "cat /etc/machine-id; hostname; sudo journalctl --list-boots --quiet | wc -l"
    said = []
    for _time in range(2):
        own.fresh("node1", made.image)
        said.append(told(own, identity).split())
        told(own, f"test ! -e /etc/debian_version; cat {WRITTEN}; sudo touch /srv/later")
    return made, said


def test_it_is_made_once_and_every_node_begins_with_it_and_nothing_that_came_later(own, prepared):
    made, _said = prepared
    own.fresh("node1", made.image)
    assert made.times == 1
    assert told(own, f"cat {WRITTEN}; ls /srv") == "first\nwritten"


def test_what_it_removed_is_not_there(own, prepared):
    own.fresh("node1", prepared[0].image)
    assert told(own, "ls /etc/debian_version 2>/dev/null; true") == ""


def test_each_node_has_an_identity_and_a_first_boot_of_its_own(prepared):
    first, second = prepared[1]
    assert first[0] != second[0]
    assert first[1:] == second[1:] == ["node1", "1"]


def test_a_node_that_is_stopped_keeps_what_it_began_with(own, prepared):
    own.fresh("node1", prepared[0].image)
    own.stop("node1")
    own.start("node1")
    assert told(own, f"cat {WRITTEN}") == "first"


def test_a_fresh_node_without_one_is_bare(own, prepared):
    own.fresh("node1", prepared[0].image)
    own.fresh("node1")
    assert told(own, f"ls {WRITTEN} /etc/debian_version 2>/dev/null; true") == "/etc/debian_version"


def test_another_one_takes_its_place_on_disk(own, prepared):
    own.fresh("node1")
    other = Prepared("second")
    own.fresh("node1", other.image)
    assert told(own, f"cat {WRITTEN}") == "second"
    (left,) = own.paths.images("node1").glob("*.*-*-*")
    assert left.joinpath(WRITTEN.lstrip("/")).read_text() == "second\n"
