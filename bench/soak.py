"""Does the service grow? An hour's mixed traffic in some minutes, and what processes, tables and keys took meanwhile.

``python -m bench.soak --documents FILE.jsonl`` starts a stack of its own, lets a crowd of actors loose on it, so that
pools which fill when they must are full, and then fewer of them in rounds, waits at the end of each until nothing is
open and everybody has hung up, and after the last one until the time of everything it made is up. Jobs are kept for the
shortest time there is, so the sweep deletes while traffic goes on.
"""

import argparse
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from itertools import count
from pathlib import Path
from typing import Any, Final

import httpx

from bench.clients import Place, Tally
from bench.overhead import read_items
from bench.receiver import receiving
from bench.report import RESULTS, save
from bench.samples import Probe
from bench.stack import Stack, running
from bench.traffic import Actor
from bench.trend import Rule, Sample, Trend, trend

ROUND_S: Final = 20.0
EVERY_S: Final = 5.0
DRAIN_S: Final = 60.0
QUIET_S: Final = 1.0  # for connections to be closed on both ends
CROWD: Final = 4  # times the actors of the other rounds
KEEP_S: Final = 60  # the shortest retention there is
AFTER_S: Final = 20.0  # beyond it
WORDS: Final = 8

KEPT_BY_TIME: Final = ("jobs", "shards", "items", "deliveries", "files", "file_chunks", "batches")
PLOTTED: Final = {
    "USS, MiB": ", USS",
    "descriptors": ", descriptors",
    "rows": "rows of ",
    "table size, MiB": "size of ",
}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=Path, required=True, help="JSON Lines with a member `document`")
    parser.add_argument("--minutes", type=float, default=8.0, help="of traffic")
    parser.add_argument("--actors", type=int, default=10)
    parser.add_argument("--processes", type=int, default=2, help="of the API")
    parser.add_argument("--port", type=int, default=8790)
    arguments = parser.parse_args()
    settings = {"SKIM_PRIVATE_WEBHOOKS": "yes", "SKIM_API_WORKERS": str(arguments.processes)}
    with running(arguments.port, **settings) as stack:
        results = measure(arguments, stack)
    print(table(results))
    print(save("soak", results, table(results)))
    plot(RESULTS / "soak.png", results)


def measure(arguments: argparse.Namespace, stack: Stack) -> dict[str, Any]:
    """All rounds, what was seen, and what it says."""
    tally, probe = Tally(), Probe(stack)
    with receiving(tally) as hook_url:
        place = make_place(stack, hook_url, read_items(arguments.documents, 200, WORDS), tally)
        began = time.monotonic()
        crowd(arguments, place, probe)
        samples = run(arguments, place, probe, began)
        time.sleep(KEEP_S + AFTER_S)
        final = look(probe, tally, began, is_quiet=True)
    probe.close()
    return {
        "minutes": arguments.minutes,
        "requests": tally.requests,
        "webhooks": tally.webhooks,
        "acts": dict(tally.acts),
        "statuses": dict(sorted(tally.statuses.items())),
        "surprises": tally.surprises[:50],
        "num_surprises": len(tally.surprises),
        "trends": [asdict(one) for one in trends(samples, final)],
        "samples": [asdict(one) for one in [*samples, final]],
    }


def make_place(stack: Stack, hook_url: str, texts: Sequence[str], tally: Tally) -> Place:
    """A tenant whose jobs are kept for a minute, a key for it, and one to scrape metrics with."""
    url = f"http://127.0.0.1:{stack.port}"
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {stack.key}"}, timeout=60) as http:

        def made(path: str, body: dict[str, Any]) -> Any:
            return http.post(path, json=body).raise_for_status().json()

        tenant = made("/v1/tenants", {"name": "soak", "retention_s": KEEP_S})
        key = made("/v1/keys", {"name": "soak", "tenant_id": tenant["id"], "scopes": ["admin"]})
        metrics = made("/v1/keys", {"name": "metrics", "scopes": ["metrics"]})
    return Place(url, key["secret"], metrics["secret"], hook_url, texts, tally)


def run(arguments: argparse.Namespace, place: Place, probe: Probe, began: float) -> list[Sample]:
    """Rounds of traffic, with samples all along and a quiet one after each."""
    samples: list[Sample] = []
    seeds = count()
    while time.monotonic() - began < arguments.minutes * 60:
        with watched(probe, place.tally, samples, began):
            traffic(place, [next(seeds) for _ in range(arguments.actors)])
        drain(probe)
        samples.append(look(probe, place.tally, began, is_quiet=True))
        print(f"{samples[-1].at_s:.0f} s, {samples[-1].requests} requests, {len(place.tally.surprises)} surprises")
    return samples


def crowd(arguments: argparse.Namespace, place: Place, probe: Probe) -> None:
    """So many at once as never again: threads and connections that are made when they are needed are there from now on.

    Streams may find no place among so many, so its answers are not counted.
    """
    traffic(replace(place, tally=Tally()), range(-CROWD * arguments.actors, 0))
    drain(probe)


def traffic(place: Place, seeds: Sequence[int]) -> None:
    """One round: every actor does what it likes, finishes what it has begun, and hangs up."""
    until = time.monotonic() + ROUND_S
    actors = [Actor(place, seed) for seed in seeds]
    threads = [threading.Thread(target=actor.act, args=(until,)) for actor in actors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for actor in actors:
        actor.close()


def drain(probe: Probe) -> None:
    """Until no job is open. Raises TimeoutError where one stays."""
    until = time.monotonic() + DRAIN_S
    while probe.num_open():
        if time.monotonic() > until:
            raise TimeoutError(f"{probe.num_open()} jobs are open after {DRAIN_S:g} s without traffic")
        time.sleep(0.2)
    time.sleep(QUIET_S)


@contextmanager
def watched(probe: Probe, tally: Tally, samples: list[Sample], began: float) -> Iterator[None]:
    """Samples every few seconds for the length of a block, from a thread of its own."""
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(EVERY_S):
            samples.append(look(probe, tally, began, is_quiet=False))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def look(probe: Probe, tally: Tally, began: float, *, is_quiet: bool) -> Sample:
    """A sample of now."""
    return Sample(time.monotonic() - began, tally.requests, is_quiet, probe.values(is_quiet=is_quiet))


def trends(samples: Sequence[Sample], final: Sample) -> list[Trend]:
    """Every series, judged by its rule."""
    names = sorted({name for one in samples for name in one.values})
    return [trend(name, rule_of(name), samples, final) for name in names]


def rule_of(name: str) -> Rule:
    """What a series may do."""
    if name.startswith("rows of "):
        return Rule.GONE if name.removeprefix("rows of ") in KEPT_BY_TIME else Rule.TOLD
    if name.startswith("files in ") or name in ("redis, keys", "postgres, RSS", "postgres, descriptors"):
        return Rule.TOLD
    if name.endswith((", RSS", ", USS", ", used memory")) or name.startswith("size of "):
        return Rule.MEMORY
    return Rule.EQUAL


def table(results: dict[str, Any]) -> str:
    """What was done, and every series."""
    statuses = ", ".join(f"{num} of {status}" for status, num in results["statuses"].items())
    acts = ", ".join(f"{num} {name}" for name, num in sorted(results["acts"].items()))
    good = sum(one["is_good"] for one in results["trends"])
    lines = [
        f"{results['minutes']:g} minutes of traffic: {results['requests']} requests ({statuses}) and"
        f" {results['webhooks']} webhooks. Acts: {acts}. Answers that nobody should get: {results['num_surprises']}.",
        "",
        f"Before it, a crowd of {CROWD} times the actors filled the pools. Thirds are medians of samples; the first is"
        " warming up. `memory`: the last third is at most 5 % or 8 MiB above the second. `equal`: at quiet moments,"
        " with no job open and every client gone, the last third is nowhere above the second. `gone`: 0 when the time"
        f" of everything ({KEEP_S} s) is up. `told`: kept for longer on purpose, or bounded elsewhere. The slope is"
        " that of the last two thirds. Memory and sizes in MiB.",
        "",
        f"{good} of {len(results['trends'])} series do as they should.",
        "",
        "| series | rule | first third | second | last | per 1,000 requests | in the end | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [_line(one) for one in results["trends"]]
    return "\n".join([*lines, *(f"\nSurprise: {one}" for one in results["surprises"])])


def _line(one: dict[str, Any]) -> str:
    numbers = " | ".join(f"{one[name]:.5g}" for name in ("first", "second", "last"))
    verdict = "" if one["is_good"] else "**grows**"
    return f"| {one['name']} | {one['rule']} | {numbers} | {one['slope']:+.3g} | {one['final']:.5g} | {verdict} |"


def plot(path: Path, results: dict[str, Any]) -> None:
    """Memory, descriptors, rows and sizes over time. Needs the ``bench`` extras."""
    import matplotlib  # noqa: PLC0415  an optional dependency

    matplotlib.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    figure, panels = pyplot.subplots(2, 2, figsize=(11.0, 7.0), layout="constrained", sharex=True)
    for (title, word), axes in zip(PLOTTED.items(), panels.flat, strict=True):
        for name in sorted({name for one in results["samples"] for name in one["values"] if word in name}):
            points = [(one["at_s"] / 60, one["values"].get(name)) for one in results["samples"]]
            axes.plot(*zip(*points, strict=True), label=name.replace(word, ""), linewidth=1)
        axes.set_title(title)
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False, fontsize=6, ncols=2)
    for axes in panels[-1]:
        axes.set_xlabel("minutes")
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
