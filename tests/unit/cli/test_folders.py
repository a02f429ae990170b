"""Private folders are trusted only if they are private and ours; nothing of others is changed."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from cli.errors import StackError
from cli.stack.account import Account, caller, server_account
from cli.stack.folders import LONGEST_SOCKET, MAX_SOCKET_PATH, private_folder, socket_folder, write_private

STRANGER = Account("stranger", os.geteuid() + 4242, os.getegid() + 4242)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_new_folder_is_private_and_trusted_again(tmp_path: Path) -> None:
    folder = private_folder(tmp_path / "mine", caller())

    assert _mode(folder) == 0o700
    assert private_folder(folder, caller()) == folder


def test_open_folder_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o755)

    with pytest.raises(StackError, match="open to other users"):
        private_folder(folder, caller())
    assert _mode(folder) == 0o755


def test_folder_of_another_and_link_are_refused(tmp_path: Path) -> None:
    mine = private_folder(tmp_path / "mine", caller())
    (tmp_path / "link").symlink_to(mine)

    with pytest.raises(StackError, match="belongs to user id"):
        private_folder(mine, STRANGER)
    with pytest.raises(StackError, match="not a folder"):
        private_folder(tmp_path / "link", caller())


def test_secret_file_is_private_and_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    write_private(path, "first", caller())
    write_private(path, "second", caller())

    assert (path.read_text(), _mode(path), list(tmp_path.iterdir())) == ("second", 0o600, [path])


def test_socket_folder_is_the_same_at_every_call_and_short(tmp_path: Path) -> None:
    account = server_account()
    first = socket_folder(tmp_path, account, "pg")
    try:
        assert socket_folder(tmp_path, account, "pg") == first
        assert socket_folder(tmp_path / "other", account, "pg") != first
        assert len(os.fsencode(first / LONGEST_SOCKET)) < MAX_SOCKET_PATH
        assert (first.stat().st_uid, _mode(first)) == (account.uid, 0o700)
    finally:
        for home in (tmp_path, tmp_path / "other"):
            socket_folder(home, account, "pg").rmdir()


def test_account_enters_only_where_mode_bits_let_it(tmp_path: Path) -> None:
    closed, opened = tmp_path / "closed", tmp_path / "closed" / "opened"
    opened.mkdir(parents=True)
    closed.chmod(0o700)

    assert caller().can_enter(opened)
    assert not STRANGER.can_enter(opened)
    assert STRANGER.can_enter(Path("/"))
