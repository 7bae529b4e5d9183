"""An application and a systemd for unit tests."""

from __future__ import annotations

import subprocess

RELEASE = "/srv/web/releases/0123456789ab"
APP = {
    "name": "web",
    "server": "gunicorn",
    "user": "web",
    "dir": "/srv/web",
    "release": RELEASE,
    "digest": "0123456789ab" + "0" * 52,
    "prefix": "/opt/envs/web",
    "listen": "0.0.0.0:9001",
    "health_path": "/healthz",
    "health_headers": {},
    "health_scheme": "http",
    "readable": [],
    "writable": [],
    "start_timeout_s": 5,
    "units": {"web.socket": "[Socket]\n", "web.service": "[Service]\n"},
    "unit_digest": "d1",
    "candidate": "[Service]\nRestart=no\n",
    "secrets_digest": "",
}
PYTHON = {**APP, "server": "python", "units": {"web.service": "[Service]\n"}, "candidate": None}


class Systemd:
    """Answers like systemctl and journalctl, and remembers what it was told.

    :ivar units: {unit: what `systemctl show` says of it}; a test changes it.
    :ivar told: what it was told, such as 'start web.service'.
    :ivar refuses: what it does not do.
    """

    def __init__(self, **units):
        self.units = {f"{name.replace('_', '.')}": state for name, state in units.items()}
        self.told = []
        self.refuses = ()
        self.log = ""

    def run(self, argv, **_options):
        """Do as subprocess.run does."""
        if argv[:2] == ["systemctl", "show"]:
            blocks = [self.units.get(unit, {}) for unit in argv[argv.index("--") + 1 :]]
            lines = [
                "".join(f"{key}={value}\n" for key, value in block.items()) for block in blocks
            ]
            return subprocess.CompletedProcess(argv, 0, "\n".join(lines), "")
        if "journalctl" in argv:
            return subprocess.CompletedProcess(argv, 0, self.log, "")
        said = " ".join(argv[1:])
        self.told.append(said)
        return subprocess.CompletedProcess(argv, int(said in self.refuses), "", "no")
