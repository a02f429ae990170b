"""A way to a unix socket over loopback, which can fall silent as a network does: connections stay, nothing comes."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import make_url


class Proxy:
    """Passes bytes on until it is told otherwise. `port` is where it listens."""

    def __init__(self, target: Path) -> None:
        self._target = str(target)
        self._flows = threading.Event()
        self._flows.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._links: list[tuple[socket.socket, socket.socket]] = []
        self._lost: set[socket.socket] = set()  # clients whose other end is gone, which they are not told
        self._start(self._accept)

    def freeze(self) -> None:
        """Whoever is there or comes hears nothing, until `thaw`."""
        self._flows.clear()

    def thaw(self) -> None:
        self._flows.set()

    def lose(self) -> None:
        """Whoever is there never hears anything again; the server has given them up. Who comes now is served."""
        for client, server in self._links:
            self._lost.add(client)
            _shut(server)
        self._links.clear()

    def close(self) -> None:
        self._flows.set()
        _shut(self._listener)
        for one in (*self._lost, *(end for link in self._links for end in link)):
            _shut(one)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._flows.wait()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._target)
                self._links.append((client, server))
                self._start(self._pass, client, server)
                self._start(self._pass, server, client)

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self._flows.wait()
                sink.sendall(data)
        if sink not in self._lost and source not in self._lost:
            _shut(source)
            _shut(sink)

    def _start(self, run: Callable[..., None], *arguments: socket.socket) -> None:
        threading.Thread(target=run, args=arguments, daemon=True).start()


def _shut(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()


@contextmanager
def proxied(database_url: str) -> Iterator[tuple[Proxy, str]]:
    """A proxy in front of a server's unix socket, and the database's address that leads through it."""
    url = make_url(database_url)
    proxy = Proxy(Path(str(url.query["host"])) / ".s.PGSQL.5432")
    through = url.set(host="127.0.0.1", port=proxy.port).difference_update_query(["host"])
    try:
        yield proxy, through.render_as_string(hide_password=False)
    finally:
        proxy.close()
