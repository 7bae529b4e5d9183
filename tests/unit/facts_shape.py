"""The facts of docs/facts.md and docs/architecture.md once more, for tests to compare with.

A list has the shape of its rows; a dict whose keys are names of the host's own is the type itself.
"""

from __future__ import annotations

_RIVAL = {"loaded": bool, "blacklisted": bool, "initramfs": [str]}
# Those of docs/facts.md.
GPU_HOST = {
    "virtualization": str,
    "gpus": [
        {
            "address": str,
            "device": str,
            "subsystem": str,
            "class": str,
            "driver": str,
            "architecture": str,
        }
    ],
    "nvswitches": [{"address": str, "device": str, "driver": str}],
    "rdma_devices": [
        {
            "name": str,
            "address": str,
            "driver": str,
            "firmware": str,
            "board": str,
            "sriov_total": int,
            "sriov_active": int,
            "interfaces": [str],
            "ports": [
                {"port": int, "state": str, "link_layer": str, "rate_gbps": int, "pkeys": [str]}
            ],
        }
    ],
    "kernels": [
        {
            "release": str,
            "running": bool,
            "next": bool,
            "headers": bool,
            "compiler": str,
            "compiler_found": bool,
        }
    ],
    "secure_boot": {
        "efi": bool,
        "enabled": bool,
        "setup_mode": bool,
        "key": str,
        "key_enrolled": bool,
    },
    "driver": {
        "loaded": {"version": str, "open": bool},
        "modules": [
            {
                "kernel": str,
                "name": str,
                "path": str,
                "version": str,
                "open": bool,
                "depends": [str],
                "signer": str,
            }
        ],
        "dkms": [{"name": str, "version": str, "kernel": str, "state": str}],
        "libraries": [str],
        "runfile": str,
        "kept": [{"version": str, "path": str, "sha256": str}],
    },
    "packages": [{"name": str, "version": str, "offered": str, "offered_by_security": bool}],
    "nvidia_smi": {
        "asked": bool,
        "answered": bool,
        "says": str,
        "driver_version": str,
        "cuda_version": str,
        "gpus": [
            {
                "address": str,
                "name": str,
                "mode": str,
                "license": str,
                "ecc_uncorrected": int,
                "retirement_pending": bool,
                "remapping_failed": bool,
                "fabric_state": str,
            }
        ],
    },
    "fabric_manager": {"version": str, "active": bool, "enabled": bool},
    "licensing": {
        "unit": bool,
        "active": bool,
        "server": str,
        "tokens": [str],
        "feature_type": str,
        "says": str,
    },
    "rivals": {"nouveau": _RIVAL, "nova_core": _RIVAL},
    "gpu_clients": [{"pid": int, "process": str, "unit": str, "devices": [str]}],
    "gpu_faults": [{"address": str, "xid": int, "says": str}],
    "drained": [str],
    "rdma_stack": {"kind": str, "version": str, "kernels": [str], "loaded": bool, "stale": bool},
    "peer_memory": {
        "loaded": [str],
        "in_use": [str],
        "stale": [str],
        "clients": [str],
        "at_boot": [str],
        "headers": bool,
        "client_ex": bool,
        "outdated": [str],
    },
    "management": {"interface": str, "lower": [str], "drivers": dict, "found_by": str},
}
# Those of docs/architecture.md.
GENERAL = {
    **dict.fromkeys(
        (
            "hostname",
            "distribution",
            "distribution_release",
            "distribution_version",
            "distribution_major_version",
            "os_family",
            "kernel",
            "architecture",
            "pkg_mgr",
            "service_mgr",
            "python_version",
        ),
        str,
    ),
    "own_kernel": bool,
    "mounts": [{"mount": str, "fstype": str, "size_total": int, "size_available": int}],
    "paths": dict,
    "users": dict,
    "units": dict,
    "listening": [{"address": str, "port": int, "pid": int, "process": str, "unit": str}],
    "receipts": dict,
}


def misfits(value, shape, where=""):
    """Return what keeps a value from having a shape, one sentence each."""
    if isinstance(shape, type):
        # In Python a truth value is a number, too.
        fits = isinstance(value, shape) and isinstance(value, bool) == (shape is bool)
        return [] if fits else [f"{where} is {value!r}, no {shape.__name__}"]
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [f"{where} is {value!r}, no list"]
        return [
            found
            for index, item in enumerate(value)
            for found in misfits(item, shape[0], f"{where}[{index}]")
        ]
    if not isinstance(value, dict):
        return [f"{where} is {value!r}, no dict"]
    return [f"{where}.{key} is missing" for key in shape if key not in value] + [
        found
        for key, item in value.items()
        for found in (
            misfits(item, shape[key], f"{where}.{key}")
            if key in shape
            else [f"{where}.{key} is no fact"]
        )
    ]
