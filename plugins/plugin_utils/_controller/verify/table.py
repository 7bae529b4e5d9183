# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""All checks, in the order of their subjects: from the host and its kernel up to applications."""

from __future__ import annotations

from . import (
    application,
    driver,
    environment,
    gpu,
    host,
    licence,
    peer_memory,
    rdma,
)

#: {id: Check}.
CHECKS = {
    check.id: check
    for subject in (host, rdma, driver, gpu, licence, peer_memory, environment, application)
    for check in subject.CHECKS
}
#: {component: the subjects of the checks that are about it}.
SUBJECTS = {
    "mlnx_ofed": ("rdma",),
    "nvidia_driver": ("driver", "gpu"),
    "vgpu_license": ("licence",),
    "peer_memory": ("peer_memory",),
    "miniforge": ("miniforge",),
    "conda_env": ("environment",),
    "gunicorn_app": ("application",),
    "reboot": ("host",),
}
# What is said of a host that could not be asked.
REACHED, ANSWERS, ASKED = "host.reached", "host.answers", "host.asked"
WAIVERS = "host.waivers"
