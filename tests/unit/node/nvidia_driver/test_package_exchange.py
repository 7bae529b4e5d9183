"""Modules of packages that are built before those are installed, beside those in use."""

from __future__ import annotations

import types

import pytest
from dkms_host import K1, K2, V1, Host, row

from ansible_collections.gpunode.stack.plugins.module_utils._node.nvidia_driver import (
    package_exchange,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.nvidia_driver.target import (
    Demands,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal

OPEN = "Dual MIT/GPL"
CONF = 'PACKAGE_NAME="nvidia"\nBUILT_MODULE_NAME[0]="nvidia"\n'


@pytest.fixture
def host(tmp_path):
    """A host with the proprietary modules in use, and the sources of the open ones unpacked."""
    made = Host(tmp_path / "root")
    made.put_in_place(V1)
    folder = tmp_path / f"nvidia-{V1}"
    folder.mkdir()
    (folder / "dkms.conf").write_text(CONF)
    made.unpacked = str(folder)
    made.fields = {"license": OPEN}
    return made


def builds(host):
    """Build what is unpacked, as an exchange for open modules does."""
    exchange = package_exchange.PackageExchange(
        types.SimpleNamespace(demands=Demands(True, False, False)),
        types.SimpleNamespace(tree=host.tree, execute=host.execute),
        None,
        types.SimpleNamespace(rows=[row(K1), row(K2)]),
        {},
        {},
        [],
    )
    exchange._build_from(host.unpacked, V1)


def test_the_other_kind_of_one_name_is_tried_for_every_kernel_and_nothing_of_it_stays(host):
    before = host.all_of_it()
    builds(host)
    assert [verb for verb, _version, _kernel in host.asked] == ["build", "build", "remove"]
    assert [kernel for _verb, _version, kernel in host.asked] == [K1, K2, None]
    assert host.all_of_it() == before


def test_one_that_does_not_build_is_a_refusal_and_leaves_what_is_in_use(host):
    before = host.all_of_it()
    host.fails = {K2}
    with pytest.raises(Refusal, match=f"for kernel {K2}"):
        builds(host)
    kept = {path: text for path, text in host.all_of_it().items() if "make-" not in str(path)}
    assert kept == before


def test_sources_that_are_there_already_are_built_where_they_lie(host):
    conf = host.path(f"/usr/src/nvidia-{V1}/dkms.conf")
    for path in conf.parent.iterdir():
        path.unlink()
    conf.write_text(CONF)
    builds(host)
    assert [verb for verb, _version, _kernel in host.asked] == ["build", "build"]
    assert host.survey()["dkms"]
