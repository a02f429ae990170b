"""How long interactive requests wait for text: at an idle worker, and while bulk work has every row it may have.

``python -m bench.interactive --documents FILE.jsonl`` starts a stack of its own, streams chat completions one after the
other as a client, in rounds of two arms: without other work, and above a bulk job that has every row it may have. The
arm that goes first changes from round to round; what both do in a round is compared. A first token counts when its
event has arrived. The lag of a piece runs from when the engine's process had its tokens to its event at the client.
"""

import argparse
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from redis import Redis

from bench.bulk import MODEL, TEXT, Service, read_documents
from bench.report import RESULTS, Spread, save
from bench.stack import running

BULK_WORDS = 250
BULK_ITEMS = 400
MAX_TOKENS = 16
PAUSE_S = (0.2, 1.0)  # between two requests, so that they meet bulk rounds anywhere
ARMS = ("idle", "loaded")


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
    """Seconds to first tokens, between pieces, and from the engine to the client: of first pieces, and of all."""

    first: list[float] = field(default_factory=list)
    between: list[float] = field(default_factory=list)
    first_lag: list[float] = field(default_factory=list)
    lag: list[float] = field(default_factory=list)


class Asker:
    """A client that streams, and looks up afterwards when the engine had the pieces. Clocks are one: of this host."""

    def __init__(self, service: Service, redis: Redis) -> None:
        self._service = service
        self._redis = redis

    def ask(self, document: str, seen: Seen) -> None:
        """One request."""
        body = {
            "model": MODEL,
            "messages": [{"role": "user", "content": TEXT.format(document=document)}],
            "max_tokens": MAX_TOKENS,
            "temperature": 0,
            "stream": True,
        }
        began, name, said = time.monotonic(), "", ""
        times: dict[int, float] = {}  # when the event with the text from so many characters on came
        with self._service.http.stream("POST", "/v1/chat/completions", json=body) as answer:
            answer.raise_for_status()
            for line in answer.iter_lines():
                now = time.monotonic()
                if not line.startswith("data: {"):
                    continue
                chunk = json.loads(line.removeprefix("data: "))
                name = chunk["id"]
                if content := chunk["choices"][0]["delta"].get("content"):
                    times[len(said)] = now
                    said += content
        emitted = self._emitted(f"skim:told:job_{name.removeprefix('chatcmpl-')}:0")
        seen.first.append(times[0] - began)
        seen.between += [later - earlier for earlier, later in pairwise(times.values())]
        seen.first_lag.append(times[0] - emitted[0])
        seen.lag += [times[offset] - at for offset, at in emitted.items()]

    def _emitted(self, key: str) -> dict[int, float]:
        """When the engine had the tokens of each piece with text, by the characters before it.

        Not of text that was held back to the end: that comes with no tokens.
        """
        entries: Any = self._redis.xrange(key)
        found = [(json.loads(fields[b"piece"]), fields.get(b"emitted_at")) for _, fields in entries]
        return {piece["offset"]: float(at) for piece, at in found if piece["text"] and at is not None}

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
    """Submit bulk work and return its job's id once it has all the rows that bulk work may have.

    Its prompts are bare texts: where they began like the interactive ones, the engine would copy instead of compute.
    """
    inputs = [{"prompt": documents[number % len(documents)]} for number in range(BULK_ITEMS)]
    body = {"kind": "generate", "model": MODEL, "inputs": inputs, "priority": "bulk", "parameters": {"max_tokens": 64}}
    job = service.http.post("/v1/jobs", json=body).raise_for_status().json()
    rows = service.http.get("/v1/workers").raise_for_status().json()["data"][0]["rows"]
    most = rows - max(1, rows // 8) if rows > 1 else rows
    while counts(service, job["id"])["running"] < most:
        time.sleep(0.2)
    return str(job["id"])


def desaturate(service: Service, job_id: str) -> None:
    """Cancel bulk work and wait until none of it runs. Raises RuntimeError if it had not had the rows to the end."""
    left = counts(service, job_id)
    service.http.post(f"/v1/jobs/{job_id}/cancel").raise_for_status()
    while counts(service, job_id)["running"]:
        time.sleep(0.2)
    if not left["queued"]:
        raise RuntimeError("bulk work had ended before the interactive requests: the arm was not loaded")


def counts(service: Service, job_id: str) -> dict[str, int]:
    """What the items of a job are."""
    found: dict[str, int] = service.http.get(f"/v1/jobs/{job_id}").raise_for_status().json()["counts"]
    return found


def loaded(service: Service, asker: Asker, prompts: Sequence[str], bulk: Sequence[str]) -> tuple[Seen, float]:
    """The arm above bulk work, and the bulk items done a second meanwhile."""
    job_id = saturate(service, bulk)
    before, began = counts(service, job_id)["succeeded"], time.monotonic()
    seen = asker.ask_all(prompts, random.Random(1))
    rate = (counts(service, job_id)["succeeded"] - before) / (time.monotonic() - began)
    desaturate(service, job_id)
    return seen, rate


def measure(arguments: argparse.Namespace, service: Service) -> dict[str, Any]:
    """Both arms in every round, with the same prompts and pauses."""
    prompts = read_documents(arguments.documents, arguments.count, arguments.words)
    bulk = read_documents(arguments.documents, arguments.count + 100, BULK_WORDS)[arguments.count :]
    asker = Asker(service, redis_of(arguments.port))
    service.wait_ready()
    asker.ask(prompts[0], Seen())
    rounds: dict[str, list[Seen]] = {arm: [] for arm in ARMS}
    rates = []
    for number in range(arguments.rounds):
        for arm in ARMS if number % 2 == 0 else reversed(ARMS):
            if arm == "idle":
                rounds[arm].append(asker.ask_all(prompts, random.Random(1)))
            else:
                seen, rate = loaded(service, asker, prompts, bulk)
                rounds[arm].append(seen)
                rates.append(rate)
    names = Seen.__slots__
    return {
        **{f"{name}_s": {arm: [getattr(one, name) for one in rounds[arm]] for arm in ARMS} for name in names},
        "ratio_p50": Spread.of(ratios(rounds, 0.5)),
        "ratio_p95": Spread.of(ratios(rounds, 0.95)),
        "bulk_items_per_s": Spread.of(rates),
    }


def ratios(rounds: dict[str, list[Seen]], quantile: float) -> list[float]:
    """The time to the first token above bulk work over the idle one, round by round."""
    idle, above = ([float(np.quantile(one.first, quantile)) for one in rounds[arm]] for arm in ARMS)
    return [b / a for a, b in zip(idle, above, strict=True)]


def table(results: dict[str, Any]) -> str:
    """Quantiles of everything, then the first tokens round by round."""
    lines = ["| | p50, ms | p95, ms | most, ms | n |", "|---|---|---|---|---|"]
    names = {
        "first_s": "first token",
        "between_s": "between pieces",
        "first_lag_s": "first piece, engine to client",
        "lag_s": "any piece, engine to client",
    }
    for field_name, name in names.items():
        pooled = {arm: Quantiles.of(list(chain(*results[field_name][arm]))) for arm in ARMS}
        lines += [f"| {name}, {arm} | {pooled[arm]} |" for arm in ARMS]
    lines += ["", "| first token, round by round | p50, ms | p95, ms | most, ms | n |", "|---|---|---|---|---|"]
    for number, pair in enumerate(zip(*(results["first_s"][arm] for arm in ARMS), strict=True), 1):
        lines += [f"| {number}, {arm} | {Quantiles.of(values)} |" for arm, values in zip(ARMS, pair, strict=True)]
    lines.append(
        f"\nFirst token above bulk work over idle, each round's: {results['ratio_p50']} (p50),"
        f" {results['ratio_p95']} (p95). Bulk items done a second meanwhile: {results['bulk_items_per_s']}."
    )
    return "\n".join(lines)


def plot(path: Path, results: dict[str, Any]) -> None:
    """Shares of the requests that had their first token by a time. Needs the ``bench`` extras."""
    import matplotlib  # noqa: PLC0415  an optional dependency

    matplotlib.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    figure, axes = pyplot.subplots(figsize=(6.0, 3.2), layout="constrained")
    for arm, rounds in results["first_s"].items():
        axes.ecdf([1e3 * one for one in chain(*rounds)], label=arm)
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
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=24, help="requests of each arm in a round")
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
