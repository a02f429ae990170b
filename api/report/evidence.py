"""What a search's report document says, as values. Whatever is missing, as while it runs, is empty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from models.findings import Finding

HALVES: Final = (("attention", "attention"), ("mlp", "MLP"))
NAMES: Final = "ABCDEFGH"  # of finalists, in the order of their estimates


@dataclass(frozen=True, slots=True)
class Spread:
    """Measured speeds over that of plain decoding: the median, lowest and highest of `num` turns."""

    middle: float
    low: float
    high: float
    num: int


@dataclass(frozen=True, slots=True)
class FinalistFacts:
    """A finalist: what was expected of it, what came of that, how much of its drafts is accepted by depth from 1."""

    name: str
    bits: str
    draft_length: int
    threshold: float | None
    estimate: float
    measured: Spread | None
    depths: tuple[float, ...]
    is_chosen: bool

    @property
    def num_skipped(self) -> int:
        """Sub-layers that it leaves out."""
        return self.bits.count("1")


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything pictures are drawn from. `losses` and `skipped` are by half; `lookup` is its measured speed."""

    num_layers: int
    losses: dict[str, tuple[float | None, ...]]
    skipped: dict[str, frozenset[int]]
    finalists: tuple[FinalistFacts, ...]
    lookup: Spread | None


def evidence_of(found: Finding) -> Evidence:
    """Read a search's report."""
    report = found.report or {}
    speeds = {(one["drafter"], one["bits"]): one["speeds"] for one in report.get("measurements", ()) if one["speeds"]}
    plain = speeds.get(("plain", None))
    skipped = report.get("skipped", {})
    chosen = _bits(skipped, found.num_layers) if found.finalist else None
    return Evidence(
        num_layers=found.num_layers,
        losses={half: tuple(report.get("losses", {}).get(half, ())) for half, _ in HALVES},
        skipped={half: frozenset(skipped.get(half, ())) for half, _ in HALVES},
        finalists=tuple(
            _finalist(name, one, _spread(speeds.get(("skip", one["bits"])), plain), chosen)
            for name, one in zip(NAMES, report.get("finalists", ()), strict=False)
        ),
        lookup=_spread(speeds.get(("lookup", None)), plain),
    )


def _finalist(name: str, one: dict[str, Any], measured: Spread | None, chosen: str | None) -> FinalistFacts:
    return FinalistFacts(
        name=name,
        bits=one["bits"],
        draft_length=one["draft_length"],
        threshold=one["threshold"],
        estimate=one["speed"],
        measured=measured,
        depths=tuple(one["depths"]),
        is_chosen=one["bits"] == chosen,
    )


def _spread(speeds: Sequence[float] | None, plain: Sequence[float] | None) -> Spread | None:
    """Speeds turn by turn over those of plain decoding in the same turn, so that a slow minute is everybody's."""
    if not speeds or not plain:
        return None
    ratios = [mine / its for mine, its in zip(speeds, plain, strict=False) if its > 0]
    return Spread(median(ratios), min(ratios), max(ratios), len(ratios)) if ratios else None


def _bits(skipped: dict[str, list[int]], num_layers: int) -> str:
    return "".join("1" if layer in skipped.get(half, ()) else "0" for half, _ in HALVES for layer in range(num_layers))
