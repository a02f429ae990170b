"""What a skip set costs to find: our search beside the published procedure, in one run on one network.

``python -m bench.search --layers 16 --seeds 0 1 2`` on planted networks with decoys, ``--model FOLDER --documents
FILE`` on a real one. Both find on the same network and are judged alike: by exact tables on prompts that neither saw
and by step times measured once. Device seconds of ours are references, cost fit, scoring and re-scoring; of theirs,
decoding.
Needs ``pip install -e '.[search]'``; the plot needs matplotlib too.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any

import torch
from transformers import PreTrainedModel

from bench.bulk import encode, read_documents
from bench.curves import draw
from bench.decoys import Decoys
from bench.planted import plant, prompts_of
from bench.practice import EVALUATIONS, PROMPTS, TOKENS, Practice
from bench.report import RESULTS, save
from bench.weights import shape
from engine.attention import adopt
from engine.cache import CacheShape, SlotCache
from engine.load import load
from engine.request import Request
from engine.search.costs import Load, measure
from engine.search.meter import Meter
from engine.search.objective import Objective, best_plan
from engine.search.reference import References
from engine.search.search import Budget, Calibration, Search, Settings
from engine.search.steps import drain
from engine.search.timing import PassTimer
from engine.skipset import SkipSet

MOST = 6  # drafts
SAMPLERS = ("gp", "tpe", "random", "greedy")


@dataclass(frozen=True, slots=True)
class Subject:
    """A network and prompts: to score on, for finalists, to judge both methods by."""

    name: str
    network: PreTrainedModel
    scored: Sequence[Request]
    held_out: Sequence[Request]
    judged: Sequence[Request]
    eos: frozenset[int] = frozenset()
    planted: SkipSet | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """The best set so far after so many device seconds, and its true speed over plain decoding."""

    device_s: float
    bits: str
    speed: float


def planted_subject(layers: int, hidden: int, tokens: int, seed: int) -> Subject:
    """A planted network: a skip set of about a third of the sub-layers, cancelling pairs and a redundant one."""
    dice, middle = Random(seed), range(1, layers - 1)
    mlps = dice.sample(middle, 6 if layers >= 12 else 4)
    pairs = list(zip(mlps[::2], mlps[1::2], strict=True))
    decoys = Decoys(tuple(pairs[:-1]), (pairs[-1],))
    attention = dice.sample(middle, round(0.45 * layers))
    mlp = dice.sample([layer for layer in middle if layer not in mlps], round(0.25 * layers))
    skip_set = SkipSet.of(attention, mlp)
    config = shape(layers, hidden, 2 * hidden, 4, 2, 512)
    network = plant(config, skip_set, 0.93, seed=seed, decoys=decoys).network
    prompts = prompts_of(config, 40, 16, seed + 100)
    requests = [Request(str(index), tuple(prompt), tokens) for index, prompt in enumerate(prompts)]
    best = SkipSet.of(attention, [*mlp, *mlps[:-1]])  # one of the redundant pair stays
    return Subject(f"planted-{layers}-{seed}", network, requests[:16], requests[16:24], requests[24:], planted=best)


def real_subject(folder: str, documents: Path, tokens: int) -> Subject:
    """A real network on the service's summarising prompts of about 200 words."""
    with tempfile.TemporaryDirectory() as home:
        loaded = load(folder, home=Path(home))
        prompts = encode(loaded.tokenizer, read_documents(documents, 20, 150))
    requests = [Request(str(index), tuple(prompt), tokens) for index, prompt in enumerate(prompts)]
    adopt(loaded.network)
    parts = requests[:8], requests[8:12], requests[12:]
    return Subject(
        f"{loaded.network.config.model_type} of {loaded.network.config.num_hidden_layers} layers",
        loaded.network,
        *parts,
        loaded.eos,
    )


class Judge:
    """True speeds: exact tables on prompts that no search saw, and this device's costs."""

    def __init__(self, subject: Subject, costs: Load) -> None:
        meter = Meter(subject.network.device)
        self._references = _references(subject, subject.judged, meter)
        self._objective = Objective(subject.network, self._references, costs, MOST, meter)
        self._texts = drain(self._references.write(subject.judged))
        self._known: dict[SkipSet, float] = {}

    def speed(self, skip_set: SkipSet) -> float:
        if skip_set not in self._known:
            tables = drain(self._objective.tables(skip_set, self._texts))
            self._known[skip_set] = best_plan(tables, skip_set, self._objective.load, ()).speed
        return self._known[skip_set]


def _references(subject: Subject, requests: Sequence[Request], meter: Meter) -> References:
    network = subject.network
    length = max(len(request.prompt) + 2 * request.max_tokens for request in requests)
    cache = SlotCache(CacheShape.of(network, len(requests), length), network.dtype, network.device)
    return References(network, cache, range(len(requests)), subject.eos, meter)


def fit(subject: Subject, meter: Meter) -> Load:
    references = _references(subject, subject.scored, meter)
    timer = PassTimer(subject.network, references.cache, 0, len(subject.scored[0].prompt) + TOKENS, meter)
    return Load.of(drain(measure(timer, subject.network.config.num_hidden_layers, MOST)))


def ours(subject: Subject, costs: Load, meter: Meter, sampler: str, seed: int, budget: Budget) -> dict[str, Any]:
    """Run our search; ``meter`` has the cost fit already."""
    import optuna  # noqa: PLC0415  the extra ``search``; other benches do without

    from workers.search.optimiser import Sampler, StudyNotebook, open_study  # noqa: PLC0415

    requests = [*subject.scored, *subject.held_out]
    references = _references(subject, requests, meter)
    objective = Objective(subject.network, references, costs, MOST, meter)
    study = open_study(optuna.storages.InMemoryStorage(), "bench")
    layers = subject.network.config.num_hidden_layers
    search = Search(
        subject.network,
        references,
        objective,
        Calibration(subject.scored, subject.held_out),
        StudyNotebook(study, layers, "bench", Sampler(sampler), seed),
        meter,
        budget=budget,
        settings=Settings(),
    )
    began, path, longest = time.perf_counter(), [], 0.0
    while True:
        before, seconds = search.best, meter.search_s
        if not search.step():
            break
        longest = max(longest, meter.search_s - seconds)
        if search.best is not before and search.best is not None:
            path.append((meter.search_s, search.best.skip_set))
    wall_s, verdict = time.perf_counter() - began, search.verdict
    found = SkipSet() if verdict is None or verdict.finalist is None else verdict.finalist.skip_set
    return {
        "path": [*path, (meter.search_s, found)],
        "found": found,
        "scored": list(search.trials.values()),
        "by_source": _by_source(search),
        "trials": len(search.trials),
        "host_s": wall_s - meter.search_s,
        "longest_unit_s": longest,
        "phases_s": {phase.value: seconds for phase, seconds in meter.seconds.items()},
    }


def _by_source(search: Search) -> dict[str, int]:
    counts: dict[str, int] = {}
    for trial in search.trials.values():
        counts[trial.source.value] = counts.get(trial.source.value, 0) + 1
    return counts


def theirs(subject: Subject, evaluations: int, until: float, log: Path, seed: int) -> Practice:
    requests = [Request(one.id, one.prompt, TOKENS, one.sampling) for one in subject.scored[:PROMPTS]]
    practice = Practice(subject.network, requests, subject.eos, log, seed)
    while len(practice.evaluations) < evaluations and time.perf_counter() < until:
        practice.step()
    return practice


def curve(judge: Judge, layers: int, path: Sequence[tuple[float, SkipSet]]) -> list[Point]:
    return [Point(seconds, skip_set.bits(layers), judge.speed(skip_set)) for seconds, skip_set in path]


def their_path(practice: Practice) -> list[tuple[float, SkipSet]]:
    """Sets that were the fastest so far by the procedure's own clock."""
    path, best = [], 0.0
    for seconds, one in zip(accumulate(e.device_s for e in practice.evaluations), practice.evaluations, strict=True):
        if one.speed > best:
            best = one.speed
            path.append((seconds, SkipSet.from_bits(one.bits)))
    return path


def compare(subject: Subject, seed: int, arguments: argparse.Namespace, until: float) -> dict[str, Any]:
    """Both methods on one network."""
    layers, meter = subject.network.config.num_hidden_layers, Meter(subject.network.device)
    costs = fit(subject, meter)
    mine = ours(subject, costs, meter, arguments.sampler, seed, Budget(arguments.trials))
    log = arguments.logs / f"{subject.name}.jsonl"
    practice = theirs(subject, arguments.evaluations, until, log, seed)
    judge = Judge(subject, costs)
    my_curve, their_curve = curve(judge, layers, mine.pop("path")), curve(judge, layers, their_path(practice))
    found, done = mine.pop("found"), len(practice.evaluations)
    mine.pop("scored")
    target = max(point.speed for point in their_curve)
    reached = next((point.device_s for point in my_curve if point.speed >= target), None)
    all_s = practice.device_s * EVALUATIONS / done
    return {
        "subject": subject.name,
        "costs": asdict(costs.parts[0][1]),
        "ours": {**mine, "bits": found.bits(layers), "speed": judge.speed(found), "device_s": meter.search_s},
        "published": {
            "evaluations": done,
            "is_extrapolated": done < EVALUATIONS,
            "device_s": practice.device_s,
            "device_s_of_1000": all_s,
            "host_s": sum(one.host_s for one in practice.evaluations),
            "speed": their_curve[-1].speed,
            "best_true_speed": target,
        },
        "planted_speed": None if subject.planted is None else judge.speed(subject.planted),
        "ratio_whole_search": all_s / meter.search_s,
        "ratio_to_equal": None if reached is None else all_s / reached,
        "curves": {"ours": [asdict(p) for p in my_curve], "published": [asdict(p) for p in their_curve]},
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        "| network | true speed: planted | ours | published | device s: ours | published, 1000 evaluations | ratio |"
        " ratio to an equal set |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        mine, other = row["ours"], row["published"]
        note = f" (extrapolated from {other['evaluations']})" if other["is_extrapolated"] else ""
        planted = "" if row["planted_speed"] is None else f"{row['planted_speed']:.3f}"
        equal = "not reached" if row["ratio_to_equal"] is None else f"{row['ratio_to_equal']:.0f}"
        lines.append(
            f"| {row['subject']} | {planted} | {mine['speed']:.3f} | {other['speed']:.3f} | {mine['device_s']:.1f} |"
            f" {other['device_s_of_1000']:.0f}{note} | {row['ratio_whole_search']:.0f} | {equal} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=96, help="of each reference")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--sampler", choices=SAMPLERS, default="gp")
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--evaluations", type=int, default=EVALUATIONS, help="of the published procedure, each network")
    parser.add_argument("--seconds", type=float, default=3600, help="after which the published procedure is cut")
    parser.add_argument(
        "--logs", type=Path, default=Path(tempfile.gettempdir()), help="its evaluations, to continue from"
    )
    parser.add_argument("--model", help="a folder or hub id, instead of planted networks")
    parser.add_argument("--documents", type=Path, help="for it: JSON Lines with a member `document`")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    until = time.perf_counter() + arguments.seconds
    rows = []
    for seed in arguments.seeds:
        if arguments.model:
            subject = real_subject(arguments.model, arguments.documents, arguments.tokens)
        else:
            subject = planted_subject(arguments.layers, arguments.hidden, arguments.tokens, seed)
        rows.append(compare(subject, seed, arguments, until))
        print(table(rows), flush=True)
    print(save("search", {"rows": rows}, table(rows)))
    if not draw(rows, RESULTS / "search.svg"):
        print("no plot: matplotlib is not installed")


if __name__ == "__main__":
    main()
