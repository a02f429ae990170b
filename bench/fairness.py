"""How a busy worker is shared by two tenants of weights 1 and 3, and what a long backlog costs the broker.

``python -m bench.fairness --documents FILE.jsonl`` starts a stack of its own, lets both tenants hand in half of a short
backlog and then of a long one, watches what is done of each, and stops the stack. What ends in the first seconds was
taken before both waited, so it is left out.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
from redis import Redis

from bench.bulk import MODEL, Service
from bench.interactive import redis_of
from bench.overhead import read_items
from bench.report import Spread, save
from bench.stack import running

WEIGHTS = {"light": 1, "heavy": 3}
WORDS = 12
SETTLE_S = 10.0
PIECE_S = 10.0


@dataclass(slots=True)
class Tenant:
    """A client with a key of its own, and its bulk jobs."""

    http: httpx.Client
    jobs: list[str]

    def hand_in(self, documents: Sequence[str], count: int) -> None:
        """A bulk job of so many items, one new token each."""
        head = {"kind": "generate", "model": MODEL, "priority": "bulk", "parameters": {"max_tokens": 1}}
        lines = [head, *({"prompt": documents[number % len(documents)]} for number in range(count))]
        answer = self.http.post(
            "/v1/jobs",
            content="\n".join(map(json.dumps, lines)),
            headers={"Content-Type": "application/x-ndjson"},
        )
        self.jobs.append(answer.raise_for_status().json()["id"])

    def counts(self) -> dict[str, int]:
        """What the items of all jobs are."""
        found = [self.http.get(f"/v1/jobs/{job}").raise_for_status().json()["counts"] for job in self.jobs]
        return {status: sum(one[status] for one in found) for status in found[0]}


def tenant(service: Service, name: str, weight: int) -> Tenant:
    """A new tenant, with nothing handed in."""
    made = service.http.post("/v1/tenants", json={"name": name, "weight": weight}).raise_for_status().json()
    key = {"name": name, "tenant_id": made["id"], "scopes": ["jobs"]}
    secret = service.http.post("/v1/keys", json=key).raise_for_status().json()["secret"]
    headers = {"Authorization": f"Bearer {secret}"}
    return Tenant(httpx.Client(base_url=service.http.base_url, headers=headers, timeout=60), [])


def watch(tenants: dict[str, Tenant], seconds: float) -> list[dict[str, int]]:
    """What each has done, at the start and after every piece of the time."""
    seen = [{name: one.counts()["succeeded"] for name, one in tenants.items()}]
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        time.sleep(PIECE_S)
        seen.append({name: one.counts()["succeeded"] for name, one in tenants.items()})
    return seen


def backlog(tenants: dict[str, Tenant], redis: Redis) -> dict[str, float]:
    """Items that wait, and what the broker holds, in KiB."""
    used: Any = redis.info("memory")
    waiting = sum(one.counts()["queued"] for one in tenants.values())
    return {"waiting": waiting, "redis_kib": used["used_memory"] / 1024, "keys": redis.dbsize()}


def measure(arguments: argparse.Namespace, service: Service) -> dict[str, Any]:
    """The short backlog, then the long one, and the shares while it lasts."""
    documents = read_items(arguments.documents, 500, WORDS)
    service.wait_ready()
    tenants = {name: tenant(service, name, weight) for name, weight in WEIGHTS.items()}
    redis = redis_of(arguments.port)
    memory = []
    for total in (arguments.items // 10, arguments.items - arguments.items // 10):
        for one in tenants.values():
            one.hand_in(documents, total // len(tenants))
        time.sleep(SETTLE_S)
        memory.append(backlog(tenants, redis))
    seen = watch(tenants, arguments.seconds)
    memory.append(backlog(tenants, redis))
    for one in tenants.values():
        for job in one.jobs:
            one.http.post(f"/v1/jobs/{job}/cancel")  # 409 where it is done
    pieces = [{name: after[name] - before[name] for name in WEIGHTS} for before, after in pairwise(seen)]
    return {
        "weights": WEIGHTS,
        "done": {name: seen[-1][name] - seen[0][name] for name in WEIGHTS},
        "seconds": arguments.seconds,
        "share_of_heavy": Spread.of([piece["heavy"] / sum(piece.values()) for piece in pieces]),
        "memory": memory,
    }


def table(results: dict[str, Any]) -> str:
    """Shares, and the broker's memory by backlog."""
    done = results["done"]
    lines = [
        f"Done in {results['seconds']:.0f} s: {done['light']} items of weight 1, {done['heavy']} of weight 3. The heavy"
        f" tenant's share is {done['heavy'] / sum(done.values()):.3f} (0.75 is due); in pieces of {PIECE_S:.0f} s"
        f" {results['share_of_heavy']}.",
        "",
        "| items that wait | Redis, KiB | keys |",
        "|---|---|---|",
    ]
    lines += [f"| {one['waiting']:,} | {one['redis_kib']:.0f} | {one['keys']} |" for one in results["memory"]]
    return "\n".join(lines)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=Path, required=True, help="JSON Lines with a member `document`")
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=90.0)
    parser.add_argument("--port", type=int, default=8790)
    arguments = parser.parse_args()
    with running(arguments.port) as stack:
        results = measure(arguments, Service(stack))
    print(table(results))
    print(save("fairness", results, table(results)))


if __name__ == "__main__":
    main()
