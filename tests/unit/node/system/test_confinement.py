"""A confined command is kept from what it does not work on, and from nothing else."""

from __future__ import annotations

import ast
import pathlib

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.system import confinement

FILES = {"PrivateTmp=yes", "ProtectSystem=full", "ProtectHome=read-only"}


def kept_from(argv, works_in=(), **options):
    return FILES & set(confinement.confined(argv, works_in, **options).settings)


@pytest.mark.parametrize(
    ("path", "lacking"),
    [
        ("/opt/miniforge3", set()),
        ("/var/cache/gpunode/x.run", set()),
        ("/usrlocal/conda", set()),
        ("/tmpfs/conda", set()),
        ("/usr/local/conda", {"ProtectSystem=full"}),
        ("/usr", {"ProtectSystem=full"}),
        ("/etc/conda", {"ProtectSystem=full"}),
        ("/home/conda", {"ProtectHome=read-only"}),
        ("/root/envs", {"ProtectHome=read-only"}),
        ("/tmp/x.run", {"PrivateTmp=yes"}),
        ("/var/tmp/gpunode-bundle", {"PrivateTmp=yes"}),
    ],
)
def test_nothing_is_taken_away_that_a_command_works_in(path, lacking):
    assert kept_from(["sh", path]) == kept_from(["sh"], [path]) == FILES - lacking


def test_an_option_is_no_path_that_it_works_in():
    assert kept_from(["rpm", "--root=/usr", "-p"]) == FILES


@pytest.mark.parametrize(
    "address",
    ["file:///tmp/channel", "file://localhost/tmp/channel", "file:///var/tmp/w/x-1.whl", "/tmp/ca"],
)
def test_what_its_arguments_or_files_name_below_tmp_is_not_hidden(tmp_path, address):
    seen = FILES - {"PrivateTmp=yes"}
    assert kept_from(["conda", f"--channel={address}/noarch"]) == seen
    told_by = [str(tmp_path / name) for name in ("none", "told", "folder")]
    (tmp_path / "told").write_text(f"@EXPLICIT\n{address}/noarch/a-1-0.conda#0\n")
    (tmp_path / "folder").mkdir()
    assert kept_from(["conda"], told_by=told_by) == seen


@pytest.mark.parametrize(
    "address",
    ["https://example.org/tmp/channel", "file:///opt/tmp/channel", "file:///srv/x-/tmp/y"],
)
def test_a_tmp_of_another_folder_is_none_of_those(address):
    assert kept_from(["conda", "--channel", address]) == FILES


def test_what_installs_keeps_the_system_and_the_domains_of_what_it_runs():
    argv = confinement.confined(["/opt/x/nvidia-installer"], [], installs=True)
    assert set(argv.settings) == {
        *("ProtectControlGroups=yes", "RestrictRealtime=yes", "PrivateNetwork=yes"),
        *FILES - {"ProtectSystem=full"},
    }


def test_a_confined_command_is_the_command():
    argv = confinement.confined(["conda", "info"], [])
    assert argv == ["conda", "info"]
    assert [*argv, "--json"] == ["conda", "info", "--json"]


def test_a_user_without_rights_is_one_without_namespaces_too():
    argv = confinement.unprivileged(["python3"], ["LimitMEMLOCK=infinity", "DevicePolicy=closed"])
    assert {"DynamicUser=yes", "ProtectSystem=strict"} < set(argv.settings)
    plain = set(argv.without_namespaces())
    assert {
        *("User=nobody", "NoNewPrivileges=yes", "CapabilityBoundingSet="),
        *("LimitMEMLOCK=infinity", "DevicePolicy=closed"),
    } <= plain
    assert not [one for one in plain if one.startswith(("Dynamic", "Protect", "Private"))]
    assert len([one for one in plain if one.startswith("User=")]) == 1
    assert "User=nobody" not in confinement.confined(["conda"], []).without_namespaces()


NODE = pathlib.Path(confinement.__file__).parents[1]
PAGE = NODE.parents[2] / "docs" / "security.md"
# Who runs long commands of which nothing, or not all, can be taken: what they are on the page.
LESS = {
    "packages/package_manager.py": "package managers",
    "packages/repositories.py": "package managers",
    "peer_memory/rpm_build.py": "package managers",
    "mlnx_ofed/by_bundle.py": "installers of bundles",
    "mlnx_ofed/removal.py": "uninstallers of bundles",
    "mlnx_ofed/openibd.py": "openibd",
    "kernel/initramfs.py": "initramfs",
}


def unconfined(text):
    """Return the functions in a text that run a long command which nothing confines."""
    return [
        function.name
        for function in ast.walk(ast.parse(text))
        if isinstance(function, ast.FunctionDef)
        and any(
            isinstance(node, ast.Call)
            and ast.unparse(node.func).endswith(("commands.run_long", "transient_unit.execute"))
            for node in ast.walk(function)
        )
        and "confinement." not in ast.unparse(function)
    ]


def test_each_long_command_is_confined_or_stands_on_the_page_as_one_that_is_less():
    paths = {str(path.relative_to(NODE)): path for path in sorted(NODE.rglob("*.py"))}
    found = {name for name, path in paths.items() if unconfined(path.read_text(encoding="utf-8"))}
    assert found == set(LESS)
    section = PAGE.read_text(encoding="utf-8").partition("## What is confined less")[2]
    for words in LESS.values():
        assert words in section


def test_a_long_command_that_nothing_confines_is_found():
    text = "def f(argv, execute):\n    return commands.run_long('x', {}, {{}}, execute, '/')\n"
    assert unconfined(text.format("argv")) == ["f"]
    assert unconfined(text.format("confinement.confined(argv, [])")) == []
