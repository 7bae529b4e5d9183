"""Modules of a real kernel, loaded and unloaded by the code that roles do it with."""

from __future__ import annotations

import io
import json
import shlex
import tarfile

import pytest

from lab.paths import CHECKOUT

pytestmark = [pytest.mark.lab, pytest.mark.slow]

HOME = "/srv/code"
NODE = CHECKOUT / "plugins" / "module_utils" / "_node"
_CALL = """
import json
from _node.kernel import kernels, modprobe
from _node.refusal import Refusal
from _node.system.commands import run
from _node.system.root import Root
tree = Root()
try:
    said = {call}
except Refusal as refusal:
    said = refusal.because
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def node(kernel_host, shell):
    """Return what an expression of the node's own code comes to on the host.

    It knows ``kernels`` and ``modprobe``, and has a ``tree`` and a ``run`` for them. A refusal is
    its reason.
    """
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.add(NODE, "_node")
    kernel_host.put(f"{HOME}/node.tar.gz", packed.getvalue())
    shell.says(f"tar -xzf {HOME}/node.tar.gz -C {HOME}")

    def call(expression):
        text = _CALL.format(call=expression)
        return json.loads(shell.says(f"cd {HOME} && python3 -c {shlex.quote(text)}"))

    return call


def loaded(shell):
    return {line.split()[0] for line in shell.says("lsmod").splitlines()[1:]}


def test_a_module_is_loaded_with_what_it_stands_on_and_goes_again(node, shell):
    assert node("modprobe.load('rdma_rxe', run)") == ""
    assert {"rdma_rxe", "ib_core"} <= loaded(shell)
    assert node("modprobe.is_unused('rdma_rxe', tree)") is True
    assert node("modprobe.unload('rdma_rxe', run)") is None
    assert "rdma_rxe" not in loaded(shell)


def test_one_that_others_stand_on_stays_and_the_kernel_says_so(node, shell):
    node("modprobe.load('rdma_rxe', run)")
    assert node("modprobe.is_unused('ib_core', tree)") is False
    assert "ib_core is in use by" in node("modprobe.unload('ib_core', run)")
    assert "ib_core" in loaded(shell)
    assert "rdma_rxe" in node("sorted(kernels.above(tree, ['ib_core']))")


def test_a_device_of_rdma_holds_no_module_and_who_has_it_open_holds_ib_uverbs(node, shell):
    interface = shell.says("ip -br -4 addr show scope global").split()[0]
    shell.says(f"modprobe rdma_rxe && rdma link add rxe0 type rxe netdev {interface}")
    users = "kernels.module_users(tree)['ib_uverbs'].number"
    try:
        assert node("modprobe.is_unused('rdma_rxe', tree)") is True
        before = node(users)
        shell.says(
            "udevadm settle --timeout=60 && systemd-run --quiet --unit=holder "
            "sh -c 'exec sleep infinity 3<>/dev/infiniband/uverbs0' && sleep 2"
        )
        assert node(users) > before
    finally:
        shell.says("systemctl stop holder; rdma link delete rxe0")


def test_a_module_that_is_not_there_is_named_as_modprobe_does(node):
    assert "not found" in node("modprobe.load('no_such_module', run)")
