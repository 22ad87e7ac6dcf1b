"""Runs a program for root as a user who is not root, inside a user namespace of its own.

    python -I -S user_namespace.py PROGRAM [ARGUMENT...]

PostgreSQL refuses to run as root. Inside the namespace root is called 65534, and so it starts; outside, its files stay root's and
closed to everybody else, and no system user is made. A program of its own, since a process may enter a namespace only while it
has a single thread.
"""

import ctypes
import os
import sys
from pathlib import Path

NOBODY = 65534
_CLONE_NEWUSER = 0x10000000


def enter_user_namespace() -> None:
    """Move this process into a new user namespace in which its user is 65534. Raises OSError where the kernel forbids it."""
    user, group = os.getuid(), os.getgid()
    if sys.version_info >= (3, 12):
        os.unshare(os.CLONE_NEWUSER)
    elif ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "a user namespace is not allowed here")
    own = Path("/proc/self")
    (own / "setgroups").write_text("deny")
    (own / "uid_map").write_text(f"{NOBODY} {user} 1")
    (own / "gid_map").write_text(f"{NOBODY} {group} 1")


if __name__ == "__main__":
    enter_user_namespace()
    os.execv(sys.argv[1], sys.argv[1:])  # noqa: S606 -- running its arguments is all that this program is for
