"""What a skip set costs to find: our search beside the published procedure, in one run on one network.

``python -m bench.search --layers 8 --seeds 0 1 2 --evaluations 1000 60 60`` on planted networks with decoys, ``--model
FOLDER --documents FILE`` on a real one. Both find on the same network and are judged alike: by exact tables on prompts
that neither saw and by step times measured once. Ours runs several times, before, between and after theirs.

Device seconds of ours are references, cost fit, scoring and re-scoring; of theirs, decoding. Both stand by the clock
and as counted passes times the best timing of such a pass; of ours as if no pass had skipped anything. Evaluations that
are not run are taken to be as fast as the fastest that was. Host seconds (proposals, simulation) are apart.
Needs ``pip install -e '.[search]'``; the plot needs matplotlib too.
"""

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import accumulate, repeat
from pathlib import Path
from statistics import median
from typing import Any

import torch

from bench.curves import draw
from bench.ledger import Prices, Shape
from bench.ours import SAMPLERS, Progress, Run, fit, ours
from bench.practice import EVALUATIONS, Evaluation, Practice
from bench.report import RESULTS, save
from bench.subjects import Judge, Subject, planted_subject, real_subject
from engine.search.meter import Meter
from engine.search.search import Budget
from engine.skipset import SkipSet


def in_turn(subject: Subject, practice: Practice, arguments: argparse.Namespace, wanted: int) -> Iterator[Run]:
    """Our searches before, between and after equal parts of the published procedure."""
    done, parts = len(practice.evaluations), max(1, arguments.repeats - 1)
    until = time.perf_counter() + arguments.seconds
    for number in range(arguments.repeats):
        for sampler in arguments.samplers:
            yield ours(subject, sampler, number, Budget(arguments.trials))
        goal = done + (wanted - done) * (number + 1) // parts if number < parts else 0
        while len(practice.evaluations) < goal and time.perf_counter() < until:
            practice.step()


def their_path(evaluations: Sequence[Evaluation]) -> Progress:
    """Sets that were the fastest so far by the procedure's own clock."""
    path, best = [], 0.0
    for seconds, one in zip(accumulate(e.device_s for e in evaluations), evaluations, strict=True):
        if one.speed > best:
            best = one.speed
            path.append((seconds, SkipSet.from_bits(one.bits)))
    return path


def of_all(seconds: Sequence[float]) -> float:
    """Seconds of all evaluations, those that were not run as fast as the fastest that was."""
    return sum(seconds) + min(seconds) * (EVALUATIONS - len(seconds))


def compare(subject: Subject, seed: int, wanted: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Both methods on one network."""
    costs = fit(subject, Meter(subject.network.device))
    practice = Practice(subject, costs.parts[0][1], arguments.logs / f"{subject.name}.jsonl", seed)
    runs = list(in_turn(subject, practice, arguments, wanted))
    judge, done = Judge(subject, costs), practice.evaluations
    curves = [curve(judge, run.path) for run in runs]
    theirs = curve(judge, their_path(done))
    target = max(point["speed"] for point in theirs)
    prices = Prices(subject)
    priced = [prices.of(run.counts) for run in runs]
    return {
        "subject": subject.name,
        "costs": asdict(costs.parts[0][1]),
        "planted_speed": None if subject.planted is None else judge.speed(subject.planted),
        "ours": [
            {
                "sampler": run.sampler,
                "bits": run.found.bits(subject.layers),
                "speed": judge.speed(run.found),
                "trials": len(run.trials),
                "by_source": run.by_source,
                "device_s": run.device_s,
                "device_s_to_equal": reached(line, target),
                "phases_s": run.phases_s,
                "priced_s": price,
                "passes": passes(run.counts),
                "host_s": run.host_s,
                "longest_unit_s": run.longest_unit_s,
            }
            for run, line, price in zip(runs, curves, priced, strict=True)
        ],
        "published": {
            "evaluations": len(done),
            "device_s": sum(one.device_s for one in done),
            "device_s_of_1000": of_all([one.device_s for one in done]),
            "device_s_of_1000_by_the_first_60": of_all([one.device_s for one in done[:60]]),
            "priced_s_of_1000": of_all([one.priced_s for one in done]),
            "host_s": sum(one.host_s for one in done),
            "speed": theirs[-1]["speed"],
            "best_true_speed": target,
        },
        "curves": {"ours": curves, "published": [theirs]},
    }


def curve(judge: Judge, path: Progress) -> list[dict[str, Any]]:
    return [{"device_s": seconds, "speed": judge.speed(skip_set)} for seconds, skip_set in path]


def reached(line: Sequence[dict[str, Any]], speed: float) -> float | None:
    """Device seconds after which a curve is at a speed."""
    return next((point["device_s"] for point in line if point["speed"] >= speed), None)


def passes(counts: Counter[Shape]) -> dict[str, int]:
    return {f"{batch} x {width}": many for (batch, width), many in sorted(counts.items())}


def table(rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        "| network | sampler | true speed: planted | ours | published | device s: ours | published, 1000 evaluations |"
        " ratio | ratio to an equal set | ratio of priced passes | host s: ours | published |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *(line for row in rows for line in lines_of(row))])


def lines_of(row: dict[str, Any]) -> Iterator[str]:
    """For each sampler the medians of our searches, and the lowest speed any of them found."""
    other = row["published"]
    note = "" if other["evaluations"] >= EVALUATIONS else f" (from {other['evaluations']})"
    planted = "" if row["planted_speed"] is None else f"{row['planted_speed']:.3f}"
    for sampler in dict.fromkeys(run["sampler"] for run in row["ours"]):
        mine = [run for run in row["ours"] if run["sampler"] == sampler]
        seconds, to_equal = [run["device_s"] for run in mine], [run["device_s_to_equal"] for run in mine]
        equal = "not reached" if None in to_equal else f"{other['device_s_of_1000'] / median(to_equal):.0f}"
        yield (
            f"| {row['subject']} | {sampler} | {planted} | {min(run['speed'] for run in mine):.3f} |"
            f" {other['best_true_speed']:.3f} |"
            f" {median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f}, n={len(seconds)}) |"
            f" {other['device_s_of_1000']:.0f}{note} | {other['device_s_of_1000'] / median(seconds):.0f} | {equal} |"
            f" {other['priced_s_of_1000'] / median(run['priced_s'] for run in mine):.0f} |"
            f" {median(run['host_s'] for run in mine):.1f} | {other['host_s']:.0f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=96, help="of each reference")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--samplers", choices=SAMPLERS, nargs="+", default=["greedy"])
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=3, help="of our search")
    parser.add_argument("--evaluations", type=int, nargs="+", default=[EVALUATIONS], help="of theirs, on each network")
    parser.add_argument("--seconds", type=float, default=3600, help="after which theirs is cut, on each network")
    parser.add_argument("--logs", type=Path, default=Path(tempfile.gettempdir()), help="of theirs, to continue from")
    parser.add_argument("--model", help="a folder or hub id, instead of planted networks")
    parser.add_argument("--documents", type=Path, help="for it: JSON Lines with a member `document`")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--name", default="search", help="of the results")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = []
    wanted = [*arguments.evaluations, *repeat(arguments.evaluations[-1], len(arguments.seeds))]
    for seed, evaluations in zip(arguments.seeds, wanted, strict=False):
        if arguments.model:
            subject = real_subject(arguments.model, arguments.documents, arguments.tokens)
        else:
            subject = planted_subject(arguments.layers, arguments.hidden, arguments.tokens, seed)
        rows.append(compare(subject, seed, evaluations, arguments))
        print(table(rows), flush=True)
        print(save(arguments.name, {"rows": rows}, table(rows), module="search"))
    if not draw(rows, RESULTS / f"{arguments.name}.svg"):
        print("no plot: matplotlib is not installed")


if __name__ == "__main__":
    main()
