#!/usr/bin/python
# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

# The files are written on the controller, in plugins/action/conda_solve.py.

DOCUMENTATION = r"""
module: conda_solve
short_description: Solve the spec of a conda environment into a lock on the controller
version_added: "0.2.0"
description:
  - Has conda build the environment for a while, from the channels named and no others, reads what
    it consists of from conda-meta, and asks pip in it what the pip part adds.
  - The environment is removed in any case. The lock, and the requirements of a pip part, are
    written on the controller when all of it went well.
author:
  - gpunode contributors (@gpunode)
extends_documentation_fragment:
  - gpunode.stack.attributes
options:
  order:
    description: What to solve and where to write it, as M(gpunode.stack.lock_orders) returns it.
    type: dict
    required: true
attributes:
  check_mode:
    support: full
    details: Says which files would be written, and solves nothing.
  diff_mode:
    support: full
    details: The lock and the requirements.
"""

EXAMPLES = r"""
- name: Solve them
  gpunode.stack.conda_solve:
    order: "{{ item }}"
  loop: "{{ __lock_orders.orders }}"
"""

RETURN = r"""
changes:
  description: A sentence for each file written; in check mode, for each that would be.
  returned: success
  type: list
  elements: str
  sample: ["solve environment web into /srv/inventory/files/web.lock"]
msg:
  description: The packages added, removed and changed against the files that were replaced.
  returned: success
  type: str
"""

import contextlib
import functools
import os
import shutil

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.gpunode.stack.plugins.module_utils._node import urls
from ansible_collections.gpunode.stack.plugins.module_utils._node.component import at_work
from ansible_collections.gpunode.stack.plugins.module_utils._node.conda import (
    cli,
    path_state,
    pip,
    prefixes,
)
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import (
    disk,
    own_paths,
    transient_unit,
    unfinished_folder,
)

# The same unit as for building environments: whoever works on them waits for the other.
_UNIT = "conda_env"
_SETTLE_S = 1800
_CACHE_DIR = os.path.join(own_paths.CACHE_DIR, "conda_solve")
_KEPT = ("name", "version", "build", "url", "md5", "sha256")


def solve(order, execute, state_dir=own_paths.STATE_DIR, cache_dir=_CACHE_DIR):
    """Return ({packages, dists}) that a spec is solved into, and leave nothing on the host.

    :param order: an order of plugin_utils/_controller/components/conda_env.py.
    :param execute: runs (argv, environment) and returns a CompletedProcess with text.
    :param state_dir: where the notes on unfinished builds lie.
    :param cache_dir: where conda's packages are put for a while, where they are not to be kept.
    :raises Refusal: it cannot be solved, or something else lies where it would be built.
    """
    node, spec = order["node"], order["spec"]
    what = f"environment {order['name']}"
    prefix = node["prefix"]
    if prefixes.verdict(path_state.of(prefix, state_dir)) not in ("free", "unfinished"):
        raise prefixes.foreign(what, prefix, "conda_env_dir")
    os.makedirs(os.path.dirname(prefix), mode=0o755, exist_ok=True)
    with unfinished_folder.building(prefix, state_dir), _cache(node, cache_dir, state_dir) as cache:
        try:
            wishes = (spec["channels"], spec["packages"])
            cli.solve(node["conda"], prefix, *wishes, execute, cache)
            records = prefixes.conda_records(prefix)
            packages = [_package(records[name]) for name in sorted(records)]
            dists = _dists(what, node, spec["pip"], records, execute) if spec["pip"] else []
        except Refusal as refusal:
            raise Refusal(f"{what}: {refusal.what}", refusal.because, refusal.remedy) from refusal
        _check(what, packages)
        shutil.rmtree(prefix)
    return {"packages": packages, "dists": dists}


@contextlib.contextmanager
def _cache(node, cache_dir, state_dir):
    """Give the folder that conda fetches packages to.

    conda writes the passwords of its channels into that, readable by all; where there are any it
    is one that root alone can enter, and does not stay.
    """
    if not node["has_passwords"]:
        yield cli.cache_of(node["conda"])
        return
    os.makedirs(os.path.dirname(cache_dir), mode=0o755, exist_ok=True)
    with unfinished_folder.building(cache_dir, state_dir):
        os.mkdir(cache_dir, 0o700)
        yield cache_dir
        shutil.rmtree(cache_dir)


def _dists(what, node, wishes, records, execute):
    lacking = [name for name in ("python", "pip") if name not in records]
    if lacking:
        raise Refusal(
            f"pip requirement {', '.join(wishes)}",
            f"pip is to find it, and the packages bring no {' and no '.join(lacking)}",
            f"Add {' and '.join(lacking)} to the packages",
        )
    return pip.resolve(node["prefix"], wishes, node["pip_config"], execute)


def _package(record):
    """Return what a lock says of a conda package; never a password."""
    return {**{key: record[key] for key in _KEPT}, "url": urls.bare(record["url"] or "")}


def _check(what, packages):
    """Raise a Refusal where a lock could not name what conda put there."""
    bare = [
        package["name"]
        for package in packages
        if not package["url"] or not (package["sha256"] or package["md5"])
    ]
    if bare or not packages:
        raise Refusal(
            what,
            f"conda has no address and digest of {', '.join(bare) or 'any package'}",
            "Use channels whose index names both",
        )


def main():
    module = AnsibleModule(
        argument_spec={"order": {"type": "dict", "required": True}}, supports_check_mode=True
    )
    order = module.params["order"]
    if module.check_mode:
        module.exit_json(changed=False)
    with (
        at_work.at_work(module, f"solve environment {order['name']}"),
        disk.watched(f"environment {order['name']}", order["node"]["prefix"]),
    ):
        transient_unit.settle(_UNIT, _SETTLE_S)
        execute = functools.partial(transient_unit.execute, _UNIT, warn=module.warn)
        result = solve(order, execute)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
