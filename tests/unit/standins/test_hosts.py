"""The hosts of tests/standins/hosts keep to their form, and are laid down as it says."""

from __future__ import annotations

import re
import subprocess
import xml.etree.ElementTree as ET

import hosts
import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape


def says_something(value):
    """Say whether a fact is more than what cannot be told."""
    if isinstance(value, dict):
        return any(says_something(item) for item in value.values())
    return bool(value)


@pytest.fixture(params=hosts.NAMES, name="host")
def each_host(request):
    return hosts.load(request.param)


def test_a_host_has_every_fact_in_its_shape(host):
    assert facts_shape.misfits(host["facts"], facts_shape.GpuHost) == []


def test_a_host_says_what_it_is_and_where_it_comes_from(host):
    assert host["origin"] in ("recorded on hardware", "composed")
    assert host["about"].endswith(".")


def test_every_fact_that_says_something_has_a_source(host):
    told = {name for name, value in host["facts"].items() if says_something(value)}
    assert told - set(host["sources"]) == set()


def test_a_host_tells_no_serial_number_and_no_identity(host):
    assert not re.search(r"<serial>|<uuid>|GPU-[0-9a-f]{8}-", str(host))


def test_the_facts_of_a_host_speak_of_what_is_in_its_tree(host, tmp_path):
    hosts.lay_down(host, tmp_path)
    facts = host["facts"]
    devices = [row for name in ("gpus", "nvswitches", "rdma_devices") for row in facts[name]]
    paths = [f"/sys/bus/pci/devices/{row['address']}/vendor" for row in devices]
    paths += [row["path"] for row in facts["driver"]["modules"]]
    paths += [f"/boot/vmlinuz-{row['release']}" for row in facts["kernels"]]
    paths += [f"/sys/class/net/{name}" for name in facts["management"]["lower"]]
    assert [path for path in paths if not (tmp_path / path.lstrip("/")).exists()] == []


def test_what_a_process_has_open_is_told_as_the_kernel_tells_it(tmp_path):
    hosts.lay_down(hosts.load("r535-a100-nvswitch"), tmp_path)
    assert str((tmp_path / "proc/40961/fd/14").readlink()) == "/dev/nvidia0"


def test_nvidia_smi_prints_a_document_or_what_it_says_instead(host, tmp_path):
    facts = host["facts"]["nvidia_smi"]
    if not facts["asked"]:
        return
    run = hosts.lay_down(host, tmp_path)
    try:
        printed = run(["/usr/bin/nvidia-smi", "-q", "-x"], timeout=10).stdout.decode()
    except FileNotFoundError as error:
        printed = str(error).replace("/usr/bin/", "")
    if not facts["answered"]:
        assert " / ".join(printed.strip().splitlines()) == facts["says"]
        return
    # What nvidia-smi prints of processes is not escaped.
    log = ET.fromstring(re.sub("<process_name>.*</process_name>", "", printed))
    assert log.findtext("driver_version") == facts["driver_version"]
    names = [gpu.findtext("product_name") for gpu in log.iter("gpu")]
    # In place of a value there may be a complaint.
    assert names == [gpu["name"] or gpu["complaints"][0] for gpu in facts["gpus"]]


def test_modinfo_knows_the_modules_that_are_on_disk(host, tmp_path):
    run = hosts.lay_down(host, tmp_path)
    for row in host["facts"]["driver"]["modules"]:
        printed = run(["modinfo", row["path"]]).stdout.decode()
        assert f"filename:       {row['path']}\n" in printed
        assert re.search(r"^version: +(\S+)$", printed, re.MULTILINE)[1] == row["version"]


def test_a_pattern_stands_for_each_of_its_paths():
    assert hosts.each_path("/a{1,2}/{b,c}") == ["/a1/b", "/a1/c", "/a2/b", "/a2/c"]
    assert hosts.each_path("/a") == ["/a"]


def runner(tmp_path, *answers):
    return hosts.lay_down({"answers": list(answers)}, tmp_path)


def test_the_longest_row_that_begins_a_call_answers_it(tmp_path):
    run = runner(
        tmp_path,
        {"argv": ["ofed_info"], "stdout": "all\n"},
        {"argv": ["ofed_info", "-s"], "stdout": "short\n", "stderr": "hm\n", "status": 3},
    )
    done = run(["/usr/bin/ofed_info", "-s", "--more"], capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (3, b"short\n", b"hm\n")
    assert run(["ofed_info"], text=True).stdout == "all\n"


def test_a_program_without_a_row_is_not_there_and_an_unknown_call_is_an_error(tmp_path):
    run = runner(tmp_path, {"argv": ["gcc", "-dumpversion"], "stdout": "12\n"})
    with pytest.raises(FileNotFoundError):
        run(["clang", "-dumpversion"])
    with pytest.raises(LookupError, match="gcc -v"):
        run(["gcc", "-v"])


def test_a_program_that_hangs_takes_longer_than_it_is_given(tmp_path):
    run = runner(tmp_path, {"argv": ["nvidia-smi"], "hangs": True})
    with pytest.raises(subprocess.TimeoutExpired):
        run(["nvidia-smi", "-q", "-x"], timeout=10)


def test_a_program_answers_for_each_thing_in_the_order_of_the_call(tmp_path):
    run = runner(tmp_path, {"argv": ["systemctl", "show"], "of": {"a.service": "Id=a.service\n"}})
    argv = ["systemctl", "show", "--property=Id,LoadState", "--", "b.service", "a.service"]
    unknown, known = run(argv, text=True).stdout.split("\n\n")
    assert unknown.startswith("Id=b.service\nLoadState=not-found\n")
    assert known == "Id=a.service\n"


def test_a_file_in_the_tree_is_named_as_it_was_given(tmp_path):
    text = "filename:       /lib/a.ko\nversion:        1\n"
    run = runner(tmp_path, {"argv": ["modinfo"], "of": {"/lib/a.ko": text}})
    inside = f"{tmp_path}/lib/a.ko"
    assert run(["modinfo", inside], text=True).stdout == text.replace("/lib/a.ko", inside)
    done = run(["modinfo", "/lib/b.ko"], text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert "/lib/b.ko not found" in done.stderr


def test_rpm_prints_what_its_query_asks_for(tmp_path):
    run = runner(tmp_path, {"argv": ["rpm", "-qa"], "stdout": "a-b-1.0-2.el7.x86_64\n"})
    assert run(["rpm", "-qa"], text=True).stdout == "a-b-1.0-2.el7.x86_64\n"
    form = "%{NAME}\\t%{VERSION}-%{RELEASE} %{arch}\n"
    for argv in (["--queryformat", form], [f"--qf={form}"]):
        assert run(["rpm", "-qa", *argv], text=True).stdout == "a-b\t1.0-2.el7 x86_64\n"


@pytest.mark.parametrize(
    "asked",
    [["-u", "nvidia-gridd"], ["--unit=nvidia-gridd.service"], ["-b", "--unit", "nvidia-gridd"]],
)
def test_the_journal_of_a_unit_is_had_however_it_is_asked_for(tmp_path, asked):
    run = hosts.lay_down(hosts.load("vgpu-unlicensed"), tmp_path)
    last = "Failed to acquire license from license.example.com"
    lines = run(["journalctl", *asked, "--no-pager"], text=True).stdout.splitlines()
    assert lines[-1] == f"Mar 31 05:00:32 guest nvidia-gridd[837]: {last}"
    bare = run(["journalctl", *asked, "--output=cat"], text=True).stdout.splitlines()
    assert bare[-1] == last


@pytest.mark.parametrize("asked", [["-k"], ["--dmesg", "-b"], ["_TRANSPORT=kernel"]])
def test_the_kernels_messages_are_the_same_from_the_journal_and_from_dmesg(tmp_path, asked):
    run = hosts.lay_down(hosts.load("sick-gpu"), tmp_path)
    journal = run(["journalctl", *asked, "-o", "cat"], text=True).stdout
    assert journal == run(["dmesg", "--notime"], text=True).stdout
    faults = [row["says"] for row in hosts.load("sick-gpu")["facts"]["gpu_faults"]]
    said = [line.removeprefix("NVRM: ") for line in journal.splitlines()[-len(faults) :]]
    assert sorted(said) == sorted(faults)
