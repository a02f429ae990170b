"""All arms on one piece of work: in turn, judged against one reference, as a table."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

from bench.arms import Arm, Written
from bench.counted import counted_s
from bench.equality import Judge, Verdict
from bench.report import Spread
from bench.turns import Turn, in_turn, ratio, seconds
from bench.workloads import Work
from engine.costs import StepCosts

PLAIN, AUTO, GENERATE, GENERATE_LOOKUP = "plain", "auto", "generate", "generate-lookup"
OURS = ("plain", "skip", "skip-adaptive", "lookup", "cascade", "auto")


@dataclass(frozen=True, slots=True)
class Line:
    """One arm on one piece of work.

    ``seconds`` are those of each turn. ``prefill_s`` is the time of the same work cut to one token an item; figures of
    ``decode`` leave it out. ``counted_over_plain`` compares step costs of decoding rounds instead of the clock.
    """

    workload: str
    batch: int
    arm: str
    seconds: tuple[float, ...]
    tokens_per_s: Spread
    prefill_s: float
    decode_tokens_per_s: float
    over_plain: Spread | None
    decode_over_plain: Spread | None
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
    in_turn(_bound_to(arms, work.shortened(batch, 4)), 1)
    first = _bound_to(arms, work.shortened(len(work.prompts), 1))
    prefills = in_turn({name: first[name] for name in arms if _prefills_like(name, arms) == name}, min(rounds, 3))
    turns = in_turn(_bound_to(arms, work), rounds)
    runs = {name: _Run(turns[name], seconds(prefills[_prefills_like(name, arms)]).median) for name in arms}
    reference = runs[GENERATE if GENERATE in runs else next(iter(runs))].written.texts
    return [
        _line(workload, batch, name, runs, judge.judge(reference, run.written.texts), costs)
        for name, run in runs.items()
    ]


@dataclass(frozen=True, slots=True)
class _Run:
    """An arm's turns, and how long its prefill takes."""

    turns: Sequence[Turn[Written]]
    prefill_s: float

    @property
    def written(self) -> Written:
        return self.turns[-1].result

    @property
    def decode_s(self) -> list[float]:
        """Never nothing: on a busy machine a short run may seem to take less than its prefill."""
        return [max(turn.seconds - self.prefill_s, 1e-3) for turn in self.turns]

    def decode_over(self, other: "_Run") -> Spread:
        return Spread.of([b / a for a, b in zip(self.decode_s, other.decode_s, strict=True)])

    def price(self, costs: StepCosts) -> float:
        """Step costs of a token, over all turns."""
        rounds = (one for turn in self.turns for one in turn.result.rounds)
        return counted_s(rounds, costs) / sum(turn.result.num_tokens for turn in self.turns)


def _prefills_like(name: str, arms: Mapping[str, Arm]) -> str:
    """The arm whose prefill is the same: drafting begins after it."""
    for base, alike in ((PLAIN, OURS), (GENERATE, (GENERATE_LOOKUP,))):
        if name in alike and base in arms:
            return base
    return name


def _bound_to(arms: Mapping[str, Arm], work: Work) -> dict[str, Callable[[], Written]]:
    return {name: partial(arm, work) for name, arm in arms.items()}


def _line(workload: str, batch: int, arm: str, runs: Mapping[str, _Run], verdict: Verdict, costs: StepCosts) -> Line:
    run, plain, generate = runs[arm], runs.get(PLAIN), runs.get(GENERATE)
    written = run.written
    return Line(
        workload,
        batch,
        arm,
        tuple(turn.seconds for turn in run.turns),
        Spread.of([turn.result.num_tokens / turn.seconds for turn in run.turns]),
        run.prefill_s,
        (written.num_tokens - len(written.texts)) / median(run.decode_s),
        ratio(run.turns, plain.turns) if plain else None,
        run.decode_over(plain) if plain else None,
        ratio(run.turns, generate.turns) if generate else None,
        plain.price(costs) / run.price(costs) if plain and written.rounds else None,
        written.tokens_per_verify,
        written.acceptance,
        written.drafted,
        verdict,
    )


def table(lines: Sequence[Line]) -> str:
    head = (
        "| work | batch | arm | tokens/s, prefill in | prefill, s | decode tokens/s | x plain | x plain, decode"
        " | x plain, counted | x generate | tokens a verify | accepted | drafted | equal / near ties / beyond noise |"
    )
    out = [head, "|" + "---|" * 14]
    for line in lines:
        cells = [line.workload, str(line.batch), line.arm, str(line.tokens_per_s), f"{line.prefill_s:.2f}"]
        cells += [_cell(line.decode_tokens_per_s), _cell(line.over_plain), _cell(line.decode_over_plain)]
        cells += [
            _cell(line.counted_over_plain),
            _cell(line.over_generate),
            _cell(line.tokens_per_verify),
            _cell(line.acceptance),
        ]
        out.append("| " + " | ".join([*cells, str(line.drafted or ""), str(line.verdict)]) + " |")
    return "\n".join(out)


def _cell(value: Spread | float | None) -> str:
    return "" if value is None else str(value) if isinstance(value, Spread) else f"{value:.2f}"
