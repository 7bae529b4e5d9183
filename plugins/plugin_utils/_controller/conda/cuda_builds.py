# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which CUDA and PyTorch the environments of a host were built for, read from their locks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.gpunode.stack.plugins.module_utils._node.packages import versions

# Conda packages that carry CUDA's version as theirs: of conda-forge and nvidia, of those before
# CUDA 12, and of nvidia alone.
_CONDA = ("cuda-version", "cudatoolkit", "cuda-cudart")
# Wheels that do; from CUDA 13 on the name has no number any more.
_WHEEL = re.compile(r"nvidia-cuda-runtime(-cu\d+)?")
# 'py3.6_cuda10.1.243_cudnn7.6.3_0', as the channel pytorch names its builds.
_BUILD = re.compile(r"cuda(\d+\.\d+)")
# 'torch==2.5.1+cu124', as PyTorch's own index names its wheels.
_LOCAL = re.compile(r"\+cu(\d+)(\d)$")


def of(environments: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return [{by, cuda, pytorch}] of the environments that were built for CUDA.

    :param environments: of the wanted state of conda_env.
    """
    found = [
        {
            "by": f"environment {env['name']}",
            "cuda": _cuda(env["lock"] or [], env["dists"] or []),
            "pytorch": _pytorch(env["lock"] or [], env["dists"] or []),
        }
        for env in environments
    ]
    return [build for build in found if build["cuda"]]


def _cuda(lock: Iterable[Mapping[str, Any]], dists: Iterable[Mapping[str, Any]]) -> str:
    packages = {package["name"]: package for package in lock}
    for name in _CONDA:
        if name in packages:
            return versions.series(packages[name]["version"])
    build = _BUILD.search(packages["pytorch"]["build"]) if "pytorch" in packages else None
    if build:
        return build[1]
    for dist in dists:
        local = _LOCAL.search(dist["version"]) if dist["name"] == "torch" else None
        if local:
            return f"{local[1]}.{local[2]}"
        if _WHEEL.fullmatch(dist["name"]):
            return versions.series(dist["version"])
    return ""


def _pytorch(lock: Iterable[Mapping[str, Any]], dists: Iterable[Mapping[str, Any]]) -> str:
    found = {package["name"]: package["version"] for package in lock}
    found |= {dist["name"]: dist["version"].partition("+")[0] for dist in dists}
    return found.get("pytorch") or found.get("torch") or ""
