"""The reboot play on a host that really boots."""

from __future__ import annotations

import pytest

from standins import module_image

pytestmark = [pytest.mark.lab, pytest.mark.slow]

#: The distribution's own RDMA stack, and nothing else.
WANTED = {"gpunode_ofed_kind": "inbox", "conda_env_list": [], "gunicorn_app_list": []}
CORE = "ib_core"
BUILD_ID = f"od -An -tx1 /sys/module/{CORE}/notes/.note.gnu.build-id"


def boot_id(shell):
    return shell.says("cat /proc/sys/kernel/random/boot_id")


@pytest.fixture(scope="module")
def other_build(runs, shell, kernel_host):
    """A host with its RDMA stack, of whose loaded core another build has come on disk.

    So does an update of the kernel that keeps the name of its release. What modules-load.d names
    is loaded at boot.
    """
    done = runs.site(**WANTED)
    assert done.status == 0, done.messages()
    shell.says(f"echo {CORE} >/etc/modules-load.d/test.conf; modprobe {CORE}")
    path = shell.says(f"modinfo -n {CORE}")
    packed = kernel_host.tree.joinpath(path.lstrip("/")).read_bytes()
    kernel_host.put(path, module_image.rebuilt(packed))
    return shell.says(BUILD_ID)


def test_what_is_loaded_and_not_on_disk_makes_a_reboot_due_which_waits_for_consent(
    other_build, runs, shell
):
    before = boot_id(shell)
    plan, _run = runs.plan(**WANTED)
    (step,) = plan["stack"]["steps"]
    assert (step["component"], step["waits"]) == ("reboot", ["reboot"])
    done = runs.site(**WANTED)
    assert done.status == 0, done.messages()
    assert "Reboot" not in done.plays
    assert boot_id(shell) == before


def test_with_consent_the_host_boots_once_and_runs_what_is_on_disk(other_build, runs, shell):
    before = boot_id(shell)
    done = runs.site(**WANTED, gpunode_consent=["reboot"])
    assert done.status == 0, done.messages()
    assert "Reboot" in done.plays
    assert boot_id(shell) != before
    assert shell.says("journalctl --list-boots --quiet | wc -l") == "2"
    assert shell.says(BUILD_ID) != other_build


def test_then_nothing_is_due_and_nothing_is_done(other_build, runs, shell):
    before = boot_id(shell)
    done = runs.site(**WANTED, gpunode_consent=["reboot"])
    assert done.status == 0, done.messages()
    assert done.plays == ["Probe, plan and refuse"]
    assert len(done.round_trips) == 1
    assert boot_id(shell) == before
