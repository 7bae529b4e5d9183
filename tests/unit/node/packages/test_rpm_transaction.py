"""What a transaction of rpm that was cut leaves, settled before the next one."""

from __future__ import annotations

import subprocess

import pytest
from trees import planted

from ansible_collections.gpunode.stack.plugins.module_utils._node.packages import (
    package_manager,
    rpm_transaction,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal

# As `rpm -qa` tells of them, an epoch in front of the version where there is one.
TWICE = """\
rdma-core	2510.0.11-1.el9
rdma-core	2507.0.9-1.el9
nvidia-driver	3:575.57.08-1.el9
nvidia-driver	3:580.105.08-1.el9
zlib	1.2.11-40.el9
zlib	1.2.11-41.el9
"""


def erased(folder, wanted, status=0):
    """Return what is erased of packages that are there twice; zlib is not asked about."""
    told = []

    def execute(argv, _environment):
        told.append(list(argv))
        return subprocess.CompletedProcess(argv, status, "", "error: it does not work\n")

    tree = planted(folder, {"/var/lib/rpm/rpmdb.sqlite": ""}, answers={"rpm": TWICE})
    rpm_transaction.settle(
        wanted, ("rdma-core", "nvidia-driver").__contains__, tree, execute, package_manager.Dnf()
    )
    return [argv[3:] for argv in told]


def test_of_what_is_wanted_in_a_version_that_one_stays(tmp_path):
    wanted = {"rdma-core": "2507.0.9-1.el9", "nvidia-driver": "3:580.105.08-1.el9"}
    assert erased(tmp_path, wanted) == [
        ["rdma-core-2510.0.11-1.el9", "nvidia-driver-575.57.08-1.el9"]
    ]


@pytest.mark.parametrize("wanted", [{}, {"rdma-core": "2601-1", "nvidia-driver": "3:590-1"}])
def test_of_any_other_one_the_newest_stays(tmp_path, wanted):
    assert erased(tmp_path, wanted) == [
        ["rdma-core-2507.0.9-1.el9", "nvidia-driver-575.57.08-1.el9"]
    ]


def test_what_rpm_cannot_erase_is_refused_with_its_words(tmp_path):
    with pytest.raises(Refusal, match="it does not work") as refused:
        erased(tmp_path, {}, status=1)
    assert "rdma-core-2507.0.9-1.el9" in refused.value.what
