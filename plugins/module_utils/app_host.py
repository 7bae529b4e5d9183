# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Setting up gunicorn applications on a host: doing the steps, proving the effect, going back."""

from __future__ import annotations

import contextlib
import os
import shutil

from ansible_collections.gpunode.stack.plugins.module_utils import (
    accounts,
    app_fallback,
    app_plan,
    app_proof,
    app_release,
    app_service,
    child,
    files,
    listening,
    manifest,
    systemd,
)
from ansible_collections.gpunode.stack.plugins.module_utils.refusal import Refusal

# A worker's traceback and gunicorn's own after it.
_JOURNAL_LINES = 60


def converge(wanted, secrets, archives, check_mode, run=child.run):
    """Bring all applications to their wanted state, each proven before the next.

    Nothing is changed where something stands in the way of any of them, or
    where the archive of a release that the host lacks was not handed over.

    :param wanted: the wanted state, see plugin_utils/gunicorn_app.py.
    :param secrets: {application: {variable: value}}.
    :param archives: {digest of a release: path of its archive on this host}.
    :param run: what runs commands, with the signature of child.run.
    :returns: {changed, changes, diff, manifest, needs}; ``needs`` are digests of releases
        whose archives are missing.
    :raises Refusal: something stands in the way, or an application does not do its work.
    """
    rows = listening.survey(run=run)
    plans, diff = [], []
    for app in wanted["applications"]:
        seen = app_plan.observe(app, secrets.get(app["name"], {}), rows, run=run)
        for obstacle in app_service.obstacles(app, seen["account"], rows):
            raise obstacle
        plans.append((app, app_plan.steps(app, seen, wanted["keep"])))
        diff += app_plan.diffs(app, seen)
    changes = [step.sentence for _app, stages in plans for stage in stages for step in stage]
    needs = [
        step.argument["digest"]
        for _app, (preparing, _switching, _cleaning) in plans
        for step in preparing
        if step.verb == "place_release" and step.argument["digest"] not in archives
    ]
    if not check_mode and not needs:
        host = Host(secrets, archives, run)
        for app, stages in plans:
            host.apply(app, *stages)
    entries = [entry for app in wanted["applications"] for entry in _manifest(app)]
    return {
        "changes": changes,
        "changed": bool(changes),
        "diff": diff,
        "manifest": entries,
        "needs": [] if check_mode else needs,
    }


def _manifest(app):
    """Return the manifest of what is in place of an application: all, once it is converged."""
    paths = [app_service.unit_path(unit) for unit in app["units"]]
    if app["secrets_digest"]:
        paths.append(app_service.secrets_path(app["name"]))
    makers = [
        (manifest.user, app["user"]),
        (manifest.directory, app_service.releases_of(app)),
        (lambda path: manifest.tree(path, app_release.IGNORED), app["release"]),
        *((manifest.file, path) for path in paths),
        (manifest.link, app_service.link_of(app)),
    ]
    entries = []
    for make, subject in makers:
        with contextlib.suppress(FileNotFoundError, KeyError):
            entries.append(make(subject))
    return entries + [
        manifest.unit(unit, "active", "enabled") for unit in app_service.units_of(app)
    ]


class Host:
    """Does the steps of app_plan.steps() on this host.

    :param secrets: {application: {variable: value}}.
    :param archives: {digest of a release: path of its archive}.
    :param run: what runs commands.
    """

    def __init__(self, secrets, archives, run=child.run):
        self._secrets = secrets
        self._archives = archives
        self._run = run

    def apply(self, app, preparing, switching, cleaning):
        """Do an application's steps; what was in service before is so again where it fails.

        :raises Refusal: it failed; the text ends with what the application logged.
        """
        if not os.access(os.path.join(app["prefix"], "bin", "python"), os.X_OK):
            raise Refusal(
                f"environment {app['prefix']} of application {app['name']}",
                "it has no bin/python on this host",
                "Set the environment up first (the conda_env component)",
            )
        is_new = not os.path.isdir(app["release"])
        self._do(preparing)
        try:
            self._switch_over(app, switching)
        except Refusal:
            if is_new:
                self.remove(app["release"])
            raise
        self._do(cleaning)

    def _do(self, steps):
        for step in steps:
            getattr(self, step.verb)(step.argument)

    def _switch_over(self, app, steps):
        if any(step.verb == "write_unit" for step in steps):
            try:
                systemd.verify(app["units"], self._run)
            except systemd.UnitError as error:
                raise Refusal(
                    f"the units of application {app['name']}",
                    str(error),
                    "Nothing was put in place",
                ) from error
        before = app_fallback.Before(app, self._run)
        try:
            self._do(steps)
            app_proof.prove(app, self._run)
        except (systemd.UnitError, app_proof.NotServing, OSError) as error:
            log = systemd.journal(app_service.service_of(app), _JOURNAL_LINES, self._run)
            outcome = before.bring_back() if steps else "Nothing was changed"
            raise Refusal(
                f"application {app['name']}",
                str(error),
                f"{outcome}. Correct the application and run again. Its journal ends with:\n"
                + self._redacted(app, log),
            ) from error

    def _redacted(self, app, text):
        for value in self._secrets.get(app["name"], {}).values():
            if value:
                text = text.replace(value, "********")
        return text

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
                app_service.NOLOGIN,
                app["user"],
            ],
        )

    def forbid_login(self, app):
        """Give a service's account the shell that lets nobody in."""
        self._account_tool(app, ["usermod", "--shell", app_service.NOLOGIN, app["user"]])

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
        folder = app_service.releases_of(app)
        for path in (app["dir"], folder):
            if not os.path.isdir(path):
                os.makedirs(path, mode=0o755)
                os.chmod(path, 0o755)
        shutil.chown(folder, "root", accounts.group_of(app["user"]))
        os.chmod(folder, 0o750)

    def place_release(self, app):
        """Unpack a release aside and move it to its place, after a changed one was moved away."""
        folder, name = os.path.split(app["release"])
        fresh, changed = (
            os.path.join(folder, f"{app_service.TEMPORARY}{kind}-{name}") for kind in ("new", "old")
        )
        for leftover in (fresh, changed):
            self.remove(leftover)
        app_release.unpack(self._archives[app["digest"]], fresh)
        found = app_release.digest_of(fresh)
        if found != app["digest"]:
            self.remove(fresh)
            raise Refusal(
                f"release {app['release']}",
                f"its archive holds {found}, not {app['digest']}",
                "Run again; the application's folder was changed during the run",
            )
        if os.path.lexists(app["release"]):
            os.rename(app["release"], changed)
        os.rename(fresh, app["release"])
        self.remove(changed)

    def write_secrets(self, app):
        """Write the secrets, for root's eyes: systemd reads them before it drops privileges."""
        os.makedirs(app_service.SECRETS_DIR, mode=0o755, exist_ok=True)
        text = app_service.secrets_text(self._secrets[app["name"]], app["secrets_digest"])
        files.write_text(app_service.secrets_path(app["name"]), text, mode=0o600)

    def remove_secrets(self, app):
        """Remove the secrets of an application that has none any more."""
        os.unlink(app_service.secrets_path(app["name"]))

    def write_unit(self, unit_and_text):
        """Write a unit's file."""
        unit, text = unit_and_text
        files.write_text(app_service.unit_path(unit), text)

    def reload_systemd(self, _nothing):
        """Have systemd read its units again."""
        systemd.tell("daemon-reload", run=self._run)

    def enable(self, unit):
        """Have a unit started at boot."""
        systemd.tell("enable", unit, run=self._run)

    def open_socket(self, app):
        """Have systemd listen on the address; the service of this name is stopped before."""
        systemd.tell(
            "stop", *app_service.units_of(app), timeout_s=app_fallback.STOP_S, run=self._run
        )
        systemd.tell("start", app_service.socket_of(app), run=self._run)

    def restart(self, app):
        """Start or restart the service; the socket keeps requests waiting meanwhile."""
        service = app_service.service_of(app)
        systemd.tell(
            "restart", service, timeout_s=app_fallback.start_patience_s(app), run=self._run
        )

    def point_link(self, app):
        """Show people which release is in service."""
        files.point_link(app_service.link_of(app), app["release"])

    def remove(self, path):
        """Remove a release folder, or what is left of one."""
        if os.path.lexists(path):
            shutil.rmtree(path)
