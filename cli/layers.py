"""A skip set as a map of the network's layers: what is skipped, and how much acceptance each sub-layer costs.

Signs say everything; colours, which only a terminal gets, say it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.text import Text

from cli.views import Json

SKIPPED, KEPT, UNKNOWN = "■", "·", " "
BARS = "▁▂▃▄▅▆▇█"
LABEL = 11  # columns before the cells
HALVES = (("attention", "attention"), ("mlp", "MLP"))

Losses = Sequence[float | None]


def layer_map(skip_set: Json, num_layers: int, losses: dict[str, Losses] | None, width: int) -> Iterator[Text]:
    """Lines of the map, cut into bands of as many layers as `width` columns have room for."""
    largest = max((loss for half in (losses or {}).values() for loss in half if loss is not None), default=0.0)
    step = max(10, (width - LABEL) // 10 * 10)
    for start in range(0, num_layers, step):
        layers = range(start, min(start + step, num_layers))
        yield from _ruler(layers)
        for half, label in HALVES:
            yield _cells(label, set(skip_set[half]), layers)
            if largest > 0 and losses is not None:
                yield _bars(losses[half], layers, largest)
        yield Text()
    yield _legend(largest)


def summary(skip_set: Json, num_layers: int) -> str:
    """One line: what it is and how much it leaves out."""
    num = len(skip_set["attention"]) + len(skip_set["mlp"])
    place = f"{skip_set['device_kind']} {skip_set['dtype']}, batch class {skip_set['batch_class']}"
    states = ["active"] if skip_set["is_active"] else []
    states += ["stale"] if skip_set["stale_since"] else []
    state = f" ({', '.join(states)})" if states else ""
    return f"{skip_set['id']} of {skip_set['model']}, {place}{state}: {num} of {2 * num_layers} sub-layers skipped"


def _ruler(layers: range) -> Iterator[Text]:
    tens = "".join(str(layer // 10 % 10) if layer % 10 == 0 else " " for layer in layers)
    yield _line("layer", [(tens, "dim")])
    yield _line("", [("".join(str(layer % 10) for layer in layers), "dim")])


def _cells(label: str, skipped: set[int], layers: range) -> Text:
    return _line(label, ((SKIPPED, "bold cyan") if layer in skipped else (KEPT, "dim") for layer in layers))


def _bars(losses: Losses, layers: range, largest: float) -> Text:
    return _line("  loss", (_bar(losses[layer] if layer < len(losses) else None, largest) for layer in layers))


def _bar(loss: float | None, largest: float) -> tuple[str, str]:
    if loss is None:
        return UNKNOWN, ""
    share = min(1.0, max(0.0, loss / largest))
    return BARS[round(share * (len(BARS) - 1))], "green" if share < 1 / 3 else "yellow" if share < 2 / 3 else "red"


def _line(label: str, parts: Iterable[tuple[str, str]]) -> Text:
    line = Text(f"{label:<{LABEL}}")
    for sign, style in parts:
        line.append(sign, style)
    return line


def _legend(largest: float) -> Text:
    text = f"{SKIPPED} skipped  {KEPT} kept"
    if largest > 0:
        text += f"  {BARS[0]} to {BARS[-1]} acceptance lost when skipped alone, 0 to {largest:.3f}"
    return Text(text, style="dim")
