"""The last round: exact tables on prompts the search never saw, then decoding timed in turn, then a verdict.

Whoever wins a search has been lucky too, so the winner's score is not believed: it has to win again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import mean, median, stdev

from engine.request import Drafter
from engine.search.objective import Objective, Plan, best_plan
from engine.search.reference import Reference
from engine.search.simulate import Reach
from engine.search.steps import Steps
from engine.search.table import Table
from engine.skipset import SkipSet

_MARGIN = 0.005  # of speed, beside the noise, that a promotion must win by
_ERRORS = 2.0  # standard errors that count as noise
_LEAST_TURNS = 2  # beside the warm-up
_BEATEN = 0.98  # of plain decoding's speed in the same turn: beyond what further turns could mend


@dataclass(frozen=True, slots=True)
class Finalist:
    """A set, how to draft with it, and how fast that is expected to be on held-out prompts.

    ``depths``: how often a draft is right that so many right ones precede, from 0 on. ``share``: a draft step over a
    plain one.
    """

    skip_set: SkipSet
    plan: Plan
    depths: tuple[float, ...] = ()
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Contender:
    """A way to decode: plain, by lookup, or with a skip set as far as ``reach`` says."""

    drafter: Drafter
    skip_set: SkipSet | None = None
    reach: Reach | None = None


@dataclass(frozen=True, slots=True)
class Measurement:
    """Tokens per second of a contender, one figure for each turn."""

    contender: Contender
    speeds: tuple[float, ...]


class Outcome(StrEnum):
    """What a search came to."""

    PROMOTED = "promoted"  # a new set beats all there is
    KEPT = "kept"  # the active set stays: nothing beats it by more than the noise
    LOOKUP = "lookup"  # a set beats plain decoding, but lookup beats the set on these prompts
    PLAIN = "plain"  # nothing beats plain decoding: drafts are not made by skipping


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome, the set it speaks of, and the evidence. ``finalist`` is None when plain decoding is best."""

    outcome: Outcome
    finalist: Finalist | None
    finalists: tuple[Finalist, ...]
    measurements: tuple[Measurement, ...]


# Decodes the held-out prompts once and returns tokens per second, a unit of work at a time.
TimeContender = Callable[[Contender], Steps[float]]


def rescore(
    objective: Objective, sets: Sequence[SkipSet], references: Sequence[Reference], thresholds: Sequence[float]
) -> Steps[list[Finalist]]:
    """Exact tables on held-out references, and the best draft length and threshold by them; the fastest first."""
    finalists = []
    for skip_set in sets:
        tables = yield from objective.tables(skip_set, references)
        plan = best_plan(tables, skip_set, objective.load, thresholds)
        finalists.append(Finalist(skip_set, plan, _depths(tables), 1 - objective.load.saving(skip_set)))
    return sorted(finalists, key=lambda finalist: -finalist.plan.speed)


def _depths(tables: Sequence[Table]) -> tuple[float, ...]:
    """The share of right drafts at each depth, over all starts that reach it."""
    most = min(min(table.depth, table.width) for table in tables)
    right = [sum(int(table.are_right[: table.width - k, k].sum()) for table in tables) for k in range(most)]
    return tuple(count / sum(table.width - k for table in tables) for k, count in enumerate(right))


def confirm(time_contender: TimeContender, contenders: Sequence[Contender], rounds: int) -> Steps[list[Measurement]]:
    """Time the contenders in turn, so that a slow minute of the machine is everybody's; one warm-up each.

    No more turns than it takes to see that no skip set beats plain decoding.
    """
    speeds: list[list[float]] = [[] for _ in contenders]
    for turn in range(rounds + 1):
        for contender, line in zip(contenders, speeds, strict=True):
            speed = yield from time_contender(contender)
            if turn:
                line.append(speed)
        if turn >= _LEAST_TURNS and _are_beaten(contenders, speeds):
            break
    return [Measurement(one, tuple(line)) for one, line in zip(contenders, speeds, strict=True)]


def _are_beaten(contenders: Sequence[Contender], speeds: Sequence[Sequence[float]]) -> bool:
    """Whether plain decoding won every turn, by far, against every skip set."""
    lines = list(zip(contenders, speeds, strict=True))
    plain = next(line for one, line in lines if one.drafter is Drafter.PLAIN)
    sets = [line for one, line in lines if one.drafter is Drafter.SKIP]
    return all(a < _BEATEN * b for line in sets for a, b in zip(line, plain, strict=True))


def is_faster(one: Measurement, other: Measurement) -> bool:
    """Whether ``one`` beats ``other`` by more than the noise of their turns, taken in pairs."""
    ratios = [a / b for a, b in zip(one.speeds, other.speeds, strict=True)]
    noise = _ERRORS * stdev(ratios) / len(ratios) ** 0.5 if len(ratios) > 1 else 0.0
    return mean(ratios) - noise > 1 + _MARGIN


def judge(finalists: Sequence[Finalist], incumbent: SkipSet | None, measured: Sequence[Measurement]) -> Verdict:
    """Plain decoding unless something beats it; the incumbent unless something beats that."""
    by_kind = {kind: [m for m in measured if m.contender.drafter is kind] for kind in Drafter}
    plain, lookup = by_kind[Drafter.PLAIN][0], by_kind[Drafter.LOOKUP][0]
    champion = max(by_kind[Drafter.SKIP], key=lambda m: median(m.speeds), default=None)
    if champion is None or not is_faster(champion, plain):
        return Verdict(Outcome.PLAIN, None, tuple(finalists), tuple(measured))
    active = [m for m in by_kind[Drafter.SKIP] if m.contender.skip_set == incumbent]
    outcome = Outcome.PROMOTED
    if active and (champion is active[0] or not is_faster(champion, active[0])):
        # The active set need not beat plain decoding by its own measurement for long: then it is not kept either.
        champion, outcome = active[0], Outcome.KEPT if is_faster(active[0], plain) else Outcome.PLAIN
    elif is_faster(lookup, champion):
        outcome = Outcome.LOOKUP
    winner = next(f for f in finalists if f.skip_set == champion.contender.skip_set)
    return Verdict(outcome, None if outcome is Outcome.PLAIN else winner, tuple(finalists), tuple(measured))


def expected_verdict(finalists: Sequence[Finalist], incumbent: SkipSet | None) -> Verdict:
    """The verdict by expectation alone, where nobody times."""
    best = finalists[0] if finalists else None
    if best is None or best.plan.speed <= 1 + _MARGIN:
        return Verdict(Outcome.PLAIN, None, tuple(finalists), ())
    active = next((f for f in finalists if f.skip_set == incumbent), None)
    if active is not None and best.plan.speed <= active.plan.speed * (1 + _MARGIN):
        return Verdict(Outcome.KEPT, active, tuple(finalists), ())
    return Verdict(Outcome.PROMOTED, best, tuple(finalists), ())


def contenders_of(finalists: Sequence[Finalist]) -> list[Contender]:
    """Plain, lookup, and every finalist by its plan."""
    skips = [Contender(Drafter.SKIP, finalist.skip_set, finalist.plan.reach) for finalist in finalists]
    return [Contender(Drafter.PLAIN), Contender(Drafter.LOOKUP), *skips]
