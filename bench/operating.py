"""A planted network at an operating point: measured speed-up of every drafter beside the bound S."""

from dataclasses import dataclass

import torch

from bench.arms import OURS
from bench.bound import Bound
from bench.compare import PLAIN, Line, compare
from bench.planted import Planted, plant, prompts_of
from bench.report import Spread
from bench.setting import planted_setting
from bench.shapes import Point, skipped_share
from bench.steps import Steps, measure
from bench.workloads import Work

MIXING = 1.5  # see ``plant``
ARMS = ("plain", "skip", "skip-adaptive", "cascade", "auto", "generate")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was planted, and for each batch the arms, the measured step costs and the bound at them."""

    about: str
    layers: int
    skipped_share: float
    scale: float
    acceptance: float
    distinct: float
    lines: list[Line]
    steps: list[Steps]
    bounds: list[Bound]
    share_of_bound: list[Spread]


def operate(
    point: Point, batches: list[int], *, items: int, max_tokens: int, rounds: int, dtype: torch.dtype, device: str
) -> Outcome:
    """Build the network, and run every batch size."""
    planted = plant(point.config, point.skip_set, point.acceptance, mixing=MIXING, dtype=dtype, device=device)
    setting = planted_setting(planted.network, planted.skip_set, max(batches))
    lines, steps, bounds, shares = [], [], [], []
    for batch in batches:
        prompts = prompts_of(point.config, max(items, 2 * batch), 128, seed=7)
        work = Work(tuple(map(tuple, prompts)), max_tokens)
        measured = measure(setting.network, planted.skip_set, batch, 128 + max_tokens)
        best = measured.bound(planted.acceptance)
        found = compare("planted", batch, work, setting.arms(batch, ARMS), setting.standard(work), rounds)
        gained = next(line.decode_over_plain for line in found if line.arm == "skip")
        lines += found
        steps.append(measured)
        bounds.append(best)
        shares.append(_over(gained, best.speedup))
    return _outcome(point, planted, lines, steps, bounds, shares)


def _over(spread: Spread | None, by: float) -> Spread:
    return Spread(spread.n, spread.median / by, spread.low / by, spread.high / by) if spread else Spread.of([0.0])


def _outcome(
    point: Point, planted: Planted, lines: list[Line], steps: list[Steps], bounds: list[Bound], shares: list[Spread]
) -> Outcome:
    return Outcome(
        point.about,
        int(point.config.num_hidden_layers or 0),
        skipped_share(point.config, point.skip_set),
        planted.scale,
        planted.acceptance,
        planted.distinct,
        lines,
        steps,
        bounds,
        shares,
    )


def table(outcome: Outcome) -> str:
    """What was planted, and measured against possible."""
    out = [
        f"{outcome.about}. {outcome.layers} layers, {outcome.skipped_share:.0%} of their weight bytes skipped,"
        f" acceptance {outcome.acceptance:.3f}, distinct runs of 4 tokens {outcome.distinct:.2f}.\n",
        "| batch | c: draft / plain step | v: verify of 6 / plain step | bound S | at drafts | skip / S |",
        "|---|---|---|---|---|---|",
    ]
    for steps, best, share in zip(outcome.steps, outcome.bounds, outcome.share_of_bound, strict=True):
        v = steps.over_plain[6]
        out.append(f"| {steps.batch} | {steps.draft_over_plain} | {v} | {best.speedup:.2f} | {best.drafts} | {share} |")
    return "\n".join([*out, *(f"\nWarning: {one}" for one in warnings(outcome))])


def warnings(outcome: Outcome) -> list[str]:
    """What our arms gained beyond what drafting by skipping can: something was measured badly, or words looked up."""
    bounds = {steps.batch: best.speedup for steps, best in zip(outcome.steps, outcome.bounds, strict=True)}
    drafting = [line for line in outcome.lines if line.arm in OURS and line.arm != PLAIN]
    gains = [(line.arm, line.batch, line.decode_over_plain.median) for line in drafting if line.decode_over_plain]
    return [
        f"{arm} at batch {batch} gained {gain:.2f}, more than the bound S of {bounds[batch]:.2f}"
        for arm, batch, gain in gains
        if gain > bounds[batch]
    ]
