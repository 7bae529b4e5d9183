"""Two runs at once: one works, the other waits, and then names who it waited for."""

import multiprocessing

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import node_lock


def hold(path, pipe):
    with node_lock.held("build environments", path):
        pipe.send("held")
        pipe.poll(20)


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock at the yielded path."""
    context = multiprocessing.get_context("fork")
    path, (ours, theirs) = str(tmp_path / "lock"), context.Pipe()
    process = context.Process(target=hold, args=(path, theirs))
    process.start()
    assert ours.poll(20)
    yield path, process
    process.kill()
    process.join(20)


def test_the_second_run_names_the_first(holder):
    path, process = holder
    named = pytest.raises(Refusal, match=rf"build environments \(pid {process.pid}")
    with named, node_lock.held("serve applications", path, wait_s=0.3):
        pass


def test_a_killed_holder_leaves_no_lock(holder):
    path, process = holder
    process.kill()
    process.join(20)
    with node_lock.held("serve applications", path, wait_s=5):
        pass
