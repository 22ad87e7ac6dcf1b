"""Ends a child process when its parent is gone, however the parent went.

The parent holds the writing end of a pipe, each child reads from the other end: that read ends when the parent dies, by `kill -9` too.
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


def die_with_parent(descriptor: int) -> None:
    """End this process when the parent that holds the other end of this pipe has ended.

    Interrupts are ignored: Ctrl-C reaches the whole process group, and the parent then sends SIGTERM.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    threading.Thread(target=_wait_for_end_of_pipe, args=(descriptor,), name="parent-watch", daemon=True).start()


def _wait_for_end_of_pipe(descriptor: int) -> None:
    while os.read(descriptor, 1):
        pass  # nobody writes: only the end of the pipe says something
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_SECONDS)
    os._exit(1)
