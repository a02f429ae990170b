"""The plot of a search beside the published procedure: true speed of the best set so far against device seconds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def draw(rows: Sequence[dict[str, Any]], path: Path) -> bool:
    """One panel a network, device seconds on a logarithmic axis; False without matplotlib, which only plots need."""
    try:
        import matplotlib as mpl  # noqa: PLC0415  heavy, and optional
    except ImportError:
        return False
    mpl.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    figure, panels = pyplot.subplots(1, len(rows), figsize=(5 * len(rows), 4), squeeze=False, layout="constrained")
    for row, panel in zip(rows, panels[0], strict=True):
        for colour, (name, lines) in zip(("C0", "C1"), row["curves"].items(), strict=True):
            for number, points in enumerate(lines):
                seconds, speeds = [p["device_s"] for p in points], [p["speed"] for p in points]
                label = name if number == 0 else None
                panel.step(seconds, speeds, where="post", marker=".", color=colour, label=label)
        if row["planted_speed"] is not None:
            panel.axhline(row["planted_speed"], linestyle=":", color="grey", label="planted")
        panel.set(title=row["subject"], xlabel="device seconds", ylabel="true speed over plain", xscale="log")
        panel.legend()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return True
