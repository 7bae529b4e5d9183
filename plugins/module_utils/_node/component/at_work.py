# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the modules of all components do alike around their work."""

from __future__ import annotations

import contextlib
import glob
import os
import subprocess
from collections.abc import Iterator

from ansible.module_utils.basic import AnsibleModule

from .. import urls
from ..gpu import gridd
from ..refusal import Refusal
from ..system import files, node_lock, own_paths, systemd, unfinished_file

# Where a run that was killed may have left what it had not put in place.
_FOLDERS = (
    *(own_paths.ETC_DIR, own_paths.STATE_DIR, own_paths.RUN_DIR, systemd.UNIT_DIR),
    gridd.TOKENS,
)


@contextlib.contextmanager
def at_work(module: AnsibleModule, purpose: str) -> Iterator[None]:
    """Hold the node's lock for a ``with`` block, and fail the module where the work is refused.

    In check mode nothing is changed, so nothing is locked.

    :param module: the AnsibleModule.
    :param purpose: what it does, shown to whoever waits for the lock in vain.
    """
    lock = contextlib.nullcontext() if module.check_mode else node_lock.held(purpose)
    try:
        with lock:
            if not module.check_mode:
                # They may hold secrets, or be as large as an archive that is kept, and nobody would
                # look for them any more.
                kept = glob.glob(f"{own_paths.STATE_DIR}/*/")
                for folder in (*_FOLDERS, *kept):
                    files.discard_temporary(folder)
                # What has come of a download is gone on with, by whoever still wants it.
                for folder in glob.glob(f"{own_paths.CACHE_DIR}/*/"):
                    files.discard_temporary(folder, unfinished_file.ABANDONED_S)
            yield
    except Refusal as refusal:
        module.fail_json(msg=str(refusal))
    except subprocess.TimeoutExpired as error:
        module.fail_json(msg=urls.shown(str(_hangs(error))))


def _hangs(error: subprocess.TimeoutExpired) -> Refusal:
    """Return the Refusal for a command that hangs, of whose arguments some may be secret."""
    program = error.cmd if isinstance(error.cmd, str) else error.cmd[0]
    return Refusal(
        os.path.basename(program),
        f"it did not end within {error.timeout:.0f} s",
        "See on the host what it waits for, and run again",
    )
