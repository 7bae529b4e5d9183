# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One environment: its name, and what a lock, requirements or a kept build come to."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from ansible_collections.gpunode.stack.plugins.module_utils._node.conda import (
    builds,
    lock_file,
    pip,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.conda.wanted import (
    Dist,
    Environment,
    KeptBuild,
    Named,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal

from .. import project
from ..inputs.site import Site
from . import mirrors, pip_requirements, spec

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
_MODULE = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")
# What is kept free in the files of packages for the path that they come to lie in
# (docs.conda.io/projects/conda-build, "--prefix-length": 255).
_PREFIX_MAX = 255
# Platforms of conda, by the architecture that Linux names.
_PLATFORMS = {"x86_64": "linux-64", "aarch64": "linux-aarch64", "ppc64le": "linux-ppc64le"}
_MACHINES = {platform: machine for machine, platform in _PLATFORMS.items()}

_Row = TypeVar("_Row")


def check_name(name: str) -> None:
    """Refuse a name that is none of an environment."""
    if not _NAME.fullmatch(name):
        raise Refusal(
            f"environment name '{name}'",
            "it is to be made of up to 100 letters, digits, '.', '_' and '-', and to begin with "
            "neither '.' nor '-'",
            "Rename it in conda_env_list",
        )
    if builds.name_of(name):
        raise Refusal(
            f"environment name '{name}'",
            "it ends like the folder of a build does",
            "Rename it in conda_env_list",
        )


def platform_of(architecture: str) -> str:
    """Return conda's name of the platform of a host, by the architecture that Linux names."""
    return _PLATFORMS.get(architecture, f"linux-{architecture}")


def wanted(
    item: Mapping[str, Any], replaced: Mapping[str, str], folder: str, site: Site
) -> Environment | KeptBuild:
    """Return what is wanted of an environment that is to be in place.

    :param item: of conda_env_list.
    :param replaced: {address: its mirror}, see mirrors.of_packages.
    :param folder: the one of all environments.
    :raises Refusal: something in there cannot be.
    """
    for module in item["imports"]:
        if not _MODULE.fullmatch(module):
            raise Refusal(
                f"environment {item['name']}: imports: '{module}'",
                "it is no name of a Python module",
                "Name it as in an import statement, such as cv2",
            )
    if item.get("build"):
        return _kept(item, folder)
    return _environment(item, replaced, folder, site)


def _kept(item: Mapping[str, Any], folder: str) -> KeptBuild:
    """Return what is wanted of an environment of which a build on the host is named."""
    if not builds.ID.fullmatch(item["build"]):
        raise Refusal(
            f"environment {item['name']}: build '{item['build']}'",
            "a build is named by the 12 digits of 0-9 and a-f at the end of its folder's name",
            "Correct it",
        )
    return {**_named(item, folder, item["build"]), "platform": None, "lock": None, "dists": None}


def _environment(
    item: Mapping[str, Any], replaced: Mapping[str, str], folder: str, site: Site
) -> Environment:
    item = spec.located(item, site)
    lock = mirrors.of_packages(_parsed(item, "lock", site, lock_file.parse), replaced)
    dists = _dists(item, lock, site)
    return {
        **_named(item, folder, builds.id_of(lock, dists)),
        "platform": lock_file.platform(lock),
        "lock": lock,
        "dists": dists,
    }


def _dists(item: Mapping[str, Any], lock: Sequence[lock_file.Package], site: Site) -> list[Dist]:
    if not item.get("requirements"):
        return []
    versions = {package["name"]: package["version"] for package in lock}
    pip.refuse_without_python(
        versions,
        f"environment {item['name']}: {item['requirements']}",
        "pip is to install it, and the lock has",
        "the lock or drop the requirements",
    )
    settings = site.options("miniforge")
    indexes = [settings["pip_index_url"] or "", *settings["pip_extra_index_urls"]]
    machine = _MACHINES.get(lock_file.platform(lock), "")
    return _parsed(
        item,
        "requirements",
        site,
        lambda text: pip_requirements.parse(text, versions["python"], machine, indexes),
    )


def _parsed(
    item: Mapping[str, Any], key: str, site: Site, parse: Callable[[str], list[_Row]]
) -> list[_Row]:
    text = site.read_text(item[key], f"conda_env_list: {item['name']}: {key}")
    try:
        return parse(text)
    except ValueError as error:
        raise Refusal(
            f"environment {item['name']}: {item[key]}",
            str(error),
            f"See {project.page('roles/conda_env/README.md')} for how to write the {key}",
        ) from error


def _named(item: Mapping[str, Any], folder: str, build_id: str) -> Named:
    prefix = os.path.join(folder, builds.folder_of(item["name"], build_id))
    if len(prefix.encode()) > _PREFIX_MAX:
        raise Refusal(
            f"environment {item['name']}",
            f"its folder {prefix} has {len(prefix.encode())} bytes, and packages of conda leave "
            f"room for {_PREFIX_MAX}",
            "Choose a shorter name or conda_env_dir",
        )
    return {
        "name": item["name"],
        "prefix": prefix,
        "link": os.path.join(folder, item["name"]),
        "imports": item["imports"],
    }
