"""The client against a real HTTP server on loopback that answers as the API does."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from cli.client import MAX_JSON_INPUTS, Client, job_path
from cli.errors import Missing, Refused, SkimError, Unauthorized, Unreachable, UsageError

Answer = tuple[int, Any]
JOB = {"id": "job_1", "status": "queued", "counts": {"total": 1}}


class Server(ThreadingHTTPServer):
    """Answers from a list, one request after another, and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[Answer] = []
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """One request."""

    def _answer(self) -> None:
        assert isinstance(self.server, Server)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.requests.append((self.command, self.path, headers, body))
        status, document = self.server.answers.pop(0)
        content = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815 - the base class looks these names up

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as served:
        thread = threading.Thread(target=served.serve_forever, args=(0.01,))
        thread.start()
        yield served
        served.shutdown()
        thread.join()


def test_submit_sends_key_body_and_idempotency_key(server: Server) -> None:
    server.answers = [(202, JOB)]

    with Client(server.url, "sk-1") as client:
        job = client.submit({"kind": "summarize", "model": "m"}, [{"document": "d"}], key="once")

    ((method, path, headers, body),) = server.requests
    assert (job.id, method, path) == ("job_1", "POST", "/v1/jobs")
    assert (headers["authorization"], headers["idempotency-key"]) == ("Bearer sk-1", "once")
    assert json.loads(body) == {"kind": "summarize", "model": "m", "inputs": [{"document": "d"}]}


def test_large_submit_goes_as_lines(server: Server) -> None:
    server.answers = [(202, JOB)]
    inputs = [{"prompt": f"line\n{number}"} for number in range(MAX_JSON_INPUTS + 1)]

    with Client(server.url, None) as client:
        client.submit({"kind": "generate", "model": "m"}, inputs)

    ((_, _, headers, body),) = server.requests
    assert headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line) for line in body.splitlines()] == [{"kind": "generate", "model": "m"}, *inputs]


@pytest.mark.parametrize(
    ("status", "document", "kind", "message"),
    [
        (401, {"detail": "unknown key"}, Unauthorized, "unknown key"),
        (403, {"detail": "needs the admin scope"}, Unauthorized, "needs the admin scope"),
        (404, {"detail": "no such job"}, Missing, "no such job"),
        (
            400,
            {"detail": "not valid", "errors": [{"line": 3, "field": "document", "message": "is blank"}]},
            Refused,
            "not valid (line 3, field document: is blank)",
        ),
        (500, b"<html>oh</html>", Refused, "the API answered 500"),
        (200, b"<html>hello</html>", Refused, "no Skim API"),
    ],
)
def test_problems_become_one_line(
    server: Server, status: int, document: Any, kind: type[SkimError], message: str
) -> None:
    server.answers = [(status, document)]

    with Client(server.url, None) as client, pytest.raises(kind) as caught:
        client.job("job_1")

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_busy_service_is_tried_again(server: Server) -> None:
    server.answers = [(503, {"detail": "starting"}), (200, JOB)]

    with Client(server.url, None) as client:
        assert client.job("job_1").id == "job_1"


def test_refused_connection_is_tried_until_the_service_is_there() -> None:
    with Server() as late:
        url = late.url
    with Client(url, None, patience_s=0) as client, pytest.raises(Unreachable, match="nothing answers"):
        client.job("job_1")


def test_pages_are_followed_to_the_limit(server: Server) -> None:
    server.answers = [
        (200, {"data": [{"id": "a"}, {"id": "b"}], "has_more": True, "last_id": "b"}),
        (200, {"data": [{"id": "c"}, {"id": "d"}], "has_more": False, "last_id": "d"}),
    ]

    with Client(server.url, None) as client:
        page = client.jobs(3, status="failed")

    assert [row["id"] for row in page["data"]] == ["a", "b", "c"]
    assert (page["has_more"], page["first_id"], page["last_id"]) == (True, "a", "c")
    assert [path for _, path, _, _ in server.requests] == [
        "/v1/jobs?status=failed&limit=3",
        "/v1/jobs?status=failed&limit=3&after=b",
    ]


def test_follow_polls_until_the_job_is_over(server: Server) -> None:
    states = ["queued", "running", "succeeded"]
    server.answers = [(200, {**JOB, "status": state}) for state in states]

    with Client(server.url, None) as client:
        seen = _timed(lambda: [job.status for job in client.follow("job_1")])

    assert seen == states
    assert [path for _, path, _, _ in server.requests] == [
        "/v1/jobs/job_1",
        "/v1/jobs/job_1?wait=5",
        "/v1/jobs/job_1?wait=20",
    ]


def _timed(call: Callable[[], list[str]]) -> list[str]:
    began = time.monotonic()
    found = call()
    assert time.monotonic() - began < 5
    return found


@pytest.mark.parametrize("job_id", ["", " "])
def test_no_job_is_not_all_of_them(job_id: str) -> None:
    """As `skim show "$(skim submit ...)"` asks for when nothing was submitted."""
    with pytest.raises(UsageError, match="the id of the job is empty"):
        job_path(job_id)


def test_an_id_stays_within_its_place() -> None:
    assert job_path("../keys", "items") == "/v1/jobs/..%2Fkeys/items"
