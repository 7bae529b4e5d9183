"""Memory of every GPU, taken through a libcuda that a C compiler made for the test."""

from __future__ import annotations

import functools
import shutil
import subprocess

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import cuda_allocation
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import commands

# The calls and their results are those of the CUDA Driver API, "Error Handling" and CUresult.
LIBCUDA = """
static int bytes;
int cuInit(unsigned flags) { %(init)s; return 0; }
int cuGetErrorName(int error, const char **name) { *name = error == 102 ?
    "CUDA_ERROR_DEVICE_NOT_LICENSED" : 0; return 0; }
int cuDeviceGetCount(int *count) { *count = 2; return 0; }
int cuDeviceGet(int *device, int index) { *device = index; return 0; }
int cuCtxCreate_v2(void **context, unsigned flags, int device) { *context = &bytes; return 0; }
int cuMemAlloc_v2(unsigned long long *memory, unsigned long size) {
    bytes = size; %(allocate)s; return 0; }
int cuMemFree_v2(unsigned long long memory) { return bytes == 1 << 20 ? 0 : 1; }
int cuCtxDestroy_v2(void *context) { return context == &bytes ? 0 : 1; }
"""


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """Make a libcuda of which some calls do something else; return what asks it."""
    if not shutil.which("gcc"):
        pytest.skip("no C compiler is here to make a libcuda with")

    def make(init="", allocate=""):
        source = tmp_path / "cuda.c"
        source.write_text(LIBCUDA % {"init": init, "allocate": allocate})
        subprocess.run(
            ["gcc", "-shared", "-fPIC", "-o", tmp_path / "libcuda.so.1", source],
            check=True,
            timeout=60,
        )
        monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
        return functools.partial(cuda_allocation.obstacle, commands.run, 3)

    return make


def test_a_driver_that_gives_memory_computes(driver):
    assert driver()() == ""


def test_a_guest_without_a_licence_is_told_by_its_first_allocation(driver):
    assert driver(allocate="return 102")() == "cuMemAlloc_v2 says CUDA_ERROR_DEVICE_NOT_LICENSED"


def test_an_error_without_a_name_is_told_by_its_number(driver):
    assert driver(init="return 999")() == "cuInit says CUDA error 999"


@pytest.mark.parametrize("status", [2, 46])
def test_a_gpu_that_others_have_for_themselves_works(driver, status):
    assert driver(allocate=f"return {status}")() == ""


def test_a_fabric_that_is_still_made_is_waited_for_and_not_for_ever(driver, monkeypatch):
    monkeypatch.setattr(cuda_allocation, "_POLL_S", 0.1)
    assert driver(init="return 802")() == "cuInit says CUDA error 802"


def test_a_driver_that_hangs_or_crashes_takes_nobody_with_it(driver):
    assert driver(init="for (;;) ;")() == "libcuda says nothing for 3 s"
    assert driver(init="__builtin_trap()")().startswith("libcuda says status -")


def test_a_host_without_the_library_is_told(monkeypatch):
    monkeypatch.setenv("LD_LIBRARY_PATH", "")
    assert "libcuda.so.1" in cuda_allocation.obstacle()


def test_no_file_of_the_folder_that_it_stands_in_is_run(driver, tmp_path, monkeypatch):
    (tmp_path / "ctypes.py").write_text("raise SystemExit(7)")
    monkeypatch.chdir(tmp_path)
    assert driver()() == ""
