"""How ``auto`` stands against the best fixed choice and against plain decoding, by the clock and in step costs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.compare import AUTO, PLAIN, Line
from bench.report import Spread

FIXED = ("skip", "lookup", "cascade", "plain")  # what auto chooses among


@dataclass(frozen=True, slots=True)
class Claim:
    """Ratios of one workload and batch, by the clock round by round; ``counted`` ones are in step costs."""

    workload: str
    batch: int
    best: str
    over_best: Spread
    over_plain: Spread
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
            _ratio(group[AUTO], group[best]),
            _ratio(group[AUTO], group[PLAIN]),
            dearest,
            priced[AUTO] / priced[dearest],
            priced[AUTO],
        )


def _ratio(line: Line, base: Line) -> Spread:
    """How many times faster, round by round."""
    return Spread.of([b / a for a, b in zip(line.seconds, base.seconds, strict=True)])


def table(rows: Sequence[Claim]) -> str:
    out = ["| work | batch | best fixed | auto / best | auto / plain | best, counted | auto / best | auto / plain |"]
    out.append("|" + "---|" * 8)
    for row in rows:
        clock = f"{row.best} | {row.over_best:.3f} | {row.over_plain:.3f}"
        priced = f"{row.counted_best} | {row.counted_over_best:.3f} | {row.counted_over_plain:.3f}"
        out.append(f"| {row.workload} | {row.batch} | {clock} | {priced} |")
    return "\n".join(out)
