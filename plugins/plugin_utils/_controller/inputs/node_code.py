# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which code of this project does a component's work on a host: its module and all it imports.

And that code as one archive, for hosts that are sent it once and keep it.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import io
import pathlib
import re
import zipfile
from typing import NamedTuple

from .. import project

_COLLECTION = "ansible_collections.gpunode.stack."
# A line that begins as an import does, with its parentheses: a file's imports are parsed alone,
# which takes a tenth of the time that parsing the whole file does.
_IMPORT = re.compile(r"^[ \t]*((?:from|import)\b[^\n(]*(?:\([^)]*\))?)", re.MULTILINE)


class Archive(NamedTuple):
    """A module and all it imports of this project.

    :ivar module: its name.
    :ivar digest: the sha256 of the content.
    :ivar content: a zip file of {name of a module: its source}.
    """

    module: str
    digest: str
    content: bytes


def files_of(component: str) -> list[pathlib.Path]:
    """Return the paths of a component's module and of all files it imports, sorted."""
    return with_imports(project.ROOT / "plugins" / "modules" / f"{component}.py")


def with_imports(start: pathlib.Path) -> list[pathlib.Path]:
    """Return the paths of a Python file and of all of this project that it imports, sorted."""
    found, left = set(), {start}
    while left:
        path = left.pop()
        found.add(path)
        left |= _imported(path) - found
    return sorted(found)


@functools.cache
def archive_of(module: str) -> Archive:
    """Return a module below plugins/module_utils/_node with all it imports.

    :param module: its name there, such as 'facts.look'.
    """
    start = project.ROOT.joinpath("plugins", "module_utils", "_node", *module.split("."))
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in with_imports(start.with_suffix(".py")):
            # With the same date, the same sources make the same archive.
            archive.writestr(zipfile.ZipInfo(_name(path)), path.read_bytes(), zipfile.ZIP_DEFLATED)
    digest = hashlib.sha256(content.getvalue()).hexdigest()
    return Archive(_name(start), digest, content.getvalue())


def _name(path: pathlib.Path) -> str:
    """Return the dotted name of a module by its path."""
    return _COLLECTION + ".".join(path.relative_to(project.ROOT).with_suffix("").parts)


@functools.cache
def _imported(path: pathlib.Path) -> set[pathlib.Path]:
    """Return the paths of this project's files that a Python file imports itself."""
    statements = import_statements(path.read_text(encoding="utf-8"))
    places = [place for statement in statements for place in _places(statement, path.parent)]
    return {place for place in places if place.is_file()}


def import_statements(text: str) -> list[ast.Import | ast.ImportFrom]:
    """Return a file's import statements, as nodes of ast."""
    try:
        parsed = [ast.parse(match[1]) for match in _IMPORT.finditer(text)]
    except SyntaxError:
        # Words of a text that look like a statement: only the whole file can tell.
        parsed = [ast.parse(text)]
    nodes = [node for syntax in parsed for node in ast.walk(syntax)]
    return [node for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom))]


def _places(statement: ast.Import | ast.ImportFrom, folder: pathlib.Path) -> list[pathlib.Path]:
    """Return the paths at which the modules of an import statement would lie.

    :param folder: the folder of the file that the statement is in.
    """
    if isinstance(statement, ast.Import):
        bases = [_place(alias.name) for alias in statement.names]
        return [base.with_suffix(".py") for base in bases if base]
    base = _place(statement.module or "", folder, statement.level)
    if base is None:
        return []
    # "from package import module", or "from module import name".
    modules = [base / f"{alias.name}.py" for alias in statement.names]
    return [base.with_suffix(".py"), *modules]


def _place(name: str, folder: pathlib.Path | None = None, level: int = 0) -> pathlib.Path | None:
    """Return where a module or package lies by its dotted name; None where it is none of ours."""
    if folder and level:
        return folder.joinpath(*[".."] * (level - 1), *filter(None, name.split("."))).resolve()
    if not name.startswith(_COLLECTION):
        return None
    return project.ROOT.joinpath(*name[len(_COLLECTION) :].split("."))
