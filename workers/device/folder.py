"""The private folder of a device's socket; what killed devices left behind is removed."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX = "skim-device-"


@contextmanager
def socket_folder(runtime: Path) -> Iterator[Path]:
    """A new folder in `runtime` that only this user may enter, removed at the end. Its name holds our pid."""
    _remove_abandoned(runtime)
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-", dir=runtime) as name:
        yield Path(name)


def _remove_abandoned(runtime: Path) -> None:
    for folder in runtime.glob(f"{_PREFIX}*"):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        try:
            is_ours = folder.lstat().st_uid == os.getuid()
        except OSError:  # somebody else removes it just now
            continue
        if is_ours and pid.isdigit() and not _is_alive(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
