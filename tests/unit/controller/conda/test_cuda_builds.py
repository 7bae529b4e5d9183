"""What environments need of the driver, read from real locks and requirements."""

from __future__ import annotations

import pytest

from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.conda import cuda_builds


def package(name, version, build="0"):
    return {"name": name, "version": version, "build": build}


def dist(name, version):
    return {"name": name, "version": version}


def environment(lock=(), dists=()):
    return {"name": "web", "lock": list(lock), "dists": list(dists)}


@pytest.mark.parametrize(
    ("lock", "dists", "cuda", "pytorch"),
    [
        # anaconda.org/pytorch: pytorch 1.4.0 of the year of CUDA 10.1.
        (
            [
                package("cudatoolkit", "10.1.243"),
                package("pytorch", "1.4.0", "py3.6_cuda10.1.243_cudnn7.6.3_0"),
            ],
            [],
            "10.1",
            "1.4.0",
        ),
        # anaconda.org/pytorch: later builds ask for pytorch-cuda.
        (
            [
                package("pytorch", "2.5.1", "py3.11_cuda12.4_cudnn9.1.0_0"),
                package("pytorch-cuda", "12.4"),
            ],
            [],
            "12.4",
            "2.5.1",
        ),
        ([package("pytorch", "1.0.1", "py3.7_cuda9.0.176_cudnn7.4.2_2")], [], "9.0", "1.0.1"),
        # conda-forge: cupy, before CUDA 12 and in the channel nvidia since.
        ([package("cudatoolkit", "11.8.0"), package("cupy", "12.3.0")], [], "11.8", ""),
        ([package("cuda-cudart", "12.4.127"), package("cupy", "13.3.0")], [], "12.4", ""),
        # conda-forge.
        ([package("cuda-version", "12.9"), package("pytorch", "2.8.0")], [], "12.9", "2.8.0"),
        # download.pytorch.org/whl: the version says it.
        ([], [dist("torch", "2.5.1+cu124")], "12.4", "2.5.1"),
        # PyPI: the wheels that torch asks for say it.
        (
            [],
            [dist("nvidia-cuda-runtime-cu12", "12.8.90"), dist("torch", "2.8.0")],
            "12.8",
            "2.8.0",
        ),
        ([], [dist("nvidia-cuda-runtime", "13.0.48"), dist("torch", "2.9.0")], "13.0", "2.9.0"),
    ],
)
def test_cuda_and_pytorch_are_read_from(lock, dists, cuda, pytorch):
    assert cuda_builds.of([environment(lock, dists)]) == [
        {"by": "environment web", "cuda": cuda, "pytorch": pytorch}
    ]


@pytest.mark.parametrize(
    "env",
    [
        environment([package("numpy", "2.0")], [dist("flask", "3.1")]),
        environment([package("pytorch", "2.5.1", "py3.11_cpu_0")], [dist("torch", "2.5.1+cpu")]),
        # A kept build that is named: its lock is on the host alone.
        {"name": "web", "lock": None, "dists": None},
    ],
)
def test_an_environment_without_cuda_needs_nothing(env):
    assert cuda_builds.of([env]) == []
