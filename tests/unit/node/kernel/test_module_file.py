"""Symbol versions of kernel modules, from files in each layout that kernels have had."""

from __future__ import annotations

import contextlib
import gzip
import lzma
import os
import re
import shutil
import subprocess

import elf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.gpunode.stack.plugins.module_utils._node.kernel import module_file
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal

PAGES = ("nvidia_p2p_get_pages", 0x5B3F3E79)
TABLE = ("nvidia_p2p_free_page_table", 0xF42CA687)
LAYOUTS = ["absolute", ".rodata", "__kcrctab"]
VERMAGIC = "6.1.0-56-amd64 SMP preempt mod_unload modversions "


def module(**parts):
    return module_file.KernelModule(elf.module(**parts), "nvidia.ko")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_versions_of_exports_are_read_in_every_layout(layout):
    assert module(exports=[PAGES, TABLE], layout=layout).exports == dict([PAGES, TABLE])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_export_without_a_version_is_one_all_the_same(layout):
    found = module(exports=[PAGES, ("nvidia_p2p_put_pages", None)], layout=layout)
    assert found.exports == {**dict([PAGES]), "nvidia_p2p_put_pages": None}


def test_the_versions_that_imports_must_have_are_read():
    found = module(imports=[PAGES, ("ib_register_peer_memory_client", None)])
    assert found.imports == {**dict([PAGES]), "ib_register_peer_memory_client": None}
    assert found.exports == {}


def test_imports_of_any_length_are_read():
    long = ("nvidia_" + 70 * "x", 0xFFFFFFFF)
    assert module(imports=[PAGES], extended=[long]).imports == dict([PAGES, long])


def test_what_the_module_is_for_is_read():
    info = [("version", "450.248.02"), ("alias", "one"), ("alias", "two"), ("vermagic", VERMAGIC)]
    fields = module(info=info).info
    assert (fields["vermagic"], fields["version"]) == (VERMAGIC, "450.248.02")
    assert fields["alias"] == "one"


BUILD_ID = bytes(range(20))


@pytest.mark.parametrize(
    ("notes", "build_id"),
    [
        (elf.note(BUILD_ID), BUILD_ID.hex()),
        (elf.note(b"\x01" * 16), "01" * 16),
        (elf.note(b"12345", b"Linux\0", 257) + elf.note(BUILD_ID), BUILD_ID.hex()),
        (elf.note(BUILD_ID, kind=1), ""),
        (elf.note(BUILD_ID, b"Xen\0"), ""),
        (elf.note(BUILD_ID)[:-1], ""),
        (elf.note(BUILD_ID)[:11], ""),
        (elf.note(b""), ""),
        (b"\xff" * 40, ""),
        (b"", ""),
    ],
    ids=["sha1", "md5", "after another", "of a kind", "of a name", "cut", "cut", "none", "rubbish",
         "nothing"],
)  # fmt: skip
def test_the_build_id_is_read_among_the_notes(notes, build_id):
    assert module_file.build_id(notes) == build_id
    assert module(exports=[PAGES], notes=notes).build_id == build_id


@given(st.binary(max_size=64))
def test_no_notes_are_an_error(notes):
    assert isinstance(module_file.build_id(notes), str)


@pytest.mark.skipif(not (shutil.which("gcc") and shutil.which("readelf")), reason="no compiler")
@pytest.mark.parametrize("kind", ["sha1", "md5", "0xdeadbeef", "none"])
def test_a_build_id_is_the_one_that_readelf_tells(tmp_path, kind):
    source, made = tmp_path / "a.c", tmp_path / "a.ko"
    source.write_text("int answer(void) { return 42; }\n")
    linker = f"-Wl,--build-id={kind}"
    subprocess.run(["gcc", "-shared", "-fPIC", linker, source, "-o", made], check=True)
    told = subprocess.run(["readelf", "-n", made], capture_output=True, text=True, check=True)
    found = re.findall(r"Build ID: ([0-9a-f]+)", told.stdout)
    assert [module_file.read(str(made)).build_id] == (found or [""])
    assert bool(found) == (kind != "none")


def test_a_pipe_in_a_modules_place_keeps_nobody_waiting(tmp_path):
    os.mkfifo(tmp_path / "ib_core.ko")
    with pytest.raises(Refusal, match="no regular file"):
        module_file.read(str(tmp_path / "ib_core.ko"))


@pytest.mark.parametrize(
    ("ending", "pack"),
    [
        ("", bytes),
        (".gz", gzip.compress),
        (".xz", lzma.compress),
        (".zst", lambda data: b"\x28\xb5\x2f\xfd" + data),
    ],
)
def test_packed_modules_are_unpacked(tmp_path, ending, pack):
    path = tmp_path / f"nvidia.ko{ending}"
    data = elf.module(exports=[PAGES], layout="__kcrctab")
    path.write_bytes(pack(data))

    def run(argv, **_options):
        assert argv == ["zstd", "-dcq", str(path)]
        return subprocess.CompletedProcess(argv, 0, data, b"")

    assert module_file.read(str(path), run).exports == dict([PAGES])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file"),
        (b"", "no ELF file"),
        (b"\x7fELF\x01\x01" + bytes(60), "no ELF file of 64 bits"),
        (elf.module(exports=[PAGES])[:200], "cannot be read"),
        (lzma.compress(elf.module())[:40], "cannot be read"),
        (gzip.compress(elf.module())[:40], "cannot be read"),
        (b"\x28\xb5\x2f\xfd", "zstd is missing"),
    ],
    ids=["none", "empty", "of 32 bits", "cut off", "cut .xz", "cut .gz", "no zstd"],
)
def test_a_module_that_cannot_be_read_is_named(tmp_path, content, says):
    path = tmp_path / "nvidia.ko"
    if content is not None:
        path.write_bytes(content)

    def run(argv, **_options):
        raise FileNotFoundError(f"{argv[0]} is missing")

    with pytest.raises(Refusal, match=says) as caught:
        assert module_file.read(str(path), run).exports
    assert caught.value.what == str(path)


@given(st.integers(0, 1 << 12), st.integers(0, 255))
def test_a_damaged_module_is_read_or_refused(place, byte):
    notes = elf.note(BUILD_ID)
    data = bytearray(elf.module([PAGES], [TABLE], [("vermagic", VERMAGIC)], "__kcrctab", (), notes))
    data[place % len(data)] = byte
    with contextlib.suppress(Refusal):
        found = module_file.KernelModule(bytes(data), "nvidia.ko")
        assert isinstance(found.info, dict)
        assert isinstance(found.exports, dict)
        assert isinstance(found.imports, dict)
        assert isinstance(found.build_id, str)


@pytest.mark.parametrize(
    ("line", "module_name"),
    [
        ("0x5b3f3e79\tnvidia_p2p_get_pages\t/tmp/x/nvidia\tEXPORT_SYMBOL", "/tmp/x/nvidia"),
        ("0x5b3f3e79\tnvidia_p2p_get_pages\t/tmp/x/nvidia\tEXPORT_SYMBOL\t", "/tmp/x/nvidia"),
        ("0x5b3f3e79\tnvidia_p2p_get_pages\tnvidia\tEXPORT_SYMBOL_GPL\tNS", "nvidia"),
        ("0x5b3f3e79\tnvidia_p2p_get_pages\t\tnvidia\tEXPORT_SYMBOL", "nvidia"),
        ("0x000000005b3f3e79\tnvidia_p2p_get_pages\tnvidia\tEXPORT_SYMBOL\t", "nvidia"),
    ],
    ids=["before 5.4", "since 5.6", "namespace", "5.4", "of nm"],
)
def test_a_module_symvers_is_read_with_and_without_namespaces(line, module_name):
    text = f"# none\n\n0x1\n{line}\n"
    assert module_file.of_symvers(text) == {PAGES[0]: (PAGES[1], module_name)}
