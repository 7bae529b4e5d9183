"""The catalog: rows are complete, stand once and newest first, and name what exists."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass
from datetime import datetime

import pytest
import yaml

from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import (
    architectures as gpu_architectures,
)
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import project
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.inputs import catalog
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.stack import kernel_limits
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.verify import check

# What Debian has of the driver, see there.
_NAMES = project.ROOT / "tests" / "standins" / "packages" / "debian.yml"
DEBIAN = yaml.safe_load(_NAMES.read_text(encoding="utf-8"))
MINIFORGE = catalog.rows("miniforge")
DISTRIBUTIONS = {
    *("Debian 13", "Debian 12", "Ubuntu 26.04", "Ubuntu 24.04", "Ubuntu 22.04"),
    *("RedHat 10", "RedHat 9", "RedHat 8", "Amazon 2023"),
}


def order(version):
    return [int(part) for part in re.split(r"[.-]", version)]


def by(key):
    return lambda row: order(row[key])


@dataclass(frozen=True)
class Shape:
    """What the rows of a list look like.

    identity: the keys that no two rows share; newness: what orders them, greatest first, within
    the rows that have the same group; values: what a key may hold.
    """

    required: set
    optional: set
    identity: tuple
    newness: object
    group: object = lambda row: None
    values: object = None


SHAPES = {
    "miniforge": Shape(
        {"version", "architecture", "url", "sha256"},
        set(),
        ("version", "architecture"),
        by("version"),
    ),
    "gpu_architectures": Shape(
        {"name", "open_modules", "open_guest"},
        {"first_branch", "last_branch"},
        ("name",),
        lambda row: gpu_architectures.NAMES.index(row["name"]),
        values={"open_modules": {"never", "possible", "required"}, "open_guest": {True, False}},
    ),
    "gunicorn_settings": Shape(
        {"name"},
        {"option", "takes"},
        ("name",),
        # By their names, the shorter one first.
        lambda row: [*(-ord(letter) for letter in row["name"]), 0],
        values={"takes": {"value", "several", "nothing", "denial", "nothing or a value"}},
    ),
    "xids": Shape(
        {"xid", "action"},
        {"driver_may_cure"},
        ("xid",),
        by("xid"),
        values={"driver_may_cure": {True}},
    ),
    "xid_actions": Shape(
        {"action", "is_fault"},
        {"remedy", "does"},
        ("action",),
        # No action is newer than another: they stand in the order of their names.
        lambda row: [-ord(letter) for letter in row["action"]],
        values={"is_fault": {True, False}, "does": set(check.ACTIONS)},
    ),
    "driver_branches": Shape(
        {"branch", "module_types", "peer_memory"},
        {"cuda", "kind", "end_of_life", "ended", "kernel_min", "kernel_limits", "kernel_tested"},
        ("branch",),
        by("branch"),
        values={
            "kind": {"LTSB", "PB", "NFB"},
            "module_types": {"proprietary", "open"},
            "peer_memory": {"dmabuf", "nvidia_peermem", "nv_peer_mem"},
        },
    ),
    "drivers": Shape(
        {"version", "branch", "flavour", "module_types"},
        {"vgpu", "url", "sha256"},
        ("version", "flavour"),
        by("version"),
        values={"flavour": {"tesla", "grid"}, "module_types": {"proprietary", "open"}},
    ),
    "driver_packages": Shape(
        {"distribution", "branch", "repository", "packages"},
        {"kernel_tested", "prebuilt"},
        ("distribution", "branch", "repository"),
        by("branch"),
        group=lambda row: row["distribution"],
        values={
            "distribution": DISTRIBUTIONS,
            "repository": {row["name"] for row in catalog.rows("repositories")},
            "packages": {"proprietary", "open"},
        },
    ),
    "repositories": Shape(
        {"name", "family", "companions"},
        {
            *("address", "distributions", "suites", "components", "fabric_manager"),
            *("kinds", "modules", "persistenced", "persistenced_command"),
        },
        ("name",),
        lambda row: 0,
    ),
    "vgpu": Shape(
        {"release", "branch", "license"},
        {"hosts", "kind", "end_of_life"},
        ("release",),
        by("release"),
        values={"kind": {"LTSB", "PB", "NFB"}, "license": {"legacy", "nls"}},
    ),
    "cuda": Shape({"cuda", "driver", "driver_min"}, set(), ("cuda",), by("cuda")),
    "pytorch": Shape(
        {"pytorch", "cuda"},
        {"pypi", "lacks"},
        ("pytorch",),
        by("pytorch"),
    ),
    "ofed": Shape(
        {"version", "kind", "peer_client_ex"},
        {"doca", "release", "lts", "distributions", "url", "files"},
        ("version",),
        by("version"),
        values={
            "kind": {"mlnx_ofed", "doca"},
            "lts": {True},
            "peer_client_ex": {True, False},
        },
    ),
    "doca_repositories": Shape(
        {"name", "distributions"},
        {"address", "suites", "components", "series"},
        ("name",),
        lambda row: 0,
    ),
    "nv_peer_mem": Shape(
        {"tag", "commit", "needs_client_ex", "url"},
        {"ofed_min", "ofed_max", "sha256"},
        ("tag",),
        by("tag"),
        values={"needs_client_ex": {True, False}},
    ),
    "inbox_rdma": Shape(
        {"manager", "packages"},
        set(),
        ("manager",),
        lambda row: 0,
        values={"manager": {"apt", "dnf"}},
    ),
    "stacks": Shape(
        {"name", "about", "driver", "peer_memory"},
        {"kernel", "ofed", "vgpu"},
        ("name",),
        lambda row: order(row["driver"]["branch"]),
        group=lambda row: row["driver"]["flavour"],
    ),
}
# The keys of what is nested, required and optional.
NESTED = {
    "files": ({"url", "sha256"}, set()),
    "distributions": ({"distribution"}, {"directory", "key", "fingerprint", "components"}),
    "series": ({"ofed", "package"}, set()),
    "driver": ({"branch", "flavour", "method"}, {"version"}),
    "ofed": ({"kind", "version"}, set()),
    "peer_memory": ({"route"}, {"tag"}),
}


def key_faults(row, required, optional):
    """Return what is wrong with the keys of a row."""
    missing, unknown = required - set(row), set(row) - required - optional
    return [f"no {key}" for key in sorted(missing)] + [f"{key} is unknown" for key in unknown]


def nested_faults(row):
    """Return what is wrong with the keys of what a row holds; a text or a list of them has none."""
    return [
        fault
        for name, (required, optional) in NESTED.items()
        for part in (row[name] if isinstance(row.get(name), list) else [row.get(name)])
        if isinstance(part, dict)
        for fault in key_faults(part, required, optional)
    ]


def value_faults(row, values):
    """Return which values of a row are none of those that their keys may hold."""
    found = []
    for key, allowed in (values or {}).items():
        value = row.get(key, [])
        given = set(value) if isinstance(value, (list, dict)) else {value}
        found += [f"{key}: {other}" for other in given - allowed]
        if key in row and given == set():
            found.append(f"{key} is empty")
    return found


def text_faults(row):
    """Return what was meant as a text and read as a number: '12.10' would be 12.1."""
    return [f"{key} is a number" for key, value in row.items() if type(value) in (int, float)]


def date_faults(row):
    """Return the dates that are none."""
    try:
        datetime.strptime(row.get("end_of_life", "2026-01"), "%Y-%m")
    except ValueError:
        return [f"end_of_life: {row['end_of_life']}"]
    return []


def file_faults(row, version):
    """Return what is wrong with the address and the digest of a file of a version."""
    found = []
    url, sha256 = row.get("url"), row.get("sha256")
    if url is not None and not re.fullmatch(
        rf"https://[a-z0-9.]+/\S*{re.escape(version)}[^/]*\.(run|sh|tgz|tar\.gz|deb|rpm)", url
    ):
        found.append(f"url: {url}")
    if sha256 is not None and not re.fullmatch("[0-9a-f]{64}", sha256):
        found.append(f"sha256: {sha256}")
    if sha256 is not None and url is None:
        found.append("a sha256 of no file")
    return found


def files_faults(row):
    """Return the same of the file of a row and of all that it lists."""
    version = row.get("version") or row.get("tag") or ""
    listed = row.get("files") or []
    return [fault for part in (row, *listed) for fault in file_faults(part, version)]


def row_faults(row, shape):
    """Return all that is wrong with a row by itself."""
    return (
        key_faults(row, shape.required, shape.optional)
        or nested_faults(row)
        or [
            *text_faults(row),
            *value_faults(row, shape.values),
            *date_faults(row),
            *files_faults(row),
        ]
    )


def list_faults(rows, shape):
    """Return what is wrong with a list: rows that stand twice, or not newest first."""
    found, seen, groups = [], set(), []
    for row in rows:
        name = tuple(row[key] for key in shape.identity)
        if name in seen:
            found.append(f"{name} stands twice")
        seen.add(name)
        group = shape.group(row)
        if group not in [other for other, _last in groups]:
            groups.append((group, row))
        elif groups[-1][0] != group:
            found.append(f"{name} stands apart from {group}")
        elif shape.newness(groups[-1][1]) < shape.newness(row):
            found.append(f"{name} is newer than the row above")
        groups[-1] = (groups[-1][0], row)
    return found


def digest_faults(rows):
    """Return the digests that two files have: one of them was copied from the other's row."""
    digests = [
        part["sha256"]
        for row in rows
        for part in (row, *(row.get("files") or []))
        if "sha256" in part
    ]
    return sorted({digest for digest in digests if digests.count(digest) > 1})


def stack_references(rows):
    """Return (who names it, what it is, its value, those that there are) of what stacks name."""
    branches = {row["branch"] for row in rows("driver_branches")}
    drivers = {(row["version"], row["flavour"]) for row in rows("drivers")}
    releases = {row["release"] for row in rows("vgpu")}
    ofeds = {(row["kind"], row["version"]) for row in rows("ofed")}
    tags = {row["tag"] for row in rows("nv_peer_mem")}
    stacks = rows("stacks")
    return [
        *((row["name"], "branch", row["driver"]["branch"], branches) for row in stacks),
        *((row["name"], "vGPU", row.get("vgpu"), releases) for row in stacks),
        *(
            (row["name"], "OFED", tuple(row["ofed"].values()), ofeds)
            for row in stacks
            if "ofed" in row
        ),
        *((row["name"], "tag", row["peer_memory"].get("tag"), tags) for row in stacks),
        *(
            (
                row["name"],
                "driver",
                (row["driver"].get("version"), row["driver"]["flavour"]),
                drivers,
            )
            for row in stacks
            if row["driver"]["method"] == "runfile"
        ),
    ]


def reference_faults(rows):
    """Return what rows name and no row is.

    :param rows: returns the rows of a list by its name, as catalog.rows does.
    """
    branches = {row["branch"] for row in rows("driver_branches")}
    architectures = {row["name"] for row in rows("gpu_architectures")}
    actions = {row["action"] for row in rows("xid_actions")}
    cudas = {row["cuda"] for row in rows("cuda")}
    releases = {row["release"] for row in rows("vgpu")}
    named = [
        *(
            (row["name"], "branch", row.get(key), branches)
            for row in rows("gpu_architectures")
            for key in ("first_branch", "last_branch")
        ),
        *((row["version"], "branch", row["branch"], branches) for row in rows("drivers")),
        *((f"Xid {row['xid']}", "action", row["action"], actions) for row in rows("xids")),
        *(
            (row["version"], "vGPU", row.get("vgpu", "").partition(".")[0] or None, releases)
            for row in rows("drivers")
        ),
        *(
            (row["distribution"], "branch", row["branch"], branches)
            for row in rows("driver_packages")
        ),
        *(
            (f"vGPU {row['release']}", "branch", branch, branches)
            for row in rows("vgpu")
            for branch in (row["branch"], *row.get("hosts", ()))
        ),
        *(
            (row["pytorch"], "architecture", name, architectures)
            for row in rows("pytorch")
            for names in row.get("lacks", {}).values()
            for name in names
        ),
        *(
            (row["pytorch"], "its own CUDA", cuda, row["cuda"])
            for row in rows("pytorch")
            for cuda in (*row.get("lacks", {}), row.get("pypi"))
        ),
        *((row["pytorch"], "CUDA", cuda, cudas) for row in rows("pytorch") for cuda in row["cuda"]),
        *stack_references(rows),
    ]
    return [
        f"{who}: {what} {value}"
        for who, what, value, known in named
        if value is not None and value not in known
    ]


@pytest.mark.parametrize("name", SHAPES)
def test_each_row_has_the_keys_and_values_of_its_list(name):
    assert [fault for row in catalog.rows(name) for fault in row_faults(row, SHAPES[name])] == []


@pytest.mark.parametrize("name", SHAPES)
def test_rows_stand_once_and_newest_first(name):
    assert list_faults(catalog.rows(name), SHAPES[name]) == []


@pytest.mark.parametrize("name", SHAPES)
def test_no_two_files_have_the_same_digest(name):
    assert digest_faults(catalog.rows(name)) == []


def test_what_rows_name_is_in_the_catalog():
    assert reference_faults(catalog.rows) == []


def test_each_list_is_in_one_file_alone():
    files = catalog._CATALOG.glob("*.yml")
    names = re.findall(r"^catalog_\w+", "\n".join(path.read_text() for path in files), re.MULTILINE)
    assert sorted(names) == sorted({f"catalog_{name}" for name in (*SHAPES, "shared_libraries")})


def test_a_driver_is_of_the_branch_its_version_begins_with():
    rows = catalog.rows("drivers")
    assert [row for row in rows if row["version"].partition(".")[0] != row["branch"]] == []


def test_a_driver_is_a_grid_one_by_its_file_and_its_vgpu_release():
    rows = catalog.rows("drivers")
    assert {row["flavour"] for row in rows if "vgpu" in row} == {"grid"}
    assert [row for row in rows if row["flavour"] == "grid" and "vgpu" not in row] == []
    for row in rows:
        if "url" in row:
            assert row["url"].endswith("-grid.run") == (row["flavour"] == "grid"), row


def test_a_vgpu_driver_is_of_the_branch_of_its_release():
    branches = {row["release"]: row["branch"] for row in catalog.rows("vgpu")}
    for row in catalog.rows("drivers"):
        if "vgpu" in row:
            assert branches[row["vgpu"].partition(".")[0]] == row["branch"], row


def test_a_release_has_the_modules_of_its_branch():
    types = {row["branch"]: row["module_types"] for row in catalog.rows("driver_branches")}
    for row in catalog.rows("drivers"):
        assert row["module_types"] == types[row["branch"]], row


def test_a_vgpu_manager_that_takes_a_guest_is_not_older_than_it():
    for row in [row for row in catalog.rows("vgpu") if "hosts" in row]:
        assert row["branch"] in row["hosts"], row
        assert min(row["hosts"], key=order) == row["branch"], row


LINES = {kernel_limits.UPSTREAM, "el7", "el8", "el9", "el10", "debian", "ubuntu"}


def test_a_limit_of_kernels_is_one_of_a_release_or_of_all_in_its_branch():
    for row in catalog.rows("driver_branches"):
        for limit in row.get("kernel_limits", []):
            assert {"below"} <= set(limit) <= {"below", "until", "modules"}, row
            assert limit.get("until", row["branch"]).partition(".")[0] == row["branch"], row
            assert limit.get("modules", "open") in {"open", "proprietary"}, row
            assert set(limit["below"]) <= LINES, row
            for releases in limit["below"].values():
                assert releases == sorted(releases, key=order), row


def test_a_kernel_that_builds_is_older_than_one_that_no_release_builds_for():
    for row in catalog.rows("driver_branches"):
        tested = row.get("kernel_tested", {})
        assert set(tested) <= LINES, row
        for limit in row.get("kernel_limits", []):
            for line, releases in limit["below"].items():
                assert order(row.get("kernel_min", "0")) < order(releases[-1]), row
                if not {"until", "modules"} & set(limit):
                    assert order(tested.get(line, "0")) < order(releases[-1]), row


def test_every_branch_since_570_has_kernels_that_it_builds_for_and_some_that_it_does_not():
    for row in catalog.rows("driver_branches"):
        # Of 620, which is new, no source has told yet.
        if 570 <= int(row["branch"]) < 620:
            assert row["kernel_tested"], row
            assert row["kernel_limits"], row


def test_a_cuda_runs_on_the_driver_it_ships():
    for row in catalog.rows("cuda"):
        assert order(row["driver_min"]) <= order(row["driver"]), row


def test_a_branch_runs_the_cuda_that_ships_with_it():
    branches = [row for row in catalog.rows("driver_branches") if "cuda" in row]
    cuda = {row["branch"]: order(row["cuda"]) for row in branches}
    for row in catalog.rows("cuda"):
        branch = row["driver"].partition(".")[0]
        if branch in cuda:
            assert order(row["cuda"]) <= cuda[branch], row


def test_every_architecture_has_one_row():
    rows = catalog.rows("gpu_architectures")
    assert {row["name"] for row in rows} == set(gpu_architectures.NAMES)


def test_a_runfile_names_its_version_and_packages_none():
    for row in catalog.rows("stacks"):
        assert ("version" in row["driver"]) == (row["driver"]["method"] == "runfile"), row


def test_a_stack_is_a_guest_exactly_where_its_driver_is_a_grid_one():
    for row in catalog.rows("stacks"):
        assert ("vgpu" in row) == (row["driver"]["flavour"] == "grid"), row


def test_a_stack_from_packages_has_a_distribution_that_brings_them():
    offered = {row["branch"] for row in catalog.rows("driver_packages")}
    stacks = [row["driver"] for row in catalog.rows("stacks")]
    assert {row["branch"] for row in stacks if row["method"] == "package"} <= offered


def family_of(repository):
    """Return the patterns of all packages that belong to the driver in a repository."""
    row = next(row for row in catalog.rows("repositories") if row["name"] == repository)
    return [*row["family"], *row["companions"]]


def test_a_package_belongs_to_the_driver_in_its_repository():
    for row in catalog.rows("driver_packages"):
        for name in [name for names in row["packages"].values() for name in names]:
            assert name.startswith("@") or any(
                fnmatch.fnmatchcase(name, pattern) for pattern in family_of(row["repository"])
            ), (row["repository"], name)


def test_a_repository_says_how_it_is_reached_for_each_distribution_with_packages():
    for row in catalog.rows("repositories"):
        needed = {
            packages["distribution"]
            for packages in catalog.rows("driver_packages")
            if packages["repository"] == row["name"]
        }
        known = {part["distribution"] for part in row.get("distributions", [])}
        assert ("address" in row) != ("suites" in row), row["name"]
        assert "suites" in row or needed <= known, row["name"]


def test_what_signs_a_repository_of_packages_is_known_by_its_fingerprint():
    for part in [
        part for row in catalog.rows("repositories") for part in row.get("distributions", [])
    ]:
        name = part["key"].partition(".")[0].upper()
        is_known = bool(re.fullmatch(f"[0-9A-F]{{32}}{name}", part.get("fingerprint", "")))
        # No source has that of the key for Enterprise Linux 10.
        assert is_known == (part["distribution"] != "RedHat 10"), part


@pytest.mark.parametrize("release", DEBIAN)
def test_the_family_is_what_debian_builds_of_the_driver_and_nothing_else(release):
    row = next(row for row in catalog.rows("repositories") if row["name"] == "debian")
    for patterns, kind in ((row["family"], "family"), (row["companions"], "companions")):
        found = [
            name
            for names in DEBIAN[release].values()
            for name in names
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
        ]
        assert sorted(found) == sorted(DEBIAN[release][kind])


def test_only_a_bundle_has_an_address_with_a_place_for_the_distribution():
    for row in catalog.rows("ofed"):
        assert ("url" in row) == (row["kind"] == "mlnx_ofed"), row
        assert ("doca" in row) == (row["kind"] == "doca"), row
        assert "{distribution}" in row.get("url", "{distribution}"), row


def test_a_release_of_doca_is_of_the_series_that_its_row_names():
    for row in catalog.rows("ofed"):
        assert row.get("release", f"{row.get('doca')}.").startswith(f"{row.get('doca')}."), row


def test_what_signs_doca_for_apt_is_known_by_its_fingerprint():
    row, archive = catalog.rows("doca_repositories")
    assert "address" not in archive
    for part in row["distributions"]:
        is_apt = not part["distribution"].startswith("RedHat")
        assert bool(re.fullmatch("[0-9A-F]{40}", part.get("fingerprint", ""))) == is_apt


@pytest.mark.parametrize(
    "row",
    [*catalog.rows("repositories"), *catalog.rows("doca_repositories")],
    ids=lambda row: row["name"],
)
def test_a_repository_has_an_address_and_a_key_or_is_a_part_of_an_archive(row):
    parts = row.get("distributions", [])
    if "address" in row:
        assert all({"directory", "key"} <= part.keys() for part in parts)
    else:
        assert row["suites"]
        assert row["components"]
        assert all(part.keys() == {"distribution"} for part in parts)


def test_the_archive_has_series_that_the_catalog_knows():
    known = {row["version"] for row in catalog.rows("ofed") if row["kind"] == "doca"}
    archive = catalog.rows("doca_repositories")[1]
    assert {part["ofed"] for part in archive["series"]} <= known


@pytest.mark.parametrize("row", MINIFORGE, ids=lambda row: row["version"])
def test_a_miniforge_row_names_the_file_of_its_version(row):
    version, architecture = row["version"], row["architecture"]
    assert row["url"] == (
        f"https://github.com/conda-forge/miniforge/releases/download/{version}/"
        f"Miniforge3-{version}-Linux-{architecture}.sh"
    )


DRIVER = {
    "version": "535.161.08",
    "branch": "535",
    "flavour": "tesla",
    "module_types": ["open"],
    "url": "https://example.com/NVIDIA-Linux-x86_64-535.161.08.run",
    "sha256": "0" * 64,
}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"branch": None}, "no branch"),
        ({"vgpus": "6.1"}, "vgpus is unknown"),
        ({"flavour": "geforce"}, "flavour: geforce"),
        ({"module_types": []}, "module_types is empty"),
        ({"module_types": ["open", "free"]}, "module_types: free"),
        ({"vgpu": 16.1}, "vgpu is a number"),
        ({"sha256": "0" * 63}, f"sha256: {'0' * 63}"),
        ({"sha256": "G" * 64}, f"sha256: {'G' * 64}"),
        ({"url": None}, "a sha256 of no file"),
        ({"url": "http://example.com/535.161.08.run"}, "url: http://example.com/535.161.08.run"),
        ({"url": "https://example.com/535.161.07.run"}, "url: https://example.com/535.161.07.run"),
        ({"url": "https://a.org/535.161.08/a.run"}, "url: https://a.org/535.161.08/a.run"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_row_is_found(change, fault):
    row = {key: value for key, value in {**DRIVER, **change}.items() if value is not None}
    assert row_faults(DRIVER, SHAPES["drivers"]) == []
    assert row_faults(row, SHAPES["drivers"]) == [fault]


@pytest.mark.parametrize("date", ["2028", "2028-13", "June 2028"])
def test_a_date_that_is_none_is_found(date):
    assert date_faults({"end_of_life": date}) == [f"end_of_life: {date}"]


def test_an_unknown_key_of_what_is_nested_is_found():
    row = {"driver": {"branch": "535", "flavour": "tesla", "methd": "package"}}
    assert nested_faults(row) == ["no method", "methd is unknown"]
    assert nested_faults({"files": [{"url": "https://example.com"}]}) == ["no sha256"]


def versions(*given):
    return [{**DRIVER, "version": version} for version in given]


def test_a_row_that_stands_twice_is_found():
    rows = versions("580.65.06", "535.161.08", "535.161.08")
    assert list_faults(rows, SHAPES["drivers"]) == ["('535.161.08', 'tesla') stands twice"]


def test_a_row_out_of_order_is_found():
    rows = versions("535.161.08", "580.65.06", "550.54.14")
    assert list_faults(rows, SHAPES["drivers"]) == [
        "('580.65.06', 'tesla') is newer than the row above"
    ]
    assert list_faults(versions("550.107.02", "550.90.07"), SHAPES["drivers"]) == []


def test_a_row_apart_from_its_distribution_is_found():
    names = ("Debian 13", "Debian 12", "Debian 13")
    rows = [{"distribution": name, "branch": "535", "repository": "debian"} for name in names]
    rows[2]["repository"] = "debian-backports"
    assert list_faults(rows, SHAPES["driver_packages"]) == [
        "('Debian 13', '535', 'debian-backports') stands apart from Debian 13"
    ]


def test_for_each_fault_there_is_a_remedy_and_for_nothing_else():
    for row in catalog.rows("xid_actions"):
        assert row["is_fault"] == ("remedy" in row) == ("does" in row), row


def test_a_digest_that_two_files_share_is_found():
    rows = [{"sha256": "a"}, {"files": [{"sha256": "b"}, {"sha256": "a"}]}]
    assert digest_faults(rows) == ["a"]


@pytest.mark.parametrize(
    ("name", "change", "fault"),
    [
        ("drivers", {"branch": "999"}, "branch 999"),
        ("drivers", {"vgpu": "99.1"}, "vGPU 99"),
        ("vgpu", {"hosts": ["999"]}, "branch 999"),
        ("xids", {"action": "PRAY"}, "action PRAY"),
        ("gpu_architectures", {"last_branch": "999"}, "branch 999"),
        ("driver_packages", {"branch": "999"}, "branch 999"),
        ("pytorch", {"lacks": {"13.0": ["fermi"]}}, "architecture fermi"),
        ("pytorch", {"lacks": {"10.0": []}}, "its own CUDA 10.0"),
        ("pytorch", {"cuda": ["13.0", "99.0"]}, "CUDA 99.0"),
        ("stacks", {"vgpu": "99"}, "vGPU 99"),
        ("stacks", {"ofed": {"kind": "doca", "version": "1"}}, "OFED ('doca', '1')"),
        ("stacks", {"peer_memory": {"route": "auto", "tag": "9"}}, "tag 9"),
        (
            "stacks",
            {"driver": {"branch": "580", "flavour": "tesla", "method": "runfile", "version": "1"}},
            "driver ('1', 'tesla')",
        ),
    ],
)
def test_a_row_that_names_what_is_not_there_is_found(name, change, fault):
    def rows(wanted):
        given = catalog.rows(wanted)
        return [{**given[0], **change}, *given[1:]] if wanted == name else given

    assert fault in {found.partition(": ")[2] for found in reference_faults(rows)}
