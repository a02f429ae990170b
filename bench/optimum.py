"""Whether the search finds what was planted: its set's true speed over that of the planted set, with decoys about.

``python -m bench.optimum --layers 16 --seeds 0 1 2 3 4 --samplers greedy gp``. Costs are fixed, so nothing is timed and
the result depends on the seed alone. True speeds are by exact tables on prompts that no search saw. Leaving one out
alone is given its best: of all sets of the most harmless sub-layers, the truly fastest.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import torch

from bench.report import save
from bench.search import SAMPLERS, ours
from bench.subjects import Judge, Subject, planted_subject
from engine.search.costs import DeviceCosts, Load
from engine.search.meter import Meter
from engine.search.search import Budget
from engine.search.trial import Source, Trial
from engine.search.units import union
from engine.skipset import SkipSet


def fixed(layers: int) -> Load:
    """A memory-bound device: sub-layers cost what their weights weigh, a verify of 7 little more than a plain step."""
    return Load.of(DeviceCosts(layers, 0.3 / layers, 0.6 / layers, 0.1, ((1, 1.0), (4, 1.08), (7, 1.15))))


def run(subject: Subject, sampler: str, seed: int) -> dict[str, Any]:
    layers = subject.network.config.num_hidden_layers
    load, meter = fixed(layers), Meter(subject.network.device)
    found = ours(subject, load, meter, sampler, seed, Budget(1000))
    judge, planted = Judge(subject, load), subject.planted or SkipSet()
    speed, best = judge.speed(found["found"]), judge.speed(planted)
    alone = max(judge.speed(one) for one in leave_one_out(found["scored"], len(planted)))
    return {
        "subject": subject.name,
        "sampler": sampler,
        "planted": best,
        "found": speed,
        "share": speed / best,
        "leave_one_out_share": alone / best,
        "bits": found["found"].bits(layers),
        "trials": found["trials"],
        "scoring_s": meter.search_s,
        "host_s": found["host_s"],
    }


def leave_one_out(trials: Sequence[Trial], most: int) -> list[SkipSet]:
    """The most harmless sub-layer, the two most harmless, and so on."""
    alone = sorted((trial for trial in trials if trial.source is Source.LEAVE_ONE_OUT), key=lambda trial: trial.loss)
    ranked = [trial.skip_set for trial in alone]
    return [union(ranked[:count]) for count in range(2, most + most // 2, 2)]


def table(rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        "| network | sampler | planted | found | share | leave-one-out alone | sets scored | device s | host s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['subject']} | {row['sampler']} | {row['planted']:.3f} | {row['found']:.3f} | {row['share']:.3f} |"
        f" {row['leave_one_out_share']:.3f} | {row['trials']} | {row['scoring_s']:.1f} | {row['host_s']:.1f} |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, nargs="+", default=[16])
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--tokens", type=int, default=96, help="of each reference")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--samplers", choices=SAMPLERS, nargs="+", default=["gp"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for layers in arguments.layers:
        for seed in arguments.seeds:
            subject = planted_subject(layers, arguments.hidden, arguments.tokens, seed)
            for sampler in arguments.samplers:
                rows.append(run(subject, sampler, seed))
                print(table(rows[-1:]).splitlines()[-1], flush=True)
    print(table(rows))
    print(save("optimum", {"rows": rows}, table(rows)))


if __name__ == "__main__":
    main()
