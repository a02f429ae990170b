"""Ties a child to its supervisor, so that even `kill -9` of the supervisor leaves nothing behind.

`python -m workers.device.tether PID MODULE ...` runs a module tied to process PID. The tie is made before the module is
imported: a child that is still starting is no orphan either.
"""

import ctypes
import os
import runpy
import signal
import sys
import threading
import time
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1
LOOK_S = 0.5


def tied(module: str, arguments: Sequence[str]) -> list[str]:
    """The command that runs `module` tied to this process, whose main thread must start it."""
    return [sys.executable, "-m", "workers.device.tether", str(os.getpid()), module, *arguments]


def die_with(parent: int) -> None:
    """End this process as soon as process `parent` has ended, at once if it already has.

    Linux does it in the kernel, whatever this process is busy with; elsewhere a thread looks twice a second.
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


def main() -> None:
    """Make the tie and become the module."""
    _, parent, module, *arguments = sys.argv
    die_with(int(parent))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
