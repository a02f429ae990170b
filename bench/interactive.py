"""How long interactive requests wait for text: at an idle worker, and while bulk work has every row it may have.

``python -m bench.interactive --documents FILE.jsonl`` starts a stack of its own, streams chat completions one after the
other as a client, first without other work and then above a bulk job, and stops it. A first token counts when its event
has arrived. The lag of a piece runs from its entry in Redis, made by the worker's writer, to its event at the client.
"""

import argparse
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from redis import Redis

from bench.bulk import MODEL, TEXT, Service, read_documents
from bench.report import RESULTS, save
from bench.stack import running

BULK_WORDS = 250
BULK_ITEMS = 400
MAX_TOKENS = 16
PAUSE_S = (0.2, 1.0)  # between two requests, so that they meet bulk rounds anywhere


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Milliseconds."""

    n: int
    p50: float
    p95: float
    most: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Quantiles":
        p50, p95, most = (1e3 * float(np.quantile(seconds, q)) for q in (0.5, 0.95, 1.0))
        return cls(len(seconds), p50, p95, most)

    def __str__(self) -> str:
        return f"{self.p50:.0f} | {self.p95:.0f} | {self.most:.0f} | {self.n}"


@dataclass(slots=True)
class Seen:
    """Seconds to first tokens, between pieces, and from a piece's entry in Redis to the client."""

    first: list[float] = field(default_factory=list)
    between: list[float] = field(default_factory=list)
    lag: list[float] = field(default_factory=list)


class Asker:
    """A client that streams, and looks up afterwards when the pieces were written."""

    def __init__(self, service: Service, redis: Redis) -> None:
        self._service = service
        self._redis = redis

    def ask(self, document: str, seen: Seen) -> None:
        """One request."""
        body = {
            "model": MODEL,
            "messages": [{"role": "user", "content": TEXT.format(document=document)}],
            "max_tokens": MAX_TOKENS,
            "stream": True,
        }
        began, times, name = time.perf_counter(), list[tuple[float, float]](), ""
        with self._service.http.stream("POST", "/v1/chat/completions", json=body) as answer:
            answer.raise_for_status()
            for line in answer.iter_lines():
                now = time.perf_counter(), time.time()
                if not line.startswith("data: {"):
                    continue
                chunk = json.loads(line.removeprefix("data: "))
                name = chunk["id"]
                if chunk["choices"][0]["delta"].get("content"):
                    times.append(now)
        clock = [one for one, _ in times]
        seen.first.append(clock[0] - began)
        seen.between += [later - earlier for earlier, later in pairwise(clock)]
        written = self._written(f"skim:told:job_{name.removeprefix('chatcmpl-')}:0")
        seen.lag += [wall - at for (_, wall), at in zip(times, written, strict=False)]

    def _written(self, key: str) -> list[float]:
        """When each piece with text came to Redis, in seconds since 1970, by the id of its entry."""
        entries: Any = self._redis.xrange(key)
        pieces = [(place, json.loads(fields[b"piece"])) for place, fields in entries]
        return [int(place.split(b"-")[0]) / 1000 for place, piece in pieces if piece["text"]]

    def ask_all(self, documents: Sequence[str], pauses: random.Random) -> Seen:
        """One request after the other."""
        seen = Seen()
        for document in documents:
            time.sleep(pauses.uniform(*PAUSE_S))
            self.ask(document, seen)
        return seen


def redis_of(port: int) -> Redis:
    """The stack's Redis, whose address the API process has."""
    pid = next(one.pid for one in psutil.net_connections("tcp") if one.laddr and one.laddr[1] == port and one.pid)
    url = psutil.Process(pid).environ()["SKIM_REDIS_URL"]
    return Redis.from_url(url.replace("redis+socket://", "unix://", 1), protocol=2)


def saturate(service: Service, documents: Sequence[str]) -> str:
    """Submit bulk work and return its job's id once it has all the rows that bulk work may have."""
    messages = [[{"role": "user", "content": TEXT.format(document=one)}] for one in documents]
    inputs = [{"messages": messages[number % len(messages)]} for number in range(BULK_ITEMS)]
    body = {"kind": "generate", "model": MODEL, "inputs": inputs, "priority": "bulk", "parameters": {"max_tokens": 64}}
    job = service.http.post("/v1/jobs", json=body).raise_for_status().json()
    rows = service.http.get("/v1/workers").raise_for_status().json()["data"][0]["rows"]
    most = rows - max(1, rows // 8) if rows > 1 else rows
    while counts(service, job["id"])["running"] < most:
        time.sleep(0.2)
    return str(job["id"])


def counts(service: Service, job_id: str) -> dict[str, int]:
    """What the items of a job are."""
    found: dict[str, int] = service.http.get(f"/v1/jobs/{job_id}").raise_for_status().json()["counts"]
    return found


def measure(arguments: argparse.Namespace, service: Service) -> dict[str, Any]:
    """Both arms, with the same prompts and pauses."""
    prompts = read_documents(arguments.documents, arguments.count, arguments.words)
    asker = Asker(service, redis_of(arguments.port))
    service.wait_ready()
    asker.ask(prompts[0], Seen())
    idle = asker.ask_all(prompts, random.Random(1))
    job_id = saturate(service, read_documents(arguments.documents, 100, BULK_WORDS))
    before, began = counts(service, job_id)["succeeded"], time.perf_counter()
    loaded = asker.ask_all(prompts, random.Random(1))
    done, took = counts(service, job_id)["succeeded"] - before, time.perf_counter() - began
    service.http.post(f"/v1/jobs/{job_id}/cancel").raise_for_status()
    return {
        "first_s": {"idle": idle.first, "loaded": loaded.first},
        "between_s": {"idle": idle.between, "loaded": loaded.between},
        "lag_s": {"idle": idle.lag, "loaded": loaded.lag},
        "bulk": {"items": done, "seconds": took},
    }


def table(results: dict[str, Any]) -> str:
    """Quantiles of everything."""
    lines = ["| | p50, ms | p95, ms | most, ms | n |", "|---|---|---|---|---|"]
    names = {"first_s": "first token", "between_s": "between pieces", "lag_s": "piece, Redis to client"}
    for field_name, name in names.items():
        for arm, values in results[field_name].items():
            lines.append(f"| {name}, {arm} | {Quantiles.of(values)} |")
    first = {arm: Quantiles.of(values) for arm, values in results["first_s"].items()}
    p50, p95 = (getattr(first["loaded"], one) / getattr(first["idle"], one) for one in ("p50", "p95"))
    bulk = results["bulk"]
    lines.append(f"\nFirst token above bulk work over idle: {p50:.2f} (p50), {p95:.2f} (p95).")
    lines.append(f"Bulk items done meanwhile: {bulk['items']} in {bulk['seconds']:.0f} s.")
    return "\n".join(lines)


def plot(path: Path, results: dict[str, Any]) -> None:
    """Shares of the requests that had their first token by a time. Needs the ``bench`` extras."""
    import matplotlib  # noqa: PLC0415  an optional dependency

    matplotlib.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    figure, axes = pyplot.subplots(figsize=(6.0, 3.2), layout="constrained")
    for arm, values in results["first_s"].items():
        axes.ecdf([1e3 * one for one in values], label=arm)
    axes.set_xlabel("ms to the first token, at the client")
    axes.set_ylabel("share of requests")
    axes.set_xlim(left=0)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=Path, required=True, help="JSON Lines with a member `document`")
    parser.add_argument("--count", type=int, default=40, help="requests of each arm")
    parser.add_argument("--words", type=int, default=120, help="of each interactive prompt")
    parser.add_argument("--port", type=int, default=8790)
    arguments = parser.parse_args()
    with running(arguments.port) as stack:
        results = measure(arguments, Service(stack))
    print(table(results))
    print(save("interactive", results, table(results)))
    plot(RESULTS / "interactive.png", results)


if __name__ == "__main__":
    main()
