"""What of an application's folder is left out: as git does, which is asked itself here."""

from __future__ import annotations

import os
import subprocess
import time

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import files
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.gunicorn import exclusion

TREE = (
    *("main.py", "a.pyc", "data.sqlite3", "build", "src/build/x.o", "src/main.py", "src/a.log"),
    *("node_modules/x/index.js", "web/node_modules/y.js", ".venv/bin/python", "logs/a.log"),
    *("logs/keep.log", "doc/a.txt", "doc/b/a.txt", "doc/b/c/a.txt", "x[1].txt", "a b.txt", "#odd"),
    *("!odd", "a1.txt", "az.txt", "deep/er/.venv/cfg", "dist/app.js", "a\\b", "end "),
    *("odd\nfolder/a.log", "café", "caf", "aéb", "ab"),
    # One for each letter that may stand between two others.
    *(f"a{chr(code)}b" for code in range(1, 128) if chr(code) != "/"),
)
# Files with patterns, by their folders.
CASES = {
    "nothing": {},
    "a name at every depth": {"": "node_modules\n.venv\n"},
    "folders alone": {"": "build/\n"},
    "at the top alone": {"": "/build\n/logs/\n"},
    "a path": {"": "doc/a.txt\nsrc/build\n"},
    "stars": {"": "*.log\nd*a.txt\n*.sqlite?\n"},
    "stars do not cross folders": {"": "doc/*.txt\nsrc/*\nlogs?a.log\n"},
    "two stars in front": {"": "**/a.txt\n"},
    "two stars behind": {"": "doc/**\n"},
    "a folder of two stars taken back": {"": "doc/**\n!doc/b/\n"},
    "two stars between": {"": "doc/**/a.txt\n"},
    "more stars": {"": "do**c\ndoc/b**\n"},
    "stars that divide a name": {"": "*a*e*\nd*/*/*.t*t\na*b*b\n*[.]*g*\n"},
    "stars that divide a path": {"": "**/b/**/a.t?t\nd*/**/b/**/*\n**/**/x*/**/*.o\n"},
    "taken back": {"": "*.log\n!keep.log\n"},
    "taken back in a folder that is gone": {"": "logs/\n!logs/keep.log\n"},
    "taken back within": {"": "logs/*\n!logs/keep.log\n"},
    "letters": {"": "a[0-9].txt\n[!x]z.txt\n[]d]oc\n"},
    "a letter that is escaped": {"": "a[\\d].txt\n"},
    "a name below a folder of two lines": {"": "*.log\n**/a.log\n"},
    "letters do not cross folders": {"": "src[^a]main.py\nlogs[!x]a.log\n"},
    "letters that are none": {"": "a[z\nx[[]1].txt\n"},
    "letters from the last to the first": {"": "a[9-0].txt\n[z-a]1.txt\n"},
    **{
        f"the class {name}": {"": f"a[[:{name}:]]b\n"}
        for name in (
            *("alnum", "alpha", "blank", "cntrl", "digit", "graph", "lower", "print", "punct"),
            *("space", "upper", "xdigit"),
        )
    },
    "classes among letters": {"": "a[^[:space:]x]b\na[[:digit:][:upper:]-]b\n"},
    "classes that there are not": {"": "a[[:word:]]b\na[[::]]b\na[[:SPACE:]]b\n"},
    "classes that are none": {"": "a[:space:]b\na[[:]b\na[[:digit]]b\na[[:digit:]b\n"},
    "a class in a range": {"": "a[[:digit:]-z]b\na[+-[:digit:]]b\n"},
    "letters that have no end": {"": "a[b\na[]b\na[!]b\na[\\]b\nb\\\n"},
    "letters that are escaped": {"": "a[\\]]b\na[a-\\z]b\na[\\a-z]b\n"},
    "letters of more than a byte": {"": "caf?\na[é]b\na[à-ü]b\na??b\n"},
    "escaped": {"": "\\#odd\n\\!odd\nx\\[1\\].txt\n"},
    "comments and blanks": {"": "# logs\n#odd\n\n   \nlogs  \na b.txt\n"},
    "a blank that counts": {"": "end\\ \n"},
    "of Windows": {"": "logs/\r\n*.pyc\r\n"},
    "a slash alone": {"": "/\n//\n!\n"},
    "each for its folder": {"": "*.txt\n", "doc": "!a.txt\n/b/c\n", "src": "/build\n"},
    "a nearer one decides": {"": "!*.log\n", "logs": "*.log\n"},
}


def place(folder, patterns):
    for path in TREE:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("x")
    for below, text in patterns.items():
        (folder / below / ".gitignore").write_text(text)


def kept(folder, patterns=(), by_git=True):
    leave_out = exclusion.of(str(folder), patterns, by_git)
    return {
        relative
        for path, relative in files.walk(folder, (".git",), leave_out)
        if not os.path.isdir(path)
    }


def kept_by_git(folder):
    git = ["git", "-c", "core.excludesFile=/dev/null", "-C", str(folder)]
    subprocess.run([*git, "init", "--quiet"], check=True)
    asked = [*git, "ls-files", "-z", "--others", "--exclude-standard"]
    said = subprocess.run(asked, check=True, capture_output=True).stdout
    return set(os.fsdecode(said).split("\0")) - {""}


@pytest.mark.parametrize("case", CASES)
def test_what_git_ignores_is_left_out_and_nothing_else(tmp_path, case):
    place(tmp_path, CASES[case])
    assert kept(tmp_path) == kept_by_git(tmp_path)


@pytest.mark.parametrize("case", [case for case in CASES if set(CASES[case]) == {""}])
def test_patterns_that_are_said_mean_the_same(tmp_path, case):
    place(tmp_path, CASES[case])
    expected = kept_by_git(tmp_path) - {".gitignore"}
    (tmp_path / ".gitignore").unlink()
    patterns = CASES[case][""].split("\n")
    assert kept(tmp_path, patterns, by_git=False) == expected


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*a" * 40 + "b", "a" * 255),
        ("**/*a/" * 40 + "b", "a/" * 100 + "a"),
        ("**/" * 40 + "b", "a/" * 100 + "a"),
        ("*a*/" * 40 + "**/b", "a/" * 100 + "a"),
        ("[a]*?" * 40 + "b", "a" * 255),
    ],
)
def test_no_pattern_has_a_path_divided_in_all_ways(pattern, path):
    begin = time.process_time()
    assert exclusion.of("/", [pattern], False)(path, False) is False
    assert time.process_time() - begin < 1


def test_what_is_said_goes_before_what_files_say(tmp_path):
    place(tmp_path, {"": "dist/\n*.log\n"})
    found = kept(tmp_path, ["!dist", "main.py", "!keep.log"])
    assert {"dist/app.js", "logs/keep.log"} <= found
    assert not {"main.py", "src/main.py", "logs/a.log"} & found


def test_files_of_patterns_count_where_that_is_asked_for_alone(tmp_path):
    place(tmp_path, {"": "*\n"})
    assert kept(tmp_path, by_git=False) == {*TREE, ".gitignore"}


def test_a_file_of_patterns_need_not_be_utf_8(tmp_path):
    name = os.fsdecode(b"caf\xe9")
    for each in (name, "tea"):
        (tmp_path / each).write_text("x")
    (tmp_path / ".gitignore").write_bytes(b"caf\xe9\n")
    assert kept(tmp_path) == {"tea", ".gitignore"}


def test_a_link_is_no_folder(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    assert kept(tmp_path, ["link/"], by_git=False) == set()
    leave_out = exclusion.of(str(tmp_path), ["link/"], False)
    assert [relative for _path, relative in files.walk(tmp_path, (), leave_out)] == [
        "link",
        "there",
    ]


def test_a_file_of_patterns_that_nobody_would_write_is_refused(tmp_path):
    with open(tmp_path / ".gitignore", "wb") as handle:
        handle.truncate(1 << 40)
    with pytest.raises(Refusal, match="more than 16 MiB"):
        kept(tmp_path)
