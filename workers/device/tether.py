"""Ties a child to its supervisor, so that even `kill -9` of the supervisor leaves nothing behind."""

import ctypes
import os
import signal
import sys
import threading
import time

PR_SET_PDEATHSIG = 1
LOOK_S = 0.5


def die_with(parent: int) -> None:
    """End this process as soon as process `parent` has ended, at once if it already has.

    Linux does it in the kernel, whatever this process is busy with; elsewhere a thread looks twice a second. The main
    thread of `parent` must have started this process: the kernel's signal comes when that thread ends.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    else:
        threading.Thread(target=_watch, args=(parent,), name="tether", daemon=True).start()
    _check(parent)


def _watch(parent: int) -> None:
    while True:
        _check(parent)
        time.sleep(LOOK_S)


def _check(parent: int) -> None:
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
