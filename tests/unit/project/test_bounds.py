"""What we run reads regular files of a size, and runs commands that somebody bounds."""

from __future__ import annotations

import ast
import pathlib

import pytest

PLUGINS = pathlib.Path(__file__).parents[3] / "plugins"
NODE = PLUGINS / "module_utils" / "_node"
_FILES = sorted(NODE.rglob("*.py"))
CONTROLLER = sorted([*(PLUGINS / "plugin_utils").rglob("*.py"), *(PLUGINS / "action").glob("*.py")])
# On the controller: what reads this project's own files.
_OWN_READERS = {
    *("components/peer_memory.py", "inputs/catalog.py", "inputs/node_code.py"),
    *("inputs/yaml_file.py", "plan/probe.py"),
}
# Where files are opened for all others; what the kernel makes up as it is read; what we wrote.
_READERS = {
    *("system/files.py", "system/root.py", "system/processes.py", "system/proc_net.py"),
    *("system/systemd.py", "system/node_lock.py", "system/shares.py", "facts/general.py"),
    "system/unfinished_file.py",
}
_RUNNERS = {"system/commands.py"}
_HOWS = ("l", "le", "lp", "lpe", "v", "ve", "vp", "vpe")
# What asks others over a network.
_ASKERS = {"system/arrival.py", "system/http_probe.py", "nccl/rank_process.py"}
_RUNS = {"run", "Popen", "call", "check_call", "check_output", "getoutput", "getstatusoutput"}
_STARTS = {"run_command", *(f"{verb}{how}" for verb in ("exec", "spawn") for how in _HOWS)}
_ASKS = {"urlopen", "open_url", "build_opener", "create_connection"}
# Opened otherwise, see there and below.
_OPENED = {"os", "tarfile"}
# What waits for ever where nothing is said of how long.
_WAITS = {"wait", "communicate", "join", "get", "acquire", "readline"}


def unbounded(text, may_open=False, may_run=False, may_ask=False):
    """Return what in a text nothing holds to a size or time: calls, and names of what does it."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Import, ast.ImportFrom)) and not may_run:
            found += [ast.unparse(node)] * _hides_who_runs(node)
        if not isinstance(node, ast.Call):
            continue
        function = ast.unparse(node.func)
        owner, _dot, name = function.rpartition(".")
        given = [*node.args, *(word.value for word in node.keywords if word.arg == "mode")]
        mode = next((arg.value for arg in given[1:] if isinstance(arg, ast.Constant)), "r")
        is_written = set("wax") & set(str(mode)) and "+" not in str(mode)
        sizes = [ast.unparse(arg) for arg in node.args]
        if (
            (name == "open" and owner not in _OPENED and not may_open and not is_written)
            # Their members are counted, and a regular file has an end.
            or (function == "tarfile.open" and "archives.members(" not in text)
            or (name == "copyfileobj" and "files.opened(" not in text)
            or (name == "read" and sizes in ([], ["-1"], ["None"]) and owner)
            or (name in ("readlines", "read_bytes", "fdopen") and not may_open)
            or (name == "read_text" and owner not in ("files", "site", ""))
            or (name == "load" and owner not in ("", "modprobe", "yaml_file"))
            or (owner == "subprocess" and name in _RUNS and not may_run)
            or (owner in ("os", "pty") and name in ("system", "popen", "spawn"))
            or name in _STARTS
            or (name in _ASKS and not may_ask)
            or (name in _WAITS and owner and not node.args and not node.keywords)
            or (name in ("flock", "lockf") and "LOCK_EX" in sizes[1] and "LOCK_NB" not in sizes[1])
            or any(word.arg == "timeout" and _is_none(word.value) for word in node.keywords)
        ):
            found.append(ast.unparse(node))
    return found


def _hides_who_runs(node):
    """Say whether an import gives what starts programs a name that nobody would know."""
    if isinstance(node, ast.ImportFrom):
        return node.module == "subprocess" and any(name.name in _RUNS for name in node.names)
    return any(name.name == "subprocess" and name.asname for name in node.names)


def _is_none(node):
    return isinstance(node, ast.Constant) and node.value is None


@pytest.mark.parametrize("path", _FILES, ids=lambda path: str(path.relative_to(NODE)))
def test_nothing_is_read_or_run_without_a_bound(path):
    name = str(path.relative_to(NODE))
    text = path.read_text(encoding="utf-8")
    assert unbounded(text, name in _READERS, name in _RUNNERS, name in _ASKERS) == []


@pytest.mark.parametrize("path", CONTROLLER, ids=lambda path: str(path.relative_to(PLUGINS)))
def test_what_others_wrote_is_not_read_without_a_bound_on_the_controller(path):
    if not any(str(path).endswith(f"_controller/{name}") for name in _OWN_READERS):
        assert unbounded(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "text",
    [
        "with open(path) as handle: pass",
        'with open(path, "rb") as handle: pass',
        'open(path, mode="r")',
        "with opened(path) as source: text = source.read()",
        "file.read()",
        "pathlib.Path(path).read_text()",
        "json.load(file)",
        "subprocess.run(argv, timeout=5)",
        "subprocess.check_output(argv)",
        "os.popen(line)",
        "pathlib.Path(path).open()",
        "io.open(path)",
        'open(path, "w+")',
        "source.read()",
        "file.read(-1)",
        "handle.readline()",
        "pickle.load(file)",
        "tarfile.open(path)",
        "shutil.copyfileobj(source, target)",
        "from subprocess import run",
        "import subprocess as programs",
        "os.spawnv(os.P_WAIT, path, argv)",
        "module.run_command(argv)",
        "commands.run(argv, timeout=None)",
        "urlopen(url)",
        "socket.create_connection(address)",
        "process.communicate()",
        "thread.join()",
        "arrived.get()",
        "fcntl.flock(file, fcntl.LOCK_EX)",
    ],
)
def test_what_has_no_bound_is_found(text):
    assert len(unbounded(text)) == 1


@pytest.mark.parametrize(
    "text", ['open(path, "w")', 'open(path, "xb")', "files.read_text(path)", "download.read(url)"]
)
def test_what_is_written_or_bounded_elsewhere_is_none_of_it(text):
    assert unbounded(text) == []
