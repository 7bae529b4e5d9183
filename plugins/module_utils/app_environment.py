# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether the environment that an application runs from was changed under it."""

from __future__ import annotations

import os

from ansible_collections.gpunode.stack.plugins.module_utils import env_build, environment


def is_newer(prefix, moment):
    """Say whether an environment was built or repaired after a moment.

    :param moment: in seconds since 1970; None for never.
    """
    try:
        return moment is not None and os.stat(env_build.record_of(prefix)).st_mtime > moment
    except OSError:
        return False


def is_damaged(prefix):
    """Say whether an environment is not what it was built from: conda_env would repair it."""
    try:
        lock, dists = env_build.read_record(prefix)
    except ValueError:
        return False
    return not environment.Contents({"prefix": prefix, "lock": lock, "dists": dists}).is_as_wanted()
