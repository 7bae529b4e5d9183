# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From whatever is found to the wanted route of peer memory: what is done, and in which order.

Modules of every kernel are built first, and held against the driver and the RDMA stack: one that
would not load is never installed. Only then do others give way. A step is (sentence, action).
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
from functools import cached_property

from ..kernel import kernels, modprobe, module_file
from ..packages import package_manager, stack_packages, versions
from ..rdma import module_fit, peer_route, symbols
from ..records import manifest
from ..refusal import Refusal
from ..steps import Result
from ..system import download, own_paths, text_files
from . import boot, by_dkms, by_rpm, nv_peer_mem

_WORK_DIR = os.path.join(own_paths.CACHE_DIR, "peer_memory")
_NAME = nv_peer_mem.NAME
# No RDMA stack that comes first.
_NOTHING = {"kind": "", "client_ex": None}


def converge(host, asked, check_mode):
    """Bring peer memory to the wanted route; return the steps.Result.

    :param host: the bring.Host.
    :param asked: the parameters of the module; what is wanted is the state of
        plugin_utils/_controller/components/peer_memory.py.
    :raises Refusal: it cannot be done; what was there is there.
    """
    wanted = asked["wanted"]
    work = _Work(wanted, host, check_mode)
    work.refuse()
    needs = work.needs()
    if needs and not check_mode:
        return Result(needs=needs)
    steps = work.steps()
    diff = work.diff()
    if not check_mode:
        for _says, act in steps:
            act()
        _Work(wanted, host, check_mode).prove()
        # The archive, which is fetched and proven again where it is needed again.
        shutil.rmtree(_WORK_DIR, ignore_errors=True)
    return Result(
        [says for says, _act in steps], diff, [] if check_mode and steps else work.manifest()
    )


class _Work:
    """The steps of one run, from what was found when it began."""

    def __init__(self, wanted, host, check_mode):
        self._wanted = wanted
        self._host = host
        self._tree = host.tree
        self._facts = host.survey()
        self._driver = self._facts["driver"]
        self._peers = self._facts["peer_memory"]
        # The run that is foretold may bring an RDMA stack and a driver first.
        self._coming = wanted["rdma_stack"] if check_mode else _NOTHING
        lacks_stack = self._coming["kind"] not in ("", "inbox") and not self._peers["headers"]
        lacks_driver = not any(map(self._driver_of, self._releases))
        self._is_foretold = check_mode and (lacks_stack or lacks_driver)

    # What is wanted here

    @cached_property
    def _kernels(self):
        """The rows of the kernels that a module is wanted for.

        Those that have the driver; one that has none yet gets it first, be it by a container
        when it boots.
        """
        rows = kernels.served(self._facts["kernels"])
        return [row for row in rows if self._driver_of(row["release"])] or rows

    @property
    def _releases(self):
        return [row["release"] for row in self._kernels]

    @cached_property
    def _route(self):
        """The route, as the plan decides it too."""
        driver = peer_route.Driver(
            versions.branch(self._driver_version),
            self._driver_version,
            any(row["open"] for row in self._driver["modules"] if row["name"] == "nvidia"),
        )
        can = peer_route.abilities(
            self._facts,
            self._coming["kind"] or self._facts["rdma_stack"]["kind"],
            driver,
            self._releases,
            self._wanted["branches"],
            self._wanted["architectures"],
        )
        return peer_route.chosen(self._wanted["route"], bool(self._facts["rdma_devices"]), can)

    @cached_property
    def _driver_version(self):
        found = [row["version"] for row in self._driver["modules"] if row["name"] == "nvidia"]
        return (found or [self._driver["loaded"]["version"]])[0]

    @cached_property
    def _release(self):
        """The row of the tag that is wanted: as said, else the newest that fits the RDMA stack.

        :raises Refusal: there is none of which an archive is known.
        """
        told = self._coming["client_ex"]
        newer = self._peers["client_ex"] if told is None else told
        fitting = peer_route.fitting(self._wanted["tag"], self._wanted["tags"], newer)
        tag = fitting[0]["tag"] if fitting else self._wanted["tag"]
        peer_route.refuse_without_archive(tag, fitting)
        return fitting[0]

    @property
    def _tag(self):
        return self._release["tag"]

    @cached_property
    def _order(self):
        """The nv_peer_mem.Order; of what is foretold, the kernels' Needs are not known yet."""
        row = self._release
        return nv_peer_mem.Order(
            tag=row["tag"],
            made_from=nv_peer_mem.made_from(row["sha256"], self._wanted["patches"]),
            patches=self._wanted["patches"],
            driver=self._driver_version,
            releases=self._releases,
            needs=[] if self._is_foretold else list(self._needs_of.values()),
            unpack=self._unpack,
        )

    def _unpack(self, folder):
        row = self._release
        archive = os.path.join(_WORK_DIR, f"{row['sha256']}.tar.gz")
        sent = self._host.sent.get(row["file"])
        source = f"file://{sent}" if sent else row["file"]
        download.fetch(source, archive, row["sha256"])
        nv_peer_mem.unpack(archive, folder, row["tag"], self._wanted["patches"])

    # What there is

    def _driver_of(self, release):
        """Return the path of the driver's module for a kernel, '' for none."""
        with contextlib.suppress(Refusal):
            said = self._wanted["driver"]["module"]
            return nv_peer_mem.driver_module(self._tree, release, self._driver["modules"], said)
        return ""

    def _modules_of(self, name, release):
        return _at(self._facts, name, release)

    @cached_property
    def _needs_of(self):
        """{release: nv_peer_mem.Needs} of the kernels."""
        said = self._wanted["driver"]
        return {
            release: nv_peer_mem.needs(self._tree, release, self._driver["modules"], said)
            for release in self._releases
        }

    @cached_property
    def _others(self):
        """The names of the modules that are not to be there."""
        return peer_route.others(self._route)

    @cached_property
    def _ways(self):
        """{delivery: what nv_peer_mem is there by, or leaves by}; who knows best comes first."""
        ways = {"rpm": by_rpm.ByRpm, "dkms": by_dkms.ByDkms}
        wanted = self._wanted["delivery"] if self._route == _NAME else ""
        return {
            name: way(self._order if name == wanted else None, self._host, self._facts)
            for name, way in ways.items()
        }

    @property
    def _way(self):
        return self._ways[self._wanted["delivery"]]

    def _way_of(self, row):
        """Return the way by which a module came, None where nobody answers for it."""
        return next((way for way in self._ways.values() if way.has_put(row)), None)

    @cached_property
    def _strays(self):
        """The paths of modules nv_peer_mem that are not to be there, and came by no known way."""
        if self._route == _NAME:
            return []
        rows = [row for row in self._driver["modules"] if row["name"] == _NAME]
        return [row["path"] for row in rows if not self._way_of(row)]

    def _is_signed(self, row):
        return bool(row["signer"]) or not self._facts["secure_boot"]["enabled"]

    @cached_property
    def _unfit(self):
        """The releases of the kernels whose module is not there as wanted, or would not load."""
        if self._route != _NAME:
            return []
        if self._is_foretold:
            return self._releases
        return [release for release in self._releases if not self._fits(release)]

    def _fits(self, release):
        rows = self._modules_of(_NAME, release)
        rows = [row for row in rows if self._way_of(row) is self._way]
        if not (self._way.has(release) and rows):
            return False
        if rows[0]["version"] != self._tag or not self._is_signed(rows[0]):
            return False
        with contextlib.suppress(Refusal):
            self._hold(rows[0]["path"], _NAME, release)
            return True
        return False

    def _hold(self, path, name, release):
        """Hold a module against the driver and the RDMA stack.

        :raises Refusal: it would not load.
        """
        driver = self._driver_of(release)
        folder = symbols.folder_of(self._tree, release)
        module_fit.refuse_misfits(
            module_file.read(self._tree.path(path)),
            name,
            release,
            module_file.read(self._tree.path(driver)),
            symbols.providers(self._tree, release, folder),
        )

    # What is refused

    def refuse(self):
        """Refuse what would not come to its end."""
        for name in self._others:
            if name in self._peers["loaded"] and not modprobe.is_unused(name, self._tree):
                raise Refusal(
                    f"unload {name}", "it is in use", "End who uses RDMA here, and run again"
                )
        for path in self._strays:
            if stack_packages.owns(self._tree, path):
                raise _of_package(path)
        for path in filter(None, (way.foreign() for way in self._ways.values())):
            raise _of_package(path)
        found = self._facts["secure_boot"]
        if peer_route.cannot_sign(self._route, self._wanted["delivery"], found):
            raise Refusal(*peer_route.NO_SIGNED_PACKAGE)
        if self._route == _NAME and not self._is_foretold:
            self._refuse_build()
        if self._route == "nvidia_peermem" and not self._is_foretold:
            self._refuse_peermem()

    def _refuse_build(self):
        rows = self._needs_of.values()
        row = self._release
        nv_peer_mem.refuse_tag(self._tree, row["tag"], row["needs_client_ex"], rows)
        for kernel in self._kernels:
            release = kernel["release"]
            if not kernel["headers"] and release in self._unfit:
                raise Refusal(
                    f"nv_peer_mem for kernel {release}",
                    "the kernel has no headers to build it with",
                    f"Install linux-headers-{release}, or remove that kernel",
                )
            rows = self._modules_of(_NAME, release)
            paths = [row["path"] for row in rows if self._way_of(row) in (self._way, None)]
            paths = list(dict.fromkeys([*paths, *self._way.places(release)]))
            if len(paths) > 1:
                raise Refusal(
                    f"nv_peer_mem for kernel {release}",
                    f"it would be there twice: {' and '.join(paths)}",
                    f"Remove the one that {self._way.name} has not put there, and run again",
                )

    def _refuse_peermem(self):
        for release in self._releases:
            rows = self._modules_of("nvidia_peermem", release)
            if not rows:
                raise Refusal(
                    f"nvidia_peermem for kernel {release}",
                    "the driver that is there has not brought it",
                    "Install a driver of branch 470 or later with it",
                )
            self._hold(rows[0]["path"], "nvidia_peermem", release)

    def needs(self):
        """Return the names of the files of the controller that the host lacks."""
        is_built = self._route == _NAME and not self._is_foretold and self._unfit
        if not is_built or not self._way.lacks_sources:
            return []
        file = self._release["file"]
        return [] if "://" in file or file in self._host.sent else [file]

    # What is done

    def steps(self):
        """Return all there is to do; the module that is there goes once the new one is built.

        What came by another way goes right before, for it may lie at the very same path.
        """
        others = [way for way in self._ways.values() if way is not self._way]
        return [
            *self._building(),
            *self._unloading(),
            *(step for way in others for step in way.removing()),
            *self._installing(),
            *self._way.removing(),
            *self._removing(),
            *self._running(),
        ]

    def _building(self):
        """Return what makes the modules of every kernel, beside those that are there."""
        if not self._unfit:
            return []
        words = f"build nv_peer_mem {self._tag} for kernel {', '.join(self._unfit)}"
        execute, run = self._host.execute, self._host.run
        return [
            *package_manager.installing(self._way.packages, execute, run),
            (words, self._build),
        ]

    def _build(self):
        rows = [row for row in self._kernels if row["release"] in self._unfit]
        self._way.build(rows, lambda path, release: self._hold(path, _NAME, release))

    def _unloading(self):
        """Return what unloads the modules of other routes, and the one that is built anew."""
        return [
            (f"unload {name}", functools.partial(modprobe.unload, name, self._host.run))
            for name in [*self._others, *([self._route] if self._reloads else [])]
            if name in self._peers["loaded"]
        ]

    def _removing(self):
        """Return what removes modules that nobody answers for."""
        return [(f"remove {path}", functools.partial(self._unlink, path)) for path in self._strays]

    def _unlink(self, path):
        os.unlink(self._tree.path(path))
        self._host.run(["depmod", path.split("/")[3]], capture_output=True)

    def _installing(self):
        """Return what puts the modules in place that were built."""
        if not self._unfit:
            return []
        words = f"install nv_peer_mem {self._tag} for kernel {', '.join(self._unfit)}"
        return [(words, functools.partial(self._way.install, self._unfit))]

    def _running(self):
        """Return what has the module loaded, at boot and now as far as it can be."""
        steps = text_files.settling({path: self._files[path] for path in self._stale})
        if self._loads:
            steps.append((f"load {self._route}", self._load))
        return steps

    @cached_property
    def _files(self):
        is_legacy = self._facts["rdma_stack"]["version"].startswith("4.")
        return {
            **boot.wanted_files(self._tree, self._route, is_legacy),
            **{path: file for way in self._ways.values() for path, file in way.files.items()},
        }

    @cached_property
    def _stale(self):
        stale = text_files.stale(self._files)
        # Where modules are built, that comes first.
        return [path for path in stale if path not in self._way.files or not self._unfit]

    def diff(self):
        """Return the differences of the files that change, as Ansible shows them."""
        return [text_files.diff(path, self._files[path]) for path in self._stale]

    @cached_property
    def _can_load(self):
        """Whether driver and RDMA stack that are loaded are those that the module is for."""
        running, loaded = self._facts["kernel"], self._driver["loaded"]["version"]
        if not (self._facts["own_kernel"] and loaded and self._route in peer_route.MODULES):
            return False
        is_kept_out = peer_route.is_kept_out(self._route, self._facts["secure_boot"])
        if is_kept_out or self._facts["rdma_stack"]["stale"]:
            return False
        rows = self._modules_of("nvidia", running)
        return running in self._releases and (not rows or rows[0]["version"] == loaded)

    @property
    def _reloads(self):
        """Whether the module that is loaded gives way to the one on disk, now or once it is built.

        One that is in use stays, and the plan says so.
        """
        is_changed = self._facts["kernel"] in self._unfit or self._route in self._peers["stale"]
        is_unused = modprobe.is_unused(self._route, self._tree)
        return is_changed and is_unused and self._can_load

    @property
    def _loads(self):
        is_there = self._route in self._peers["loaded"] and not self._reloads
        return self._can_load and not is_there

    def _load(self):
        done = self._host.run(["modprobe", self._route], capture_output=True)
        if done.returncode:
            raise Refusal(
                f"load {self._route}",
                done.stderr.decode("utf-8", "replace").strip() or f"status {done.returncode}",
                "It is in place. Look at the end of dmesg, mend that and run again",
            )

    # What is left behind

    def prove(self):
        """Hold the host to what is wanted, from what is there now.

        :raises Refusal: it is not.
        """
        self.refuse()
        left = self.steps()
        if left:
            raise Refusal(
                f"peer memory by {self._route}",
                "after all was done there is still to " + "; to ".join(says for says, _act in left),
                "Look who else works on this host, and run again",
            )

    def manifest(self):
        """Return the entries of what is in place, and of what it was built for."""
        paths = [path for path, file in self._files.items() if file.text is not None]
        name = self._route
        if name in peer_route.MODULES:
            for release in self._releases:
                rows = _at(self._host.survey(), name, release)
                paths += [row["path"] for row in rows]
                paths += [self._driver_of(release)]
                paths += [f"{symbols.folder_of(self._tree, release)}/Module.symvers"]
        entries = [manifest.file(path) for path in dict.fromkeys(paths)]
        if name == _NAME:
            entries += self._way.manifest()
        gone = [path for path, file in self._files.items() if file.text is None]
        return [*entries, *(manifest.absence(path) for path in gone)]


def _at(facts, name, release):
    """Return the rows of a module on disk for one kernel."""
    rows = facts["driver"]["modules"]
    return [row for row in rows if (row["name"], row["kernel"]) == (name, release)]


def _of_package(path):
    return Refusal(
        path,
        "it belongs to a package that gpunode has not installed, and is not wanted so",
        "Remove the package nvidia-peer-memory or nvidia_peer_memory and what goes with it",
    )
