"""Imports: what fails is told by its reason, and what the host lacks by its package."""

from __future__ import annotations

import getpass
import json
import os
import subprocess
import sysconfig
import tempfile
import time
import venv

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.conda import imports
from ansible_collections.gpunode.stack.plugins.module_utils._node.conda.imports import Failure
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.inputs import catalog

ROWS = catalog.rows("shared_libraries")
BOOKWORM = ("bookworm", "Debian")


as_root = pytest.mark.skipif(
    getpass.getuser() != "root", reason="becomes another account; run as root"
)


class Prefix:
    """An environment with a Python, and modules of our own in it."""

    def __init__(self, path):
        venv.create(path, symlinks=True)
        self.path = str(path)
        self.site = sysconfig.get_path("purelib", "venv", {"base": self.path})

    def module(self, name, text):
        with open(os.path.join(self.site, f"{name}.py"), "w", encoding="utf-8") as handle:
            handle.write(text)

    def check(self, *modules, timeout_s=30):
        return imports.check(self.path, modules, timeout_s=timeout_s, account=None)


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    return Prefix(tmp_path_factory.mktemp("env") / "env")


def test_what_can_be_imported_is_no_failure(prefix):
    prefix.module("fine", "print('loud')\nimport json")
    assert prefix.check("fine", "os.path", "json.decoder") == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "import nowhere_to_be_found",
            "ModuleNotFoundError: No module named 'nowhere_to_be_found'",
        ),
        ("raise RuntimeError('two\\nlines')", "RuntimeError: two"),
        ("import sys\nsys.exit(3)", "SystemExit: 3"),
        ("import os\nos.abort()", "it crashed with SIGABRT"),
        ("import os\nos._exit(7)", "it ended with status 7 and said nothing"),
        # Of no signal, and of signals that have no name.
        ("import os\nos._exit(255)", "it ended with status 255 and said nothing"),
        ("import os\nos._exit(160)", "it ended with status 160 and said nothing"),
        ("import os\nos._exit(163)", "it ended with status 163 and said nothing"),
    ],
)
def test_a_failure_is_told_in_one_line(prefix, text, reason):
    prefix.module("bad", text)
    assert prefix.check("bad", "json") == [Failure("bad", reason, [], None)]


def test_an_import_that_hangs_is_ended_with_all_it_started(prefix, tmp_path):
    pids = tmp_path / "pids"
    prefix.module(
        "hangs",
        "import os, subprocess, time\n"
        "child = subprocess.Popen(['sleep', '60'])\n"
        f"open({str(pids)!r}, 'w').write('%s %s' % (os.getpid(), child.pid))\n"
        "time.sleep(60)\n",
    )
    assert prefix.check("hangs", timeout_s=2) == [
        Failure("hangs", "it did not end within 2 s", [], None)
    ]
    for pid in pids.read_text().split():
        assert _is_gone(pid)


def test_an_import_that_leaves_something_running_is_not_waited_for(prefix):
    prefix.module(
        "leaves",
        "import subprocess\n"
        "child = subprocess.Popen(['sh', '-c', 'exec sleep 5'], start_new_session=True)\n",
    )
    start = time.monotonic()
    assert prefix.check("leaves") == []
    assert time.monotonic() - start < 4


def _is_gone(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as handle:
            return handle.read().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_importing_writes_nothing_into_the_environment_or_a_home(prefix, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    prefix.module(
        "writes",
        "import os, tempfile\n"
        "open(os.path.expanduser('~/cache'), 'w').close()\n"
        "open(os.path.join(tempfile.gettempdir(), 'rest'), 'w').close()\n"
        "open('here', 'w').close()\n",
    )
    before = sorted(os.listdir(prefix.site))
    assert prefix.check("writes") == []
    assert sorted(os.listdir(prefix.site)) == before
    assert os.listdir(tmp_path) == []


def test_what_a_user_installed_for_himself_does_not_count(prefix, monkeypatch, tmp_path):
    (tmp_path / "mine.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert [failure.module for failure in prefix.check("mine")] == ["mine"]


def test_a_library_that_is_opened_by_its_name_is_told_by_its_soname(prefix):
    prefix.module("opens", "import ctypes\nctypes.CDLL('libnowhere-2.0.so.3')")
    assert prefix.check("opens") == [Failure("opens", None, ["libnowhere-2.0.so.3"], None)]


def test_a_reason_behind_another_error_is_found(prefix):
    prefix.module(
        "wraps",
        "import ctypes\n"
        "try:\n    ctypes.CDLL('libnowhere.so.3')\n"
        "except OSError as error:\n    raise ImportError('cannot start') from error\n",
    )
    assert prefix.check("wraps")[0].libraries == ["libnowhere.so.3"]


def test_ldd_is_asked_for_what_the_loader_did_not_come_to():
    said = "\tlinux-vdso.so.1 (0x1)\n\tlibGL.so.1 => not found\n\tlibX11.so.6 => not found\n"
    answer = {
        "type": "ImportError",
        "text": "libGL.so.1: cannot open shared object file: No such file or directory\n",
        "path": "/env/cv2.so",
    }

    def run(argv, **options):
        return _done(options, said if argv[3] == "ldd" else f"noise\n{json.dumps(answer)}\n")

    (failure,) = imports.check("/env", ["cv2"], run, account=None)
    assert failure == Failure("cv2", None, ["libGL.so.1", "libX11.so.6"], "/env/cv2.so")


def test_a_python_that_does_not_start_is_told_alike():
    def run(argv, **options):
        if argv[3] == "ldd":
            return _done(options, "\tlibssl.so.3 => not found\n")
        return _done(
            options,
            "",
            127,
            "python: error while loading shared libraries: libssl.so.3: cannot "
            "open shared object file: No such file or directory\n",
        )

    (failure,) = imports.check("/env", ["ssl"], run, account=None)
    assert failure == Failure("ssl", None, ["libssl.so.3"], "/env/bin/python")


def _done(options, stdout, status=0, stderr=""):
    options["stdout"].write(stdout.encode())
    options["stderr"].write(stderr.encode())
    return subprocess.CompletedProcess([], status)


@as_root
def test_modules_are_imported_as_nobody():
    # pytest's own folders are closed to others.
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        os.makedirs(f"{folder}/bin")
        with open(f"{folder}/bin/python", "w", encoding="utf-8") as handle:
            handle.write('#!/bin/sh\nid -un > "$HOME/who" && read -r who < "$HOME/who"\n')
            handle.write(
                'echo "{\\"type\\": \\"By\\", \\"text\\": \\"$who\\", \\"path\\": null}"\n'
            )
        os.chmod(f"{folder}/bin/python", 0o755)
        assert imports.check(folder, ["x"]) == [Failure("x", "By: nobody", [], None)]
        os.chmod(folder, 0o700)
        (failure,) = imports.check(folder, ["x"])
        assert failure.reason.startswith("not everyone may run this Python")


def refused(*failures, keys=BOOKWORM, listed=()):
    return imports.refusal({"web": list(failures)}, ROWS, keys, list(listed))


def test_all_that_is_missing_is_told_at_once_with_the_line_to_write():
    gl = Failure("cv2", None, ["libGL.so.1", "libgthread-2.0.so.0"], "/env/cv2.so")
    sound = Failure("soundfile", None, ["libsndfile.so.1", "libGL.so.1"], None)
    said = refused(gl, sound, listed=["libgomp1"])
    assert said.because == (
        "web: cv2 lacks libGL.so.1 (package libgl1) and libgthread-2.0.so.0 "
        "(package libglib2.0-0), wanted by /env/cv2.so; "
        "web: soundfile lacks libsndfile.so.1 (package libsndfile1) and libGL.so.1 (package libgl1)"
    )
    assert said.remedy == (
        "Say `conda_env_system_packages: [libgomp1, libgl1, libglib2.0-0, libsndfile1]` "
        "and run again"
    )


@pytest.mark.parametrize(
    ("keys", "package"),
    [
        (("bookworm", "Debian"), "libglib2.0-0"),
        (("trixie", "Debian"), "libglib2.0-0t64"),
        (("jammy", "Debian"), "libglib2.0-0"),
        (("noble", "Debian"), "libglib2.0-0t64"),
        (("Plow", "RedHat"), "glib2"),
    ],
)
def test_a_package_is_called_as_its_distribution_calls_it(keys, package):
    failure = Failure("cv2", None, ["libgthread-2.0.so.0"], None)
    assert f"[{package}]" in refused(failure, keys=keys).remedy


def test_enterprise_linux_has_a_name_for_all_but_what_it_lacks():
    # tbb there is an older one; of portaudio no package is known.
    unnamed = [row["soname"] for row in ROWS if "RedHat" not in row.get("packages", {"RedHat": ""})]
    assert unnamed == ["libtbb.so.12", "libportaudio.so.2"]
    numa = Failure("numa", None, ["libnuma.so.1", "libtbb.so.12"], None)
    said = refused(numa, keys=("Plow", "RedHat")).remedy
    assert "[numactl-libs]" in said
    assert "Find the package of libtbb.so.12 with `dnf provides 'libtbb.so.12()(64bit)'`" in said


def test_the_drivers_own_library_is_no_package_to_name():
    said = refused(Failure("cupy", None, ["libcuda.so.1"], None))
    assert "libcuda.so.1 (the NVIDIA driver)" in said.because
    assert said.remedy == "Install the NVIDIA driver on the host and run again"


def test_what_the_catalog_does_not_know_is_to_be_looked_up():
    said = refused(Failure("odd", None, ["libodd.so.1"], None))
    assert "odd lacks libodd.so.1" in said.because
    assert "Find the package of libodd.so.1 with `apt-file search libodd.so.1`" in said.remedy


@pytest.mark.parametrize(
    ("keys", "packages"),
    [
        (("bookworm", "Debian"), ["htop", "libgl1", "libglib2.0-0", "libusb-1.0-0"]),
        (("jammy", "Debian"), ["htop", "libgl1", "libglib2.0-0", "libusb-1.0-0"]),
        (("resolute", "Debian"), ["htop", "libgl1", "libglib2.0-0t64", "libusb-1.0-0"]),
        (("Red Quartz", "RedHat"), ["htop", "libglvnd-glx", "glib2", "libusbx"]),
        # Of Amazon Linux 2023, as Ansible tells it.
        (("Amazon Linux", "RedHat"), ["htop", "libglvnd-glx", "glib2", "libusbx"]),
    ],
)
def test_a_library_that_is_asked_for_is_the_package_that_holds_it_in_each_distribution(
    keys, packages
):
    # Two that one package holds, and one that is called as a library is.
    asked = ["htop", "libGL.so.1", "libglib-2.0.so.0", "libgthread-2.0.so.0", "libusb-1.0.so.0"]
    assert imports.packages(asked, ROWS, keys) == packages


@pytest.mark.parametrize(
    ("soname", "words"),
    [
        ("libodd.so.1", "no package of RedHat is known to hold it"),
        ("libtbb.so.12", "no package of RedHat is known to hold it"),
        ("libcuda.so.1", "the NVIDIA driver brings it"),
    ],
)
def test_a_library_that_no_package_is_known_to_hold_is_named_before_anything_is_done(soname, words):
    (said,) = imports.without_package(["libGL.so.1", soname], ROWS, ("Plow", "RedHat"))
    assert said.what == f"conda_env_system_packages: {soname}"
    assert words in said.because
    if "libcuda" not in soname:
        assert f"dnf provides '{soname}()(64bit)'" in said.remedy
        (said,) = imports.without_package(["libodd.so.1"], ROWS, ("trixie", "Debian"))
        assert "apt-file search libodd.so.1" in said.remedy


@pytest.mark.parametrize("name", ["libgl1", "glib2", "libgtk-3-0", "python3.11", "lib.so", "so.1"])
def test_a_name_that_is_no_librarys_is_left_as_it_is(name):
    assert imports.packages([name], ROWS, ("Plow", "RedHat")) == [name]
    assert imports.without_package([name], ROWS, ("Plow", "RedHat")) == []


def test_what_no_package_cures_is_for_the_lock():
    said = refused(Failure("odd", "ModuleNotFoundError: No module named 'odd'", [], None))
    assert said.because == "web: odd: ModuleNotFoundError: No module named 'odd'"
    assert said.remedy == "Correct the lock and the requirements, or imports"


def test_each_row_of_the_catalog_says_who_holds_a_library_once():
    assert len({row["soname"] for row in ROWS}) == len(ROWS)
    for row in ROWS:
        assert set(row) in ({"soname", "packages"}, {"soname", "brought_by"})
        assert row.get("packages", {"Debian": ""}).keys() >= {"Debian"}
