"""The service over HTTP, as the commands need it: one method a route, problems as one-line errors.

Nothing else in the command line speaks HTTP. Submits carry an Idempotency-Key, so they may be repeated safely.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self
from urllib.parse import quote

import httpx

from cli.answers import body_of, problem
from cli.errors import Unreachable, UsageError
from cli.views import Item, Job, Json

POLL_S = 20
QUEUED_POLL_S = 5  # nothing but time tells how far it has moved up
RETRY_PAUSE_S = 0.5
RETRY_STATUSES = frozenset({429, 502, 503})
MAX_JSON_INPUTS = 500
# A long poll answers within 30 s; the rest is for a busy machine.
TIMEOUT = httpx.Timeout(60, connect=5)


class Client:
    """A connection to one API. `patience_s` is how long a refused connection or a busy service is tried again."""

    def __init__(self, url: str, key: str | None, *, patience_s: float = 5) -> None:
        self.url = url.rstrip("/")
        self.patience_s = patience_s
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(base_url=self.url, headers=headers, timeout=TIMEOUT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def is_ready(self) -> bool:
        """Whether the service answers and reaches its database."""
        try:
            return self._http.get("/readyz", timeout=5).is_success
        except httpx.HTTPError:
            return False

    def submit(self, head: Json, inputs: list[Json], *, key: str | None = None) -> Job:
        """Submit a job; `key` makes a repeated call answer with the first call's job."""
        headers = {"Idempotency-Key": key or uuid.uuid4().hex}
        if len(inputs) <= MAX_JSON_INPUTS:
            return Job(self._ask("POST", "/v1/jobs", json={**head, "inputs": inputs}, headers=headers))
        lines = b"".join(json.dumps(line).encode() + b"\n" for line in (head, *inputs))
        headers["Content-Type"] = "application/x-ndjson"
        return Job(self._ask("POST", "/v1/jobs", content=lines, headers=headers))

    def search(self, body: Json) -> Job:
        """Submit a search."""
        return Job(self._ask("POST", "/v1/jobs", json=body, headers={"Idempotency-Key": uuid.uuid4().hex}))

    def job(self, job_id: str, *, wait_s: float = 0) -> Job:
        """The job now, or at its next change within `wait_s`, which its place in the queue is none of."""
        params = {"wait": wait_s} if wait_s else None
        return Job(self._ask("GET", job_path(job_id), params=params))

    def follow(self, job_id: str) -> Iterator[Job]:
        """The job at every change, until it is over."""
        job = self.job(job_id)
        yield job
        while not job.is_over:
            asked = time.monotonic()
            job = self.job(job_id, wait_s=QUEUED_POLL_S if job.status == "queued" else POLL_S)
            yield job
            if not job.is_over and time.monotonic() - asked < RETRY_PAUSE_S:
                time.sleep(RETRY_PAUSE_S)  # a busy service answers polls at once; changes may also come thick and fast

    def jobs(self, limit: int, **filters: str | None) -> Json:
        """The newest jobs as the API's list, over as many pages as `limit` needs."""
        return self._list("/v1/jobs", limit, filters, page=100)

    def items(self, job_id: str, *, status: str | None = None) -> Iterator[Item]:
        """All items of a job, by index."""
        for row in self._rows(job_path(job_id, "items"), {"status": status}, page=1000):
            yield Item(row)

    @contextmanager
    def results(self, job_id: str) -> Iterator[Iterator[str]]:
        """The lines of the job's results, streamed."""
        with self._translated(), self._http.stream("GET", job_path(job_id, "results")) as response:
            if response.is_error:
                response.read()
                raise problem(response)
            yield response.iter_lines()

    def cancel(self, job_id: str) -> Job:
        """Ask for a job to be cancelled; finished items are kept."""
        return Job(self._ask("POST", job_path(job_id, "cancel")))

    def retry(self, job_id: str, statuses: Sequence[str] = ()) -> Job:
        """A new job of the items of these statuses, by default of all that did not succeed."""
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        body = {"statuses": list(statuses)} if statuses else {}
        return Job(self._ask("POST", job_path(job_id, "retry"), json=body, headers=headers))

    def deliveries(self, job_id: str) -> Json:
        """What was sent to the job's webhook, as the API's list."""
        return self._list(job_path(job_id, "deliveries"), None, {}, page=100)

    def deliver_again(self, job_id: str, delivery_id: str) -> Json:
        """Send it once more."""
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        return self._ask("POST", job_path(job_id, "deliveries", delivery_id, "retry"), headers=headers)

    def tenants(self) -> Json:
        """All tenants that one may see, as the API's list."""
        return self._list("/v1/tenants", None, {}, page=100)

    def create_tenant(self, registration: Json) -> Json:
        """Make a tenant."""
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        return self._ask("POST", "/v1/tenants", json=registration, headers=headers)

    def change_tenant(self, tenant_id: str, changes: Json) -> Json:
        """Change what is named."""
        return self._ask("PATCH", f"/v1/tenants/{tenant_id}", json=changes)

    def audit(self, limit: int) -> Json:
        """The newest entries of the audit, as the API's list."""
        return self._list("/v1/audit", limit, {}, page=100)

    def models(self) -> Json:
        """All registered models, as the API's list."""
        return self._list("/v1/models", None, {}, page=100)

    def model(self, name: str) -> Json:
        """One registered model."""
        return self._ask("GET", f"/v1/models/{name}")

    def add_model(self, registration: Json) -> Json:
        """Register a model."""
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        return self._ask("POST", "/v1/models", json=registration, headers=headers)

    def found(self, search_id: str) -> Json:
        """A search with its evidence."""
        return self._ask("GET", f"/v1/searches/{search_id}")

    def trials(self, search_id: str) -> Iterator[Json]:
        """All trials of a search so far, by number."""
        return self._rows(f"/v1/searches/{search_id}/trials", {}, page=1000)

    def report(self, search_id: str) -> str:
        """The picture of a search, as HTML."""
        with self._translated():
            response = self._http.get(f"/v1/searches/{search_id}/report")
        if response.is_error:
            raise problem(response)
        return response.text

    def skip_sets(self, model: str) -> Json:
        """All skip sets of a model, as the API's list."""
        return self._ask("GET", f"/v1/models/{model}/skip-sets")

    def skip_set(self, model: str, skip_set_id: str) -> Json:
        """One skip set."""
        return self._ask("GET", f"/v1/models/{model}/skip-sets/{skip_set_id}")

    def activate(self, model: str, skip_set_id: str) -> Json:
        """Make a skip set the active one of its place."""
        return self._ask("POST", f"/v1/models/{model}/skip-sets/{skip_set_id}/activate")

    def roll_back(self, model: str, place: Json) -> Json:
        """Undo the last activation of a place; repeated by the connection, it is still one."""
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        return self._ask("POST", f"/v1/models/{model}/skip-sets/rollback", json=place, headers=headers)

    def activations(self, model: str, limit: int) -> Json:
        """The newest activations of a model, as the API's list."""
        return self._list(f"/v1/models/{model}/activations", limit, {}, page=1000)

    def schedule(self, model: str) -> Json:
        """The schedule of a model."""
        return self._ask("GET", f"/v1/models/{model}/schedule")

    def set_schedule(self, model: str, body: Json) -> Json:
        """Make or change it."""
        return self._ask("PUT", f"/v1/models/{model}/schedule", json=body)

    def remove_schedule(self, model: str) -> None:
        """Remove it."""
        self._ask("DELETE", f"/v1/models/{model}/schedule")

    def nights(self, model: str, limit: int) -> Json:
        """What its last nights came to, as the API's list."""
        return self._list(f"/v1/models/{model}/schedule/fires", limit, {}, page=100)

    def workers(self) -> Json:
        """All workers, as the API's list."""
        return self._list("/v1/workers", None, {}, page=100)

    def keys(self) -> Json:
        """All keys of the tenant, as the API's list."""
        return self._list("/v1/keys", None, {}, page=100)

    def create_key(self, registration: Json) -> Json:
        """Make a key; the answer is the only one that shows its secret."""
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        return self._ask("POST", "/v1/keys", json=registration, headers=headers)

    def revoke_key(self, key_id: str) -> Json:
        """Revoke a key for good."""
        return self._ask("DELETE", f"/v1/keys/{key_id}")

    def _list(self, path: str, limit: int | None, filters: dict[str, str | None], *, page: int) -> Json:
        rows: list[Json] = []
        has_more = False
        for row in self._rows(path, filters, page=min(page, limit or page)):
            if limit is not None and len(rows) == limit:
                has_more = True
                break
            rows.append(row)
        ends = {"first_id": rows[0].get("id"), "last_id": rows[-1].get("id")} if rows else {}
        return {"object": "list", "data": rows, "has_more": has_more, "first_id": None, "last_id": None, **ends}

    def _rows(self, path: str, filters: dict[str, str | None], *, page: int) -> Iterator[Json]:
        params: dict[str, Any] = {name: value for name, value in filters.items() if value is not None}
        params["limit"] = page
        while True:
            answer = self._ask("GET", path, params=params)
            yield from answer["data"]
            if not answer["has_more"]:
                return
            params["after"] = answer["last_id"]

    def _ask(self, method: str, path: str, **request: Any) -> Json:
        """One request, repeated while the service is starting or busy."""
        deadline = time.monotonic() + self.patience_s
        while True:
            try:
                with self._translated():
                    response = self._http.request(method, path, **request)
            except Unreachable:
                if time.monotonic() > deadline:
                    raise
            else:
                if response.status_code not in RETRY_STATUSES or time.monotonic() > deadline:
                    return body_of(response)
            time.sleep(RETRY_PAUSE_S)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except httpx.ConnectError as error:
            raise Unreachable(f"nothing answers at {self.url}: is the stack up? (skim up)") from error
        except httpx.TimeoutException as error:
            raise Unreachable(f"{self.url} did not answer in time") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unreachable(f"{self.url}: {error or type(error).__name__}") from error


def job_path(job_id: str, *more: str) -> str:
    """Where a job, or what belongs to it, is found.

    Raises:
        UsageError: the id is empty, as that of a submit that failed in a script.
    """
    if not job_id.strip():
        raise UsageError("the id of the job is empty")
    return "/".join(("/v1/jobs", *(quote(part, safe="") for part in (job_id, *more))))
