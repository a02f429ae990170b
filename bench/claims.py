"""How ``auto`` stands against the best fixed choice and against plain decoding, by the clock and in step costs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from bench.arms import OURS
from bench.compare import AUTO, PLAIN, Line
from bench.report import Spread

FIXED = tuple(name for name in OURS if name != AUTO)  # a drafter or a length for ever, and the paper's exit


@dataclass(frozen=True, slots=True)
class Claim:
    """Ratios of one workload and batch, by the clock round by round: of decoding, and of the ``whole`` with prefill and
    the same ``best``; ``counted`` ones are in step costs.
    """

    workload: str
    batch: int
    best: str
    over_best: Spread
    over_plain: Spread
    whole_over_best: Spread
    whole_over_plain: Spread
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
        auto, plain = group[AUTO], group[PLAIN]
        clock = {name: median(_ratios(group[name].decode_s, plain.decode_s)) for name in fixed}
        priced = {name: line.counted_over_plain or 0.0 for name, line in group.items()}
        best, dearest = max(fixed, key=clock.__getitem__), max(fixed, key=priced.__getitem__)
        yield Claim(
            workload,
            batch,
            best,
            Spread.of(_ratios(auto.decode_s, group[best].decode_s)),
            Spread.of(_ratios(auto.decode_s, plain.decode_s)),
            Spread.of(_ratios(auto.seconds, group[best].seconds)),
            Spread.of(_ratios(auto.seconds, plain.seconds)),
            dearest,
            priced[AUTO] / priced[dearest],
            priced[AUTO],
        )


def _ratios(seconds: Sequence[float], base: Sequence[float]) -> list[float]:
    """How many times faster than ``base``, round by round."""
    return [b / a for a, b in zip(seconds, base, strict=True)]


def table(rows: Sequence[Claim]) -> str:
    """Decoding by the clock, with prefill, and counted in step costs."""
    out = [
        "| work | batch | best fixed | auto / best | auto / plain | with prefill: auto / best | auto / plain"
        " | best, counted | auto / best | auto / plain |"
    ]
    out.append("|" + "---|" * 10)
    for row in rows:
        clock = f"{row.best} | {row.over_best:.3f} | {row.over_plain:.3f}"
        whole = f"{row.whole_over_best:.3f} | {row.whole_over_plain:.3f}"
        priced = f"{row.counted_best} | {row.counted_over_best:.3f} | {row.counted_over_plain:.3f}"
        out.append(f"| {row.workload} | {row.batch} | {clock} | {whole} | {priced} |")
    return "\n".join(out)
