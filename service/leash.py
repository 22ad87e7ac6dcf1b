"""Ends a child process when its parent is gone, however the parent went.

The parent holds the writing end of a pipe, each child watches the reading end: it closes when the parent dies, by `kill -9` too.
On Linux the kernel is asked as well, which still works while the child's interpreter is busy.
"""

import ctypes
import os
import signal
import sys
import threading
import time

_PR_SET_PDEATHSIG = 1
_GRACE_SECONDS = 5


def hold(descriptor: int) -> None:
    """Follow the parent that gave this pipe. Interrupts are left to it: Ctrl-C reaches the whole group, its SIGTERM comes after."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    threading.Thread(target=_watch, args=(descriptor,), name="leash", daemon=True).start()


def _watch(descriptor: int) -> None:
    while os.read(descriptor, 1):
        pass  # nobody writes: only the end of the pipe says something
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_SECONDS)
    os._exit(1)
