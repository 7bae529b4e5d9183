# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Child processes: the default of every function that lets its caller choose the runner."""

from __future__ import annotations

import subprocess


def run(argv, **options):
    """Run a command as subprocess.run does, whatever its status; see there for options and errors.

    AnsibleModule.run_command, which Ansible would have us use, belongs to one module run:
    functions that are tested without a module cannot have it.
    """
    return subprocess.run(argv, check=False, **options)  # pylint: disable=ansible-bad-function
