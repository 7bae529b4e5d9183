"""Hosts and wishes for the properties that every plan has, whatever the host."""

from __future__ import annotations

from hypothesis import strategies as st

from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import architectures
from ansible_collections.gpunode.stack.plugins.module_utils._node.rdma import peer_route
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.stack import (
    case,
    selection,
    stack_catalog,
)

KNOWN = stack_catalog.of_project()

VERSIONS = st.sampled_from(
    ["", "440.33.01", "470.256.02", "535.161.08", "550.90.07", "550.107.02", "580.65.06", "?"]
)
KERNELS = st.sampled_from(
    ["3.10.0-514.el7.x86_64", "5.15.0-25-generic", "6.1.0-40-amd64", "6.18.0", "rubbish"]
)
FLAG = st.booleans()
ARCHITECTURE = st.sampled_from(["", *architectures.NAMES])
PEER_MODULE = st.sampled_from(peer_route.MODULES)
ADDRESS = st.sampled_from(["0000:3b:00.0", "0000:af:00.0"])


def rows(**fields):
    return st.lists(st.fixed_dictionaries(fields), max_size=2)


KERNEL_ROWS = rows(
    release=KERNELS,
    running=FLAG,
    next=FLAG,
    headers=FLAG,
    compiler=st.just("gcc-12"),
    compiler_found=FLAG,
)
IN_KERNEL = st.fixed_dictionaries(
    {"loaded": FLAG, "blacklisted": FLAG, "initramfs": st.lists(KERNELS, max_size=1)}
)

# Any facts of the right shape, however unlikely.
FACTS = st.fixed_dictionaries(
    {
        "distribution": st.sampled_from(["Debian", "Ubuntu", "Rocky", "CentOS", "Plan9"]),
        "distribution_major_version": st.sampled_from(["12", "22", "9", "7", ""]),
        "distribution_version": st.sampled_from(["12", "22.04", "9.4", ""]),
        "own_kernel": FLAG,
        "gpus": rows(
            address=ADDRESS,
            device=st.sampled_from(["1db6", "20b0", "2330", "2901", "ffff"]),
            subsystem=st.just("10de:0000"),
            driver=st.sampled_from(["", "nvidia", "nouveau", "vfio-pci"]),
            architecture=ARCHITECTURE,
            **{"class": st.just("0302")},
        ),
        "nvswitches": rows(address=ADDRESS, device=st.just("22a3"), driver=st.just("nvidia")),
        "rdma_devices": rows(name=st.just("mlx5_0"), interfaces=st.just(["ib0"])),
        "kernels": KERNEL_ROWS,
        "secure_boot": st.fixed_dictionaries(
            {
                "efi": FLAG,
                "enabled": FLAG,
                "setup_mode": FLAG,
                "key": st.sampled_from(["", "/var/lib/dkms/mok.pub"]),
                "key_enrolled": FLAG,
                "enforced": FLAG,
                "key_in_kernel": st.sampled_from(["", "yes", "no"]),
                "rejected": st.sampled_from(["", "Loading of unsigned module is rejected"]),
            }
        ),
        "driver": st.fixed_dictionaries(
            {
                "loaded": st.fixed_dictionaries({"version": VERSIONS, "open": FLAG}),
                "modules": rows(
                    kernel=KERNELS,
                    name=st.sampled_from(["nvidia", *peer_route.MODULES]),
                    path=st.just("/lib/modules/x.ko"),
                    version=VERSIONS,
                    open=FLAG,
                    depends=st.sampled_from([[], ["nvidia", "ib_core"]]),
                    signer=st.just(""),
                ),
                "dkms": rows(
                    name=st.sampled_from(["nvidia", "mlnx-ofed-kernel"]),
                    version=VERSIONS,
                    kernel=KERNELS,
                    state=st.just("installed"),
                ),
                "libraries": st.lists(VERSIONS.filter(bool), max_size=2),
                "runfile": VERSIONS,
                "kept": rows(
                    version=VERSIONS, path=st.just("/kept"), sha256=st.sampled_from(["", "0" * 64])
                ),
            }
        ),
        "packages": rows(
            name=st.sampled_from(["nvidia-driver", "nvidia-fabricmanager-535", "rdma-core"]),
            version=st.sampled_from(["535.261.03-1~deb12u1", "1:580.65.06-1", "50.0-1", ""]),
            offered=st.sampled_from(["", "580.82.07-1"]),
            offered_by_security=FLAG,
        ),
        "nvidia_smi": st.fixed_dictionaries(
            {
                "asked": FLAG,
                "answered": FLAG,
                "says": st.just(""),
                "driver_version": VERSIONS,
                "cuda_version": st.just(""),
                "gpus": rows(
                    address=ADDRESS,
                    name=st.just("GPU"),
                    mode=st.sampled_from(["", "none", "vgpu"]),
                    license=st.sampled_from(["", "Unlicensed", "Licensed (Expiry: N/A)"]),
                    ecc_uncorrected=st.sampled_from([0, 1]),
                    retirement_pending=FLAG,
                    remapping_failed=FLAG,
                    sram_exceeded=FLAG,
                    fabric_state=st.sampled_from(["", "In Progress", "Completed"]),
                    fabric_status=st.sampled_from(["", "Success", "Unknown Error"]),
                    fabric_health=st.sampled_from(["", "Healthy", "Unhealthy"]),
                    recovery_action=st.sampled_from(["", "None", "Reset", "?"]),
                    complaints=st.sampled_from([[], ["GPU is lost"]]),
                ),
            }
        ),
        "fabric_manager": st.fixed_dictionaries(
            {"version": VERSIONS, "active": FLAG, "enabled": FLAG}
        ),
        "in_kernel_drivers": st.fixed_dictionaries({"nouveau": IN_KERNEL, "nova_core": IN_KERNEL}),
        "gpu_clients": rows(
            pid=st.just(7),
            process=st.sampled_from(["python3", "nvidia-persiste"]),
            unit=st.sampled_from(["", "train.service"]),
            devices=st.just(["/dev/nvidia0"]),
        ),
        "held_modules": rows(
            name=st.sampled_from(["nvidia", "nvidia_drm"]),
            permanent=FLAG,
            above=st.sampled_from([[], ["gdrdrv"]]),
            clients=st.just([]),
        ),
        "gpu_faults": rows(
            address=ADDRESS,
            xid=st.sampled_from([0, 13, 78, 79, 119, 154, 9999]),
            says=st.sampled_from(
                [
                    "GPU has fallen off the bus",
                    "GPU recovery action changed from 0x1 (GPU Reset Required) to 0x0 (None)",
                ]
            ),
        ),
        "switch_faults": rows(
            address=ADDRESS, sxid=st.just(24007), fatal=FLAG, says=st.just("SXid: 24007")
        ),
        "rdma_stack": st.fixed_dictionaries(
            {
                "kind": st.sampled_from(["inbox", "mlnx_ofed", "doca"]),
                "version": st.sampled_from(["", "4.3-1.0.1.0", "24.10-1.1.4.0", "99", "?"]),
                "kernels": st.lists(KERNELS, max_size=2),
                "loaded": FLAG,
                "stale": FLAG,
            }
        ),
        "peer_memory": st.fixed_dictionaries(
            {
                "loaded": st.lists(PEER_MODULE, unique=True),
                "in_use": st.lists(PEER_MODULE, unique=True),
                "stale": st.lists(PEER_MODULE, unique=True),
                "clients": st.just([]),
                "at_boot": st.lists(PEER_MODULE, unique=True),
                "headers": FLAG,
                "client_ex": FLAG,
                "outdated": st.lists(KERNELS, max_size=1),
            }
        ),
        "management": st.just(
            {"interface": "bond0", "lower": ["bond0", "ib0"], "drivers": {}, "found_by": "ssh"}
        ),
    }
)

DIGEST = "#sha256=" + "0123456789abcdef" * 4
OPTIONS = st.fixed_dictionaries(
    {"stack": st.sampled_from(list(KNOWN.stacks))},
    optional={
        "driver_modules": st.sampled_from(["auto", "open", "proprietary"]),
        "driver_file": st.just(f"/srv/NVIDIA-Linux-x86_64-535.161.08.run{DIGEST}"),
        "driver_version": st.sampled_from(["535.161.08", "580.65.06", "999.1"]),
        "ofed_kind": st.sampled_from(["mlnx_ofed", "doca", "inbox"]),
        "ofed_version": st.sampled_from(["24.10-1.1.4.0", "4.3-1.0.1.0", "99"]),
        "peer_memory_route": st.sampled_from(["auto", *peer_route.MODULES, "dmabuf", "none"]),
        "peer_memory_tag": st.sampled_from(["1.1-0", "1.3-0", "9"]),
        "vgpu_host": st.sampled_from(["535.161.05", "580.65.05", "?"]),
        "vgpu_license": st.sampled_from(["legacy", "nls"]),
        "consent": st.lists(st.sampled_from(["reboot", "restart_openibd"]), unique=True),
    },
)
NEEDS = rows(
    by=st.just("environment web"),
    cuda=st.sampled_from(["10.1", "12.4", "13.0", "99.9", "x"]),
    pytorch=st.sampled_from(["", "1.4.0", "2.12.0", "99"]),
)


def wanted(options):
    """Return what the options ask for; half of a wish is refused before any plan is made."""
    has_version = "ofed_version" in options or options.get("ofed_kind") == "inbox"
    if not has_version:
        options = {key: value for key, value in options.items() if key != "ofed_kind"}
    elif "ofed_kind" not in options:
        options = {**options, "ofed_kind": "mlnx_ofed"}
    return selection.resolve(options, KNOWN)


_OFEDS = [{"kind": "inbox", "version": ""}, {"kind": "mlnx_ofed", "version": "5.8-1"}]
_CLIENT = {"pid": 7, "process": "python3", "unit": "", "devices": []}


@st.composite
def converged(draw):
    """Draw (wanted, facts) of a host that is as wanted, made from the wish without the planner."""
    name = draw(st.sampled_from([n for n in KNOWN.stacks if not n.startswith("grid")]))
    asked = wanted({"stack": name, "driver_modules": draw(st.sampled_from(_types(name)))})
    open_modules = asked["driver"]["modules"] == "open"
    version = asked["driver"]["version"] or f"{asked['driver']['branch']}.42.01"
    architecture = draw(st.sampled_from(_fitting(asked["driver"]["branch"], open_modules)))
    kernel = "3.10.0-514.el7.x86_64" if name.startswith("r440") else "6.1.0-40-amd64"
    ofed = asked["ofed"] or draw(st.sampled_from(_OFEDS))
    if draw(FLAG):
        asked["ofed"] = {**ofed, "file": "", "sha256": ""}
    routes = _routes(asked, architecture, ofed, open_modules, kernel)
    asked["peer_memory"]["route"] = route = draw(st.sampled_from(routes))
    modules = ["nvidia", *({route} & set(peer_route.MODULES))]
    tag = asked["peer_memory"]["tag"] or ("1.1-0" if ofed["version"].startswith("4.") else "1.3-0")
    asked["peer_memory"]["tag"] = tag
    at_boot = modules[1:]
    runfile = asked["driver"]["method"] == "runfile"
    facts = {
        **case.EMPTY,
        "distribution": "Debian",
        "distribution_major_version": "12",
        "own_kernel": True,
        "gpus": [_gpu(architecture)],
        "nvswitches": draw(st.sampled_from([[], [{"address": "0000:0a:00.0", "device": "1af1"}]])),
        "rdma_devices": [{"name": "mlx5_0", "interfaces": ["ib0"]}],
        "kernels": [_kernel(kernel)],
        "driver": {
            "loaded": {"version": version, "open": open_modules},
            "modules": [
                _module(kernel, module, tag if module == "nv_peer_mem" else version, open_modules)
                for module in modules
            ],
            "dkms": [],
            "libraries": [version],
            "runfile": version if runfile else "",
        },
        "packages": [] if runfile else [_package("nvidia-driver", f"{version}-1")],
        "fabric_manager": {"version": version, "active": True, "enabled": True},
        "in_kernel_drivers": {
            name: {"loaded": False, "blacklisted": True, "initramfs": []}
            for name in ("nouveau", "nova_core")
        },
        "rdma_stack": {
            "kind": ofed["kind"],
            "version": ofed["version"],
            "kernels": [] if ofed["kind"] == "inbox" else [kernel],
            "loaded": True,
            # Of what is not ours to look after it does not matter, unless peer memory stands on it.
            "stale": not asked["ofed"] and not at_boot and draw(FLAG),
        },
        "peer_memory": {
            "loaded": at_boot,
            "clients": ["nv_mem"][: len(at_boot)],
            "at_boot": at_boot,
            "headers": ofed["kind"] != "inbox",
        },
        "gpu_clients": draw(st.sampled_from([[], [_CLIENT]])),
    }
    return asked, facts


def _fitting(branch, open_modules):
    """Return the architectures that a branch serves with modules of a kind."""
    return [
        row["name"]
        for row in KNOWN.architectures.values()
        if row["open_modules"] != ("never" if open_modules else "required")
        and int(row.get("first_branch", 0)) <= int(branch)
        and int(row.get("last_branch", 9999)) >= int(branch)
    ]


def _gpu(architecture):
    return {
        "address": "0000:3b:00.0",
        "device": "0000",
        "subsystem": "10de:0000",
        "class": "0302",
        "driver": "nvidia",
        "architecture": architecture,
    }


def _kernel(release):
    return {
        "release": release,
        "running": True,
        "next": True,
        "headers": True,
        "compiler": "gcc-12",
        "compiler_found": True,
    }


def _module(kernel, name, version, open_modules):
    return {
        "kernel": kernel,
        "name": name,
        "path": f"/lib/modules/{kernel}/updates/dkms/{name}.ko",
        "version": version,
        "open": open_modules and name == "nvidia",
        "depends": ["nvidia", "ib_core"],
        "signer": "",
    }


def _package(name, version):
    return {"name": name, "version": version, "offered": "", "offered_by_security": False}


def _types(name):
    return KNOWN.branches[KNOWN.stacks[name]["driver"]["branch"]]["module_types"]


def _routes(asked, architecture, ofed, open_modules, kernel):
    """Return the routes that a host of this kind can be found with."""
    branch = int(asked["driver"]["branch"])
    found = ["none"]
    if ofed["kind"] != "inbox":
        found.append("nvidia_peermem" if branch >= 470 else "nv_peer_mem")
    if open_modules and kernel.startswith("6") and branch >= 515:
        found.append("dmabuf")
    return found
