"""A stack that is asked over plain HTTP, where its database is, and the memory of its API while something is done."""

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from typing import Any, Final

import psutil

from bench.stack import Stack

LOOK_S: Final = 0.05  # between two looks at a process


@dataclass(frozen=True, slots=True)
class Ask:
    """A request that may be made over and over."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """What something took: seconds, and the API's largest memory meanwhile in MiB."""

    seconds: float
    api_mib: float


class Service:
    """A stack of its own without workers, so that nothing but the API and the database is busy."""

    def __init__(self, stack: Stack) -> None:
        self.port = stack.port
        self.headers = {"Authorization": f"Bearer {stack.key}", "Content-Type": "application/json"}

    def send(self, ask: Ask) -> Any:
        """One request; returns its JSON. Raises RuntimeError when it is refused."""
        with self.opened(ask) as answer:
            return json.loads(answer.read() or b"null")

    @contextmanager
    def opened(self, ask: Ask) -> Iterator[HTTPResponse]:
        """One request, whose answer is read as it comes. Raises RuntimeError when it is refused."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request(ask.method, ask.path, ask.body, dict(ask.headers))
        answer = connection.getresponse()
        if answer.status >= http.client.BAD_REQUEST:
            raise RuntimeError(answer.read().decode())
        yield answer
        connection.close()

    @property
    def api(self) -> psutil.Process:
        """The process that serves requests: whoever listens at the port, and is nobody's parent."""
        listeners = {one.pid for one in psutil.net_connections("tcp") if one.laddr and one.laddr[1] == self.port}
        processes = (psutil.Process(pid) for pid in listeners if pid is not None)
        return next(one for one in processes if not one.children())

    @property
    def database_url(self) -> str:
        """Where the stack's registry is."""
        return self.api.environ()["SKIM_DATABASE_URL"]

    def cost(self, work: Callable[[], Any]) -> tuple[Cost, Any]:
        """Do something; what it took, and what came of it."""
        api, peak, is_done = self.api, [0], threading.Event()

        def watch() -> None:
            while not is_done.wait(LOOK_S):
                peak[0] = max(peak[0], api.memory_info().rss)

        watcher = threading.Thread(target=watch)
        watcher.start()
        began = time.perf_counter()
        try:
            result = work()
        finally:
            took = time.perf_counter() - began
            is_done.set()
            watcher.join()
        return Cost(took, max(peak[0], api.memory_info().rss) / 2**20), result
