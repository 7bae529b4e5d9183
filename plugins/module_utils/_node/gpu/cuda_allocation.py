# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The proof that a driver computes: some memory of every GPU, taken through libcuda and given back.

That a GPU is listed proves less: torch.cuda.is_available() is true on a guest without a licence,
whose first allocation fails.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

from ..system import commands
from ..system.commands import Run

_PATIENCE_S = 60
_POLL_S = 2
# CUDA Driver API, CUresult: CUDA_ERROR_OUT_OF_MEMORY and CUDA_ERROR_DEVICE_UNAVAILABLE. A GPU whose
# memory others have, or have it for themselves alone, works.
_TAKEN = (2, 46)
# CUDA_ERROR_SYSTEM_NOT_READY: Fabric Manager is still at work.
_NOT_READY = 802

#: Prints {call, status, says} of the first call that failed, else status 0 and the number of GPUs.
#: It runs in a process of its own, since a driver may hang or bring down whoever calls it.
SCRIPT = """
import ctypes, json, sys

def ask(call, *arguments):
    status = getattr(cuda, call)(*arguments)
    if status:
        name = ctypes.c_char_p()
        cuda.cuGetErrorName(status, ctypes.byref(name))
        text = (name.value or b"").decode() or "CUDA error %d" % status
        print(json.dumps({"call": call, "status": status, "says": text}))
        sys.exit(0)

try:
    cuda = ctypes.CDLL("libcuda.so.1")
except OSError as error:
    print(json.dumps({"call": "dlopen", "status": -1, "says": str(error)}))
    sys.exit(0)
ask("cuInit", 0)
count = ctypes.c_int()
ask("cuDeviceGetCount", ctypes.byref(count))
for index in range(count.value):
    device, context, memory = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_uint64()
    ask("cuDeviceGet", ctypes.byref(device), index)
    ask("cuCtxCreate_v2", ctypes.byref(context), 0, device)
    ask("cuMemAlloc_v2", ctypes.byref(memory), ctypes.c_size_t(1 << 20))
    ask("cuMemFree_v2", memory)
    ask("cuCtxDestroy_v2", context)
print(json.dumps({"call": "", "status": 0, "says": "%d" % count.value}))
"""


def obstacle(run: Run = commands.run, patience_s: float = _PATIENCE_S) -> str:
    """Return what keeps memory from being taken on one of the GPUs, '' where nothing does.

    :param run: what runs programs.
    :param patience_s: seconds after which a driver that does not answer is given up, and for which
        one that says it is not ready is waited for.
    """
    deadline = time.monotonic() + patience_s
    while True:
        answer = _ask(run, patience_s)
        if answer["status"] != _NOT_READY or time.monotonic() >= deadline:
            break
        time.sleep(_POLL_S)
    if answer["status"] == 0 or answer["status"] in _TAKEN:
        return ""
    return f"{answer['call']} says {answer['says']}"


def _ask(run: Run, patience_s: float) -> dict[str, Any]:
    """Return {call, status, says} of the first call that failed, status 0 where none did."""
    try:
        done = run(
            [sys.executable, "-I", "-c", SCRIPT],
            capture_output=True,
            text=True,
            timeout=patience_s,
        )
    except subprocess.TimeoutExpired:
        return {"call": "libcuda", "status": -1, "says": f"nothing for {patience_s} s"}
    try:
        return json.loads(done.stdout)
    except ValueError:
        # Killed by a signal, most likely.
        return {"call": "libcuda", "status": -1, "says": f"status {done.returncode}"}
