"""Whether the search finds what was planted: its set's true speed over that of the planted set, with decoys about.

``python -m bench.optimum --layers 16 24 40 --samplers greedy gp tpe random``. Costs are fixed, so nothing is timed and
the result depends on the seed alone. True speeds are by exact tables on prompts that no search saw. Leaving one out
alone is given its best: of sets of the most harmless sub-layers, the truly fastest.

The samplers follow the same warm start, so on each network the first is run whole and the others are told its scores.
"""

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import torch

from bench.ours import SAMPLERS, new_notebook, ours
from bench.report import save
from bench.subjects import Judge, Subject, planted_subject
from engine.search.costs import DeviceCosts, Load
from engine.search.search import Budget, Settings
from engine.search.trial import Notebook, Source, Trial, Work
from engine.search.units import union
from engine.skipset import SkipSet


def fixed(layers: int) -> Load:
    """A memory-bound device: sub-layers cost what their weights weigh, a verify of 7 little more than a plain step."""
    return Load.of(DeviceCosts(layers, 0.3 / layers, 0.6 / layers, 0.1, ((1, 1.0), (4, 1.08), (7, 1.15))))


class Shared:
    """A notebook that knows what searches before it scored on the same network: it is told, not scored again."""

    def __init__(self, inner: Notebook, known: dict[tuple[SkipSet, int], Trial]) -> None:
        self._inner, self._known = inner, known

    @property
    def can_propose(self) -> bool:
        return self._inner.can_propose

    def find(self, skip_set: SkipSet, prompts: int) -> Trial | None:
        found, known = self._inner.find(skip_set, prompts), self._known.get((skip_set, prompts))
        if found is None and known is not None and self._inner.claim(skip_set, known.source, prompts):
            self._inner.record(known)
            return known
        return found

    def claim(self, skip_set: SkipSet, source: Source, prompts: int) -> bool:
        return self._inner.claim(skip_set, source, prompts)

    def record(self, trial: Trial) -> None:
        self._known[trial.skip_set, trial.prompts] = trial
        self._inner.record(trial)

    def propose(self, free: Iterable[SkipSet]) -> SkipSet | None:
        return self._inner.propose(free)

    def plan(self, skip_sets: Sequence[SkipSet], source: Source, prompts: int) -> None:
        """Nobody helps."""

    def help(self) -> Work | None:
        return None


def rows_of(subject: Subject, samplers: Sequence[str], seed: int) -> Iterator[dict[str, Any]]:
    """A row for each sampler."""
    judge = Judge(subject, fixed(subject.layers), Settings().thresholds)
    planted, known = subject.planted or SkipSet(), dict[tuple[SkipSet, int], Trial]()
    best, alone = judge.speed(planted), 0.0
    for sampler in samplers:
        before = len(known)
        notebook = Shared(new_notebook(subject, sampler, seed), known)
        run = ours(subject, sampler, seed, Budget(2000), judge.load, notebook)
        speed = judge.speed(run.found)
        alone = alone or max(judge.speed(one) for one in leave_one_out(run.trials, len(planted)))
        yield {
            "subject": subject.name,
            "num_planted": len(planted),
            "sampler": sampler,
            "planted": best,
            "speed": speed,
            "share": speed / best,
            "leave_one_out_share": alone / best,
            "bits": run.found.bits(subject.layers),
            "trials": len(run.trials),
            "by_source": run.by_source,
            "scored_anew": len(known) - before,
            "device_s": run.device_s,
            "host_s": run.host_s,
        }


def leave_one_out(trials: Sequence[Trial], most: int) -> list[SkipSet]:
    """The most harmless sub-layers: sets of six sizes up to a quarter more than were planted."""
    alone = sorted((trial for trial in trials if trial.source is Source.LEAVE_ONE_OUT), key=lambda trial: trial.loss)
    ranked = [trial.skip_set for trial in alone]
    return [union(ranked[: most * part // 16]) for part in (4, 8, 11, 14, 17, 20)]


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Every run, and under it the samplers by depth."""
    lines = [
        "| network | planted | sampler | planted speed | found | share | leave-one-out alone | sets scored | host s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['subject']} | {row['num_planted']} of {len(row['bits'])} | {row['sampler']} | {row['planted']:.3f} |"
        f" {row['speed']:.3f} | {row['share']:.3f} | {row['leave_one_out_share']:.3f} | {row['trials']} |"
        f" {row['host_s']:.1f} |"
        for row in rows
    ]
    lines += [
        "",
        "| layers | sampler | n | share of the planted speed: lowest | median | best of all samplers |"
        " sets scored, median | host s, median |",
        "|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *_summary(rows)])


def _summary(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    top: dict[str, float] = {}
    for row in rows:
        top[row["subject"]] = max(row["speed"], top.get(row["subject"], 0.0))
    for bits, sampler in sorted({(len(row["bits"]), row["sampler"]) for row in rows}):
        mine = [row for row in rows if len(row["bits"]) == bits and row["sampler"] == sampler]
        shares = [row["share"] for row in mine]
        wins = sum(row["speed"] >= top[row["subject"]] for row in mine)
        yield (
            f"| {bits // 2} | {sampler} | {len(mine)} | {min(shares):.3f} | {median(shares):.3f} | {wins} |"
            f" {median(row['trials'] for row in mine):.0f} | {median(row['host_s'] for row in mine):.1f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, nargs="+", default=[16])
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=96, help="of each reference")
    parser.add_argument("--shares", type=float, nargs=2, default=[0.7, 0.4], help="of attentions and MLPs, planted")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--samplers", choices=SAMPLERS, nargs="+", default=["greedy"])
    parser.add_argument("--log", type=Path, help="of finished rows, to continue from")
    parser.add_argument("--name", default="optimum", help="of the results")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    log: Path | None = arguments.log
    rows = [json.loads(line) for line in log.read_text().splitlines()] if log and log.exists() else []
    done = {row["subject"] for row in rows}
    for seed, layers in product(arguments.seeds, arguments.layers):
        subject = planted_subject(layers, arguments.hidden, arguments.tokens, seed, *arguments.shares)
        if subject.name in done:
            continue
        rows += (new := list(rows_of(subject, arguments.samplers, seed)))
        if log:
            log.open("a").write("".join(json.dumps(row) + "\n" for row in new))
        print(table(new), flush=True)
        print(save(arguments.name, {"rows": rows}, table(rows), module="optimum"), flush=True)


if __name__ == "__main__":
    main()
