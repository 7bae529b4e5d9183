# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a Python module defines, as far as reading it tells: nothing of it is run."""

from __future__ import annotations

import ast
import pathlib
from collections.abc import Iterator

from ansible_collections.gpunode.stack.plugins.module_utils._node.system import files

# Stands for a value that only running the module would tell.
UNKNOWN = object()


def names_of(path: pathlib.Path) -> set[str] | None:
    """Return the names that a module defines, or None where reading its source does not tell.

    It does not for a star import, a module-level ``__getattr__``, names set
    through ``globals()`` and its like, and syntax of another Python than this one.
    """
    syntax = _syntax(path)
    if syntax is None:
        return None
    names = set()
    for node in _at_module_level(syntax):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    declared = {
        name for node in ast.walk(syntax) if isinstance(node, ast.Global) for name in node.names
    }
    uses = {node.id for node in ast.walk(syntax) if isinstance(node, ast.Name)}
    return (
        None
        if {"*", "__getattr__"} & names or {"globals", "locals", "vars", "exec", "setattr"} & uses
        else names | declared
    )


def values_of(path: pathlib.Path) -> dict[str, object]:
    """Return {name: value} of what a module assigns; UNKNOWN where that is no plain value.

    What only a branch of it assigns is UNKNOWN too. A module that cannot be read has none.
    """
    syntax = _syntax(path)
    if syntax is None:
        return {}
    plain: dict[str, list[object]] = {}
    for node in syntax.body:
        if not isinstance(node, (ast.Assign, ast.AnnAssign)) or node.value is None:
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            if isinstance(target, ast.Name):
                plain.setdefault(target.id, []).append(_value(node.value))
    stored = [
        node.id
        for node in _at_module_level(syntax)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    ]
    return {
        name: plain[name][-1] if stored.count(name) == len(plain.get(name, [])) else UNKNOWN
        for name in dict.fromkeys(stored)
    }


def _syntax(path: pathlib.Path) -> ast.Module | None:
    """Return what a module is made of, None where it is none, or more than anybody would write."""
    try:
        return ast.parse(files.data(path))
    except (OSError, SyntaxError, ValueError, MemoryError, RecursionError):
        return None


def _value(node: ast.AST) -> object:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return UNKNOWN


def _at_module_level(syntax: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes in a module's own scope: not what is inside functions and classes."""
    todo = list(ast.iter_child_nodes(syntax))
    while todo:
        node = todo.pop()
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            todo.extend(ast.iter_child_nodes(node))
