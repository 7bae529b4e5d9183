"""DKMS, on a small tree that stands for a host with the driver's modules."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from dkms_host import DEBIANS, K1, K2, MAKE_LOG, TEMPLATE, V1, V2, Host, row, wanted

from ansible_collections.gpunode.stack.plugins.module_utils._node.kernel import dkms
from ansible_collections.gpunode.stack.plugins.module_utils._node.nvidia_driver import (
    kernel_modules,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import files
from ansible_collections.gpunode.stack.plugins.module_utils._node.system.root import Root


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


@pytest.fixture
def marks(tmp_path):
    """Sources that were put there are told from others by a mark, where it can be set."""
    try:
        os.setxattr(tmp_path, "user.test", b"")
    except OSError:
        pytest.skip("this file system has no extended attributes")


def test_what_dkms_builds_is_confined_and_what_it_installs_less(tmp_path):
    asked = {}

    def execute(argv, _environment):
        asked[argv[1]] = set(argv.settings)
        return subprocess.CompletedProcess(argv, 0, "", "")

    for verb in ("build", "install", "remove"):
        dkms.run(verb, [verb, "-m", "x", "-v", "1"], Root(str(tmp_path)), execute)
    assert {"NoNewPrivileges=yes", "ProtectSystem=full", "PrivateNetwork=yes"} < asked["build"]
    # An initramfs has the drivers of the network that the host boots over.
    assert asked["install"] == asked["remove"]
    assert asked["install"] == {
        *("ProtectHome=read-only", "ProtectControlGroups=yes", "RestrictRealtime=yes"),
    }


def test_files_of_a_package_may_have_other_names_than_its_modules():
    assert dkms.module_files(DEBIANS, "nvidia-current") == {
        "nvidia-current": "nvidia",
        "nvidia-current-uvm": "nvidia_uvm",
    }


def test_a_build_that_fails_leaves_everything_as_it_was_and_says_why(host):
    host.put_in_place(V1)
    before = host.all_of_it()
    host.fails = {K2}
    with pytest.raises(Refusal) as failure:
        host.build_anew(V2)
    assert host.all_of_it() == before
    assert K2 in failure.value.what
    assert "stdarg.h: No such file or directory" in failure.value.because
    assert "*** [Makefile.build" not in failure.value.because.partition(" / ")[0]
    log = host.path(f"/var/log/gpunode/make-nvidia-{V2}-{K2}.log")
    assert log.read_text().strip() == MAKE_LOG.strip()


def test_a_tree_of_the_same_version_comes_back_when_the_other_type_does_not_build(host):
    host.put_in_place(V1)
    before = host.all_of_it()
    host.fails = {K2}
    with pytest.raises(Refusal):
        host.build_anew(V1, is_open=True)
    assert host.all_of_it() == before


class Killed(BaseException):
    """What ends a run without its clearing up."""


def test_what_a_killed_build_changed_comes_back_when_the_next_one_fails(host, monkeypatch):
    host.put_in_place(V1)
    before = host.all_of_it()

    def killed(argv, _environment):
        raise Killed(argv)

    with monkeypatch.context() as patch:
        patch.setattr(host, "execute", killed)
        with pytest.raises(Killed):
            host.build_anew(V1, is_open=True)
    assert host.all_of_it() != before
    host.fails = {K1}
    with pytest.raises(Refusal):
        host.build_anew(V1, is_open=True)
    assert host.all_of_it() == before


def test_an_undoing_that_was_killed_is_begun_again(host, monkeypatch):
    host.put_in_place(V1)
    before = host.all_of_it()
    host.fails = {K1}

    def killed(_path):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(dkms, "_discard", killed)
        with pytest.raises(Killed):
            host.build_anew(V1, is_open=True)
    with pytest.raises(Refusal):
        host.build_anew(V1, is_open=True)
    assert host.all_of_it() == before


def test_what_a_killed_build_changed_comes_back_before_another_version_is_built(host):
    host.put_in_place(V1)
    before = host.all_of_it()
    aside = host.path(dkms.ASIDE)
    shutil.copytree(
        host.path(f"/var/lib/dkms/nvidia/{V1}"), aside / f"nvidia-{V1}" / "tree", symlinks=True
    )
    shutil.copytree(host.path(f"/usr/src/nvidia-{V1}"), aside / f"nvidia-{V1}" / "sources")
    (aside / "nvidia-1.2.part").mkdir()
    shutil.rmtree(host.path(f"/usr/src/nvidia-{V1}"))
    with dkms.undone_on_failure(host.tree, "nvidia", V2):
        pass
    assert host.all_of_it() == before
    assert list(aside.iterdir()) == []


def added(host, monkeypatch, owned, status=0):
    """Have trees added whose sources packages own; return [(name, version)] of those."""
    told = []

    def execute(argv, _environment):
        told.append(tuple(argv[3::2]))
        return subprocess.CompletedProcess(argv, status, "", "Error! no\n")

    monkeypatch.setattr(dkms.stack_packages, "owns", lambda _tree, path: path in owned)
    monkeypatch.setattr(dkms, "_wait_for_others", lambda *_: None)
    dkms.add_packaged(host.tree, lambda name: name.startswith("nvidia"), execute)
    return told


def test_sources_of_packages_that_dkms_does_not_know_of_are_added(host, monkeypatch):
    host.put_in_place(V1)
    owned = [f"/usr/src/nvidia-{V1}/dkms.conf"]
    for folder in (f"nvidia-{V2}", "nvidia-open-1.2", "knem-1.1"):
        host.write(f"/usr/src/{folder}/dkms.conf", TEMPLATE)
        owned.append(f"/usr/src/{folder}/dkms.conf")
    host.write("/usr/src/nvidia-headers-1/readme", "")
    host.write("/usr/src/nvidia-9.9/dkms.conf", TEMPLATE)
    told = added(host, monkeypatch, owned)
    # Neither those that are there, nor another's, nor sources without a package.
    assert told == [("nvidia", V2), ("nvidia-open", "1.2")]


def test_sources_that_dkms_does_not_take_are_named(host, monkeypatch):
    host.write(f"/usr/src/nvidia-{V2}/dkms.conf", TEMPLATE)
    with pytest.raises(Refusal, match=f"add the sources of nvidia {V2}: Error! no"):
        added(host, monkeypatch, [f"/usr/src/nvidia-{V2}/dkms.conf"], status=3)


@pytest.mark.usefixtures("marks")
def test_a_tree_goes_with_its_modules_and_the_sources_that_were_put_there_for_it(host):
    host.put_in_place(V1)
    dkms.remove(host.tree, "nvidia", V1, host.execute)
    assert host.survey()["modules"] == []
    assert not host.path("/var/lib/dkms/nvidia").exists()
    assert not host.path(f"/usr/src/nvidia-{V1}").exists()
    assert host.asked == [("remove", V1, None)]


def test_the_sources_of_a_package_are_left_to_it(host):
    host.write(f"/usr/src/nvidia-{V1}/dkms.conf", 'BUILT_MODULE_NAME[0]="nvidia"\n')
    kernel_modules.install(host.tree, wanted(), [row(K1)], host.execute)
    dkms.remove(host.tree, "nvidia", V1, host.execute)
    assert host.path(f"/usr/src/nvidia-{V1}/dkms.conf").exists()
    assert kernel_modules.others(host.tree, wanted(V2)) == []


@pytest.mark.usefixtures("marks")
def test_sources_that_an_uninstaller_left_when_it_took_the_tree_go(host):
    host.put_in_place(V1)
    host.execute(["dkms", "remove", "-m", "nvidia", "-v", V1, "--all"], {})
    host.asked.clear()
    assert kernel_modules.others(host.tree, wanted(V2)) == [("nvidia", V1)]
    dkms.remove(host.tree, "nvidia", V1, host.execute)
    assert kernel_modules.others(host.tree, wanted(V2)) == []
    assert (list(host.path("/usr/src").iterdir()), host.asked) == ([], [])


@pytest.mark.usefixtures("marks")
@pytest.mark.parametrize("lost", [f"/usr/src/nvidia-{V1}", f"/var/lib/dkms/nvidia/{V1}/source"])
def test_a_tree_whose_sources_are_lost_goes_all_the_same(host, lost):
    """DKMS ends with 3 or 4 and touches nothing."""
    host.put_in_place(V1)
    place = host.path(lost)
    place.unlink() if place.is_symlink() else shutil.rmtree(place)
    assert ("nvidia", V1) in kernel_modules.others(host.tree, wanted(V2))
    dkms.remove(host.tree, "nvidia", V1, host.execute)
    assert host.survey()["modules"] == []
    assert kernel_modules.others(host.tree, wanted(V2)) == []


def test_what_dkms_leaves_of_a_tree_goes_as_well(host):
    """v3.0.10: what a killed build left in a kernel's folder keeps the tree from being deleted."""
    host.sources()
    host.execute(["dkms", "build", "-m", "nvidia", "-v", V1, "-k", K1], {})

    def leaves_it(argv, _environment):
        return subprocess.CompletedProcess(argv, 0, "", "")

    dkms.remove(host.tree, "nvidia", V1, leaves_it)
    assert not host.path("/var/lib/dkms/nvidia").exists()


def test_a_tree_that_dkms_does_not_remove_is_a_refusal(host):
    host.put_in_place(V1)

    def refuses(argv, _environment):
        return subprocess.CompletedProcess(argv, 1, "", "Error! not today")

    with pytest.raises(Refusal, match="not today"):
        dkms.remove(host.tree, "nvidia", V1, refuses)
    assert host.survey()["modules"] != []


def test_a_dkms_of_somebody_else_is_waited_for_and_then_named(host, monkeypatch):
    host.sources()
    host.write("/proc/77/cmdline", "/bin/bash\0/usr/sbin/dkms\0autoinstall\0")
    monkeypatch.setattr(dkms, "WAIT_S", 0)
    with pytest.raises(Refusal, match="process 77 runs dkms"):
        kernel_modules.build(host.tree, wanted(), [row(K1)], host.execute)
    assert host.asked == []
    waited = []

    def ends(_seconds):
        waited.append(1)
        shutil.rmtree(host.path("/proc/77"))

    monkeypatch.setattr(dkms, "WAIT_S", 60)
    monkeypatch.setattr(dkms.time, "sleep", ends)
    kernel_modules.build(host.tree, wanted(), [row(K1)], host.execute)
    assert waited == [1]


def test_an_editor_of_a_file_called_dkms_is_no_dkms(host):
    host.sources()
    host.write("/proc/77/cmdline", "vim\0-R\0/usr/sbin/dkms\0")
    kernel_modules.build(host.tree, wanted(), [row(K1)], host.execute)


def test_the_copy_that_is_kept_aside_goes_when_all_is_well(host):
    with dkms.undone_on_failure(host.tree, "nvidia", V1):
        host.sources()
    assert list(host.path(dkms.ASIDE).iterdir()) == []
    assert files.sha256_of_tree(str(host.path(f"/usr/src/nvidia-{V1}")))
