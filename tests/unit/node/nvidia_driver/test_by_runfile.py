"""What is done to have the driver by a .run follows from what was seen, and from nothing else."""

from __future__ import annotations

import copy

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.component.bring import Node
from ansible_collections.gpunode.stack.plugins.module_utils._node.nvidia_driver import (
    by_runfile,
    fabric_packages,
    package_choice,
    package_family,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.nvidia_driver.target import Target
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.steps import sentences
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.stack import case

VERSION = "535.183.01"
FILE = "/srv/NVIDIA-Linux-x86_64-535.183.01.run"
WANTED = {
    "version": VERSION,
    "branch": "535",
    "file": FILE,
    "sha256": "0" * 64,
    "guest": False,
    "modules": "proprietary",
    "architectures": {},
    "offered": [],
    "peermem": False,
}
DONE = by_runfile.Seen(
    there={},
    headers={},
    is_in_place=True,
    lacking=[],
    replaced=[],
    missing=[],
    file="",
    left=[],
    is_unpacked=False,
    fabric=fabric_packages.Seen(None, None, {}, {}),
)
FRESH = DONE._replace(is_in_place=False, lacking=["6.1"], missing=["dkms"])


def method(seen, before="", sent=(), **wanted):
    facts = copy.deepcopy(case.EMPTY)
    facts["driver"]["runfile"] = before
    host = Node(None, None, None, None, sent=dict.fromkeys(sent, "/tmp/sent"))
    family = package_family.Family(["nvidia-*"], [], [], [], {})
    return by_runfile.ByRunfile(Target({**WANTED, **wanted}, facts), host, family, seen)


def phases(found):
    parts = (found.preparing, found.building, found.exchanging, found.finishing)
    return [sentences(part()) for part in parts]


def test_a_fresh_host_is_given_modules_before_programs_and_keeps_the_file():
    assert phases(method(FRESH)) == [
        [f"unpack the .run file of NVIDIA driver {VERSION}", "install dkms"],
        [f"build the proprietary modules of {VERSION} for kernel 6.1"],
        [f"install NVIDIA driver {VERSION} from its .run file"],
        [f"keep the .run file of NVIDIA driver {VERSION}"],
    ]


def test_headers_come_before_what_would_bring_those_of_another_kernel():
    devel = "kernel-devel-matched-5.14.0-503.el9.x86_64"
    seen = FRESH._replace(headers={"5.14.0-503.el9.x86_64": devel})
    prepared = sentences(method(seen).preparing())
    assert prepared[1:] == [f"install {devel}", "install dkms"]


def test_a_host_that_has_it_is_left_alone_and_asked_for_no_file():
    found = method(DONE, before=VERSION)
    assert (phases(found), found.needs()) == ([[], [], [], []], [])
    assert (found.builds, found.exchanges, found.changes_method) == (False, False, False)


@pytest.mark.parametrize(
    ("seen", "before", "words"),
    [
        (
            FRESH,
            "535.161.08",
            [f"replace NVIDIA driver 535.161.08 by {VERSION} from its .run file"],
        ),
        (FRESH, VERSION, [f"install NVIDIA driver {VERSION} from its .run file"]),
        (
            DONE._replace(lacking=["6.1"], replaced=["6.1"]),
            VERSION,
            ["exchange the modules for the proprietary ones"],
        ),
        (
            DONE._replace(there={"nvidia-driver": "1", "nvidia-fabricmanager-535": "1"}),
            "",
            ["remove nvidia-driver", f"install NVIDIA driver {VERSION} from its .run file"],
        ),
        # A kernel that has none yet gets them beside the driver that is in use.
        (DONE._replace(lacking=["6.2"]), VERSION, []),
    ],
)
def test_what_gives_way_is_named(seen, before, words):
    found = method(seen, before)
    assert sentences(found.exchanging()) == words
    assert found.exchanges == bool(words)


def test_what_is_left_of_others_goes_without_an_exchange():
    left = [("nvidia", "535.161.08")]
    assert phases(method(DONE._replace(left=left), VERSION))[-1] == [
        "remove the modules of nvidia 535.161.08"
    ]
    assert phases(method(DONE._replace(is_unpacked=True), VERSION))[-1] == [
        f"keep the .run file of NVIDIA driver {VERSION}"
    ]


def test_the_controllers_file_is_needed_until_the_host_has_it():
    assert method(FRESH).needs() == [FILE]
    assert method(FRESH, sent=[FILE]).needs() == []
    assert method(FRESH._replace(file="/var/cache/x.run")).needs() == []
    assert method(FRESH, file="https://example.com/x.run").needs() == []


def test_switches_without_a_fabric_manager_to_be_had_are_refused_and_one_comes_first():
    obstacle = Refusal("Fabric Manager", "none is offered", "Offer one")
    fabric = fabric_packages.Seen(None, obstacle, {}, {})
    with pytest.raises(Refusal, match="none is offered"):
        method(FRESH._replace(fabric=fabric)).finishing()
    choice = package_choice.Choice(VERSION, {"nvidia-fabricmanager-535": f"{VERSION}-1"}, [])
    fabric = fabric_packages.Seen(choice, None, {}, {})
    assert sentences(method(FRESH._replace(fabric=fabric)).finishing())[0] == (
        f"install nvidia-fabricmanager-535 {VERSION}-1"
    )
