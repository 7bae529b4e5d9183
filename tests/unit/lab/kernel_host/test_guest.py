"""What boots in a kernel host."""

from __future__ import annotations

import pytest

from lab import base
from lab.errors import LabError
from lab.kernel_host import guest


@pytest.mark.parametrize("name", ["lilo", "", "Grub", "../grub"])
def test_a_boot_loader_that_is_not_known_is_refused_with_those_that_are(name):
    with pytest.raises(LabError, match="grub") as refused:
        guest.ensure(name, say=pytest.fail)
    assert repr(name) in str(refused.value)


def test_a_tree_with_another_boot_loader_or_authority_is_another_one(tmp_path, monkeypatch):
    monkeypatch.setattr(base, "BASES", tmp_path)
    places = []
    monkeypatch.setattr(base, "built", lambda place, *_rest: places.append(place.name))
    for authorities in ([], [("a.crt", "0")]):
        monkeypatch.setattr(base, "certificates", lambda given=authorities: given)
        for name in guest.BOOT_LOADERS:
            guest.ensure(name, say=pytest.fail)
    assert len(set(places)) == 2 * len(guest.BOOT_LOADERS)
    assert {place.rpartition("-")[0] for place in places} == set(guest.BOOT_LOADERS)


def test_the_kernel_is_the_one_whose_modules_are_there(tmp_path):
    (tmp_path / "lib" / "modules" / "6.12.1+deb13-amd64").mkdir(parents=True)
    assert guest.kernel(tmp_path) == "6.12.1+deb13-amd64"
