"""Everything that clients do to the service, good and bad, at random: what ``bench.soak`` lets loose on a stack.

An actor does one act after the other over its own connections. Acts leave nothing open behind them on purpose, and
whatever they count comes from answers, not from hopes.
"""

import json
import secrets
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import httpx

from bench.bulk import MODEL
from bench.clients import Client, Json

BAD_BODIES: Final[Sequence[Json]] = (
    {},
    {"kind": "generate", "model": MODEL, "inputs": []},
    {"kind": "generate", "model": "no-such-model", "inputs": [{"prompt": "x"}]},
    {"kind": "generate", "model": MODEL, "inputs": [{"prompt": "x"}], "parameters": {"temperature": -1}},
    {"kind": "paint", "model": MODEL, "inputs": [{"prompt": "x"}]},
)
LISTINGS: Final = (
    "/v1/jobs?limit=50",
    "/v1/jobs?status=succeeded&kind=generate",
    "/v1/files",
    "/v1/batches",
    "/v1/models",
    f"/v1/models/{MODEL}/skip-sets",
    "/v1/workers",
    "/v1/keys",
    "/v1/audit",
    "/v1/tenants",
    "/livez",
    "/readyz",
    "/openapi.json",
)


class Actor(Client):
    """A client with a will of its own."""

    def act(self, until: float) -> None:
        """One act after the other until that moment (monotonic)."""
        acts: Sequence[Callable[[], None]] = (
            self.bulk,
            self.lines,
            self.batch,
            self.refused_batch,
            self.chat,
            self.completion,
            self.hang_up,
            self.hang_up_sending,
            self.cancel_and_retry,
            self.follow,
            self.repeat,
            self.err,
            self.look_around,
            self.keys,
            self.scrape,
            self.summarize,
            *(self.look_around, self.err, self.keys, self.repeat, self.scrape),  # which are quick
        )
        while time.monotonic() < until:
            one = self._random.choice(acts)
            try:
                one()
            except Exception as error:  # whatever it was, it is told and the traffic goes on
                self._place.tally.note_act(one.__name__, f"{type(error).__name__}: {str(error)[:200]}")
            else:
                self._place.tally.note_act(one.__name__)

    # Jobs

    def bulk(self) -> None:
        """A bulk job with a webhook, polled by ETag; its items, results and deliveries; sometimes erased."""
        job = self._post("/v1/jobs", self._body(self._random.randint(2, 8), webhook_url=self._place.hook_url))
        path, tag, status = f"/v1/jobs/{job['id']}", "", job["status"]
        while status in ("queued", "running"):
            answer = self.http.get(path, params={"wait": 5}, headers={"If-None-Match": tag} if tag else {})
            if answer.status_code != 304:
                tag, status = answer.headers["ETag"], answer.raise_for_status().json()["status"]
        self._expect(status == "succeeded", f"{job['id']} {status}")
        for part in ("items", "results", "deliveries"):
            self.http.get(f"{path}/{part}").raise_for_status()
        if self._random.random() < 0.5:
            self.http.delete(path).raise_for_status()

    def lines(self) -> None:
        """A longer job as JSON Lines, waited for."""
        body = self._body(24)
        inputs = body.pop("inputs")
        content = "\n".join(map(json.dumps, [body, *inputs]))
        answer = self.http.post("/v1/jobs", content=content, headers={"Content-Type": "application/x-ndjson"})
        self._await(answer.raise_for_status().json()["id"])

    def summarize(self) -> None:
        """A short document."""
        body = {"kind": "summarize", "model": MODEL, "inputs": [{"document": self._text()}], "max_words": 4}
        self._await(self._post("/v1/jobs", body)["id"])

    def cancel_and_retry(self) -> None:
        """A job that is called off at once, and its items once more."""
        job = self._post("/v1/jobs", self._body(12))
        answer = self.http.post(f"/v1/jobs/{job['id']}/cancel")
        self._expect(answer.status_code in (200, 202, 409), f"cancel {answer.status_code}")
        if self._await(job["id"], is_good=None)["counts"]["cancelled"]:
            again = self.http.post(f"/v1/jobs/{job['id']}/retry").raise_for_status().json()
            self._await(again["id"])

    def follow(self) -> None:
        """Events of a job, interrupted after the first and resumed."""
        path = f"/v1/jobs/{self._post('/v1/jobs', self._body(6))['id']}/events"
        with self.http.stream("GET", path) as answer:
            mark = next(one for one in answer.iter_lines() if one.startswith("id:")).removeprefix("id:").strip()
        with self.http.stream("GET", path, headers={"Last-Event-ID": mark}) as answer:
            names = [one for one in answer.iter_lines() if one.startswith("event:")]
        self._expect(answer.status_code == 204 or names[-1] == "event: end", f"events end with {names[-1:]}")

    def repeat(self) -> None:
        """The same request twice is one job, another body is refused."""
        once = {"Idempotency-Key": secrets.token_hex(8)}
        body = self._body(1)
        ids = {self._post("/v1/jobs", body, once)["id"] for _ in range(2)}
        other = self.http.post("/v1/jobs", json={**body, "metadata": {"other": "yes"}}, headers=once)
        self._expect(len(ids) == 1 and other.status_code == 422, f"{ids} {other.status_code}")
        self._await(ids.pop())

    # OpenAI's routes

    def chat(self) -> None:
        """A chat, streamed or not."""
        messages: Any = [{"role": "user", "content": self._text()}]
        if self._random.random() < 0.5:
            self.openai.chat.completions.create(model=MODEL, messages=messages, max_tokens=self._length())
            return
        stream = self.openai.chat.completions.create(
            model=MODEL, messages=messages, max_tokens=self._length(), stream=True
        )
        self._expect(sum(1 for _ in stream) > 0, "an empty stream")

    def completion(self) -> None:
        """Two choices with log-probabilities."""
        said = self.openai.completions.create(
            model=MODEL, prompt=self._text(), max_tokens=self._length(), n=2, logprobs=2
        )
        self._expect(len(said.choices) == 2, f"{len(said.choices)} choices")

    def batch(self) -> None:
        """A file, a batch of it, its output; all files erased."""
        file_id = self._upload([self._line(number) for number in range(6)])
        made = self.openai.batches.create(
            input_file_id=file_id, endpoint="/v1/chat/completions", completion_window="24h"
        )
        made = self._settled(made.id)
        self._expect(made.status == "completed" and made.output_file_id is not None, f"batch {made.status}")
        self._expect(self.openai.files.content(made.output_file_id or "").text.count("\n") == 6, "output of a batch")
        self.openai.files.delete(file_id)

    def refused_batch(self) -> None:
        """A batch with a bad line."""
        file_id = self._upload([self._line(0), '{"custom_id": "bad"}'])
        made = self.openai.batches.create(
            input_file_id=file_id, endpoint="/v1/chat/completions", completion_window="24h"
        )
        self._expect(self._settled(made.id).status == "failed", "a bad batch was taken")
        self.openai.files.delete(file_id)

    # Bad manners

    def hang_up(self) -> None:
        """Away in the middle of a stream."""
        messages = [{"role": "user", "content": self._text()}]
        body = {"model": MODEL, "messages": messages, "max_tokens": 200, "stream": True}
        with self.http.stream("POST", "/v1/chat/completions", json=body) as answer:
            next(one for one in answer.iter_lines() if one.startswith("data:"))

    def hang_up_sending(self) -> None:
        """Away in the middle of an upload."""
        url = httpx.URL(self._place.url)
        head = (
            f"POST /v1/jobs HTTP/1.1\r\nHost: {url.host}\r\nAuthorization: Bearer {self._place.key}\r\n"
            "Content-Type: application/x-ndjson\r\nContent-Length: 1000000\r\n\r\n"
        )
        part = json.dumps(self._body(1) | {"inputs": None}) + "\n" + json.dumps({"prompt": "x"}) + "\n"
        with socket.create_connection((url.host, url.port or 80), 10) as connection:
            connection.sendall((head + part).encode())
            time.sleep(self._random.uniform(0, 0.2))

    def err(self) -> None:
        """What is refused: bodies, keys, paths, cursors."""
        for body in self._random.sample(BAD_BODIES, 2):
            self._refused(self.http.post("/v1/jobs", json=body))
        self._refused(self.http.post("/v1/jobs", content=b"{", headers={"Content-Type": "application/json"}))
        self._refused(self.http.get(f"/v1/jobs/job_{secrets.token_hex(8)}"))
        self._refused(self.http.get(f"/v1/{secrets.token_hex(8)}"))
        self._refused(self.http.get("/v1/jobs?limit=many"))
        self._refused(self.http.get("/v1/jobs", headers={"Authorization": f"Bearer sk-{secrets.token_hex(8)}"}))

    # Around it

    def look_around(self) -> None:
        """Listings and documents."""
        for path in self._random.sample(LISTINGS, 4):
            self.http.get(path).raise_for_status()

    def keys(self) -> None:
        """A key is made, used and revoked."""
        made = self._post("/v1/keys", {"name": "passing", "scopes": ["jobs"]})
        headers = {"Authorization": f"Bearer {made['secret']}"}
        self.http.get("/v1/jobs", headers=headers).raise_for_status()
        self.http.delete(f"/v1/keys/{made['id']}").raise_for_status()
        self._refused(self.http.get("/v1/jobs", headers=headers))

    def scrape(self) -> None:
        """Metrics."""
        headers = {"Authorization": f"Bearer {self._place.operator_key}"}
        self.http.get("/metrics", headers=headers).raise_for_status()
