"""A receiver of webhooks on loopback that takes most of them, some slowly, and refuses one in ten."""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from bench.clients import Tally

SLOWLY_S: Final = 0.3


class _Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        tally: Tally = getattr(self.server, "tally")  # noqa: B009
        tally.note_webhook()
        dice = random.random()
        if dice > 0.9:
            time.sleep(SLOWLY_S)
        self.send_response(500 if dice < 0.1 else 200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Quietly."""


@contextmanager
def receiving(tally: Tally) -> Iterator[str]:
    """A receiver of webhooks on loopback; yields its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Receiver)
    server.tally = tally  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.1,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
