"""The worker class under a real gunicorn: a client that stops sending loses its thread, one that keeps on does not."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

APPLICATION = """
import api.connection
api.connection.GRACE_S, api.connection.SILENCE_S = 1.5, 1.0

def app(environ, start_response):
    try:
        body = environ["wsgi.input"].read()
        status = "200 OK"
    except TimeoutError:
        body, status = b"slow", "408 Request Timeout"
    start_response(status, [("Content-Length", str(len(body)))])
    return [body]
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A unix socket behind which one thread serves."""
    folder = tmp_path_factory.mktemp("slow")
    (folder / "echo.py").write_text(APPLICATION)
    path = folder / "s"
    command = [sys.executable, "-m", "gunicorn", "--worker-class", "api.server.TimedWorker", "--threads", "1"]
    command += ["--bind", f"unix:{path}", "--chdir", str(folder), "--no-control-socket", "echo:app"]
    env = {**os.environ, "PYTHONPATH": f"{folder}:{Path(__file__).parents[3]}"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    deadline = time.monotonic() + 30
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    yield path
    process.terminate()
    process.wait(timeout=30)
    assert b"Traceback" not in (folder / "log").read_bytes()


def send(address: Path, *parts: bytes, pause_s: float = 0.0) -> bytes:
    """Send the parts with pauses, then read until the server hangs up."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(15)
        client.connect(str(address))
        answer = b""
        try:
            for part in parts:
                client.sendall(part)
                time.sleep(pause_s)
            while data := client.recv(65536):
                answer += data
        except (BrokenPipeError, ConnectionResetError):
            pass
    return answer


HEAD = b"POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 10\r\n\r\n"


def test_a_prompt_client_is_served(address: Path) -> None:
    assert send(address, HEAD, b"0123456789").endswith(b"\r\n\r\n0123456789")


def test_a_body_that_stops_is_a_time_out(address: Path) -> None:
    start = time.monotonic()

    assert b"408 Request Timeout" in send(address, HEAD, b"01234")
    assert time.monotonic() - start < 5


def test_headers_that_stop_are_hung_up_on(address: Path) -> None:
    assert send(address, b"POST / HTTP/1.1\r\nHost:") == b""


def test_a_drip_does_not_keep_the_thread(address: Path) -> None:
    """Each byte comes in time, the request as a whole does not."""
    drip = [bytes([byte]) for byte in HEAD]

    assert send(address, *drip, pause_s=0.2) == b""
    assert send(address, HEAD, b"0123456789").endswith(b"0123456789")


def test_a_large_body_earns_its_time(address: Path) -> None:
    """Slower than the grace, faster than the least rate."""
    head = HEAD.replace(b"Content-Length: 10", b"Content-Length: 40960")

    assert len(send(address, head, *[bytes(4096)] * 10, pause_s=0.25)) > 40960
