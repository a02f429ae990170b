"""All arms on one piece of work: in turn, judged against one reference, as a table."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from bench.arms import Arm, Written
from bench.counted import counted_s
from bench.equality import Judge, Verdict
from bench.report import Spread
from bench.turns import Turn, in_turn, ratio
from bench.workloads import Work
from engine.costs import StepCosts

PLAIN, GENERATE, AUTO = "plain", "generate", "auto"
FIXED = ("skip", "lookup", "cascade", "plain")  # what auto chooses among


@dataclass(frozen=True, slots=True)
class Line:
    """One arm on one piece of work.

    ``prefill_s`` is the time of the same work cut to one token an item; ``decode_tokens_per_s`` leaves it out.
    ``counted_over_plain`` compares step costs of decoding rounds instead of the clock.
    """

    workload: str
    batch: int
    arm: str
    tokens_per_s: Spread
    prefill_s: float
    decode_tokens_per_s: float
    over_plain: Spread | None
    over_generate: Spread | None
    counted_over_plain: float | None
    tokens_per_verify: float | None
    acceptance: float | None
    drafted: int
    verdict: Verdict


def compare(
    workload: str, batch: int, work: Work, arms: Mapping[str, Arm], judge: Judge, costs: StepCosts, rounds: int
) -> list[Line]:
    """Warm every arm up, run them in turn, and hold all texts against ``generate``'s, or the first arm's."""
    short = work.shortened(min(batch, len(work.prompts)), 4)
    in_turn(_bound_to(arms, short), 1)
    prefills = in_turn(_bound_to(arms, work.shortened(len(work.prompts), 1)), 1)
    turns = in_turn(_bound_to(arms, work), rounds)
    reference = turns[GENERATE if GENERATE in turns else next(iter(turns))][0].result.texts
    return [
        _line(
            workload, batch, name, turns, prefills[name][0].seconds, judge.judge(reference, _last(turns[name])), costs
        )
        for name in arms
    ]


def _bound_to(arms: Mapping[str, Arm], work: Work) -> dict[str, "_Bound"]:
    return {name: _Bound(arm, work) for name, arm in arms.items()}


@dataclass(frozen=True, slots=True)
class _Bound:
    arm: Arm
    work: Work

    def __call__(self) -> Written:
        return self.arm(self.work)


def _last(turns: Sequence[Turn[Written]]) -> Sequence[Sequence[int]]:
    return turns[-1].result.texts


def _line(
    workload: str,
    batch: int,
    arm: str,
    turns: Mapping[str, Sequence[Turn[Written]]],
    prefill_s: float,
    verdict: Verdict,
    costs: StepCosts,
) -> Line:
    mine = turns[arm]
    written = mine[-1].result
    took = median(turn.seconds for turn in mine)
    return Line(
        workload,
        batch,
        arm,
        Spread.of([turn.result.num_tokens / turn.seconds for turn in mine]),
        prefill_s,
        (written.num_tokens - len(written.texts)) / max(took - prefill_s, 1e-9),
        ratio(mine, turns[PLAIN]) if PLAIN in turns else None,
        ratio(mine, turns[GENERATE]) if GENERATE in turns else None,
        _counted(mine, turns.get(PLAIN), costs),
        written.tokens_per_verify,
        written.acceptance,
        written.drafted,
        verdict,
    )


def _counted(mine: Sequence[Turn[Written]], plain: Sequence[Turn[Written]] | None, costs: StepCosts) -> float | None:
    """How many times cheaper than plain, in step costs a token, over all turns."""
    if plain is None or not mine[-1].result.rounds:
        return None
    prices = [
        counted_s((one for turn in turns for one in turn.result.rounds), costs)
        / sum(turn.result.num_tokens for turn in turns)
        for turns in (mine, plain)
    ]
    return prices[1] / prices[0]


@dataclass(frozen=True, slots=True)
class Claim:
    """How ``auto`` stands against the best fixed choice and against plain decoding, by the clock and in step costs."""

    workload: str
    batch: int
    best: str
    over_best: float
    over_plain: float
    counted_best: str
    counted_over_best: float
    counted_over_plain: float


def claims(lines: Sequence[Line]) -> Iterator[Claim]:
    """One for each workload and batch that ran ``auto``, plain and at least one other."""
    for workload, batch in dict.fromkeys((line.workload, line.batch) for line in lines):
        group = {line.arm: line for line in lines if (line.workload, line.batch) == (workload, batch)}
        fixed = [name for name in FIXED if name in group]
        if AUTO not in group or PLAIN not in group:
            continue
        clock = {name: line.over_plain.median for name, line in group.items() if line.over_plain is not None}
        priced = {name: line.counted_over_plain or 0.0 for name, line in group.items()}
        best, dearest = max(fixed, key=clock.__getitem__), max(fixed, key=priced.__getitem__)
        yield Claim(
            workload,
            batch,
            best,
            clock[AUTO] / clock[best],
            clock[AUTO],
            dearest,
            priced[AUTO] / priced[dearest],
            priced[AUTO],
        )


def table(lines: Sequence[Line]) -> str:
    head = (
        "| work | batch | arm | tokens/s, prefill in | prefill, s | decode tokens/s | x plain | x generate | x plain,"
        " counted | tokens a verify | accepted | drafted | equal / near ties / beyond noise |"
    )
    out = [head, "|" + "---|" * 13]
    for line in lines:
        cells = [line.workload, str(line.batch), line.arm, str(line.tokens_per_s), f"{line.prefill_s:.2f}"]
        cells += [f"{line.decode_tokens_per_s:.1f}", _cell(line.over_plain), _cell(line.over_generate)]
        cells += [_cell(line.counted_over_plain), _cell(line.tokens_per_verify), _cell(line.acceptance)]
        out.append("| " + " | ".join([*cells, str(line.drafted or ""), str(line.verdict)]) + " |")
    return "\n".join(out)


def claims_table(rows: Sequence[Claim]) -> str:
    out = ["| work | batch | best fixed | auto / best | auto / plain | best, counted | auto / best | auto / plain |"]
    out.append("|" + "---|" * 8)
    for row in rows:
        clock = f"{row.best} | {row.over_best:.3f} | {row.over_plain:.3f}"
        priced = f"{row.counted_best} | {row.counted_over_best:.3f} | {row.counted_over_plain:.3f}"
        out.append(f"| {row.workload} | {row.batch} | {clock} | {priced} |")
    return "\n".join(out)


def _cell(value: Spread | float | None) -> str:
    return "" if value is None else str(value) if isinstance(value, Spread) else f"{value:.2f}"
