"""The service as it runs: gunicorn with the shipped configuration, over a real socket."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path

import httpx
import psutil
import pytest
from sqlalchemy import make_url

from cli.stack.postgres import Postgres
from tests.tools.serving import ROOT, environment, serving, wait_until_live

SIZE = 300 * 2**20


@pytest.fixture
def service(database_url: str, tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes], Path]]:
    log = tmp_path / "log"
    with log.open("wb") as output, serving(output, environment(database_url)) as (url, process):
        wait_until_live(url)
        yield url, process, log


def test_an_idle_process_is_small(service: tuple[str, subprocess.Popen[bytes], Path]) -> None:
    url, process, log = service
    assert httpx.get(f"{url}/readyz").json() == {
        "status": "degraded",
        "checks": {"database": "ok", "broker": "unreachable"},
        "workers": {"ready": 0, "loading": 0},
    }

    sizes = [child.memory_info().rss / 2**20 for child in psutil.Process(process.pid).children()]

    print(f"API process: {sizes} MiB resident")  # noqa: T201  the figure is reported, not only bounded
    assert all(size < 150 for size in sizes)
    assert b"Traceback" not in log.read_bytes()


def test_nothing_heavy_is_imported(database_url: str) -> None:
    code = "import api.wsgi, sys; print([n for n in ('torch', 'transformers', 'engine', 'numpy') if n in sys.modules])"

    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment(database_url),
        stdout=subprocess.PIPE,
        timeout=60,
        check=True,
    )

    assert done.stdout.decode().strip() == "[]"


def test_300_mb_are_refused_early(service: tuple[str, subprocess.Popen[bytes], Path], secret: str) -> None:
    """Declared: before the body is sent. Undeclared: soon after the limit, never after all of it."""
    url, process, _ = service
    worker = psutil.Process(process.pid).children()[0]
    sent = 0

    def body() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(SIZE // 2**20):
            sent += 2**20
            yield bytes(2**20)

    headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
    declared = HTTPConnection(url.removeprefix("http://"), timeout=30)
    declared.putrequest("POST", "/v1/jobs")
    for name, value in {**headers, "Content-Length": str(SIZE)}.items():
        declared.putheader(name, value)
    declared.endheaders()
    answer = declared.getresponse()
    assert (answer.status, json.loads(answer.read())["error"]["code"]) == (413, "body_too_large")
    declared.close()

    with suppress(httpx.TransportError):  # or hung up on while still sending, before it read the answer
        assert httpx.post(f"{url}/v1/jobs", content=body(), headers=headers, timeout=30).status_code == 413
    assert sent < 64 * 2**20
    assert worker.memory_info().rss < 250 * 2**20


@pytest.mark.parametrize("ending", [b"", b'7\r\n{"promp\r\n'])
def test_a_body_that_breaks_off_is_no_job(
    service: tuple[str, subprocess.Popen[bytes], Path], secret: str, ending: bytes
) -> None:
    """The lines that came are complete: only the missing end of the body tells that there were to be more."""
    url, _, _ = service
    lines = b'{"kind": "generate", "model": "tiny"}\n{"prompt": "a"}\n'
    framing = f"Content-Length: {len(lines) + 20}" if not ending else "Transfer-Encoding: chunked"
    body = lines if not ending else b"%x\r\n%b\r\n%b" % (len(lines), lines, ending)
    head = f"POST /v1/jobs HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {secret}\r\n{framing}\r\n"
    host, _, port = url.removeprefix("http://").partition(":")

    with socket.create_connection((host, int(port)), timeout=30) as client:
        client.sendall(head.encode() + b"Content-Type: application/x-ndjson\r\n\r\n" + body)
        client.shutdown(socket.SHUT_WR)
        answer = client.recv(65536)

    assert answer.startswith(b"HTTP/1.1 400")
    assert httpx.get(f"{url}/v1/jobs", headers={"Authorization": f"Bearer {secret}"}).json()["data"] == []


def test_without_a_database_it_says_so_and_ends(tmp_path: Path) -> None:
    env = environment("postgresql://u:hidden@127.0.0.1:9/d", SKIM_START_WAIT_S="2")
    with (tmp_path / "log").open("wb") as log, serving(log, env) as (_, process):
        status = process.wait(timeout=60)

    text = (tmp_path / "log").read_text()
    assert status != 0
    assert "skim api: waiting for the database at postgresql://u:***@127.0.0.1:9/d" in text
    assert "skim api: no database at postgresql://u:***@127.0.0.1:9/d after 2 s" in text
    assert "Traceback" not in text
    assert "hidden" not in text


def test_stopping_does_not_wait_for_long_polls(service: tuple[str, subprocess.Popen[bytes], Path], secret: str) -> None:
    url, process, _ = service
    headers = {"Authorization": f"Bearer {secret}"}
    body = {"kind": "generate", "model": "tiny", "inputs": [{"prompt": "a"}]}
    job_id = httpx.post(f"{url}/v1/jobs", json=body, headers=headers).json()["id"]
    answers: list[int] = []

    def poll() -> None:
        answers.append(httpx.get(f"{url}/v1/jobs/{job_id}?wait=30", headers=headers, timeout=40).status_code)

    poller = threading.Thread(target=poll)
    poller.start()
    time.sleep(1)
    start = time.monotonic()
    process.terminate()
    process.wait(timeout=30)
    poller.join()

    assert answers == [200]
    assert time.monotonic() - start < 10


def test_without_its_settings_it_says_which(tmp_path: Path) -> None:
    env = environment("postgresql://h/d")
    del env["SKIM_DATABASE_URL"]
    with (tmp_path / "log").open("wb") as log, serving(log, env) as (_, process):
        process.wait(timeout=60)

    text = (tmp_path / "log").read_text()
    assert "skim api: SKIM_DATABASE_URL is not set" in text
    assert "Traceback" not in text


def test_a_lost_database_is_a_503_and_comes_back(
    service: tuple[str, subprocess.Popen[bytes], Path], secret: str, postgres_server: Postgres, database_url: str
) -> None:
    url, _, log = service
    headers = {"Authorization": f"Bearer {secret}"}
    name = make_url(database_url).database
    with postgres_server.connect() as admin:
        admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        lost = httpx.get(f"{url}/v1/jobs", headers=headers)
        ready = httpx.get(f"{url}/readyz")
        admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')

    assert (lost.status_code, lost.json()["error"]["code"]) == (503, "database_unavailable")
    assert lost.headers["Retry-After"] == "2"
    assert (ready.status_code, ready.json()["status"], ready.json()["workers"]) == (503, "unavailable", None)
    assert httpx.get(f"{url}/v1/jobs", headers=headers).status_code == 200
    assert "Traceback" not in log.read_text()
