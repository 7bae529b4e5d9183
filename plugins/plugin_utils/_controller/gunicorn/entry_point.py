# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether an application has what is to be served, as far as reading it tells."""

from __future__ import annotations

import ast
import pathlib
import re
from collections.abc import Iterator

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal

_ENTRY = re.compile(r"((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*):([A-Za-z_]\w*)(?:\.[A-Za-z_]\w*)*(?:\(\))?")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/-]*\.py")


def check(folder: str | None, entry: str, server: str, what: str) -> None:
    """Refuse an entry point of another form, or one that the application's files do not have.

    :param folder: the application's files; None where they are on a host alone.
    :param entry: for gunicorn 'module:object' or 'module:factory()', for python a file.
    :param server: 'gunicorn' or 'python'.
    :param what: the application, for messages.
    """
    find = _file_to_run if server == "python" else _object_to_serve
    find(pathlib.Path(folder) if folder else None, entry, f"entry {entry} of {what}")


def _file_to_run(folder: pathlib.Path | None, entry: str, what: str) -> None:
    if not _FILE.fullmatch(entry) or ".." in entry.split("/"):
        raise Refusal(
            what,
            "it is not the path of a Python file inside of the source",
            "Write it such as main.py",
        )
    if folder and not (folder / entry).is_file():
        raise Refusal(what, f"there is no {entry} in {folder}", "Correct the entry or the source")


def _object_to_serve(folder: pathlib.Path | None, entry: str, what: str) -> None:
    match = _ENTRY.fullmatch(entry)
    if not match:
        raise Refusal(what, "it is not of the form module:object", "Write it such as main:app")
    if not folder:
        return
    module, name = match.groups()
    path = _file_of(folder, module)
    if path is None:
        raise Refusal(
            what,
            f"there is neither {module.replace('.', '/')}.py nor a package {module} in {folder}",
            "Correct the entry or the source",
        )
    defined = names_of(path.read_bytes())
    if defined is not None and name not in defined:
        raise Refusal(what, f"{path} defines no '{name}'", "Correct the entry or the source")


def names_of(source: bytes) -> set[str] | None:
    """Return the names that a module defines, or None where reading its source does not tell.

    It does not for a star import, a module-level ``__getattr__``, names set
    through ``globals()``, and syntax of another Python than this one.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return None
    names = set()
    for node in _at_module_level(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    declared = {
        name for node in ast.walk(tree) if isinstance(node, ast.Global) for name in node.names
    }
    uses = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return (
        None
        if {"*", "__getattr__"} & names or {"globals", "exec", "setattr"} & uses
        else names | declared
    )


def _file_of(folder: pathlib.Path, module: str) -> pathlib.Path | None:
    """Return the source file of a module below a folder, or None."""
    place = folder.joinpath(*module.split("."))
    found = [
        path
        for path in (place / "__init__.py", place.with_name(f"{place.name}.py"))
        if path.is_file()
    ]
    return found[0] if found else None


def _at_module_level(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes in a module's own scope: not what is inside functions and classes."""
    todo = list(ast.iter_child_nodes(tree))
    while todo:
        node = todo.pop()
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            todo.extend(ast.iter_child_nodes(node))
