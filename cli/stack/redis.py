"""The embedded Redis: a unix socket, always a password, append-only file on, never evicting.

Knows how to prepare, command and await the server. It speaks the few bytes of the protocol it needs itself.
"""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from cli.errors import StackError
from cli.stack.account import Account
from cli.stack.folders import private_folder, write_private

CONFIGURATION = """\
port 0
unixsocket "{socket}"
unixsocketperm 700
requirepass {password}
dir "{data}"
appendonly yes
save ""
maxmemory-policy noeviction
"""


@dataclass(frozen=True, slots=True)
class Redis:
    """One server. `data` and `sockets` are folders of `account`."""

    binary: Path
    data: Path
    sockets: Path
    account: Account
    password: str

    @property
    def socket(self) -> Path:
        """The unix socket it listens on."""
        return self.sockets / "redis.sock"

    @property
    def command(self) -> list[str]:
        """What to run, as `account`, in the foreground. The password is in the file, not in the arguments."""
        return [str(self.binary), str(self.data / "redis.conf")]

    @property
    def url(self) -> str:
        """The address as Celery's and Flower's broker URL (redis-py wants the same with scheme `unix`)."""
        return f"redis+socket://:{self.password}@{quote(str(self.socket), safe='/')}"

    def prepare(self) -> None:
        """Create the data folder once and write the configuration anew."""
        private_folder(self.data, self.account)
        text = CONFIGURATION.format(socket=self.socket, password=self.password, data=self.data)
        write_private(self.data / "redis.conf", text, self.account)

    def wait(self, timeout_s: float = 30) -> None:
        """Return once the server answers PING and has loaded its data.

        Raises:
            StackError: it did not in time.
        """
        deadline = time.monotonic() + timeout_s
        while not self._answers():
            if time.monotonic() > deadline:
                raise StackError(f"Redis did not answer within {timeout_s:.0f} s")
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as link:
                link.settimeout(1)
                link.connect(str(self.socket))
                link.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2:
                    chunk = link.recv(256)
                    if not chunk:
                        return False
                    answer += chunk
                return answer == b"+OK\r\n+PONG\r\n"
        except OSError:
            return False
