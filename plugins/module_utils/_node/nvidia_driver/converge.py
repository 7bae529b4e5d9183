# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From whatever is found to the wanted driver: what is done, and in which order.

Whatever takes long or may fail comes first, beside what is in use: files, packages, and the
modules of every kernel. Only then are clients stopped and the driver exchanged. A step is
(sentence, action): the sentences are the same in check mode, and an action that finds its work
done, by a package's script or by a run that was killed, does nothing.
"""

from __future__ import annotations

import collections
import functools
import os
from functools import cached_property

from ..gpu import clients, cuda_allocation, drained
from ..kernel import initramfs, modprobe, secure_boot
from ..records import manifest
from ..refusal import Refusal
from ..steps import Result
from ..system import systemd, text_files
from . import by_packages, by_runfile, modprobe_conf, removal, services
from . import drain as driver_drain
from .target import Target

# What the operator lets a run do: names of gpunode_consent, units of gpunode_drain.
Permissions = collections.namedtuple("Permissions", "consent drain")
_METHODS = {"runfile": by_runfile.Runfile, "package": by_packages.Packages}


def converge(host, asked, check_mode):
    """Bring the driver to the wanted state; return the steps.Result.

    :param host: the bring.Host.
    :param asked: the parameters of the module; what is wanted is the state of
        plugin_utils/_controller/components/nvidia_driver.py.
    :raises Refusal: it cannot be done, or would interrupt whom nobody consented to interrupt; the
        driver that was there is there.
    """
    wanted = asked["wanted"]
    if wanted["state"] == "absent":
        return removal.converge(host, wanted["repositories"], check_mode)
    permissions = Permissions(asked["consent"], asked["drain"])
    work = _Work(wanted, host, permissions)
    work.refuse()
    needs = work.method.needs()
    if needs and not check_mode:
        return Result(needs=needs)
    phases = [work.preparing(), work.draining(), work.exchanging(), work.running()]
    changes = [says for steps in phases for says, _act in steps]
    diff = work.diff()
    if not check_mode:
        _apply(work, *phases)
    return Result(changes, diff, [] if check_mode and changes else work.manifest())


def _apply(work, preparing, draining, exchanging, running):
    try:
        for _says, act in preparing + draining:
            act()
        try:
            for _says, act in exchanging:
                act()
        except (Refusal, OSError) as error:
            work.put_back(error)
        for _says, act in running:
            act()
    except systemd.UnitError as error:
        raise Refusal(
            "a unit of the driver", str(error), "Look at its log, and run again"
        ) from error
    work.prove()


class _Work:
    """The steps of one run, from what was found when it began."""

    def __init__(self, wanted, host, permissions):
        self._host = host
        self._permissions = permissions
        self._facts = host.survey()
        self._target = Target(wanted, self._facts)
        self.method = _METHODS[wanted["method"]](self._target, host)
        self._loaded = self._facts["driver"]["loaded"]["version"]
        self._clients = clients.at_work(self._facts["gpu_clients"])

    # What is refused

    def refuse(self):
        """Refuse what was not consented to, or could not come to its end."""
        self._refuse_kernels()
        if self.method.changes_method and "change_method" not in self._permissions.consent:
            raise Refusal(
                "change of the method",
                f"the driver was installed {self.method.found_by}",
                "Consent with gpunode_consent: [change_method], or say that method",
            )
        if self.method.builds:
            secure_boot.refuse_unenrolled_key(self._facts["secure_boot"], self._permissions.consent)
        if (self.method.exchanges or self._reloads) and self._clients:
            self._refuse_clients()

    def _refuse_kernels(self):
        if self._target.wanted["kernels_without_headers"] == "report":
            return
        for row in self._target.without_headers:
            has_module = self._target.modules.get(row["release"], {}).get("version")
            if has_module != self.method.version and not self.method.offers_headers(row["release"]):
                raise Refusal(
                    f"kernel {row['release']}",
                    "it has no headers, and none can be had here: it would "
                    f"{'go on' if row['running'] else 'boot'} without a driver",
                    f"Install linux-headers-{row['release']}, remove that kernel, or say "
                    "nvidia_driver_kernels_without_headers: report",
                )

    def _refuse_clients(self):
        if not self._may_stop:
            raise Refusal(
                "GPU in use",
                "; ".join(map(clients.described, self._clients)),
                "Stop them, or name their units in gpunode_drain and consent with "
                "gpunode_consent: [stop_gpu_clients]",
            )
        if self._undrained:
            raise Refusal(
                "GPU in use",
                "; ".join(map(clients.described, self._undrained))
                + ", and would still when the units of gpunode_drain were stopped",
                "Stop them, or add their units to gpunode_drain",
            )

    # What is done

    def preparing(self):
        """Return what is done beside the driver that is in use.

        The kernel's own driver is kept away last: a host whose modules cannot be built keeps it.
        """
        unwanted = [] if self._target.wanted["persistence"] else [services.PERSISTENCED]
        ending = services.ending_steps(unwanted, self._host.run)
        return [*self.method.preparing(), *self.method.building(), *ending, *self._setting()]

    def draining(self):
        """Return how those are stopped whom an exchange would disturb."""
        if not self._reloads and not (self.method.exchanges and self._clients):
            return []
        says = driver_drain.sentence(self._stopped)
        drain = functools.partial(
            driver_drain.drain, self._stopped, self._host.tree, self._host.run
        )
        return [(says, drain)] if says else []

    def exchanging(self):
        """Return what takes the place of the driver that is there."""
        return self.method.exchanging()

    def running(self):
        """Return what makes the driver on disk the one that runs, as far as no reboot has to."""
        run = self._host.run
        steps = [*self.method.finishing(), *self._freeing_images(), *self._loading()]
        steps += services.unit_steps(self._units, self._will_run, run)
        if self._will_run and (self.draining() or self._facts["drained"]):
            steps.append(("start again what was stopped for the driver", self._restore))
        return steps

    def _setting(self):
        return [
            (self._sentence(path), functools.partial(self._put, path, self._files[path]))
            for path in self._stale
        ]

    @cached_property
    def _stale(self):
        """{path: TextFile} of our files that are to change, as they were found."""
        return {path: text_files.found(path) for path in text_files.stale(self._files)}

    def _sentence(self, path):
        says = text_files.sentence(path, self._files[path])
        has_old = path == modprobe_conf.MODPROBE and self._loaded and not self._reloads
        if has_old and self._target.wanted["parameters"]:
            return f"{says}, whose parameters hold from the next loading of the module on"
        return says

    def _put(self, path, file):
        text_files.put(path, file)
        if path.startswith(systemd.UNIT_DIR) and os.path.isdir("/run/systemd/system"):
            systemd.tell("daemon-reload", run=self._host.run)

    @cached_property
    def _files(self):
        wanted = self._target.wanted
        return {
            **modprobe_conf.wanted_files(self._host.tree, wanted["parameters"]),
            **services.wanted_files(wanted["persistence"], wanted["method"] == "runfile"),
        }

    def diff(self):
        """Return the differences of the files that change, as Ansible shows them."""
        return [text_files.diff(path, self._files[path]) for path in self._stale]

    @cached_property
    def _stopped(self):
        """What is stopped for the exchange, as drain.survey has it."""
        if not self._loaded or not self._may_stop:
            return {"triggers": [], "services": []}
        # A reboot ends the daemons in order, and they hold nobody up until then.
        daemons = driver_drain.DAEMONS if self._may_reload else ()
        return driver_drain.survey([*self._permissions.drain, *daemons], self._host.run)

    @cached_property
    def _undrained(self):
        """Those who use the GPUs and are not stopped."""
        units = {*self._stopped["triggers"], *self._stopped["services"]}
        return [row for row in self._clients if row["unit"] not in units]

    @property
    def _may_stop(self):
        return "stop_gpu_clients" in self._permissions.consent

    @property
    def _may_reload(self):
        """Whether the module that is loaded is exchanged in memory rather than by a reboot."""
        can = self._loaded and self._is_loadable
        return bool(can and self._may_stop and "reboot" not in self._permissions.consent)

    @cached_property
    def _reloads(self):
        """Whether the loaded module is exchanged now: also where a run before came no further."""
        if not self._may_reload or self._is_loaded:
            return False
        return self.method.exchanges or not self._undrained

    @cached_property
    def _is_loaded(self):
        """Whether the module that is loaded is the one that will be on disk."""
        loaded, is_open = self._facts["driver"]["loaded"], self._target.module_type == "open"
        return loaded == {"version": self.method.version_to_be, "open": is_open}

    def _freeing_images(self):
        return [
            (
                f"take the kernel's own driver out of the initramfs of kernel {release}",
                functools.partial(initramfs.rebuild, self._host.tree, release, self._host.execute),
            )
            for release in modprobe_conf.held(self._facts["rivals"])
        ]

    def _loading(self):
        """Return the steps that load the driver, where neither a reboot nor a key has to come."""
        if self._reloads:
            return [("exchange the loaded module", self._load)]
        if self._loaded or not self._can_load:
            return []
        return [*self._unloading_rivals(), ("load the module", self._load)]

    @cached_property
    def _can_load(self):
        """Whether a module that is on disk then can be loaded on this host now."""
        tree = self._host.tree
        return self._is_loadable and all(modprobe.is_unused(n, tree) for n in self._rivals)

    @cached_property
    def _is_loadable(self):
        """Whether there will be a module for the kernel that runs, and it would take it."""
        running = self._facts["kernel"]
        has_module = running in self._target.releases or running in self._target.modules
        is_known = not secure_boot.lacks_key(self._facts["secure_boot"])
        return bool(self._facts["own_kernel"] and self._target.gpus and has_module and is_known)

    @cached_property
    def _rivals(self):
        return [name for name, row in self._facts["rivals"].items() if row["loaded"]]

    def _unloading_rivals(self):
        return [
            (f"unload {name}", functools.partial(modprobe.unload, name, self._host.run))
            for name in self._rivals
        ]

    def _load(self):
        obstacle = driver_drain.reload_modules(self._host.tree, self._host.run)
        if not obstacle:
            return
        remedy = "The driver is on disk. Look at dmesg for NVRM lines, mend that and run again"
        left = self._host.survey()["driver"]["loaded"]["version"]
        if left:
            remedy = (
                f"The driver is on disk, {left} stays loaded, and a reboot ends that: consent with "
                "gpunode_consent: [reboot], or mend that and run again"
            )
        noted = drained.noted()
        stopped = ", ".join(noted["triggers"] + noted["services"])
        waiting = f". Until then stay stopped: {stopped}" if stopped else ""
        raise Refusal("load the module", obstacle, remedy + waiting)

    def _restore(self):
        gone = driver_drain.restore(self._host.run)
        if gone:
            raise Refusal(
                "start again what was stopped for the driver",
                f"{', '.join(gone)} is no unit of this host any more",
                "All others run again; take it out of gpunode_drain",
            )

    @cached_property
    def _will_run(self):
        """Whether the module that is loaded in the end is the one that is on disk then."""
        if not self._facts["own_kernel"]:
            return False
        if self._loaded and not self._reloads:
            return self._is_loaded
        return self._reloads or self._can_load

    @cached_property
    def _units(self):
        units = services.units(bool(self._facts["nvswitches"]))
        if not self._target.wanted["persistence"]:
            units.remove(services.PERSISTENCED)
        return units

    # What is left behind

    def put_back(self, error):
        """Bring back the driver that was there, its settings and whom it worked for, and raise.

        :raises Refusal: that of the error, with what came of it.
        """
        for path, file in self._stale.items():
            self._put(path, file)
        try:
            words = self.method.going_back()
            driver_drain.restore(self._host.run)
        except Refusal as refusal:
            words = f"The driver before could not be brought back: {refusal}"
        if isinstance(error, Refusal):
            raise Refusal(error.what, error.because, f"{words}. {error.remedy}") from error
        raise error

    def prove(self):
        """Prove the effect.

        :raises Refusal: the driver is not what was wanted, or computes nothing.
        """
        facts = self._host.survey()
        self.method.prove(facts)
        for name, row in facts["rivals"].items():
            if row["initramfs"] or not row["blacklisted"]:
                raise Refusal(
                    f"driver of the kernel's own: {name}",
                    "it would be loaded again at the next boot"
                    + (
                        f", from the initramfs of {', '.join(row['initramfs'])}"
                        if row["initramfs"]
                        else ""
                    ),
                    "Look who puts it there: a file of modprobe.d or of the initramfs' own",
                )
        loaded = facts["driver"]["loaded"]["version"]
        if loaded and loaded == self.method.version and self._target.gpus:
            self._prove_computing()

    def _prove_computing(self):
        # A guest computes once it has a licence, which vgpu_license proves.
        obstacle = "" if self._target.wanted["guest"] else cuda_allocation.obstacle(self._host.run)
        if obstacle:
            raise Refusal(
                f"NVIDIA driver {self.method.version}",
                f"it is loaded, and gives no memory of the GPUs: {obstacle}",
                "Look at dmesg for NVRM and Xid lines",
            )

    def manifest(self):
        """Return what is in place, as entries of module_utils/_node/records/manifest.py."""
        files = [
            manifest.file(path)
            for path, file in self._files.items()
            if file.text is not None and os.path.isfile(path)
        ]
        return [*files, *self._unit_entries(), *self.method.manifest()]

    def _unit_entries(self):
        """Until a reboot the daemons are as they are: those of before run on, or none does."""
        states = systemd.show(self._units, ("ActiveState",), self._host.run)
        runs = self._host.survey()["driver"]["loaded"]["version"] == self.method.version
        return [
            manifest.unit(name, "active" if runs else states[name]["ActiveState"], "enabled")
            for name in self._units
        ]
