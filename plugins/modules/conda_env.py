#!/usr/bin/python
# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: conda_env
short_description: Conda environments that are exactly what their locks say
version_added: "0.1.0"
description:
  - Builds each environment at its final path from an C(@EXPLICIT) lock and pip requirements with
    hashes, and compares it with conda-meta and dist-info. No solver runs, and an environment that
    is as wanted needs no network.
  - A prefix is named after what is in it, is never renamed, and one that a killed run left
    unfinished is built anew. What was changed by hand in a finished one is put right in place.
  - Earlier builds are removed, but never one that a running process or a unit in
    C(/etc/systemd/system) lives in.
author:
  - gpunode contributors (@gpunode)
options:
  wanted:
    description: The wanted state, as M(gpunode.stack.wanted) returns it for this component.
    type: dict
    required: true
attributes:
  check_mode:
    description: Predicts exactly what the run that follows changes, without network or solver.
    support: full
  diff_mode:
    description: Shows packages and distributions of each environment that changes.
    support: full
"""

EXAMPLES = r"""
- name: Bring the environments to that state
  gpunode.stack.conda_env:
    wanted: "{{ __conda_env_wanted.state }}"
  register: __conda_env_result
"""

RETURN = r"""
changes:
  description: A sentence for each thing changed; in check mode, for each that would be.
  returned: success
  type: list
  elements: str
  sample: ["build environment web (12 packages, 3 distributions) in /srv/envs/web-0f6a2b1c9d3e"]
manifest:
  description: What is in place, as entries of module_utils/manifest.py.
  returned: success
  type: list
  elements: dict
  sample: [{kind: link, path: /opt/gpunode/envs/web, target: web-0f6a2b1c9d3e}]
"""

import collections
import contextlib
import functools
import json
import os
import re
import shutil

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.gpunode.stack.plugins.module_utils import (
    building,
    component,
    conda_cli,
    conda_lock,
    conda_prefix,
    disk,
    download,
    environment,
    files,
    host,
    in_use,
    manifest,
    package_cache,
    pip_cli,
    receipts,
    transient,
    urls,
)
from ansible_collections.gpunode.stack.plugins.module_utils.refusal import Refusal

_NAME = "conda_env"
_WORK_DIR = os.path.join(download.CACHE_DIR, _NAME)
_SETTLE_S = 1800
_OPEN = ("root", "root", "0755")
_BUILD = re.compile(r"(?P<name>.+)-[0-9a-f]{12}")


# One thing to do: the sentences that say what it changes, and the function that does it.
Step = collections.namedtuple("Step", "sentences action")


class Builder:
    """Makes environments with one conda.

    :param wanted: the wanted state.
    :param execute: runs (argv, environment) and returns a CompletedProcess with text.
    :param state_dir: where the notes on unfinished builds lie.
    :param work_dir: where files for conda and pip are put while they are needed.
    """

    def __init__(self, wanted, execute, state_dir=receipts.STATE_DIR, work_dir=_WORK_DIR):
        self._base = wanted["conda"]
        self._pip_config = wanted["pip_config"]
        self._execute = execute
        self._state_dir = state_dir
        self._work_dir = work_dir

    def build(self, env):
        """Build an environment at its prefix, or leave nothing there."""
        with building.building(env["prefix"], self._state_dir):
            self._link("create", env["prefix"], env["lock"])
            if env["dists"]:
                self._pip_install(env["prefix"], env["dists"])
            _prove(env)

    def repair(self, env):
        """Bring a finished environment back to its lock, touching only what differs.

        Twice if need be: what pip removes can be what conda has to put back.
        """
        for _round in range(2):
            found = environment.Contents(env)
            if found.is_as_wanted():
                return
            self._repair_once(env["prefix"], found)
        _prove(env)

    def _repair_once(self, prefix, found):
        for remains in conda_prefix.dist_info_remains(prefix):
            shutil.rmtree(os.path.join(prefix, remains))
        if found.extra_dists and found.has_pip:
            names = sorted({name for name, _version in found.extra_dists})
            pip_cli.uninstall(prefix, names, self._pip_config, self._execute)
        if found.extra or found.damaged:
            self._conda(
                prefix, ["remove", "--force", "--offline", "--yes", *found.extra, *found.damaged]
            )
        if found.missing:
            self._link("install", prefix, found.missing)
        if found.missing_dists:
            self._pip_install(prefix, found.missing_dists, again=True)

    def _link(self, verb, prefix, packages):
        """Have conda fetch packages, prove them, and link them without the network."""
        cache = conda_cli.cache_of(self._base)
        package_cache.drop_unproven(packages, cache)
        with self._file(prefix, "lock", conda_lock.render(packages)) as lock:
            arguments = [verb, "--file", lock, "--yes"]
            try:
                self._conda(prefix, [*arguments, "--download-only"])
            except Refusal:
                # A damaged archive fails to unpack; its digest says more than conda does.
                package_cache.check(package_cache.present(packages, cache), cache)
                raise
            package_cache.check(packages, cache)
            self._conda(prefix, [*arguments, "--offline"])

    def _pip_install(self, prefix, dists, again=False):
        text = "".join(f"{dist['line']}\n" for dist in dists)
        with self._file(prefix, "requirements", text) as requirements:
            pip_cli.install(prefix, requirements, self._pip_config, self._execute, again)

    @contextlib.contextmanager
    def _file(self, prefix, kind, text):
        """Give the path of a file with this text for as long as it is needed."""
        os.makedirs(self._work_dir, mode=0o755, exist_ok=True)
        path = os.path.join(self._work_dir, f"{os.path.basename(prefix)}.{kind}")
        try:
            files.write_text(path, text, mode=0o600)
            yield path
        finally:
            shutil.rmtree(self._work_dir, ignore_errors=True)

    def _conda(self, prefix, arguments):
        conda_cli.run(self._base, arguments, self._execute, prefix)


def converge(wanted, builder, check_mode, state_dir=receipts.STATE_DIR):
    """Bring all environments to the wanted state; return the module's result.

    :param wanted: the wanted state.
    :param builder: what builds and repairs; see :class:`Builder`.
    :param check_mode: only say what would be done.
    :raises Refusal: something else lies where an environment is to be, or it cannot be built.
    """
    for env in wanted["environments"]:
        _require_ours(env, state_dir)
    steps = [*_folder_steps(wanted)]
    diff = []
    for env in wanted["environments"]:
        env_steps, env_diff = _environment_steps(env, builder, state_dir)
        steps += env_steps
        diff += env_diff
    steps += _collection_steps(wanted, state_dir)
    if not check_mode:
        for step in steps:
            step.action()
    changes = [sentence for step in steps for sentence in step.sentences]
    return {
        "changed": bool(changes),
        "changes": changes,
        "diff": diff,
        "manifest": _manifest(wanted, state_dir),
    }


def _require_ours(env, state_dir):
    what = f"environment {env['name']}"
    if conda_prefix.verdict(host.path_state(env["prefix"], state_dir)) == "foreign":
        raise conda_prefix.foreign(what, env["prefix"], "conda_env_dir")
    if os.path.lexists(env["link"]) and not os.path.islink(env["link"]):
        raise Refusal(
            what,
            f"{env['link']} is not a link, and the link to the environment is to lie there",
            "Move it away or choose another name",
        )


def _folder_steps(wanted):
    folder = wanted["dir"]
    if not os.path.isdir(folder):
        yield Step([f"create {folder}"], functools.partial(_make_folder, folder))
    elif files.ownership(folder) != _OPEN:
        sentence = f"give {folder} to root, readable by all"
        yield Step([sentence], functools.partial(_make_folder, folder))


def _make_folder(folder):
    os.makedirs(folder, exist_ok=True)
    os.chown(folder, 0, 0)
    os.chmod(folder, 0o755)


def _environment_steps(env, builder, state_dir):
    """Return ([Step], [diff]) of one environment."""
    steps, diff = [], []
    wanted = environment.wanted_labels(env)
    if conda_prefix.verdict(host.path_state(env["prefix"], state_dir)) == "conda":
        found = environment.Contents(env)
        if not found.is_as_wanted():
            steps.append(Step(found.sentences(), functools.partial(builder.repair, env)))
            diff.append(_diff(env, found.labels(), wanted))
    else:
        sentence = (
            f"build environment {env['name']} ({len(env['lock'])} packages, "
            f"{len(env['dists'])} distributions) in {env['prefix']}"
        )
        steps.append(Step([sentence], functools.partial(builder.build, env)))
        diff.append(_diff(env, [], wanted))
    target = os.path.basename(env["prefix"])
    if not os.path.islink(env["link"]) or os.readlink(env["link"]) != target:
        point = functools.partial(files.point_link, env["link"], target)
        steps.append(Step([f"point {env['link']} to {target}"], point))
    return steps, diff


def _collection_steps(wanted, state_dir):
    """Return a step for each earlier build that nobody needs, and each that never was finished."""
    earlier = _earlier_builds(wanted)
    unfinished = [path for path in earlier if building.is_unfinished(path, state_dir)]
    finished = [path for path in earlier if path not in unfinished and conda_prefix.is_conda(path)]
    used = in_use.by_processes(earlier) | in_use.by_units(earlier)
    steps = [
        Step([f"remove unfinished {path}"], functools.partial(building.discard, path, state_dir))
        for path in unfinished
        if path not in used
    ]
    for name in [env["name"] for env in wanted["environments"]]:
        unused = [path for path in finished if _name_of(path) == name and path not in used]
        unused.sort(key=_last_change, reverse=True)
        steps += [
            Step([f"remove {path}"], functools.partial(shutil.rmtree, path))
            for path in unused[wanted["keep"] :]
        ]
    return steps


def _earlier_builds(wanted):
    current = {env["prefix"] for env in wanted["environments"]}
    names = {env["name"] for env in wanted["environments"]}
    folder = wanted["dir"]
    found = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    return [
        path
        for path in (os.path.join(folder, name) for name in found)
        if path not in current
        and _name_of(path) in names
        and os.path.isdir(path)
        and not os.path.islink(path)
    ]


def _name_of(path):
    match = _BUILD.fullmatch(os.path.basename(path))
    return match.group("name") if match else None


def _last_change(prefix):
    """Return when conda last changed a prefix."""
    return os.stat(os.path.join(prefix, "conda-meta", "history")).st_mtime


def _prove(env):
    found = environment.Contents(env)
    if not found.is_as_wanted():
        raise Refusal(
            f"environment {env['name']}",
            f"it still is not what its lock says: to do would be {'; '.join(found.sentences())}",
            "Check that the lock and the requirements agree with each other, and run again",
        )


def _diff(env, before, after):
    return {
        "before_header": env["prefix"],
        "before": "".join(f"{label}\n" for label in before),
        "after_header": env["prefix"],
        "after": "".join(f"{label}\n" for label in after),
    }


def _manifest(wanted, state_dir):
    entries = [manifest.directory(wanted["dir"])] if os.path.isdir(wanted["dir"]) else []
    for env in wanted["environments"]:
        if conda_prefix.verdict(host.path_state(env["prefix"], state_dir)) == "conda":
            entries.append(manifest.environment(env["prefix"]))
        if os.path.islink(env["link"]):
            entries.append(manifest.link(env["link"]))
    return entries


def main():
    module = AnsibleModule(
        argument_spec={"wanted": {"type": "dict", "required": True}}, supports_check_mode=True
    )
    wanted = module.params["wanted"]
    module.no_log_values |= urls.passwords(json.dumps(wanted))
    builder = Builder(wanted, functools.partial(transient.execute, _NAME))
    with (
        component.at_work(module, "bring conda environments to their locks"),
        disk.watched("conda_env", wanted["dir"]),
    ):
        if not module.check_mode:
            transient.settle(_NAME, _SETTLE_S)
        result = converge(wanted, builder, module.check_mode)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
