"""The work on a part of the GPU stack, around what the part does itself."""

from __future__ import annotations

import contextlib
import errno
import os

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.component import bring
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import transient_unit

PART = bring.Part("mlnx_ofed", "RDMA stack", "bring it", 7)


class Exit(Exception):
    pass


class Module:
    def __init__(self, state, check_mode=True):
        self.params = {"wanted": {"state": state}}
        self.check_mode = check_mode
        self.warned = []

    def warn(self, says):
        self.warned.append(says)

    def exit_json(self, **result):
        raise Exit(result)


def brought(module, converge):
    with pytest.raises(Exit) as caught:
        bring.bring(module, PART, converge)
    return caught.value.args[0]


def test_where_nothing_is_said_nothing_is_done():
    result = brought(Module("unsaid"), lambda _host: pytest.fail("it was asked"))
    assert result == {"changed": False, "changes": [], "diff": [], "manifest": []}


def test_a_disk_that_fills_up_under_the_work_is_told(tmp_path):
    def converge(_host):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path))

    module = Module("present")
    module.fail_json = module.exit_json
    with pytest.raises(Exit) as caught:
        bring.bring(module, PART, converge)
    assert f"the file system of {tmp_path} is full" in caught.value.args[0]["msg"]


def test_what_went_wrong_beside_the_work_is_a_warning():
    module = Module("present")
    result = brought(module, lambda _host: {"changed": True, "warnings": ["it went wrong"]})
    assert (result, module.warned) == ({"changed": True}, ["it went wrong"])


@pytest.mark.parametrize("check_mode", [True, False])
def test_what_an_earlier_run_began_comes_to_its_end_first(monkeypatch, check_mode):
    done = []
    monkeypatch.setattr(transient_unit, "settle", lambda *asked: done.append(asked))
    # The lock of this machine is nobody's business.
    monkeypatch.setattr(bring.at_work, "at_work", lambda *_: contextlib.nullcontext())
    brought(Module("present", check_mode), lambda _host: done.append("work") or {})
    assert done == ([] if check_mode else [("mlnx_ofed", 7)]) + ["work"]
