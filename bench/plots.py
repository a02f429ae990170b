"""Bars of ratios, small enough for the repository."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.compare import Line

_INCHES = (9.0, 3.2)


def plot(path: Path, title: str, lines: Sequence[Line], bounds: Mapping[int, float] | None = None) -> None:
    """A panel for each workload: every arm's speed over plain decoding, by batch; the bound S as a line.

    Raises: ImportError where the ``bench`` extras are not installed.
    """
    import matplotlib  # noqa: PLC0415  an optional dependency

    matplotlib.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    workloads = list(dict.fromkeys(line.workload for line in lines))
    arms = list(dict.fromkeys(line.arm for line in lines))
    figure, panels = pyplot.subplots(
        1, len(workloads), figsize=_INCHES, sharey=True, squeeze=False, layout="constrained"
    )
    for panel, workload in zip(panels[0], workloads, strict=True):
        _panel(panel, [line for line in lines if line.workload == workload], arms, bounds or {})
        panel.set_title(workload)
    panels[0][0].set_ylabel("times plain")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize="small", frameon=False)
    figure.suptitle(title, fontsize="medium")
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


def _colour(number: int) -> str:
    """Ten of the palette, then black."""
    return f"C{number}" if number < 10 else "black"


def _panel(axes: Any, lines: Sequence[Line], arms: Sequence[str], bounds: Mapping[int, float]) -> None:
    batches = list(dict.fromkeys(line.batch for line in lines))
    width = 0.85 / len(arms)
    for number, arm in enumerate(arms):
        found = {line.batch: line.over_plain for line in lines if line.arm == arm and line.over_plain}
        places = [batches.index(batch) + (number + 0.5) * width - 0.425 for batch in found]
        middles = [one.median for one in found.values()]
        errors = [[one.median - one.low for one in found.values()], [one.high - one.median for one in found.values()]]
        axes.bar(
            places,
            middles,
            width,
            yerr=errors,
            label=arm,
            color=_colour(number),
            error_kw={"elinewidth": 0.7},
        )
    for place, batch in enumerate(batches):
        if batch in bounds:
            axes.hlines(bounds[batch], place - 0.45, place + 0.45, colors="black", linestyles="dashed")
    axes.axhline(1.0, color="grey", linewidth=0.7)
    axes.set_xticks(range(len(batches)), [f"batch {batch}" for batch in batches])
