# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The checks of Miniforge and of conda environments."""

from __future__ import annotations

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape

from . import looks

_BUILDER, _COMPONENT = "miniforge", "conda_env"
_OF_OTHERS = {"environment", "link", "package", "receipt"}
_FILES = tuple(kind for kind in facts_shape.DRIFT_KINDS if kind not in _OF_OTHERS)

CHECKS = (
    looks.brought("environment", _COMPONENT, "Every environment"),
    looks.drifted(
        "environment.packages",
        _COMPONENT,
        "Environments have the packages of their locks, and no others.",
        "environment",
        remedy="Run {site}, which builds it anew. What is to be in it belongs into its lock",
    ),
    looks.drifted(
        "environment.link",
        _COMPONENT,
        "The link of each environment leads to the build in service.",
        "link",
    ),
    looks.drifted(
        "environment.libraries",
        _COMPONENT,
        "The distribution's packages that environments need are installed.",
        "package",
    ),
    looks.drifted(
        "environment.files",
        _COMPONENT,
        "Folders and records of environments are as they were left.",
        *_FILES,
    ),
    looks.brought("miniforge", _BUILDER, "Miniforge"),
    looks.drifted(
        "miniforge.files",
        _BUILDER,
        "Miniforge and its settings are as they were left.",
        *(kind for kind in facts_shape.DRIFT_KINDS if kind != "receipt"),
    ),
)
