"""What charts are made of: a scale, its ticks, and SVG elements whose text and attributes are escaped."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, floor, log10

from markupsafe import Markup, escape


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps values from `low` to `high` onto coordinates from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """The coordinate of a value, rounded to a tenth."""
        share = (value - self.low) / ((self.high - self.low) or 1)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self, num: int = 5) -> list[float]:
        """About so many round values that the scale has room for."""
        step = _round((self.high - self.low) / num)
        first = ceil(round(self.low / step, 6))
        return [value for k in range(2 * num + 2) if (value := round((first + k) * step, 10)) <= self.high]


def tag(name: str, *children: str, **attributes: object) -> Markup:
    """An element. `class_` is `class`, other underscores are hyphens; children that are not markup are escaped."""
    named = ((key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items() if value is not None)
    written = Markup("").join(Markup(' {}="{}"').format(key, value) for key, value in named)
    return Markup("<{0}{1}>{2}</{0}>").format(name, written, Markup("").join(escape(one) for one in children))


def figure(title: str, explanation: str, width: float, height: float, parts: Iterable[Markup]) -> Markup:
    """A picture with its title, and a sentence on how it is read."""
    picture = tag(
        "svg",
        tag("title", title),
        *parts,
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        style=f"max-width:{width:g}px",
    )
    return tag("figure", tag("h2", title), picture, tag("figcaption", explanation))


def axes(x: Scale, y: Scale, x_label: str, y_label: str) -> list[Markup]:
    """Horizontal grid lines with their values, ticks below, and what the axes mean."""
    parts = []
    for value in y.ticks():
        parts.append(tag("line", x1=x.start, x2=x.end, y1=y.at(value), y2=y.at(value), class_="grid"))
        parts.append(tag("text", f"{value:g}", x=x.start - 6, y=y.at(value) + 4, class_="tick end"))
    parts += ticks_below(x, y.start, 8)
    parts.append(tag("line", x1=x.start, x2=x.end, y1=y.start, y2=y.start, class_="axis"))
    parts.append(tag("text", x_label, x=x.end, y=y.start + 34, class_="label end"))
    parts.append(tag("text", y_label, x=x.start, y=y.end - 10, class_="label"))
    return parts


def ticks_below(x: Scale, bottom: float, num: int) -> list[Markup]:
    """The values of a horizontal scale, written below it."""
    return [tag("text", f"{value:g}", x=x.at(value), y=bottom + 16, class_="tick middle") for value in x.ticks(num)]


def _round(step: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is not much below `step`."""
    if step <= 0:
        return 1.0
    power: float = 10.0 ** floor(log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * 0.8)
