"""Run ``ansible-test sanity`` on this checkout; arguments go to ansible-test.

ansible-test finds the collection only through ANSIBLE_TEST_CONTENT_ROOT, wants
its get-pip.py from a host that may be closed, keeps its environments in the
home folder, and hides pip's environment variables from pip. So it gets a home
of its own below .ansible/, with a get-pip.py and this machine's pip settings.
"""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
from pathlib import Path

from lab import inherit

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".ansible" / "sanity"
# The pip that ansible-test asks for: core 2.19, core 2.21.
PIP_VERSIONS = ("24_2", "25_2")


def make_home(home):
    """Lay out the home folder that ansible-test runs with; pip's settings may hold passwords."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    cache = home / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for version in PIP_VERSIONS:
        shutil.copyfile(ROOT / "tools" / "get_pip.py", cache / f"get_pip_{version}.py")
    settings = configparser.RawConfigParser()
    settings.read_dict({"global": {"quiet": "1"}})
    settings.read_dict(inherit.machine_pip_settings())
    pip_conf = home / ".config" / "pip" / "pip.conf"
    pip_conf.parent.mkdir(parents=True, exist_ok=True)
    with pip_conf.open("w", encoding="utf-8") as handle:
        settings.write(handle)
    (home / ".gitconfig").write_text(f"[safe]\n\tdirectory = {ROOT}\n", encoding="utf-8")


def main(arguments):
    """Run ansible-test and return its exit status."""
    make_home(HOME)
    version = ".".join(str(number) for number in sys.version_info[:2])
    return subprocess.run(
        [
            Path(sys.executable).with_name("ansible-test"),
            *("sanity", "--local", "--python", version, "--requirements", "--junit", *arguments),
        ],
        env={
            **os.environ,
            "HOME": str(HOME),
            "ANSIBLE_TEST_CONTENT_ROOT": f"{ROOT}/collections/ansible_collections/gpunode/stack",
        },
        check=False,
    ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
