# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether an application has what is to be served, as far as reading it tells."""

from __future__ import annotations

import ast
import pathlib
import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

from ansible_collections.gpunode.stack.plugins.module_utils._node import near_miss
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal

from . import python_source

# A file's name need not be one of Python's for import_module(): my-shop, 2048. Nor is it an option.
_MODULE = re.compile(r"\w[\w-]*(?:\.\w[\w-]*)*")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/-]*\.py")
# What gunicorn serves of a module that is named alone, gunicorn/util.py: import_app.
_OBJECT = "application"
_FORM = "Write it such as main:app, or main:create_app('production')"


class Files(NamedTuple):
    """Where an application's modules are looked for.

    :ivar folders: folders on the controller, its source first; none where its files are on a host
        alone.
    :ivar installed: names of what its environment holds, None where that is not known.
    """

    folders: Sequence[pathlib.Path] = ()
    installed: Collection[str] | None = None


def check(where: Files, entry: str, server: str, what: str) -> None:
    """Refuse an entry point of another form, or one that the application's files do not have.

    :param where: the Files.
    :param entry: for gunicorn what it takes as APP_MODULE, for python a file.
    :param server: 'gunicorn' or 'python'.
    :param what: the application, for messages.
    """
    find = _file_to_run if server == "python" else _object_to_serve
    find(where, entry, f"entry {entry} of {what}")


def is_of_environment(where: Files, entry: str) -> bool:
    """Say whether gunicorn will find a module in the environment alone, if it does at all."""
    module = entry.split(":", 1)[0]
    top = module.split(".")[0]
    return bool(where.folders) and not any(_has(folder, top) for folder in where.folders)


def _file_to_run(where: Files, entry: str, what: str) -> None:
    if not _FILE.fullmatch(entry) or ".." in entry.split("/"):
        raise Refusal(
            what,
            "it is not the path of a Python file inside of the source",
            "Write it such as main.py",
        )
    for folder in where.folders[:1]:
        if not (folder / entry).is_file():
            raise Refusal(
                what, f"there is no {entry} in {folder}", "Correct the entry or the source"
            )


def _object_to_serve(where: Files, entry: str, what: str) -> None:
    module, name = _parsed(entry, what)
    if not where.folders:
        return
    paths = [path for folder in where.folders for path in _files_of(folder, module)]
    if not paths:
        _refuse_misspelt(where, module, what)
        return
    # What is compiled, or written in a Python of another kind, is not read.
    defined = [python_source.names_of(path) for path in paths if path.suffix == ".py"]
    if len(defined) == len(paths) and all(
        names is not None and name not in names for names in defined
    ):
        raise Refusal(what, f"{paths[0]} defines no '{name}'", "Correct the entry or the source")


def _parsed(entry: str, what: str) -> tuple[str, str]:
    """Return (module, name) of what gunicorn is to serve, as gunicorn reads it.

    :raises Refusal: it would not.
    """
    module, colon, wanted = entry.partition(":")
    wanted = wanted if colon else _OBJECT
    if not _MODULE.fullmatch(module) or not wanted.isprintable():
        raise Refusal(what, "it is not of the form module:object", _FORM)
    try:
        expression = ast.parse(wanted, mode="eval").body
    except (SyntaxError, ValueError) as error:
        raise Refusal(
            what, f"it is not of the form module:object ({wanted} is no expression)", _FORM
        ) from error
    if isinstance(expression, ast.Name):
        return module, expression.id
    if not isinstance(expression, ast.Call) or not isinstance(expression.func, ast.Name):
        raise Refusal(
            what,
            "it is not of the form module:object, of which gunicorn takes a plain name, or the "
            "call of one",
            _FORM,
        )
    arguments = [*expression.args, *(keyword.value for keyword in expression.keywords)]
    try:
        for argument in arguments:
            ast.literal_eval(argument)
    except ValueError as error:
        raise Refusal(
            what, "gunicorn calls a factory with plain texts, numbers and the like alone", _FORM
        ) from error
    return module, expression.func.id


def _refuse_misspelt(where: Files, module: str, what: str) -> None:
    """Refuse a module that the source lacks and no installed package is likely to bring."""
    top = module.split(".")[0]
    within = [folder for folder in where.folders if _has(folder, top)]
    own = {path.stem for folder in where.folders for path in folder.iterdir()}
    meant = "" if _is_installed(top, where.installed) else near_miss.of(top, own)
    if within or meant:
        raise Refusal(
            what,
            f"there is neither {module.replace('.', '/')}.py nor a package {module} in "
            f"{(within or where.folders)[0]}",
            f"Did you mean {meant}?" if meant else "Correct the entry or the source",
        )


def _is_installed(module: str, installed: Collection[str] | None) -> bool:
    """Say whether a distribution looks like bringing a module; one is often in the other's name."""
    wanted = module.replace("_", "-").lower()
    return installed is None or any(wanted in name for name in installed)


def _files_of(folder: pathlib.Path, module: str) -> list[pathlib.Path]:
    """Return the file of a module below a folder, in a list; [] where there is none."""
    place = folder.joinpath(*module.split("."))
    compiled = sorted(place.parent.glob(f"{place.name}.*.so")) if place.parent.is_dir() else []
    names = [f"{place.name}.py", f"{place.name}.so"]
    candidates = [place / "__init__.py", *map(place.with_name, names), *compiled]
    return [path for path in candidates if path.is_file()][:1]


def _has(folder: pathlib.Path, top: str) -> bool:
    """Say whether a folder holds a module or package, or a package without __init__.py."""
    return (folder / top).is_dir() or bool(_files_of(folder, top))
