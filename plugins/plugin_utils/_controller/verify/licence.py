# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The checks of the licence of a virtual GPU."""

from __future__ import annotations

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape

from . import looks
from .check import CRITICAL, Check

_COMPONENT = "vgpu_license"
_OF_OTHERS = {*looks.OF_UNITS, "receipt"}
_FILES = tuple(kind for kind in facts_shape.DRIFT_KINDS if kind not in _OF_OTHERS)

CHECKS = (
    looks.brought("licence", _COMPONENT, "What the licence is fetched with"),
    Check(
        "licence.held",
        "Each virtual GPU has its licence.",
        CRITICAL,
        "restart_service",
        "Run systemctl restart nvidia-gridd.service, whose journal says what the licence server "
        "answers",
        (looks.Rule(_COMPONENT, ("unlicensed",), looks.without_kernel),),
        looks.is_in_stack(_COMPONENT),
        looks.ON_ITS_KERNEL,
        "NVIDIA Virtual GPU Client Licensing User Guide",
    ),
    *looks.units("licence", _COMPONENT, "nvidia-gridd"),
    looks.drifted(
        "licence.files",
        _COMPONENT,
        "What names the licence server is as it was left.",
        *_FILES,
    ),
)
