"""The page: what was searched and found in words, then the charts and the table of finalists."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Final

from markupsafe import Markup

from api.report.charts import depths_chart, layer_map, speeds_chart, trials_chart
from api.report.drawing import tag
from api.report.evidence import Evidence, FinalistFacts, Spread, evidence_of
from models.findings import Finding, TrialView
from models.states import SearchOutcome

OUTCOMES: Final = {
    SearchOutcome.PROMOTED: "A skip set beats all there was.",
    SearchOutcome.KEPT: "The active skip set stays.",
    SearchOutcome.LOOKUP: "A skip set beats plain decoding, and lookup beats the skip set.",
    SearchOutcome.PLAIN: "No skip set beats plain decoding.",
}
COLUMNS: Final = ("finalist", "skipped", "draft length", "threshold", "expected", "measured", "first draft accepted")


def render(found: Finding, trials: Sequence[TrialView]) -> str:
    """The whole document. It asks for nothing from anywhere."""
    facts = evidence_of(found)
    body = [tag("h1", f"Skip-set search of {found.model}"), _verdict(found), _facts(found)]
    if found.report is not None:
        body.append(layer_map(facts))
    if trials:
        body.append(trials_chart(trials))
    if facts.finalists:
        body += [speeds_chart(facts), depths_chart(facts.finalists), _finalists(facts)]
    head = [
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        tag("title", f"Skip-set search of {found.model}"),
        tag("style", Markup(_style())),  # noqa: S704 - our own file, and CSS knows no entities
    ]
    return f"<!doctype html>\n{tag('html', tag('head', *head), tag('body', tag('main', *body)), lang='en')}"


def _style() -> str:
    return files("api").joinpath("report", "style.css").read_text("utf-8")


def _verdict(found: Finding) -> Markup:
    if found.outcome is None:
        said = f"No verdict yet: {found.status or 'its job is gone'}."
    else:
        said = OUTCOMES[found.outcome]
        said += " It was made active." if found.is_promoted else f" Nothing was promoted: {found.note}."
    return tag("p", said, class_="verdict")


def _facts(found: Finding) -> Markup:
    spent = {**found.device_seconds}
    timing = spent.pop("timing", 0.0)
    facts = {
        "search": found.job_id,
        "place": f"{found.device_kind}, {found.dtype}, batch class {found.batch_class}",
        "revision": found.revision or "none",
        "trials": f"{found.num_trials} of at most {found.max_trials}, by {found.sampler}",
        "prompts": f"{found.num_prompts} {found.calibration}",
        "device seconds": f"{sum(spent.values()):.1f}"
        + "".join(f"; {kind} {value:.1f}" for kind, value in spent.items()),
        "timing the finalists": f"{timing:.1f} s, beside the budget",
        "skip set": found.skip_set_id or "none",
        "seed": str(found.seed),
    }
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in facts.items()))


def _finalists(facts: Evidence) -> Markup:
    rows = [tag("tr", *(tag("td", cell) for cell in _cells(one)), class_="chosen" if one.is_chosen else None)
            for one in facts.finalists]  # fmt: skip
    head = tag("thead", tag("tr", *(tag("th", column, scope="col") for column in COLUMNS)))
    return tag("section", tag("h2", "Finalists"), tag("table", head, tag("tbody", *rows)))


def _cells(one: FinalistFacts) -> tuple[str, ...]:
    return (
        f"{one.name} (chosen)" if one.is_chosen else one.name,
        str(one.num_skipped),
        str(one.draft_length),
        "fixed length" if one.threshold is None else f"{one.threshold:g}",
        f"{one.estimate:.3f}",
        _measured(one.measured),
        f"{one.depths[0]:.1%}" if one.depths else "",
    )


def _measured(spread: Spread | None) -> str:
    return "not" if spread is None else f"{spread.middle:.3f} ({spread.low:.3f} to {spread.high:.3f})"
