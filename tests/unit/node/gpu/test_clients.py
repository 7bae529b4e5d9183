"""Who has a device of the driver open."""

from __future__ import annotations

import time

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trees import looked_at, planted

from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import clients

LOADED = {"/proc/modules": "nvidia 56823808 10 nvidia_uvm, Live 0x0 (POE)\n"}


def process(pid, *opened, name="python3", cgroup="0::/system.slice/web.service\n"):
    """Return the files and links of a process with some files open."""
    files = {f"/proc/{pid}/comm": f"{name}\n", f"/proc/{pid}/cgroup": cgroup}
    links = {f"/proc/{pid}/fd/{number}": path for number, path in enumerate(opened)}
    return files, links


def test_processes_with_a_device_open_are_told_with_their_unit():
    files, links = process(
        500, "/dev/null", "/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia0", "socket:[7]"
    )
    more, more_links = process(60, "/dev/nvidia-uvm", name="nvidia-persiste", cgroup="0::/\n")
    other, other_links = process(9, "/dev/null", "/home/x/dev/nvidia0")
    rows = looked_at(
        clients.clients,
        {**LOADED, **files, **more, **other, "/proc/version": ""},
        {**links, **more_links, **other_links},
    )
    assert rows == [
        {"pid": 60, "process": "nvidia-persiste", "unit": "", "devices": ["/dev/nvidia-uvm"]},
        {
            "pid": 500,
            "process": "python3",
            "unit": "web.service",
            "devices": ["/dev/nvidia0", "/dev/nvidiactl"],
        },
    ]


def test_no_process_is_looked_at_where_the_driver_is_not_loaded():
    files, links = process(500, "/dev/nvidia0")
    assert (
        looked_at(clients.clients, {**files, "/proc/modules": "nvidiafb 1 0 - Live 0x0\n"}, links)
        == []
    )


def test_a_process_that_is_gone_is_no_error():
    files, _links = process(500)
    assert looked_at(clients.clients, {**LOADED, **files}) == []


def test_a_file_that_is_closed_meanwhile_hides_no_other(tmp_path):
    files, links = process(500, "/dev/nvidia0")
    # What is no link cannot be read as one, as a descriptor that is gone.
    files.update({f"/proc/500/fd/{number}": "" for number in range(10, 20)})
    (row,) = clients.clients(planted(tmp_path, {**LOADED, **files}, links))
    assert row["devices"] == ["/dev/nvidia0"]


def test_a_thousand_processes_take_less_than_a_second(tmp_path):
    files, links = dict(LOADED), {}
    for pid in range(1, 1001):
        more, more_links = process(pid, *(f"socket:[{number}]" for number in range(8)))
        files.update(more)
        links.update(more_links)
    tree = planted(tmp_path, files, links)
    began = time.process_time()
    assert clients.clients(tree) == []
    assert time.process_time() - began < 1


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=200))
def test_rubbish_in_the_files_of_a_process_is_no_error(rubbish):
    files, links = process(500, "/dev/nvidia0")
    files.update({"/proc/500/cgroup": rubbish, "/proc/500/comm": rubbish})
    assert [row["pid"] for row in looked_at(clients.clients, {**LOADED, **files}, links)] == [500]
