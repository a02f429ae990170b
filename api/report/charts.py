"""The charts of a search: layer map, trials over time, estimate against measurement, acceptance by depth."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from markupsafe import Markup

from api.report.drawing import Scale, axes, figure, tag, ticks_below
from api.report.evidence import HALVES, Evidence, FinalistFacts, Spread
from models.findings import TrialView

WIDTH: Final = 760.0
HEIGHT: Final = 300.0
LEFT, RIGHT, TOP, BOTTOM = 56.0, 16.0, 34.0, 44.0
LABELS: Final = 80.0  # beside the rows of a map
BAND: Final = 40  # layers side by side in the map
MAX_POINTS: Final = 3000


def layer_map(facts: Evidence) -> Markup:
    """Cells of attention and MLP by layer: colour is what skipping costs, a mark says that it is skipped."""
    known = [loss for half in facts.losses.values() for loss in half if loss is not None]
    largest = max(known, default=0.0)
    cell = (WIDTH - LABELS) / min(BAND, max(facts.num_layers, 1))
    size = min(cell, 34.0)
    parts: list[Markup] = []
    bands = range(0, facts.num_layers, BAND)
    for row, start in enumerate(bands):
        parts += _band(facts, range(start, min(start + BAND, facts.num_layers)), largest, size, row * (2 * size + 40))
    text = (
        f"Redder cells cost more: up to {largest:.3f} of the first draft's acceptance when skipped alone. "
        if known
        else ""
    )
    return figure(
        "Layer map",
        f"{text}Marked cells are skipped while drafting.",
        WIDTH,
        len(bands) * (2 * size + 40),
        parts,
    )


def _band(facts: Evidence, layers: range, largest: float, size: float, top: float) -> Iterable[Markup]:
    for half_row, (half, label) in enumerate(HALVES):
        y = top + 20 + half_row * size
        yield tag("text", label, x=LABELS - 8, y=y + size / 2 + 4, class_="label end")
        for column, layer in enumerate(layers):
            yield from _cell(facts, half, layer, largest, (LABELS + column * size, y, size))
    for column, layer in enumerate(layers):
        if layer % 5 == 0 or len(layers) <= 16:
            yield tag("text", str(layer), x=LABELS + (column + 0.5) * size, y=top + 12, class_="tick middle")


def _cell(facts: Evidence, half: str, layer: int, largest: float, box: tuple[float, float, float]) -> Iterable[Markup]:
    x, y, size = box
    losses = facts.losses[half]
    loss = losses[layer] if layer < len(losses) else None
    share = 0.0 if loss is None or largest <= 0 else min(1.0, max(0.0, loss / largest))
    is_skipped = layer in facts.skipped[half]
    said = f"{half} {layer}: {'skipped' if is_skipped else 'kept'}" + ("" if loss is None else f", costs {loss:.3f}")
    place = {"x": round(x + 1, 1), "y": round(y + 1, 1), "width": round(size - 2, 1), "height": round(size - 2, 1)}
    kind = "cell unknown" if loss is None else "cell"
    yield tag("rect", tag("title", said), **place, rx=2, class_=kind, style=f"--cost:{share:.2f}")
    if is_skipped:
        middle_x, middle_y = round(x + size / 2, 1), round(y + size / 2, 1)
        yield tag("circle", cx=middle_x, cy=middle_y, r=round(size / 4, 1), class_="skipped")


def trials_chart(trials: Sequence[TrialView]) -> Markup:
    """Expected speed of every candidate over the device seconds spent until then, and the best so far."""
    full = max((one.prompts for one in trials), default=0)
    best = _best_so_far([one for one in trials if one.prompts == full])
    shown = trials if len(trials) <= MAX_POINTS else trials[:: len(trials) // MAX_POINTS + 1]
    speeds = [one.speed for one in trials]
    x = Scale(0, max((one.device_seconds for one in trials), default=1) or 1, LEFT, WIDTH - RIGHT)
    y = Scale(min([*speeds, 0.9]), max([*speeds, 1.1]) * 1.02, HEIGHT - BOTTOM, TOP)
    parts = axes(x, y, "device seconds", "times plain decoding, expected")
    parts.append(tag("line", x1=x.start, x2=x.end, y1=y.at(1), y2=y.at(1), class_="plain"))
    for one in shown:
        said = f"trial {one.number}, {one.source}: {one.speed:.3f} on {one.prompts} prompts"
        kind = "dot" if one.prompts == full else "dot few"
        spot = {"cx": x.at(one.device_seconds), "cy": y.at(one.speed)}
        parts.append(tag("circle", tag("title", said), **spot, r=2.5, class_=kind))
    if best:
        parts.append(tag("path", d=_steps(best, x, y), class_="best"))
    return figure(
        "Trials over time",
        f"{len(trials)} candidates; pale dots were scored on some of the prompts only. The line is the best so far, "
        "the dashed one plain decoding.",
        WIDTH,
        HEIGHT,
        parts,
    )


def _best_so_far(trials: Sequence[TrialView]) -> list[tuple[float, float]]:
    best: list[tuple[float, float]] = []
    for one in trials:
        if not best or one.speed > best[-1][1]:
            best.append((one.device_seconds, one.speed))
    return best


def _steps(best: list[tuple[float, float]], x: Scale, y: Scale) -> str:
    path = f"M{x.at(best[0][0])} {y.at(best[0][1])}"
    return path + "".join(f"H{x.at(time)}V{y.at(speed)}" for time, speed in best[1:]) + f"H{x.end}"


def speeds_chart(facts: Evidence) -> Markup:
    """Expected and measured speed of the finalists, and the measured one of lookup, over plain decoding."""
    rows: list[tuple[str, float | None, Spread | None]] = [
        (f"{one.name}{' (chosen)' if one.is_chosen else ''}", one.estimate, one.measured) for one in facts.finalists
    ]
    if facts.lookup is not None:
        rows.append(("lookup", None, facts.lookup))
    values = [1.0] + [value for _, estimate, spread in rows for value in _values(estimate, spread)]
    height = TOP + 34 * len(rows) + BOTTOM
    x = Scale(min(values) * 0.97, max(values) * 1.03, LEFT + 50, WIDTH - RIGHT)
    bottom = height - BOTTOM
    parts = [tag("line", x1=x.at(1), x2=x.at(1), y1=TOP - 10, y2=bottom, class_="plain")]
    parts += ticks_below(x, bottom, 6)
    parts.append(tag("text", "times plain decoding", x=x.end, y=bottom + 34, class_="label end"))
    for row, (name, estimate, spread) in enumerate(rows):
        parts += _row(name, estimate, spread, x, TOP + 34 * row + 10)
    turns = max((spread.num for _, _, spread in rows if spread), default=0)
    measured = f"bars are measured: median, lowest and highest of {turns} turns" if turns else "nothing was measured"
    return figure("Estimate and measurement", f"Rings are expected, {measured}.", WIDTH, height, parts)


def _values(estimate: float | None, spread: Spread | None) -> list[float]:
    return ([] if estimate is None else [estimate]) + ([] if spread is None else [spread.low, spread.high])


def _row(name: str, estimate: float | None, spread: Spread | None, x: Scale, y: float) -> Iterable[Markup]:
    yield tag("text", name, x=x.start - 8, y=y + 4, class_="label end")
    yield tag("line", x1=x.start, x2=x.end, y1=y, y2=y, class_="grid")
    if spread is not None:
        yield tag("line", x1=x.at(spread.low), x2=x.at(spread.high), y1=y, y2=y, class_="range")
        said = f"measured {spread.middle:.3f} ({spread.low:.3f} to {spread.high:.3f})"
        yield tag("circle", tag("title", said), cx=x.at(spread.middle), cy=y, r=5, class_="measured")
    if estimate is not None:
        yield tag("circle", tag("title", f"expected {estimate:.3f}"), cx=x.at(estimate), cy=y, r=6, class_="expected")


def depths_chart(finalists: Sequence[FinalistFacts]) -> Markup:
    """The share of drafts that is accepted, by how deep in a round they are."""
    deepest = max((len(one.depths) for one in finalists), default=1)
    x = Scale(0.5, deepest + 0.5, LEFT, WIDTH - RIGHT)
    y = Scale(0, 1.02, HEIGHT - BOTTOM, TOP)
    parts = axes(x, y, "depth of the draft in its round", "accepted")
    for number, one in enumerate(finalists[:4], start=1):
        points = [(x.at(depth), y.at(share)) for depth, share in enumerate(one.depths, start=1)]
        if not points:
            continue
        parts.append(tag("path", d="M" + "L".join(f"{a} {b}" for a, b in points), class_=f"series s{number}"))
        parts += [tag("circle", cx=a, cy=b, r=3, class_=f"mark s{number}") for a, b in points]
        parts.append(tag("text", one.name, x=points[-1][0] + 6, y=points[-1][1] + 4, class_="label"))
    return figure(
        "Acceptance by draft depth",
        "Of held-out prompts: how often the draft at each depth is what the full network says there.",
        WIDTH,
        HEIGHT,
        parts,
    )
