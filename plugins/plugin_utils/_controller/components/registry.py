# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The components of this project, which order they come in, and which stand on which."""

from __future__ import annotations

from . import (
    conda_env,
    gunicorn_app,
    miniforge,
    mlnx_ofed,
    nvidia_driver,
    peer_memory,
    vgpu_license,
)

# In the order in which they are applied.
COMPONENTS = {
    "mlnx_ofed": mlnx_ofed,
    "nvidia_driver": nvidia_driver,
    "vgpu_license": vgpu_license,
    "peer_memory": peer_memory,
    "miniforge": miniforge,
    "conda_env": conda_env,
    "gunicorn_app": gunicorn_app,
}

# What changes one of the others is felt by the first, which is then looked at as well.
STANDS_ON = {
    # nvidia_peermem is built with the symbols of the RDMA stack.
    "nvidia_driver": ["mlnx_ofed"],
    "peer_memory": ["mlnx_ofed", "nvidia_driver"],
    "gunicorn_app": ["conda_env"],
}

# Those made of items, by what people call one: each comes and goes by itself, and what is to go can
# be done alone.
OF_ITEMS = {"conda_env": "environment", "gunicorn_app": "application"}

# Those whose own options say more of the GPU stack, by their function ``in_stack``.
IN_STACK = ["mlnx_ofed", "nvidia_driver", "peer_memory"]

# Those that tell people of a host what is neither a refusal nor due, by their function ``notices``.
TELLING = ["miniforge", "gunicorn_app"]
