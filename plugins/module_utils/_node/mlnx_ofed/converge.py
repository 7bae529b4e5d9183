# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From whatever is found to the wanted RDMA stack: what is done, and in which order.

What may fail without harm comes first: the bundle is fetched, looked into and held against the
host, or all packages are. The exchange follows; one that fails is followed by what was there
before. Modules that are loaded stay until openibd is restarted or the host is rebooted. A step is
(sentence, action).
"""

from __future__ import annotations

import functools
import os
from functools import cached_property

from ..kernel import secure_boot
from ..packages import package_manager, repositories
from ..rdma import rdma_stack
from ..records import manifest
from ..refusal import Refusal
from ..steps import Result
from ..system import management_interface, text_files
from . import by_bundle, by_distribution, by_repository, kernel_modules, note, openibd, package_sets

_METHODS = {
    "mlnx_ofed": by_bundle.Bundle,
    "doca": by_repository.Repository,
    "inbox": by_distribution.Inbox,
}
# The symbols of the RDMA core, with which modules of others are built.
_SYMBOLS = "/usr/src/ofa_kernel/default/Module.symvers"


def converge(host, asked, check_mode):
    """Bring the RDMA stack to the wanted state; return the steps.Result.

    :param host: the bring.Host.
    :param asked: the parameters of the module; what is wanted is the state of
        plugin_utils/_controller/components/mlnx_ofed.py.
    :raises Refusal: it cannot be done; the stack that was there is there.
    """
    wanted = asked["wanted"]
    work = _Work(wanted, host, asked["consent"])
    work.refuse()
    needs = work.method.needs()
    if needs and not check_mode:
        return Result(needs=needs)
    steps = [*work.preparing(), *work.exchanging(), *work.running()]
    if not check_mode:
        work.apply()
    return Result(
        [says for says, _act in steps],
        work.diff,
        [] if check_mode and steps else work.manifest(),
        warnings=list(work.method.warnings),
    )


class _Work:
    """The steps of one run, from what was found when it began."""

    def __init__(self, wanted, host, consent):
        self._wanted = wanted
        self._host = host
        self._tree = host.tree
        self._consent = consent
        self._facts = host.survey()
        self._found = self._facts["rdma_stack"]
        self._before = package_sets.installed(host.tree)
        self._was_cut = note.is_at_work(host.tree)
        self._kept = note.kept_version(host.tree)
        self._pins_before = {path: text_files.found(path) for path in package_sets.PATHS}
        sources = repositories.paths(repositories.RDMA)
        self._sources_before = {path: text_files.found(path) for path in sources}
        self.method = _METHODS[wanted["kind"]](wanted, host)

    def refuse(self):
        """Refuse what would not come to its end."""
        if self._is_vendors and (self.method.exchanges or self.method.lacking):
            self.method.refuse_kernels()
            secure_boot.refuse_unenrolled_key(self._facts["secure_boot"], self._consent)

    # What is done

    def preparing(self):
        """Return what is done beside the stack that is in use."""
        return self.method.preparing()

    def exchanging(self):
        """Return what takes the place of the stack that is there."""
        return self.method.exchanging()

    @cached_property
    def _finishing(self):
        """What is done once the stack is in place, apart from its pins, which follow from it."""
        return [] if self.method.exchanges else self.method.completing()

    def running(self):
        """Return what has the stack at boot and now, as far as it can be."""
        steps = [*self._finishing, *self.method.clearing()]
        words = ", ".join(self._stale)
        if words:
            steps.append((f"hold the packages of the RDMA stack by {words}", self._pin))
        if self._starts_not and not self.method.exchanges:
            steps.append((f"enable {openibd.UNIT}", functools.partial(openibd.enable, self._host)))
        if self._restarts:
            steps.append(("restart openibd", self._restart))
        return steps

    def apply(self):
        """Do all of it.

        :raises Refusal: it failed; what came of the stack that was there is told with it.
        """
        running = self.running()
        try:
            self._prepare()
            self._exchange()
        finally:
            self.method.tidy()
        for _says, act in running:
            act()
        self._prove()

    def _prepare(self):
        """Do what is done beside the stack that is in use; that keeps its repository on failure."""
        try:
            for _says, act in self.preparing():
                act()
        except (Refusal, OSError):
            text_files.put_all(self._sources_before)
            raise

    def _exchange(self):
        """Do what takes the place of the stack that is there, and note what came of it."""
        steps = self.exchanging()
        if not steps:
            if self._is_vendors:
                self._end(self.method.noted)
            return
        # What installs by dpkg itself does not wait for whoever holds its lock.
        package_manager.wait_for_others(steps[0][0], self._host.execute)
        note.begin(self._tree)
        try:
            for _says, act in steps:
                act()
        except (Refusal, OSError) as error:
            self._put_back(error)
        self._end(self.method.brought())
        self.method.finished()
        if self._starts_not:
            openibd.enable(self._host)

    def _end(self, packages):
        note.end(self._tree, packages, self._host.survey()["peer_memory"]["headers"])

    # Its packages stay

    @cached_property
    def _stale(self):
        """The paths of the pins that are to change, which an exchange always changes."""
        pins = self.method.pins()
        return list(pins) if self.method.exchanges else text_files.stale(pins)

    def _pin(self):
        # From what an exchange brought, which the method did not see when it began.
        text_files.put_all(_METHODS[self._wanted["kind"]](self._wanted, self._host).pins())

    @cached_property
    def diff(self):
        """The differences of the files that change, as Ansible shows them.

        What an exchange brings is not known before it.
        """
        if self.method.exchanges:
            return []
        pins = self.method.pins()
        return [text_files.diff(path, pins[path]) for path in self._stale]

    # Its modules run

    @cached_property
    def _is_vendors(self):
        return self._wanted["kind"] != "inbox"

    @property
    def _starts_not(self):
        return self._is_vendors and openibd.starts_not(self._host)

    @cached_property
    def _restarts(self):
        """Whether openibd brings the modules on disk into memory, with consent and out of band.

        Not those that the firmware would keep out: there would be no RDMA at all.
        """
        is_loaded = rdma_stack.is_loaded(self._tree)
        changes = (self.method.exchanges and is_loaded) or self._found["stale"]
        over = management_interface.runs_over(
            self._facts["management"], self._facts["rdma_devices"]
        )
        lacks_key = secure_boot.lacks_key(self._facts["secure_boot"])
        may = openibd.CONSENT in self._consent and not over and not lacks_key
        return bool(self._is_vendors and self._facts["own_kernel"] and changes and may)

    def _restart(self):
        self.method.warnings += openibd.restart(self._host)

    # What is left behind

    def _put_back(self, error):
        """Bring back the stack that was there, and raise.

        :raises Refusal: that of the error, with what came of it.
        """
        try:
            # From where what is not kept is offered still.
            text_files.put_all(self._sources_before)
            words = self._going_back()
            text_files.put_all(self._pins_before)
        except (Refusal, OSError) as refusal:
            words = f"The stack before could not be brought back: {refusal}"
        if isinstance(error, Refusal):
            raise Refusal(error.what, error.because, f"{words}. {error.remedy}") from error
        raise error

    def _going_back(self):
        """Bring back the stack that was there; return a sentence about what came of it."""
        found = rdma_stack.stack(self._tree, self._facts["packages"])
        is_same = all(found[key] == self._found[key] for key in ("kind", "version"))
        if is_same and package_sets.installed(self._tree) == self._before and not self._was_cut:
            self._end(note.packages(self._tree))
            return "Nothing was changed"
        if self._kept and (self._found["kind"] == "mlnx_ofed" or self._was_cut):
            method = by_bundle.Bundle(self._wanted, self._host)
            method.reinstall(self._kept)
            self._end(package_sets.installed(self._tree))
            return f"MLNX_OFED {self._kept} is back"
        noted = note.packages(self._tree)
        was_doca = self._was_cut and note.kept_packages(self._tree, noted)
        if self._found["kind"] == "doca" or was_doca:
            method = by_repository.Repository(self._wanted, self._host)
            method.reinstall(noted if was_doca else self._before)
            self._end(package_sets.installed(self._tree))
            return f"{rdma_stack.described(self._host.survey()['rdma_stack'])} is back"
        if self._found["kind"] != "inbox":
            found = rdma_stack.described(self._found)
            return f"{found} is not kept on this host, and does not come back"
        method = by_distribution.Inbox(self._wanted, self._host)
        method.uninstall()
        names = [
            name
            for name, version in self._before.items()
            if not package_sets.is_vendors(name, version)
        ]
        if names:
            package_manager.install(names, self._host.execute, self._host.run)
        self._end({})
        return "The distribution's own stack is back"

    def _prove(self):
        """Hold the host to what is wanted, from what is there now.

        :raises Refusal: it is not.
        """
        left = _Work(self._wanted, self._host, [])
        steps = [*left.exchanging(), *left.running()]
        if steps:
            raise Refusal(
                f"RDMA stack {self._wanted['kind']} {self._wanted['version']}".rstrip(),
                "after all was done there is still to "
                + "; to ".join(says for says, _act in steps),
                "Look who else works on this host, and run again",
            )

    def manifest(self):
        """Return the entries of what is in place."""
        facts = self._host.survey()
        paths = [*repositories.paths(repositories.RDMA), *package_sets.PATHS]
        placed_files = [path for path in paths if os.path.isfile(path)]
        modules = rdma_stack.vendor_cores(self._tree)
        for which in kernel_modules.trees(facts["driver"]):
            for kernel in facts["kernels"]:
                modules += kernel_modules.paths(self._tree, which, kernel["release"])
        entries = [
            manifest.packages(package_sets.installed(self._tree)),
            *map(manifest.file, [*placed_files, *dict.fromkeys(modules)]),
            manifest.absence(note.AT_WORK),
        ]
        if self._is_vendors and openibd.is_there(self._tree):
            entries.append(manifest.unit(openibd.UNIT, None, "enabled"))
        if self._is_vendors and self._tree.exists(_SYMBOLS):
            entries.append(manifest.file(self._tree.resolve(_SYMBOLS)))
        return entries
