# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether an application has what gunicorn is told to serve, as far as reading it tells."""

from __future__ import annotations

import ast
import pathlib
import re

from ansible_collections.gpunode.stack.plugins.module_utils.refusal import Refusal

_ENTRY = re.compile(r"((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*):([A-Za-z_]\w*)(?:\.[A-Za-z_]\w*)*(?:\(\))?")


def check(folder, entry, what):
    """Refuse an entry point that the application's files do not have.

    :param folder: the application's files.
    :param entry: 'module:object' or 'module:factory()'.
    :param what: the application, for messages.
    """
    match = _ENTRY.fullmatch(entry)
    if not match:
        raise Refusal(
            f"entry {entry} of {what}",
            "it is not of the form module:object",
            "Write it such as main:app",
        )
    module, name = match.groups()
    path = _file_of(pathlib.Path(folder), module)
    if path is None:
        raise Refusal(
            f"entry {entry} of {what}",
            f"there is neither {module.replace('.', '/')}.py nor a package {module} in {folder}",
            "Correct the entry or the source",
        )
    defined = names_of(path.read_bytes())
    if defined is not None and name not in defined:
        raise Refusal(
            f"entry {entry} of {what}",
            f"{path} defines no '{name}'",
            "Correct the entry or the source",
        )


def names_of(source):
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


def _file_of(folder, module):
    """Return the source file of a module below a folder, or None."""
    place = folder.joinpath(*module.split("."))
    found = [
        path
        for path in (place / "__init__.py", place.with_name(f"{place.name}.py"))
        if path.is_file()
    ]
    return found[0] if found else None


def _at_module_level(tree):
    """Yield the nodes in a module's own scope: not what is inside functions and classes."""
    todo = list(ast.iter_child_nodes(tree))
    while todo:
        node = todo.pop()
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            todo.extend(ast.iter_child_nodes(node))
