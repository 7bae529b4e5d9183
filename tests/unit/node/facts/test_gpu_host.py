"""What is seen of whole hosts with GPUs, as their composed trees and answers have them."""

from __future__ import annotations

import os
import random
import subprocess

import elf
import hosts
import pytest
from trees import planted

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape
from ansible_collections.gpunode.stack.plugins.module_utils._node.facts import gpu_host

NOBODY = 1 << 22


def survey(host, folder):
    run = hosts.lay_down(host, folder)
    running = [row["release"] for row in host["facts"]["kernels"] if row["running"]]
    return gpu_host.survey(str(folder), "".join(running), NOBODY, run)


@pytest.mark.parametrize("name", hosts.NAMES)
def test_a_whole_host_is_seen_as_it_is(name, tmp_path):
    host = hosts.load(name)
    found = survey(host, tmp_path)
    differing = {key for key in found if found[key] != host["facts"].get(key)}
    assert {key: found[key] for key in differing} == {
        key: host["facts"].get(key) for key in differing
    }


def test_a_loaded_peer_memory_module_is_held_against_that_of_the_running_kernel(tmp_path):
    host = hosts.load("r440-v100")
    modules = host["facts"]["driver"]["modules"]
    path = next(row["path"] for row in modules if row["name"] == "nv_peer_mem")
    hosts.lay_down(host, tmp_path)
    files = {
        "/sys/module/nv_peer_mem/notes/.note.gnu.build-id": elf.note(b"loaded"),
        path: elf.module(notes=elf.note(b"on disk")),
    }
    planted(tmp_path, files)
    found = [
        gpu_host.survey(str(tmp_path), running, NOBODY)["peer_memory"]["stale"]
        for running in (path.split("/")[3], "")
    ]
    assert found == [["nv_peer_mem"], []]


@pytest.mark.parametrize("name", hosts.NAMES)
def test_rubbish_in_every_file_is_no_error_and_changes_no_type(name, tmp_path):
    host, dice = hosts.load(name), random.Random(name)
    run = hosts.lay_down(host, tmp_path)
    for folder, _folders, files in os.walk(tmp_path):
        for file in (os.path.join(folder, each) for each in files):
            if not os.path.islink(file):
                with open(file, "wb") as handle:
                    handle.write(dice.randbytes(dice.randrange(200)))
    running = host["facts"]["kernels"][0]["release"] if host["facts"]["kernels"] else ""
    found = gpu_host.survey(str(tmp_path), running, NOBODY, run)
    assert facts_shape.misfits(found, facts_shape.GpuHost) == []


@pytest.mark.parametrize("name", hosts.NAMES)
def test_programs_that_answer_rubbish_fail_or_hang_are_no_error(name, tmp_path):
    host, dice = hosts.load(name), random.Random(name)
    hosts.lay_down(host, tmp_path)

    def run(argv, **options):
        fate = dice.choice(
            [subprocess.TimeoutExpired(argv, 1), PermissionError(13, "no"), 0, 1, -9]
        )
        if isinstance(fate, Exception):
            raise fate
        printed = dice.randbytes(300)
        printed = printed.decode("latin-1") if options.get("text") else printed
        return subprocess.CompletedProcess(argv, fate, printed, printed)

    found = gpu_host.survey(str(tmp_path), "", NOBODY, run)
    assert facts_shape.misfits(found, facts_shape.GpuHost) == []


def test_a_host_with_nothing_on_it_is_no_error(tmp_path):
    found = gpu_host.survey(str(tmp_path), "", NOBODY, gpu_host.no_programs)
    assert facts_shape.misfits(found, facts_shape.GpuHost) == []


def calls_of_systemctl(tmp_path, *units):
    """Return the calls of systemctl for a host that has some units' files and no more."""
    calls = []

    def run(argv, **_options):
        calls.append(argv)
        raise FileNotFoundError(argv[0])

    for unit in units:
        (tmp_path / unit).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / unit).touch()
    gpu_host.survey(str(tmp_path), "", NOBODY, run)
    return [call for call in calls if call[0] == "systemctl"]


@pytest.mark.parametrize(
    "folder", ["etc/systemd/system", "lib/systemd/system", "run/systemd/generator.late"]
)
def test_systemd_is_asked_once_for_the_daemons_that_are_there(folder, tmp_path):
    units = ["nvidia-fabricmanager.service", "nvidia-gridd.service"]
    assert calls_of_systemctl(tmp_path, f"{folder}/ssh.service") == []
    (call,) = calls_of_systemctl(tmp_path, f"{folder}/{units[1]}")
    assert call[-2:] == ["--", units[1]]
    (call,) = calls_of_systemctl(tmp_path, *(f"{folder}/{unit}" for unit in units))
    assert call[-3:] == ["--", *units]


def test_a_host_without_gpus_is_asked_for_nothing_about_them(tmp_path):
    host, asked = hosts.load("no-gpu"), []
    run = hosts.lay_down(host, tmp_path)

    def noted(argv, **options):
        asked.append(os.path.basename(argv[0]))
        return run(argv, **options)

    gpu_host.survey(str(tmp_path), "", NOBODY, noted)
    assert sorted(asked) == ["lsinitramfs", "systemd-detect-virt"]
