"""All arms on one piece of work: in turn, judged against one reference, as a table."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

from bench.arms import OURS, Arm, Written
from bench.counted import counted_s
from bench.equality import Judge, Texts, Verdict
from bench.report import Spread
from bench.turns import Turn, in_turn, ratio, seconds
from bench.workloads import Work
from engine.costs import StepCosts

PLAIN, AUTO, GENERATE, GENERATE_LOOKUP = "plain", "auto", "generate", "generate-lookup"


@dataclass(frozen=True, slots=True)
class Standard:
    """What all arms are held against: a judge of texts, the stock network's own if no arm writes them, step costs."""

    judge: Judge
    reference: Callable[[], Texts]
    costs: StepCosts


@dataclass(frozen=True, slots=True)
class Line:
    """One arm on one piece of work.

    ``seconds`` are those of each turn, and ``decode_s`` of its decoding: of ours those of its rounds, of others all but
    the time of the same work cut to one token an item, ``prefill_s``. ``counted_over_plain`` compares step costs of
    decoding rounds instead of the clock. ``verdict`` counts the texts of all turns.
    """

    workload: str
    batch: int
    arm: str
    seconds: tuple[float, ...]
    decode_s: tuple[float, ...]
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
    workload: str, batch: int, work: Work, arms: Mapping[str, Arm], standard: Standard, rounds: int
) -> list[Line]:
    """Warm every arm up, run them in turn, and hold the texts of every turn against ``generate``'s: those of its arm,
    or where none runs of one untimed run.
    """
    in_turn(_bound_to(arms, work.shortened(batch, 4)), 1)
    first = _bound_to(arms, work.shortened(len(work.prompts), 1))
    apart = [name for name in arms if name not in OURS and _prefills_like(name, arms) == name]
    prefills = in_turn({name: first[name] for name in apart}, min(rounds, 3))
    turns = in_turn(_bound_to(arms, work), rounds)
    shortest = {name: seconds(those).median for name, those in prefills.items()}
    runs = {name: _Run(turns[name], shortest.get(_prefills_like(name, arms), 0.0)) for name in arms}
    reference = runs[GENERATE].written.texts if GENERATE in runs else standard.reference()
    return [
        _line(workload, batch, name, runs, run.judged(standard.judge, reference), standard.costs)
        for name, run in runs.items()
    ]


@dataclass(frozen=True, slots=True)
class _Run:
    """An arm's turns, and how long its prefill took in a run of its own where it does not time its rounds."""

    turns: Sequence[Turn[Written]]
    apart_s: float

    @property
    def written(self) -> Written:
        return self.turns[-1].result

    @property
    def prefill_s(self) -> float:
        """Everything but decoding."""
        return median(turn.seconds - decode for turn, decode in zip(self.turns, self.decode_s, strict=True))

    @property
    def decode_s(self) -> tuple[float, ...]:
        """Never nothing: on a busy machine a short run may seem to take less than its prefill."""
        timed = [turn.result.decode_s for turn in self.turns]
        return tuple(
            max(turn.seconds - self.apart_s, 1e-3) if rounds_s is None else rounds_s
            for turn, rounds_s in zip(self.turns, timed, strict=True)
        )

    @property
    def decode_tokens(self) -> int:
        """Tokens that ``decode_s`` went into: a run of its own for the prefill makes the first of each item."""
        written = self.written
        return written.num_tokens - (0 if written.rounds else len(written.texts))

    def judged(self, judge: Judge, reference: Texts) -> Verdict:
        """On the texts of all turns; the same ones are looked at once."""
        wrote = [tuple(map(tuple, turn.result.texts)) for turn in self.turns]
        verdicts = {texts: judge.judge(reference, texts) for texts in dict.fromkeys(wrote)}
        return sum((verdicts[texts] for texts in wrote), Verdict(0, 0, 0, 0))

    def decode_over(self, other: "_Run") -> Spread:
        """How many times as fast it makes a token, round by round."""
        share = self.decode_tokens / other.decode_tokens
        return Spread.of([share * b / a for a, b in zip(self.decode_s, other.decode_s, strict=True)])

    def price(self, costs: StepCosts) -> float:
        """Step costs of a token, over all turns."""
        rounds = (one for turn in self.turns for one in turn.result.rounds)
        return counted_s(rounds, costs) / sum(turn.result.num_tokens for turn in self.turns)


def _prefills_like(name: str, arms: Mapping[str, Arm]) -> str:
    """The arm whose prefill is the same: drafting begins after it."""
    return GENERATE if name == GENERATE_LOOKUP and GENERATE in arms else name


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
        run.decode_s,
        Spread.of([turn.result.num_tokens / turn.seconds for turn in run.turns]),
        run.prefill_s,
        run.decode_tokens / median(run.decode_s),
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
