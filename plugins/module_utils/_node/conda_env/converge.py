# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The environments of a host: what is to be done to have them as wanted, and doing it.

First what is to go goes; then everything is prepared: packages of the
distribution, builds, repairs; then every module that was named is imported.
Only when all of that holds do links move and earlier builds go, so that what
does not hold leaves in service what was.
"""

from __future__ import annotations

import collections
import functools
import json
import os

from ..conda import builds as env_build
from ..conda import contents, imports, path_state, prefixes
from ..packages import package_manager
from ..records import manifest
from ..refusal import Refusal
from ..steps import Result
from ..system import commands, files, in_use, own_paths, unfinished_folder
from .builder import Builder

_OPEN = ("root", "root", "0755")
# The default folder of environments lies in a folder of our own.
_OURS = "gpunode"

# One thing to do: the sentences that say what it changes, and the function that does it.
Step = collections.namedtuple("Step", "sentences action")


def complete(wanted, state_dir=own_paths.STATE_DIR):
    """Return the wanted state with the locks of builds that are only named, read from them.

    :raises Refusal: such a build is not kept here, or does not say what it was built from.
    """
    environments = [
        env if env["lock"] is not None else _recorded(env, state_dir)
        for env in wanted["environments"]
    ]
    return {**wanted, "environments": environments}


def _recorded(env, state_dir):
    if prefixes.verdict(path_state.of(env["prefix"], state_dir)) != "conda":
        raise env_build.not_kept(env)
    try:
        lock, dists = env_build.read_record(env["prefix"])
    except ValueError as error:
        raise Refusal(
            f"environment {env['name']}: build {os.path.basename(env['prefix'])}",
            str(error),
            "Name the lock it was made from, or another build",
        ) from error
    return {**env, "lock": lock, "dists": dists}


def converge(host, asked, check_mode):
    """Bring all environments to the wanted state; return the steps.Result.

    :param host: the bring.Host.
    :param asked: the parameters of the module; what is wanted is the state of
        plugin_utils/_controller/components/conda_env.py.
    :raises Refusal: as :func:`settle` does.
    """
    wanted = complete(asked["wanted"])
    host.hide(json.dumps(wanted))
    keys = imports.catalog_keys(host.general())
    return settle(wanted, Builder(wanted, host.execute), keys, check_mode)


def settle(wanted, builder, keys, check_mode, state_dir=own_paths.STATE_DIR, run=commands.run):
    """Bring all environments to a wanted state that is complete; return the steps.Result.

    :param wanted: the wanted state; see :func:`complete`.
    :param builder: what builds and repairs; see builder.Builder.
    :param keys: see imports.catalog_keys.
    :param check_mode: only say what would be done.
    :param run: what runs commands, with the signature of commands.run.
    :raises Refusal: something else lies where an environment is to be, it cannot be built, it
        cannot be used, or what is to go is in use.
    """
    for env in wanted["environments"]:
        _require_ours(env, state_dir)
    lacking = _lacking_packages(wanted, run)
    if lacking:
        package_manager.check(lacking, builder.execute)
    preparing = [
        *_removal_steps(wanted, check_mode, state_dir),
        *_package_steps(lacking, builder, run),
        *_folder_steps(wanted),
        *(step for env in wanted["environments"] for step in _build_steps(env, builder, state_dir)),
    ]
    switching = [
        *(step for env in wanted["environments"] for step in _link_steps(env)),
        *_collection_steps(wanted, state_dir),
    ]
    diff = [shown for env in wanted["environments"] for shown in _diffs(env, state_dir)]
    if not check_mode:
        _do(preparing)
    # What is yet to be made cannot be tried.
    if not (check_mode and preparing):
        _try_imports(wanted, keys, run)
    if not check_mode:
        _do(switching)
    changes = [sentence for step in preparing + switching for sentence in step.sentences]
    return Result(changes, diff, _manifest(wanted, state_dir, run))


def _do(steps):
    for step in steps:
        step.action()


def _require_ours(env, state_dir):
    what = f"environment {env['name']}"
    if prefixes.verdict(path_state.of(env["prefix"], state_dir)) == "foreign":
        raise prefixes.foreign(what, env["prefix"], "conda_env_dir")
    if os.path.lexists(env["link"]) and not os.path.islink(env["link"]):
        raise Refusal(
            what,
            f"{env['link']} is not a link, and the link to the environment is to lie there",
            "Move it away or choose another name",
        )


def _removal_steps(wanted, check_mode, state_dir):
    """Return a step for each build and link of an environment that is to go, and their folder."""
    folder, steps, going = wanted["dir"], [], set()
    for env in wanted["absent"]:
        builds = [
            path
            for path in env_build.builds_of({env["name"]}, folder)
            if unfinished_folder.is_unfinished(path, state_dir) or prefixes.is_conda(path)
        ]
        # In a real run, the applications that are to go have gone by now.
        _require_unused(env, builds, wanted["leaving"] if check_mode else ())
        for path in builds:
            remove = functools.partial(unfinished_folder.remove, path, state_dir)
            steps.append(Step([f"remove {path}"], remove))
        if os.path.islink(env["link"]):
            steps.append(Step([f"remove {env['link']}"], functools.partial(os.unlink, env["link"])))
        going.update(builds, [env["link"]])
    if wanted["remove_dir"] and os.path.isdir(folder):
        left = {os.path.join(folder, name) for name in os.listdir(folder)} - going
        if not left:
            steps.append(Step([f"remove {folder}"], functools.partial(_remove_folder, folder)))
    return steps


def _require_unused(env, builds, leaving):
    used = {
        **in_use.by_units([*builds, env["link"]], besides=leaving),
        **in_use.by_processes(builds, besides=leaving),
    }
    if used:
        path, who = min(used.items())
        raise Refusal(
            f"remove environment {env['name']}",
            f"{who} lives in {path}",
            "End it or let it use another environment, and run again",
        )


def _remove_folder(folder):
    os.rmdir(folder)
    parent = os.path.dirname(folder)
    if os.path.basename(parent) == _OURS and not os.listdir(parent):
        os.rmdir(parent)


def _lacking_packages(wanted, run):
    """Return the packages of the distribution that are to be installed before anything is built."""
    if not wanted["environments"]:
        return []
    return package_manager.missing(wanted["system_packages"], run)


def _package_steps(lacking, builder, run):
    if lacking:
        install = functools.partial(package_manager.install, lacking, builder.execute, run)
        yield Step([f"install {name}" for name in lacking], install)


def _folder_steps(wanted):
    folder = wanted["dir"]
    if not wanted["environments"]:
        return
    if not os.path.isdir(folder):
        yield Step([f"create {folder}"], functools.partial(_make_folder, folder))
    elif files.ownership(folder) != _OPEN:
        sentence = f"give {folder} to root, readable by all"
        yield Step([sentence], functools.partial(_make_folder, folder))


def _make_folder(folder):
    os.makedirs(folder, exist_ok=True)
    os.chown(folder, 0, 0)
    os.chmod(folder, 0o755)


def _build_steps(env, builder, state_dir):
    """Return the step that brings the build of an environment to its lock, if it is not there."""
    if prefixes.verdict(path_state.of(env["prefix"], state_dir)) != "conda":
        return [Step([_build_sentence(env)], functools.partial(builder.build, env))]
    found = contents.Contents(env)
    if not found.is_as_wanted():
        return [Step(found.sentences(), functools.partial(builder.repair, env))]
    if not env_build.is_recorded(env):
        mend = functools.partial(env_build.mend_record, env)
        return [Step([f"write {env_build.record_of(env['prefix'])}"], mend)]
    return []


def _build_sentence(env):
    counts = [f"{len(env['lock'])} packages", f"{len(env['dists'])} distributions"]
    before = _in_service(env)
    if before:
        difference = contents.difference(contents.labels_of(before), contents.wanted_labels(env))
        counts += [f"{len(names)} {word}" for word, names in difference.items() if names]
    return f"build environment {env['name']} ({', '.join(counts)}) in {env['prefix']}"


def _in_service(env):
    """Return the build that the link of an environment points to; None for none, or its own."""
    if not os.path.islink(env["link"]):
        return None
    path = os.path.join(os.path.dirname(env["link"]), os.readlink(env["link"]))
    is_another = path != env["prefix"] and env_build.name_of(path) == env["name"]
    return path if is_another and prefixes.is_conda(path) else None


def _link_steps(env):
    target = os.path.basename(env["prefix"])
    if not os.path.islink(env["link"]) or os.readlink(env["link"]) != target:
        point = functools.partial(_point, env, _in_service(env))
        yield Step([f"point {env['link']} to {target}"], point)


def _point(env, before):
    """Point the link to the build that is wanted, and note on both when they were in service."""
    files.point_link(env["link"], os.path.basename(env["prefix"]))
    for path in (before, env["prefix"]):
        if path:
            os.utime(path)


def _collection_steps(wanted, state_dir):
    """Return a step for each earlier build that nobody needs, and each that never was finished.

    Of those that nothing lives in, the ones that were in service last are kept: the one that the
    link points to now first, then by the time of their folders, which is when they were last
    built, repaired, or turned to or away from.
    """
    current = {env["prefix"] for env in wanted["environments"]}
    names = {env["name"] for env in wanted["environments"]}
    earlier = [path for path in env_build.builds_of(names, wanted["dir"]) if path not in current]
    unfinished = [path for path in earlier if unfinished_folder.is_unfinished(path, state_dir)]
    finished = [path for path in earlier if path not in unfinished and prefixes.is_conda(path)]
    used = {**in_use.by_processes(earlier), **in_use.by_units(earlier)}
    steps = [
        Step(
            [f"remove unfinished {path}"],
            functools.partial(unfinished_folder.discard, path, state_dir),
        )
        for path in unfinished
        if path not in used
    ]
    for env in wanted["environments"]:
        serving = _in_service(env)
        unused = [
            path for path in finished if env_build.name_of(path) == env["name"] and path not in used
        ]
        unused.sort(key=lambda path: (path == serving, os.stat(path).st_mtime), reverse=True)
        steps += [
            Step([f"remove {path}"], functools.partial(unfinished_folder.remove, path, state_dir))
            for path in unused[wanted["keep"] :]
        ]
    return steps


def _try_imports(wanted, keys, run):
    failures = {
        env["name"]: imports.check(env["prefix"], env["imports"], run)
        for env in wanted["environments"]
        if env["imports"]
    }
    failures = {name: found for name, found in failures.items() if found}
    if failures:
        raise imports.refusal(failures, wanted["libraries"], keys, wanted["system_packages"])


def _diffs(env, state_dir):
    """Return what is shown of an environment that changes: its build, and what is in service."""
    wanted = contents.wanted_labels(env)
    before = _in_service(env)
    is_there = prefixes.verdict(path_state.of(env["prefix"], state_dir)) == "conda"
    if before or not is_there:
        found = contents.labels_of(before) if before else []
        yield _diff(before or env["prefix"], found, env["prefix"], wanted)
    if is_there:
        found = contents.Contents(env)
        if not found.is_as_wanted():
            yield _diff(env["prefix"], found.labels(), env["prefix"], wanted)


def _diff(before_header, before, after_header, after):
    return {
        "before_header": before_header,
        "before": "".join(f"{label}\n" for label in before),
        "after_header": after_header,
        "after": "".join(f"{label}\n" for label in after),
    }


def _manifest(wanted, state_dir, run):
    entries = []
    for env in wanted["absent"]:
        if not os.path.lexists(env["link"]):
            entries.append(manifest.absence(env["link"]))
    if not wanted["environments"]:
        return entries
    if os.path.isdir(wanted["dir"]):
        entries.append(manifest.directory(wanted["dir"]))
    lacking = package_manager.missing(wanted["system_packages"], run)
    entries += [manifest.package(name) for name in wanted["system_packages"] if name not in lacking]
    for env in wanted["environments"]:
        if prefixes.verdict(path_state.of(env["prefix"], state_dir)) == "conda":
            entries.append(manifest.environment(env["prefix"]))
            if os.path.isfile(env_build.record_of(env["prefix"])):
                entries.append(manifest.file(env_build.record_of(env["prefix"])))
        if os.path.islink(env["link"]):
            entries.append(manifest.link(env["link"]))
    return entries
