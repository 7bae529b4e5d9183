# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Setting up an application on a host: doing the steps, proving the effect, going back."""

from __future__ import annotations

import functools
import os
import shutil
import time

from ..refusal import Refusal
from ..system import accounts, commands, files, folders, systemd
from . import candidate, journal, observe, process, proof, release, removal, rollback, service


class Applier:
    """Does the steps of plan.steps() on this host.

    :param secrets: {application: {variable: value}}.
    :param archives: {digest of a release: path of its archive}.
    :param run: what runs commands.
    """

    def __init__(self, secrets, archives, run=commands.run):
        self._secrets = secrets
        self._archives = archives
        self._run = run
        self._mended = set()

    def apply(self, app, plan):
        """Do an application's steps; what was in service before is so again where it fails.

        :param plan: what plan.steps() returned.
        :raises Refusal: it failed; the text ends with what the application logged.
        """
        if not os.access(os.path.join(app["prefix"], "bin", "python"), os.X_OK):
            raise Refusal(
                f"environment {app['prefix']} of application {app['name']}",
                "it has no bin/python on this host",
                "Set the environment up first (the conda_env component)",
            )
        try:
            self._do(plan.preparing)
            self._verify(app, plan)
            self._do(plan.trying)
            self._switch_over(app, plan.switching)
        except Exception:
            # One that a killed run brought here is no better for that.
            if app["release"] not in observe.served(app):
                self.remove(app["release"])
            raise
        self._do(plan.cleaning)

    def _do(self, steps):
        for step in steps:
            getattr(self, step.verb)(step.argument)

    def _verify(self, app, plan):
        """Have systemd read the units that are about to be put in place."""
        texts = {}
        if any(step.verb == "write_unit" for step in plan.switching):
            texts.update(app["units"])
        if plan.trying:
            texts[candidate.unit_of(app["name"])] = app["candidate"]
        try:
            if texts:
                systemd.verify(texts, self._run)
        except systemd.UnitError as error:
            raise Refusal(
                f"the units of application {app['name']}",
                str(error),
                self._before_the_switch(app),
            ) from error

    def _before_the_switch(self, app):
        """Say how a failure before the switch leaves what is in service.

        Where a killed run has switched and proven nothing, this is the moment to go back.
        """
        before = rollback.Before(app, self._run)
        if before.is_noted:
            return before.bring_back()
        if app["release"] in self._mended:
            return (
                "What had been changed in the release in service was put right, "
                "nothing else in service was touched"
            )
        return "Nothing in service was touched"

    def _switch_over(self, app, steps):
        before, since = rollback.Before(app, self._run), time.time()
        if steps:
            before.note()
        try:
            self._do(steps)
            self._prove(app)
        except (systemd.UnitError, proof.NotServing, OSError) as error:
            # Before what served goes on logging.
            log = journal.read(service.service_of(app), since, self._run)
            raise journal.failure(
                f"application {app['name']}",
                error,
                before.bring_back() if before.is_noted else "Nothing was changed",
                log,
                self._secrets.get(app["name"], {}),
            ) from error
        before.forget()

    def _prove(self, app):
        main = proof.prove(app, service.service_of(app), app["listen"], self._run)
        reason = process.reasons_to_restart(app, process.process(main, app["release"]))
        if reason:
            raise proof.NotServing(f"something answers on {app['listen']}, but {reason}")

    # One method for each verb of a Step.

    def create_user(self, app):
        """Create the system user, who owns nothing and cannot log in."""
        group = ["--gid", app["user"]] if accounts.group_exists(app["user"]) else ["--user-group"]
        self._account_tool(
            app,
            [
                "useradd",
                "--system",
                *group,
                "--no-create-home",
                "--home-dir",
                app["dir"],
                "--shell",
                service.NOLOGIN,
                "--comment",
                service.ACCOUNT_MARK,
                app["user"],
            ],
        )

    def forbid_login(self, app):
        """Give a service's account the shell that lets nobody in."""
        self._account_tool(app, ["usermod", "--shell", service.NOLOGIN, app["user"]])

    def _account_tool(self, app, argv):
        done = self._run(argv, capture_output=True, text=True)
        if done.returncode:
            raise Refusal(
                f"user {app['user']} of application {app['name']}",
                f"{argv[0]}: {done.stderr.strip()}",
                "Correct the account by hand or name another user",
            )

    def make_releases(self, app):
        """Make the folder of the releases: root writes, the application reads, nobody else."""
        folder = service.releases_of(app)
        folders.make(folder)
        shutil.chown(folder, "root", accounts.group_of(app["user"]))
        os.chmod(folder, 0o750)

    def place_release(self, app):
        """Unpack a release aside and move it to its place, after a changed one was moved away."""
        folder, name = os.path.split(app["release"])
        fresh, changed = (
            os.path.join(folder, f"{service.TEMPORARY}{kind}-{name}") for kind in ("new", "old")
        )
        for leftover in (fresh, changed):
            self.remove(leftover)
        release.unpack(self._archives[app["digest"]], fresh)
        found = release.digest_of(fresh)
        if found != app["digest"]:
            self.remove(fresh)
            raise Refusal(
                f"release {app['release']}",
                f"its archive holds {found}, not {app['digest']}",
                "Run again; the application's folder was changed during the run",
            )
        os.utime(fresh, (observe.NEVER, observe.NEVER))
        if os.path.lexists(app["release"]):
            if app["release"] in observe.served(app)[:1]:
                self._mended.add(app["release"])
            os.rename(app["release"], changed)
        os.rename(fresh, app["release"])
        self.remove(changed)

    def write_secrets(self, app):
        """Write the secrets, for root's eyes: systemd reads them before it drops privileges."""
        folders.make(service.SECRETS_DIR)
        text = service.secrets_text(self._secrets[app["name"]], app["secrets_digest"])
        files.write_text(service.secrets_path(app["name"]), text, mode=0o600)

    def remove_secrets(self, app):
        """Remove the secrets of an application that has none any more."""
        os.unlink(service.secrets_path(app["name"]))
        folders.remove_if_empty(service.SECRETS_DIR)

    def remove_candidate(self, app):
        """Remove what a killed run left of a candidate."""
        candidate.remove(app["name"], self._run)

    def try_out(self, app):
        """Have the release prove itself before anything in service is touched."""
        secrets, outcome = self._secrets.get(app["name"], {}), self._before_the_switch
        candidate.try_out(app, secrets, functools.partial(outcome, app), self._run)

    def remove_unit(self, unit):
        """Stop and remove a unit that the application has no more."""
        systemd.tell("disable", "--now", unit, timeout_s=service.STOP_S, run=self._run)
        os.unlink(service.unit_path(unit))

    def write_unit(self, unit_and_text):
        """Write a unit's file."""
        unit, text = unit_and_text
        files.write_text(service.unit_path(unit), text)

    def reload_systemd(self, _nothing):
        """Have systemd read its units again."""
        systemd.tell("daemon-reload", run=self._run)

    def enable(self, unit):
        """Have a unit started at boot."""
        systemd.tell("enable", unit, run=self._run)

    def open_socket(self, app):
        """Have systemd listen on the address; the service of this name is stopped before."""
        systemd.tell("stop", *service.units_of(app), timeout_s=service.STOP_S, run=self._run)
        systemd.tell("start", service.socket_of(app), run=self._run)

    def restart(self, app):
        """Start or restart the service; the socket keeps requests waiting meanwhile."""
        patience_s = rollback.start_patience_s(app)
        systemd.tell("restart", service.service_of(app), timeout_s=patience_s, run=self._run)

    def reload(self, app):
        """Have gunicorn replace its workers, each once it has answered what it was asked."""
        proof.renew_workers(app, service.service_of(app), rollback.start_patience_s(app), self._run)

    def point_link(self, app):
        """Show people which release is in service; its folder's time says since when."""
        os.utime(app["release"])
        files.point_link(service.link_of(app), app["release"])

    def remove_socket(self, path):
        """Remove the unix socket of an earlier address."""
        removal.remove_socket(path)

    def remove(self, path):
        """Remove a release folder, or what is left of one."""
        if os.path.lexists(path):
            shutil.rmtree(path)
