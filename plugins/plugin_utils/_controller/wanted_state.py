# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From a host's variables to what is wanted of it, component by component."""

from __future__ import annotations

import codecs
import functools
import hashlib
import json
import os
import pathlib
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape, urls
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import files

from . import project
from .components.registry import COMPONENTS, IN_STACK, OF_ITEMS
from .inputs import addresses, asked, inventory_files, misread, node_code, variables, yaml_file
from .inputs.wanted_stack import Stack
from .stack import selection, stack_catalog

# What the variables begin with that belong to no component alone.
_FLEET = "gpunode"
FLEET_PREFIX = f"{_FLEET}_"
# That of UTF-32 begins with that of UTF-16.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_NOT_WORK = ("README.md", "molecule", "__pycache__")


class Site:
    """What one host's variables ask for.

    Resolvers are handed the site to read controller files and to ask for
    another component's state; each component is resolved once.

    :param variables: {variable: value} with templates already resolved.
    :param base: the folder at which relative controller paths start: the inventory's.
    :ivar inventory: the sources of the inventory in use, as absolute paths.
    """

    def __init__(
        self, variables: Mapping[str, Any], base: str, inventory: Iterable[str] = ()
    ) -> None:
        self.inventory = list(inventory)
        self._variables = variables
        self._base = pathlib.Path(base)
        self._named: set[str] = set()
        self._resolved: dict[str, dict[str, Any]] = {}
        self._stack: Stack | None = None
        self._facts: facts_shape.Facts | None = None
        self._hanging: set[str] = set()

    def options(self, component: str) -> dict[str, Any]:
        """Return a component's options without their prefix: validated, with defaults applied.

        :raises Refusal: an option is missing, unknown or of the wrong type.
        """
        return self._validated(component, f"{component}_")

    def stack(self) -> Stack:
        """Return the GPU stack that is wanted, as selection.resolve does; nobody may change it.

        What the options of a part's own role say of it is in it too.

        :raises Refusal: an option is unknown or of the wrong type, or there is no such stack.
        """
        if self._stack is None:
            options = self._validated("preflight", FLEET_PREFIX)
            stack = selection.resolve(options, stack_catalog.of_project())
            for component in IN_STACK:
                options_of_it = functools.partial(self.options, component)
                stack = COMPONENTS[component].in_stack(stack, options_of_it)
            self._stack = stack
        return self._stack

    def waivers(self) -> list[dict[str, Any]]:
        """Return the checks that may fail on the host, as gpunode_waivers has them.

        :raises Refusal: an option of the fleet is unknown or of the wrong type.
        """
        return self._validated("preflight", FLEET_PREFIX).get("waivers") or []

    def unread(self, names: Iterable[str], roles: Collection[str] = ()) -> list[Refusal]:
        """Return a Refusal for each variable of a host that looks like an option and is none.

        :param names: the variables of the host, as Ansible has them.
        :param roles: those at work that are no components, whose options count as well.
        :raises Refusal: what people list as their own cannot be understood.
        """
        own = self._validated("preflight", FLEET_PREFIX).get("own_variables") or ()
        known = known_variables().union(*(options_of(role) for role in roles))
        return variables.unknown(names, known, [*COMPONENTS, _FLEET, *roles], own)

    def refuse_unread(self, names: Iterable[str], roles: Collection[str] = ()) -> None:
        """Raise the Refusals of :meth:`unread` as one, where there are any."""
        found = self.unread(names, roles)
        if found:
            first, *others = found
            remedies = "\n".join([first.remedy, *map(str, others)])
            raise Refusal(first.what, first.because, remedies)

    def _validated(self, role: str, prefix: str) -> dict[str, Any]:
        """Return the options of a role that begin with a prefix, without it."""
        spec = _beginning_with(prefix, options_of(role))
        given = {
            name: _said(self._variables[name])
            for name in spec
            if self._variables.get(name) is not None
        }
        misread.refuse(spec, given)
        result = ArgumentSpecValidator(spec).validate(given)
        if result.error_messages:
            raise Refusal(
                f"the variables of {role}",
                "; ".join(result.error_messages),
                f"See {project.page(f'roles/{role}/README.md')} for what may be said",
            )
        return {name[len(prefix) :]: value for name, value in result.validated_parameters.items()}

    def wanted(self, component: str) -> dict[str, Any]:
        """Return a component's wanted state, a dict that JSON can carry.

        :raises Refusal: what the user asked for cannot be.
        """
        if component not in self._resolved:
            self._resolved[component] = COMPONENTS[component].resolve(self.options(component), self)
        return self._resolved[component]

    def seen(self, component: str) -> facts_shape.Facts | None:
        """Return the facts of the host, None before it was looked at.

        :param component: the one whose wanted state hangs on them, see :meth:`look`.
        """
        if self._facts is None:
            self._hanging.add(component)
        return self._facts

    def hangs_on_host(self) -> bool:
        """Say whether a state was resolved that facts may make another one."""
        return bool(self._hanging)

    def look(self, facts: facts_shape.Facts) -> None:
        """Take the facts of the host; the states that hang on them are resolved anew."""
        self._facts = facts
        for component in self._hanging:
            self._resolved.pop(component, None)
        self._hanging.clear()

    def digest(self, component: str) -> str:
        """Return the hex sha256 over a component's wanted state and its own files."""
        asked = json.dumps(self.wanted(component), sort_keys=True)
        return hashlib.sha256(f"{asked}\n{work_of(component)}".encode()).hexdigest()

    def asked(self, component: str) -> dict[str, str]:
        """Return a short digest of each part of what a component is asked for: inputs/asked.py."""
        spec = options_of(component)
        options = {
            f"{component}_{key}": value
            for key, value in self.options(component).items()
            if value is not None and not spec[f"{component}_{key}"].get("no_log")
        }
        state = self.wanted(component)
        items = [item for name in ("environments", "applications") for item in state.get(name, [])]
        return asked.digests(
            options, items, OF_ITEMS.get(component, ""), files.sha256_of_text(work_of(component))
        )

    def arguments(self, component: str, part: str = "all") -> dict[str, Any]:
        """Return the arguments of a component's module: wanted state, receipt and its own.

        :param part: "absent" for what is to go alone, which leaves no receipt; "present" for all
            but that; "all".
        :raises Refusal: what the user asked for cannot be.
        """
        resolver = COMPONENTS[component]
        if part != "all" and component not in OF_ITEMS:
            raise Refusal(f"part {part}", f"{component} is no list of items", "Say part: all")
        state = self.wanted(component)
        if part == "absent":
            wanted, receipt = resolver.only_absent(state), {}
        else:
            wanted = state if part == "all" else resolver.without_absent(state)
            names = {"present": resolver.present(state), "absent": resolver.absent(state)}
            noted = {"digest": self.digest(component), "asked": self.asked(component)}
            receipt = {"receipt": {**noted, **names}}
        return {"wanted": wanted, **receipt, **resolver.arguments(wanted, self)}

    def path(self, path: str) -> str:
        """Return a controller path made absolute; a relative one starts at the inventory."""
        found = path_from(self._base, path)
        self._named.add(found)
        return found

    def not_inventory(self) -> list[Refusal]:
        """Return a Refusal for each thing that is read as an inventory and is none.

        Of what variables name that is known once it was resolved.
        """
        return inventory_files.refusals(self.inventory, self._named)

    def source(self, file: str) -> str:
        """Return where a file comes from: an address as it is, or a controller path; '' as ''."""
        return file if not file or addresses.is_one(file) else self.path(file)

    def read_text(self, path: str, option: str) -> str:
        """Return the text of a controller file.

        :param option: the option that names the file, for the message.
        :raises Refusal: it cannot be read.
        """
        found = self.path(path)
        try:
            return _decoded(files.data(found))
        except (OSError, UnicodeDecodeError) as error:
            raise Refusal(
                f"{option}: {path}",
                f"{found} cannot be read on the controller: {getattr(error, 'strerror', error)}",
                "Name a text file by its absolute path or relative to the inventory's folder",
            ) from error


def _decoded(data: bytes) -> str:
    """Return a text that begins with a byte order mark, as editors of Windows write it, or UTF-8.

    pip reads its files so (pip/_internal/utils/encoding.py, BOMS).

    :raises UnicodeDecodeError: it is neither.
    """
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            data = data[len(mark) :].decode(encoding).encode()
            break
    return data.decode().replace("\r\n", "\n")


def path_from(base: str | os.PathLike[str], path: str) -> str:
    """Return a controller path made absolute; a relative one starts at a folder."""
    return str(pathlib.Path(base) / pathlib.Path(path).expanduser())


def _said(value: Any) -> Any:
    """Return the value of an option without what its items leave empty: that was not said."""
    if not isinstance(value, list):
        return value
    return [
        {key: given for key, given in item.items() if given is not None}
        if isinstance(item, dict)
        else item
        for item in value
    ]


@functools.cache
def options_of(component: str) -> dict[str, Any]:
    """Return {option: specification} of a role, from its meta/argument_specs.yml."""
    path = project.ROOT / "roles" / component / "meta" / "argument_specs.yml"
    return yaml_file.load(path)["argument_specs"]["main"]["options"]


def _beginning_with(prefix: str, options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: option for name, option in options.items() if name.startswith(prefix)}


def known_variables() -> set[str]:
    """Return the names of all variables that the roles of this project read."""
    return {name for role in (*COMPONENTS, "preflight") for name in options_of(role)}


@functools.cache
def work_of(component: str) -> str:
    """Return a digest of the files that do a component's work: its role, its module, its imports.

    With another version of one of them each host is looked at once more.
    """
    code = node_code.files_of(component)
    return "\n".join(
        [
            files.sha256_of_tree(project.ROOT / "roles" / component, _NOT_WORK),
            *(f"{path.relative_to(project.ROOT)} {files.sha256_of_file(path)}" for path in code),
        ]
    )


def prepare() -> None:
    """Make now what is the same for all hosts, for those who work on one each to have it."""
    known_variables()
    stack_catalog.of_project()
    # Its patterns are made with the first text.
    urls.shown("")
    for component in COMPONENTS:
        work_of(component)


def plain(value: Any, where: str = "") -> Any:
    """Return a value of Ansible's templating as plain dicts, lists and scalars.

    :param where: the variable that has it, for messages.
    :raises Refusal: a name in a dict was read as something else than a text.
    """
    if isinstance(value, dict):
        return {misread.name_of(key, where): plain(item, where) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, where) for item in value]
    return str(value) if isinstance(value, str) else value


def site_of(task_vars: Mapping[str, Any], templar: Any) -> Site:
    """Return the Site of the host an action plugin works for.

    :param task_vars: the variables the action plugin was given.
    :param templar: the action plugin's templar.
    """
    said = variables_of(task_vars, templar)
    sources = task_vars.get("ansible_inventory_sources") or []
    return Site(said, base_of(task_vars, templar), sources)


def base_of(task_vars: Mapping[str, Any], templar: Any) -> str:
    """Return the folder at which relative controller paths start: gpunode_base, or the inventory's.

    Where hosts are named on the command line alone, it is the folder that was worked in: Ansible
    then says "None" for a folder (ansible-core 2.19, inventory/data.py), and the playbook's may be
    one of the installed collection.
    """
    folder = str(task_vars.get("inventory_dir") or "")
    own = plain(templar.template(task_vars.get("gpunode_base") or ""))
    return path_from(folder if os.path.isabs(folder) else os.getcwd(), own)


def variables_of(task_vars: Mapping[str, Any], templar: Any) -> dict[str, Any]:
    """Return those variables of a host that roles read, with templates resolved.

    :raises Refusal: one has a name in it that is no text, or the host says one of them itself.
        Facts come before an inventory wherever Ansible makes variables of them
        (inject_facts_as_vars, as by default), and a host that somebody has taken over could ask for
        any file of the controller by them.
    """
    names = known_variables().intersection(task_vars)
    told = names.intersection(task_vars.get("ansible_facts") or ())
    if told:
        raise Refusal(
            f"variable {min(told)}",
            "the host says it itself, among its facts",
            "Say it in the inventory or with -e, not by a cacheable set_fact. If nobody did, see "
            "who has the host",
        )
    return {name: plain(templar.template(task_vars[name]), name) for name in names}
