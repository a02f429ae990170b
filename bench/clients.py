"""Clients of a soaked stack: what they count together, how each is connected, and the parts that acts are made of."""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
from openai import DefaultHttpxClient, OpenAI

from bench.bulk import MODEL

Json = dict[str, Any]

MAX_TOKENS: Final = 8


@dataclass(slots=True)
class Tally:
    """What came of it all, counted by all actors; `surprises` are answers that nobody should get."""

    requests: int = 0
    acts: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    webhooks: int = 0
    surprises: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, response: Any) -> None:
        """Count an answer, of httpx or of the copy of it that OpenAI's client brings."""
        status = int(response.status_code)
        with self._lock:
            self.requests += 1
            self.statuses[status] += 1
            if status >= 500:
                self.surprises.append(f"{status} {response.request.method} {response.request.url.path}")

    def note_act(self, name: str, surprise: str | None = None) -> None:
        """Count an act, and what was wrong with it."""
        with self._lock:
            self.acts[name] += 1
            if surprise is not None:
                self.surprises.append(f"{name}: {surprise}")

    def note_webhook(self) -> None:
        """Count a delivery."""
        with self._lock:
            self.webhooks += 1


@dataclass(frozen=True, slots=True)
class Place:
    """Where the service is, whose keys are used (of the tenant, and of the operator for metrics), what is said."""

    url: str
    key: str
    operator_key: str
    hook_url: str
    texts: Sequence[str]
    tally: Tally


class Client:
    """One client with connections of its own, for OpenAI's routes and for the others."""

    def __init__(self, place: Place, seed: int) -> None:
        self._place = place
        self._random = random.Random(seed)
        hooks: Any = {"response": [place.tally.note]}
        headers = {"Authorization": f"Bearer {place.key}"}
        self.http = httpx.Client(base_url=place.url, headers=headers, timeout=60, event_hooks=hooks)
        openai_http = DefaultHttpxClient(timeout=60, event_hooks=hooks)
        self.openai = OpenAI(base_url=f"{place.url}/v1", api_key=place.key, http_client=openai_http, max_retries=0)

    def close(self) -> None:
        """Hang up."""
        self.http.close()
        self.openai.close()

    def _body(self, num: int, **more: Any) -> Json:
        inputs = [{"prompt": self._text()} for _ in range(num)]
        parameters = {"max_tokens": self._length()}
        return {"kind": "generate", "model": MODEL, "inputs": inputs, "parameters": parameters, **more}

    def _line(self, number: int) -> str:
        body = {
            "model": MODEL,
            "messages": [{"role": "user", "content": self._text()}],
            "max_tokens": self._length(),
        }
        return json.dumps({"custom_id": str(number), "method": "POST", "url": "/v1/chat/completions", "body": body})

    def _upload(self, lines: Sequence[str]) -> str:
        content = "\n".join(lines).encode()
        expiry: Any = {"anchor": "created_at", "seconds": 3600}
        return self.openai.files.create(file=("in.jsonl", content), purpose="batch", expires_after=expiry).id

    def _settled(self, batch_id: str) -> Any:
        while True:
            found = self.openai.batches.retrieve(batch_id)
            if found.status in ("completed", "failed", "expired", "cancelled"):
                return found
            time.sleep(0.5)

    def _text(self) -> str:
        return self._random.choice(self._place.texts)

    def _length(self) -> int:
        return self._random.randint(1, MAX_TOKENS)

    def _post(self, path: str, body: Json, headers: dict[str, str] | None = None) -> Json:
        answer: Json = self.http.post(path, json=body, headers=headers or {}).raise_for_status().json()
        return answer

    def _await(self, job_id: str, *, is_good: bool | None = True) -> Json:
        while True:
            job: Json = self.http.get(f"/v1/jobs/{job_id}", params={"wait": 20}).raise_for_status().json()
            if job["finished_at"] is not None:
                self._expect(is_good is None or job["status"] == "succeeded", f"{job_id} {job['status']}")
                return job

    def _refused(self, answer: httpx.Response) -> None:
        self._expect(400 <= answer.status_code < 500, f"{answer.status_code} {answer.request.url.path}")

    def _expect(self, is_so: bool, surprise: str) -> None:
        if not is_so:
            raise RuntimeError(surprise)
