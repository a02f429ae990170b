"""The end of a job, told to its owner: tried again until it is accepted, and verified by the official client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from openai import InvalidWebhookSignatureError, OpenAI

from tests.acceptance.openai.conftest import MODEL
from tests.acceptance.workers.service import Service, until
from tests.tools.receiving import receiving


class Receiver(BaseHTTPRequestHandler):
    """Refuses the first message of each and accepts what follows."""

    def do_POST(self) -> None:
        seen: list[tuple[dict[str, str], bytes]] = getattr(self.server, "seen")  # noqa: B009
        seen.append((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(503 if len(seen) == 1 else 200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Quietly."""


@pytest.fixture
def receiver() -> Iterator[ThreadingHTTPServer]:
    with receiving(Receiver) as server:
        yield server


def test_the_end_of_a_job_is_told_until_it_is_heard(
    client: OpenAI, address: str, secret: str, world: Service, receiver: ThreadingHTTPServer
) -> None:
    headers = {"Authorization": f"Bearer {secret}"}
    url = f"http://127.0.0.1:{receiver.server_port}/hook"
    body = {"kind": "generate", "model": MODEL, "inputs": [{"prompt": "abc"}], "webhook_url": url}
    seen: list[tuple[dict[str, str], bytes]] = receiver.seen  # type: ignore[attr-defined]
    key = httpx.get(f"{address}/v1/webhooks/secret", headers=headers).json()["secret"]

    job_id = httpx.post(f"{address}/v1/jobs", json=body, headers=headers).json()["id"]
    until(lambda: delivery(world, job_id).last_error == "status 503")
    waiting = delivery(world, job_id)
    world.rows("UPDATE deliveries SET due_at = now() WHERE job_id = :job RETURNING id", job=job_id)
    until(lambda: delivery(world, job_id).status == "delivered")

    assert (waiting.status, waiting.attempts) == ("waiting", 1)
    assert 2 < waiting.wait_s < 8
    (first_headers, first), (second_headers, second) = seen
    assert first == second
    assert first_headers["webhook-id"] == second_headers["webhook-id"]
    event: Any = client.webhooks.unwrap(second.decode(), second_headers, secret=key)
    assert event.type == "job.succeeded"
    told = json.loads(second)["data"]
    assert (told["id"], told["status"], told["counts"]["succeeded"]) == (job_id, "succeeded", 1)
    with pytest.raises(InvalidWebhookSignatureError):
        client.webhooks.unwrap(second.decode() + " ", second_headers, secret=key)


def test_a_secret_is_kept_until_it_is_replaced(address: str, secret: str) -> None:
    url, headers = f"{address}/v1/webhooks/secret", {"Authorization": f"Bearer {secret}"}

    first, second = (httpx.get(url, headers=headers) for _ in range(2))
    replaced = httpx.post(url, headers=headers)

    assert first.json() == second.json()
    assert first.headers["Cache-Control"] == "no-store"
    assert replaced.json()["secret"] not in ("", first.json()["secret"])
    assert httpx.get(url, headers=headers).json() == replaced.json()


def delivery(world: Service, job_id: str) -> Any:
    """How far the job's delivery is; `wait_s` until the next attempt."""
    query = """
    SELECT status, attempts, last_error, extract(epoch FROM due_at - now())::float AS wait_s
    FROM deliveries WHERE job_id = :job
    UNION ALL SELECT 'none', 0, NULL, 0.0 LIMIT 1
    """
    return world.rows(query, job=job_id)[0]
