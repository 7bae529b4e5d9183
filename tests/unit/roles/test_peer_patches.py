"""The patches of nv_peer_mem, applied to sources with its faults, without building a module."""

from __future__ import annotations

import gzip
import shutil
import subprocess

import elf
import pytest

from lab.paths import CHECKOUT
from standins import peer_sources

PATCHES = sorted((CHECKOUT / "roles" / "peer_memory" / "files").glob("*.patch"))
PAGES = ("nvidia_p2p_get_pages", 0x0B3F3E79)
MAPPED = ("nvidia_p2p_dma_map_pages", 0x1CF161A5)
OTHER = ("nvidia_register_module", 0xFFFFFFFF)
LAYOUTS = ["absolute", ".rodata", "__kcrctab"]

# Unit tests need nothing of the machine. On a node, which has all of it, DKMS applies the same
# patches in tests/system/peer_memory/test_dkms.py.
pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("patch", "objdump", "make"))),
    reason="patch, binutils and make are not there",
)


@pytest.fixture(name="source")
def patched(tmp_path):
    folder = tmp_path / "source"
    shutil.copytree(peer_sources.STANDIN / "source", folder)
    for patch in PATCHES:
        done = ended(["patch", "-p1", "--fuzz=0", "-i", str(patch)], folder)
        assert done.returncode == 0, done.stdout
    return folder


def ended(argv, folder, **environment):
    return subprocess.run(
        argv,
        cwd=folder,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def symvers(source, content, name="nvidia.ko"):
    """Return how the script ended, and the versions that it wrote."""
    module = source.parent / name
    module.write_bytes(content)
    done = ended(["bash", "create_nv.symvers.sh", "6.1.0-1-amd64"], source, NV_MODULE=str(module))
    lines = (source / "nv.symvers").read_text(encoding="ascii").splitlines()
    return done, {line.split("\t")[1]: int(line.split("\t")[0], 16) for line in lines}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_module_that_is_named_is_read_in_every_layout(source, layout):
    content = elf.module(exports=[OTHER, PAGES, MAPPED], layout=layout)
    done, versions = symvers(source, content)
    assert (done.returncode, versions) == (0, dict([PAGES, MAPPED])), done.stderr
    assert not (source / "nv.versions").exists()


# As above; on the node the driver's module is packed by zstd too.
@pytest.mark.skipif(not shutil.which("zstd"), reason="zstd is not there")
def test_a_module_packed_by_zstd_is_read(source):
    content = elf.module(exports=[PAGES], layout="__kcrctab")
    packed = subprocess.run(["zstd", "-cq"], input=content, capture_output=True, check=True).stdout
    assert symvers(source, packed, "nvidia.ko.zst")[1] == dict([PAGES])


def test_a_module_packed_by_gzip_is_read(source):
    packed = gzip.compress(elf.module(exports=[PAGES], layout="__kcrctab"))
    assert symvers(source, packed, "nvidia.ko.gz")[1] == dict([PAGES])


@pytest.mark.parametrize(
    "content", [b"", elf.module([PAGES], layout="__kcrctab")[:300]], ids=["empty", "cut off"]
)
def test_a_module_that_cannot_be_read_ends_the_build(source, content):
    done, versions = symvers(source, content)
    assert (done.returncode, versions) == (1, {})
    assert f"Cannot read symbol versions from {source.parent}/nvidia.ko" in done.stderr


def test_a_module_that_is_not_there_ends_the_build(source):
    done = ended(["bash", "create_nv.symvers.sh"], source, NV_MODULE="/nowhere/nvidia.ko")
    assert (done.returncode, done.stdout) == (1, "")


def test_the_copy_of_2011_is_never_taken(source):
    done = ended(
        ["make", "-n", "all", "KVER=none", "nv_sources=/nowhere", "gen_nv_symvers="], source
    )
    assert done.returncode == 2
    assert "nv-p2p.h of NVIDIA driver '' was not found: say nv_sources=FOLDER" in done.stderr


def test_every_patch_says_what_it_repairs():
    assert len(PATCHES) > 1
    for patch in PATCHES:
        head = patch.read_text(encoding="utf-8").partition("\n---\n")[0]
        assert len(head.splitlines()) > 3
        assert "For nv_peer_memory 1.1-0 and 1.3-0." in head
