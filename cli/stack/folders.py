"""Private folders and files: made for one account alone, trusted only if nobody else could have made them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from pathlib import Path

from cli.errors import StackError
from cli.stack.account import Account

# sun_path holds 108 bytes on Linux and 104 elsewhere.
MAX_SOCKET_PATH = 100
LONGEST_SOCKET = ".s.PGSQL.5432"


def private_folder(path: Path, account: Account) -> Path:
    """Make `path` (its parents must exist) for `account` alone, or check that it is just that.

    Raises:
        StackError: the path exists and is a link, no folder, of another user, or open to others.
    """
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        _check(path, account)
    else:
        account.own(path)
    return path


def write_private(path: Path, text: str, account: Account) -> None:
    """Write a file that only `account` can read, replacing an earlier one in one step.

    The account may own the folder, so all goes through one descriptor: no link of its making is followed.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        if account.is_other:
            os.fchown(descriptor, account.uid, account.gid)
    partial.rename(path)


def socket_folder(home: Path, account: Account, name: str) -> Path:
    """The folder of the unix sockets of the stack whose state is in `home`, the same at every call.

    Raises:
        StackError: the folder is somebody else's, or its path is too long for a socket.
    """
    folder = private_folder(_socket_path(home, account, name), account)
    if len(os.fsencode(folder / LONGEST_SOCKET)) >= MAX_SOCKET_PATH:
        raise StackError(f"{folder} is too long a path for unix sockets: set TMPDIR to a shorter one")
    return folder


def remove_socket_folder(home: Path, account: Account, name: str) -> None:
    """Remove the folder of a stack that is down, with the sockets of processes that were killed."""
    folder = _socket_path(home, account, name)
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if path.is_socket():
                path.unlink()
        folder.rmdir()


def _socket_path(home: Path, account: Account, name: str) -> Path:
    digest = hashlib.sha256(os.fsencode(home.resolve())).hexdigest()[:12]
    return _socket_root(account) / f"skim-{account.uid}-{digest}-{name}"


def _socket_root(account: Account) -> Path:
    """`$XDG_RUNTIME_DIR` where the account may enter it, else the temporary folder."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and not account.is_other and Path(runtime).is_dir() and os.access(runtime, os.W_OK | os.X_OK):
        return Path(runtime)
    root = Path(tempfile.gettempdir())
    return root if account.can_enter(root) else Path("/tmp")  # noqa: S108 - only a private folder is made in it


def _check(path: Path, account: Account) -> None:
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise StackError(f"{path} is in the way: it is not a folder")
    if status.st_uid != account.uid:
        raise StackError(f"{path} belongs to user id {status.st_uid}, not to {account.name}: remove it")
    if status.st_mode & 0o077:
        raise StackError(f"{path} is open to other users: remove it or make it private (chmod 700)")
