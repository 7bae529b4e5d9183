"""crowd.py FOLDER PROCESSES SOCKETS MOUNTS: have so many of each on this host, until it is ended.

The processes wait, the sockets are listened on at ports from 20000 on, and the file systems are
mounted below the folder. Once all are there, FOLDER/ready is.
"""

import ctypes
import os
import pathlib
import resource
import signal
import socket
import sys

_FIRST_PORT = 20000
_DETACH = 2
# prctl(2): a signal once the parent has ended.
_PARENT_ENDED = 1


def _wait(kernel):
    kernel.prctl(_PARENT_ENDED, signal.SIGKILL)
    while True:
        signal.pause()


def main(folder, processes, sockets, mounts):
    kernel = ctypes.CDLL(None, use_errno=True)
    folder = pathlib.Path(folder)
    for _number in range(processes):
        if not os.fork():
            _wait(kernel)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, sockets + 100), most))
    heard = [socket.create_server(("127.0.0.1", _FIRST_PORT + at)) for at in range(sockets)]
    places = [folder / f"{at:04}" for at in range(mounts)]
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
        if kernel.mount(b"crowd", os.fsencode(place), b"tmpfs", 0, b"size=64k"):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(place))
    (folder / "ready").touch()
    try:
        signal.sigwait({signal.SIGTERM, signal.SIGINT})
    finally:
        for place in places:
            kernel.umount2(os.fsencode(place), _DETACH)
        for one in heard:
            one.close()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main(sys.argv[1], *map(int, sys.argv[2:]))
