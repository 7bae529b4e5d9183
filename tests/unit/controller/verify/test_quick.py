"""The checks of one look: each is seen failing once, and alone, on a host that was as wanted."""

from __future__ import annotations

import dataclasses

import combinations
import pytest
from verified import NONE, OPEN, PEERS, STACKS, SWITCHES, TODAY, VGPU, Host, ended

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import project
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.components import registry
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.plan import host_plan
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.stack import (
    due as stack_due,
)
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.stack import (
    health,
    notices,
    refusals,
)
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.stack import (
    plan as stack_plan,
)
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.verify import (
    check,
    looks,
    quick,
    table,
)

GPU = "0000:3b:00.0"
SMI = {
    "address": GPU, "name": "NVIDIA H100 PCIe", "mode": "none", "license": "", "ecc_uncorrected": 0,
    "retirement_pending": False, "remapping_failed": False, "sram_exceeded": False,
    "fabric_state": "", "fabric_status": "", "fabric_health": "", "recovery_action": "",
    "complaints": [],
}  # fmt: skip
PORT = {"port": 1, "state": "ACTIVE", "link_layer": "InfiniBand", "rate_gbps": 200, "pkeys": []}
CHANGED = "GPU recovery action changed"
APT_PINS = "/etc/apt/preferences.d/gpunode-nvidia"


@pytest.fixture
def host(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return lambda base, **variables: Host(base, tmp_path, **variables)


def smi(**values):
    return {"nvidia_smi": {"gpus": [{**SMI, **values}]}}


def logged(xid, says):
    return {
        "gpu_faults": [{"address": GPU, "xid": xid, "says": f"Xid (PCI:0000:3b:00): {xid}, {says}"}]
    }


def drift(component, kind, of, says="it differs"):
    rows = [{"kind": kind, "of": of, "says": says}]
    return {"receipts": {component: {"drift": rows}}}


def ports(*states):
    device = {
        "name": "mlx5_0", "address": "0000:5e:00.0", "driver": "mlx5_core", "firmware": "",
        "board": "", "sriov_total": 0, "sriov_active": 0, "interfaces": [],
        "ports": [{**PORT, "port": at, "state": state} for at, state in enumerate(states, 1)],
    }  # fmt: skip
    return {"rdma_devices": [device]}


def module(base, name, **values):
    """Return a change of one of the driver's modules on a host's disk."""
    rows = combinations.facts_of(combinations.BASES[base])["driver"]["modules"]
    return {
        "driver": {
            "modules": [{**row, **values} if row["name"] == name else row for row in rows],
        }
    }


def without_module(base, name):
    rows = combinations.facts_of(combinations.BASES[base])["driver"]["modules"]
    return {"driver": {"modules": [row for row in rows if row["name"] != name]}}


def packages(base, **values):
    rows = combinations.facts_of(combinations.BASES[base])["packages"]
    return {"packages": [{**row, **values} for row in rows]}


def mount(available):
    row = {"mount": "/", "fstype": "ext4", "size_total": 1000, "size_available": available}
    return {"mounts": [row]}


#: {check: (host, what is broken there, the other checks that then fail as well)}: by what the
#: vendors' programs print in tests/standins/combinations.yml, or as a receipt tells it.
BROKEN = {
    "host.reboot": (OPEN, {"driver": {"loaded": {"version": "580.82.07"}}}, ()),
    "host.drained": (OPEN, {"drained": ["train.service"]}, ()),
    "host.room": (NONE, mount(20), ()),
    "host.little_room": (NONE, mount(40), ()),
    "host.leftovers": (NONE, {"receipts": {"gunicorn_app": {"names": ["web", "old"]}}}, ()),
    "rdma.version": (PEERS, {"rdma_stack": {"version": "23.10-1.1.9.0"}}, ()),
    "rdma.modules": (PEERS, {"rdma_stack": {"kernels": []}}, ()),
    "rdma.loaded": (PEERS, {"rdma_stack": {"loaded": False, "idle": ["0000:5e:00.0"]}}, ()),
    "rdma.ports": (PEERS, ports("DOWN", "DOWN"), ()),
    "rdma.all_ports": (PEERS, ports("ACTIVE", "DOWN"), ()),
    "driver.version": (
        OPEN, {"driver": {"modules": [], "libraries": [], "dkms": []}, "packages": []}, ()
    ),
    "driver.modules": (SWITCHES, without_module(SWITCHES, "nvidia"), ()),
    "driver.method": (OPEN, {"driver": {"runfile": "580.105.08"}}, ()),
    "driver.libraries": (OPEN, {"driver": {"libraries": ["580.105.08", "580.82.07"]}}, ()),
    "driver.alone": (OPEN, {"in_kernel_drivers": {"nouveau": {"blacklisted": False}}}, ()),
    "driver.with_rdma": (PEERS, module(PEERS, "nvidia_peermem", depends=["nvidia"]), ()),
    "driver.loaded": (
        OPEN,
        {"driver": {"loaded": {"version": ""}}, "nvidia_smi": {"asked": False, "answered": False}},
        (),
    ),
    "driver.answers": (OPEN, {"nvidia_smi": {"answered": False, "says": "no answer in 10 s"}}, ()),
    "driver.signature": (
        OPEN,
        {"secure_boot": {"rejected": "Loading of unsigned module is rejected"},
         "driver": {"loaded": {"version": ""}}, "nvidia_smi": {"asked": False, "answered": False}},
        ("driver.loaded",),
    ),
    "driver.fabric_manager": (SWITCHES, {"fabric_manager": {"active": False}}, ()),
    "driver.security_update": (
        OPEN, packages(OPEN, offered="580.126.09-1", offered_by_security=True), ()
    ),
    "gpu.present": (OPEN, {"gpus": []}, ()),
    "gpu.bus": (OPEN, logged(79, "GPU has fallen off the bus."), ()),
    "gpu.listed": (SWITCHES, {"nvidia_smi": {"gpus": [{**SMI, "address": "0000:07:00.0"}]}}, ()),
    "gpu.xid": (OPEN, logged(95, "Uncontained ECC error"), ()),
    "gpu.xid_known": (OPEN, logged(170, "something new"), ()),
    "gpu.start": (
        OPEN,
        {"gpu_faults": [{"address": GPU, "xid": 0, "says": "GPU: RmInitAdapter failed!"}]},
        (),
    ),
    "gpu.values": (OPEN, smi(complaints=["Unknown Error"]), ()),
    "gpu.recovery": (OPEN, smi(recovery_action="Reset"), ()),
    "gpu.memory": (OPEN, smi(ecc_uncorrected=2), ()),
    "gpu.rows": (OPEN, smi(remapping_failed=True), ()),
    "gpu.caches": (OPEN, smi(sram_exceeded=True), ()),
    "gpu.retirement": (OPEN, smi(retirement_pending=True), ()),
    "gpu.fabric": (OPEN, smi(fabric_state="Completed", fabric_health="Unhealthy"), ()),
    "gpu.switches": (
        SWITCHES,
        {"switch_faults": [{"address": "0000:c4:00.0", "sxid": 7, "fatal": True, "says": "SXid"}]},
        (),
    ),
    "licence.held": (VGPU, smi(address="0000:06:00.0", mode="vgpu", license="Unlicensed"), ()),
    "peer_memory.module": (PEERS, without_module(PEERS, "nvidia_peermem"), ()),
    "peer_memory.route": (
        PEERS, {"peer_memory": {"at_boot": ["nv_peer_mem", "nvidia_peermem"]}}, ()
    ),
    "peer_memory.boot": (PEERS, {"peer_memory": {"at_boot": []}}, ()),
    "peer_memory.loaded": (PEERS, {"peer_memory": {"loaded": [], "clients": []}}, ()),
    "peer_memory.registered": (PEERS, {"peer_memory": {"clients": []}}, ()),
    "application.listens": (NONE, {"listening": []}, ()),
    "environment.packages": (
        NONE, drift("conda_env", "environment", "/opt/gpunode/envs/env-1", "has unasked x==1"), ()
    ),
    "environment.link": (NONE, drift("conda_env", "link", "/opt/gpunode/envs/env"), ()),
    "environment.libraries": (NONE, drift("conda_env", "package", "libgl1"), ()),
    "environment.files": (NONE, drift("conda_env", "directory", "/opt/gpunode/envs"), ()),
    "miniforge.files": (NONE, drift("miniforge", "file", "/opt/miniforge3/.condarc"), ()),
    "application.unit_files": (
        NONE, drift("gunicorn_app", "file", "/etc/systemd/system/web.service"), ()
    ),
    "application.drop_ins": (NONE, drift("gunicorn_app", "drop-in", "web.service"), ()),
    "application.release": (NONE, drift("gunicorn_app", "tree", "/srv/web/releases/1"), ()),
    "application.files": (NONE, drift("gunicorn_app", "user", "web"), ()),
    "driver.pins": (OPEN, drift("nvidia_driver", "file", APT_PINS), ()),
    "driver.packages": (OPEN, drift("nvidia_driver", "package", "libcuda1"), ()),
    "driver.files": (OPEN, drift("nvidia_driver", "file", "/lib/modules/x/nvidia.ko"), ()),
    "rdma.pins": (PEERS, drift("mlnx_ofed", "file", "/etc/dnf/plugins/versionlock.list"), ()),
    "rdma.packages": (PEERS, drift("mlnx_ofed", "package", "ofed-scripts"), ()),
    "rdma.files": (PEERS, drift("mlnx_ofed", "absence", "/var/lib/gpunode/at-work"), ()),
    "licence.files": (VGPU, drift("vgpu_license", "file", "/etc/nvidia/gridd.conf"), ()),
    "peer_memory.files": (PEERS, drift("peer_memory", "file", "/etc/modules-load.d/x.conf"), ()),
}  # fmt: skip
_UNITS = {
    "driver": (OPEN, "nvidia_driver", "nvidia-persistenced.service"),
    "rdma": (PEERS, "mlnx_ofed", "openibd.service"),
    "licence": (VGPU, "vgpu_license", "nvidia-gridd.service"),
    "application": (NONE, "gunicorn_app", "web.service"),
}
for _subject, (_base, _component, _unit) in _UNITS.items():
    for _what, _kind in (
        ("running", "unit-state"),
        ("boot", "unit-boot"),
        ("loaded_unit", "unit-reload"),
        ("process", "unit-process"),
    ):
        BROKEN[f"{_subject}.{_what}"] = (_base, drift(_component, _kind, _unit), ())
for _subject, (_base, _component) in {
    "rdma": (PEERS, "mlnx_ofed"),
    "driver": (OPEN, "nvidia_driver"),
    "licence": (VGPU, "vgpu_license"),
    "peer_memory": (PEERS, "peer_memory"),
    "miniforge": (NONE, "miniforge"),
    "environment": (NONE, "conda_env"),
    "application": (NONE, "gunicorn_app"),
}.items():
    BROKEN[f"{_subject}.receipt"] = (_base, {"receipts": {_component: {"digest": "other"}}}, ())


@pytest.mark.parametrize("base", STACKS)
def test_on_a_host_that_is_as_wanted_all_that_can_be_seen_passes(host, base):
    results = host(base).results()
    # R550 has come to its end since.
    assert ended(results, "failed") <= {"driver.supported"}
    assert ended(results, "not_provable") == ended(results, "waived") == set()


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_has_its_check_fail_and_no_other(host, name):
    base, change, others = BROKEN[name]
    broken = host(base)
    before = ended(broken.results(), "failed")
    broken.changed(change)
    results = broken.results()
    assert ended(results, "failed") - before == {name, *others}
    row = results[name]
    assert row["severity"] in check.SEVERITIES
    for finding in row["findings"]:
        assert finding["seen"]
        assert finding["action"] in check.ACTIONS
        assert finding["remedy"]
        assert "{" not in finding["remedy"]


# Those that fail where a host cannot be asked, and those of the inventory.
OTHERWISE = {"host.reached", "host.answers", "host.asked", "host.waivers", "driver.supported"}


def test_each_check_is_seen_failing():
    assert set(BROKEN) | OTHERWISE == set(table.CHECKS)
    assert not set(BROKEN) & OTHERWISE


def test_a_branch_that_nvidia_supports_no_longer_is_a_warning(host):
    results = host(SWITCHES).results()
    assert results["driver.supported"]["outcome"] == "failed"
    assert results["driver.supported"]["severity"] == "warning"
    assert host(OPEN).results()["driver.supported"]["outcome"] == "passed"


def test_what_cannot_be_had_is_told_as_the_plan_refuses_it(host):
    asked = host(OPEN, gpunode_driver_modlues="open")
    (finding,) = asked.results()["host.asked"]["findings"]
    assert finding["seen"] == "variable gpunode_driver_modlues: no role reads it"
    assert "gpunode_driver_modules" in finding["remedy"]


def test_a_sick_gpu_is_told_by_its_own_checks_though_the_plan_refuses_to_touch_the_driver(host):
    sick = host(OPEN)
    sick.changed(logged(79, "GPU has fallen off the bus."))
    sick.changed({"driver": {"libraries": ["580.105.08", "580.82.07"]}})
    plan = host_plan.plan(sick.asked, sick.facts, today=TODAY)["plan"]
    assert [row["rule"] for row in plan["refusals"]] == ["sick-gpu"]
    assert ended(sick.results(), "failed") == {"gpu.bus", "driver.libraries"}


#: What programs are told to do about Xids: the immediate action of NVIDIA's catalog of them,
#: docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html; 154 by its own words.
@pytest.mark.parametrize(
    ("xid", "says", "action"),
    [
        (48, "DBE (double bit error)", "reset_gpu"),
        (54, "auxiliary power is not connected", "call_vendor"),
        (64, "ECC page retirement: failure", "reset_gpu"),
        (74, "NVLINK: fatal error detected", "reset_gpu"),
        (79, "GPU has fallen off the bus.", "reboot"),
        (95, "Uncontained ECC error", "reset_gpu"),
        (119, "Timeout waiting for RPC from GSP!", "reset_gpu"),
        (140, "Unrecovered ECC error", "reset_gpu"),
        (151, "key rotation error", "reboot"),
        (154, f"{CHANGED} from 0x0 (None) to 0x2 (Node Reboot Required)", "reboot"),
        (154, f"{CHANGED} from 0x0 (None) to 0x1 (GPU Reset Required)", "reset_gpu"),
    ],
)  # fmt: skip
def test_an_xid_asks_for_what_the_vendor_says(host, xid, says, action):
    sick = host(OPEN)
    sick.changed(logged(xid, says))
    failed = [row for row in sick.results().values() if row["outcome"] == "failed"]
    assert [found["action"] for row in failed for found in row["findings"]] == [action]


@pytest.mark.parametrize(
    ("xid", "says"),
    [
        (13, "Graphics Exception"),
        (31, "MMU Fault"),
        (43, "Ch 00000010, engmask 00000101"),
        (63, "Row remapping event"),
        (94, "Contained ECC error"),
        (154, f"{CHANGED} from 0x1 (GPU Reset Required) to 0x0 (None)"),
    ],
)
def test_an_xid_that_asks_for_no_more_than_another_start_of_the_application_fails_nothing(
    host, xid, says
):
    well = host(OPEN)
    well.changed(logged(xid, says))
    assert ended(well.results(), "failed") == set()


@pytest.mark.parametrize(
    ("change", "names", "because"),
    [
        (
            {"faults_unknown": True},
            {"gpu.bus", "gpu.xid", "gpu.xid_known", "gpu.start", "gpu.switches"},
            "the kernel's log cannot be read",
        ),
        (
            {"receipts": {"gunicorn_app": None}},
            {
                f"application.{what}"
                for what in (
                    *("running", "boot", "loaded_unit", "process", "listens", "unit_files"),
                    *("drop_ins", "release", "files"),
                )
            },
            "gunicorn_app has left no receipt that says what it placed",
        ),
    ],
)
def test_what_a_host_cannot_show_is_neither_passed_nor_failed(host, change, names, because):
    dim = host(OPEN)
    dim.changed(change)
    dim.facts["receipts"] = {name: row for name, row in dim.facts["receipts"].items() if row}
    results = dim.results()
    assert ended(results, "not_provable") == names
    assert {results[name]["because"] for name in names} == {because}


def test_on_a_host_without_a_kernel_of_its_own_nothing_that_is_loaded_is_provable(host):
    image = host(PEERS)
    image.changed(
        {
            "own_kernel": False,
            "driver": {"loaded": {"version": ""}},
            "nvidia_smi": {"asked": False, "answered": False, "gpus": []},
            "rdma_stack": {"loaded": False},
            "peer_memory": {"loaded": [], "clients": []},
        }
    )
    results = image.results()
    unproven = ended(results, "not_provable")
    assert {"driver.loaded", "rdma.loaded", "peer_memory.loaded", "host.reboot"} <= unproven
    assert {row["because"] for row in results.values() if row["because"]} == {looks.NO_KERNEL}
    assert all(table.CHECKS[name].elsewhere for name in unproven)
    assert ended(results, "failed") <= {"driver.supported"}


#: The checks that may be not provable on a host, with where each is proven instead.
PROVEN_ON_NODES = {
    looks.ON_ITS_KERNEL: "system/nvidia_driver/test_machine.py",
    looks.ONCE_CONVERGED: "system/site/test_site.py",
}


@pytest.mark.parametrize("name", table.CHECKS)
def test_a_check_says_where_it_is_proven_instead_if_and_only_if_it_may_be_not_provable(name):
    row = table.CHECKS[name]
    # Without a receipt the check that there is one fails.
    is_receipt = any(isinstance(look, looks.Receipt) for look in row.looks)
    may_be_blind = not is_receipt and any(look.blind is not looks.never for look in row.looks)
    assert bool(row.elsewhere) == may_be_blind
    assert row.elsewhere in ("", *PROVEN_ON_NODES)
    if row.elsewhere:
        assert (project.ROOT / "tests" / PROVEN_ON_NODES[row.elsewhere]).is_file()


def _looks(kind):
    return [
        (row, look) for row in table.CHECKS.values() for look in row.looks if isinstance(look, kind)
    ]


@pytest.mark.parametrize(
    ("component", "rule"),
    [(component, rule) for component, rules in stack_due.RULES.items() for rule in rules],
)
def test_all_that_a_plan_finds_due_has_one_check(component, rule):
    held = [
        row.id
        for row, look in _looks(looks.Rule)
        if look.component == component and rule in look.rules
    ]
    if (component, rule) == ("nvidia_driver", "no-fabric-manager"):
        assert held == []
        held = ["driver.fabric_manager"]
    assert len(held) == 1


def test_a_check_names_no_rule_that_is_none():
    for _row, look in _looks(looks.Rule):
        assert set(look.rules) <= set(stack_due.RULES[look.component])
    for _row, look in _looks(looks.Notice):
        assert set(look.rules) <= set(notices.RULES)


@pytest.mark.parametrize("kind", health.KINDS)
def test_all_that_is_not_well_has_one_check(kind):
    assert len([row for row, look in _looks(looks.Health) if kind in look.kinds]) == 1


PATHS = (APT_PINS, "/etc/dnf/plugins/versionlock.list", "/etc/systemd/system/web.service", "/x", "")


@pytest.mark.parametrize("component", registry.COMPONENTS)
@pytest.mark.parametrize("kind", facts_shape.DRIFT_KINDS)
@pytest.mark.parametrize("path", PATHS)
def test_all_that_a_receipt_tells_has_one_check(component, kind, path):
    held = [
        row.id
        for row, look in _looks(looks.Drift)
        if look.component == component and look.is_about(kind, path)
    ]
    assert len(held) == 1, held


#: What the plan notes and no check asks about, since nothing is wrong for it.
ONLY_TOLD = {
    *("unknown-driver", "unknown-gpu", "unknown-kernel", "unknown-cuda", "unknown-ofed"),
    *(
        "unknown-tag",
        "unknown-distribution",
        "held-update",
        "way-back",
        "no-headers",
        "no-compiler",
    ),
    *("prebuilt-modules", "restart-would-cut-the-connection"),
    *("fabric-set-up-anew", "module-in-use", "loaded-from-elsewhere"),
}
#: What it notes, and a check looks at for itself.
ASKED_FOR = {
    "no-gpu": "gpu.present",
    "sick-gpu": "gpu.bus",
    "unknown-xid": "gpu.xid_known",
    "fabric-not-completed": "gpu.fabric",
}


def test_each_note_of_a_plan_is_a_checks_or_tells_of_nothing_wrong():
    noted = {rule for _row, look in _looks(looks.Notice) for rule in look.rules}
    assert noted | ONLY_TOLD | set(ASKED_FOR) == set(notices.RULES)
    assert set(ASKED_FOR.values()) <= set(table.CHECKS)


#: Those that a plan is made for at all.
EACH_ROW = [
    row
    for row in combinations.ROWS
    if "due" in row["verdict"] or row["verdict"]["status"] == "refused"
    if not {"unknown-stack", "file-needed"} & set(row["verdict"].get("refusals", ()))
]
#: By hand, for what combinations.yml says.
CHECK_OF = {
    "mlnx_ofed": {
        "not-installed": "rdma.version", "other-version": "rdma.version",
        "kernel-without-module": "rdma.modules", "not-loaded": "rdma.loaded",
        "other-loaded": "rdma.loaded",
    },
    "nvidia_driver": {
        "not-installed": "driver.version", "other-version": "driver.version",
        "other-module-type": "driver.modules", "kernel-without-module": "driver.modules",
        "other-method": "driver.method", "mixed-methods": "driver.method",
        "libraries-mismatch": "driver.libraries", "in-kernel-driver": "driver.alone",
        "fabric-manager-mismatch": "driver.fabric_manager",
        "no-fabric-manager": "driver.fabric_manager", "rebuild-after-ofed": "driver.with_rdma",
        "not-loaded": "driver.loaded", "other-loaded": "driver.loaded",
        "clients-stopped": "host.drained",
    },
    "vgpu_license": {"unlicensed": "licence.held"},
    "peer_memory": {
        "not-installed": "peer_memory.module", "other-version": "peer_memory.module",
        "other-route": "peer_memory.route", "two-peer-modules": "peer_memory.route",
        "not-loaded": "peer_memory.loaded", "other-loaded": "peer_memory.loaded",
        "not-loaded-at-boot": "peer_memory.boot",
    },
    "reboot": {"reboot-pending": "host.reboot"},
}  # fmt: skip
OF_PLAN = {name for rules in CHECK_OF.values() for name in rules.values()}


@pytest.mark.parametrize("row", EACH_ROW, ids=lambda row: row["claim"])
def test_a_real_combination_fails_the_checks_of_what_is_due_there_and_no_others(row):
    facts = {**facts_shape.empty(facts_shape.Facts), **combinations.facts_of(row)}
    stack = combinations.stack_of(row)
    asked = host_plan.Wishes({}, {}, {}, stack, [], False, [])
    case = host_plan.case_of(asked, facts, TODAY)
    due = stack_plan.what_is_due(case)
    plan = host_plan.plan(asked, facts, today=TODAY)["plan"]
    rows = quick.looked_at(asked, facts, plan, {}, TODAY)
    failed = {found["check"] for found in rows if found["outcome"] == "failed"} & OF_PLAN
    if row["verdict"]["status"] == "refused":
        # What is due there as well the verdict does not say.
        assert failed == {CHECK_OF[name][rule] for name, rules in due.items() for rule in rules}
        return
    told = row["verdict"]["due"]
    assert failed == {CHECK_OF[name][rule] for name, rules in told.items() for rule in rules}


def test_a_refusal_of_what_a_run_would_interrupt_is_no_failure_of_the_host(host):
    busy = host(OPEN)
    client = {"pid": 7, "process": "python3", "unit": "", "devices": ["/dev/nvidia0"]}
    busy.changed({"gpu_clients": [client]})
    busy.changed({"driver": {"libraries": ["580.105.08", "580.82.07"]}})
    assert ended(busy.results(), "failed") == {"driver.libraries"}
    assert set(table.CHECKS["host.asked"].looks[0].function.__globals__["_TOLD"]) <= set(
        refusals.RULES
    )


def test_what_waits_for_a_consent_says_which(host):
    waiting = host(OPEN)
    waiting.changed({"driver": {"loaded": {"version": "580.82.07"}}})
    (finding,) = waiting.results()["host.reboot"]["findings"]
    assert finding["remedy"].endswith("with gpunode_consent: [reboot]")
    assert finding["action"] == "reboot"


@pytest.mark.parametrize(
    ("pkg_mgr", "words"),
    [("apt", "apt-get clean"), ("dnf", "dnf clean all"), ("zypper", "apt-get")],
)
def test_a_remedy_is_in_the_words_of_the_hosts_distribution(host, pkg_mgr, words):
    full = host(NONE)
    full.changed({**mount(20), "pkg_mgr": pkg_mgr})
    (finding,) = full.results()["host.room"]["findings"]
    assert words in finding["remedy"]


def test_what_a_host_calls_its_things_is_no_command_and_no_word_of_ours(host):
    hostile = host(NONE)
    hostile.changed(drift("gunicorn_app", "unit-state", "{site}; rm -rf / {of}", "\x1b[2J\n{plan}"))
    (finding,) = hostile.results()["application.running"]["findings"]
    assert "systemctl start '{site}; rm -rf / {of}'" in finding["remedy"]
    assert finding["seen"] == "\\x1b[2J\\n{plan}"


def test_a_secret_in_what_was_seen_is_not_shown(host):
    told = host(NONE)
    says = "GET https://me:hunter2@index.example.org/ failed"
    told.changed(drift("conda_env", "file", "/x", says))
    (finding,) = told.results()["environment.files"]["findings"]
    assert "hunter2" not in str(finding)


def test_checks_of_some_subjects_alone_can_be_asked_for(host):
    results = host(OPEN).results(subjects=("gpu", "driver"))
    assert {name.partition(".")[0] for name in results} == {"gpu", "driver"}


def test_of_what_a_run_changed_the_checks_are_made_and_no_others(host):
    ours = host(OPEN)
    ours.changed(drift("nvidia_driver", "file", APT_PINS))
    plan = host_plan.plan(ours.asked, ours.facts, today=TODAY)["plan"]
    waiver = {"check": "driver.pins", "reason": "it is tried out", "until": "2999-12-31"}
    for components, subjects in (
        (["conda_env", "gunicorn_app"], {"environment", "application"}),
        (["nvidia_driver"], {"driver", "gpu"}),
    ):
        asked = dataclasses.replace(ours.asked, checks=components)
        rows = quick.of_components(asked, ours.facts, plan, [waiver])
        assert {row["check"].partition(".")[0] for row in rows} == subjects
        assert [row for row in rows if row["outcome"] == "failed"] == []
    wrong = quick.of_components(asked, ours.facts, plan, [{"check": "x"}])
    assert [row["check"] for row in wrong if row["outcome"] == "failed"] == ["driver.pins"]


def test_each_component_has_its_subjects_and_each_subject_a_check():
    assert set(table.SUBJECTS) == {*registry.COMPONENTS, "reboot"}
    named = [name for names in table.SUBJECTS.values() for name in names]
    assert sorted(named) == sorted({row.subject for row in table.CHECKS.values()})


@pytest.mark.parametrize(
    ("rows", "name"),
    [
        (quick.not_reached("No route to host", {}, TODAY), "host.reached"),
        (quick.not_answered("the host answers what are no facts", {}, TODAY), "host.answers"),
        (quick.not_asked(Refusal("needs root", "it is none", "Be root").each()), "host.asked"),
    ],
)
def test_a_host_that_cannot_be_asked_is_one_row(rows, name):
    (row,) = rows
    assert (row["check"], row["outcome"]) == (name, "failed")
    assert row["findings"][0]["remedy"]
