"""The picture of a search: whole, self-contained, honest about what was not measured, and safe to open."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from random import Random
from shutil import which
from typing import Any

import pytest

from api.report import render
from api.report.drawing import Scale, tag
from models.findings import Finding, TrialView
from models.states import Calibration, JobStatus, SearchOutcome, SearchPhase

LAYERS = 30
NOW = datetime(2030, 7, 1, tzinfo=UTC)
VOID = {"meta"}


def bits(*skipped: int) -> str:
    return "".join("1" if place in skipped else "0" for place in range(2 * LAYERS))


def trials(num: int = 200) -> list[TrialView]:
    """Candidates that get better with time."""
    dice = Random(1)
    return [
        TrialView(
            number=number,
            bits=bits(number % 60),
            source="sampler",
            prompts=4 if dice.random() < 0.6 else 16,
            speed=1.0 + 0.3 * number / num + dice.gauss(0, 0.06),
            spread=0.01,
            acceptance=0.8,
            loss=0.2,
            draft_length=4,
            device_seconds=0.2 * number,
            created_at=NOW,
        )
        for number in range(num)
    ]


def report() -> dict[str, Any]:
    dice = Random(2)
    sets = [bits(7, 9, 12, 41), bits(7, 12, 41, 45), bits(9, 12)]
    return {
        "layers": LAYERS,
        "losses": {
            "attention": [None, *(round(dice.random() ** 3 * 0.5, 4) for _ in range(LAYERS - 1))],
            "mlp": [None, *(round(dice.random() ** 2 * 0.9, 4) for _ in range(LAYERS - 1))],
        },
        "skipped": {"attention": [7, 9, 12], "mlp": [11]},
        "finalists": [
            {
                "bits": one,
                "draft_length": 5,
                "threshold": None if number else 0.4,
                "speed": 1.31 - 0.04 * number,
                "depths": [0.86 - 0.05 * number - 0.02 * depth for depth in range(8)],
            }
            for number, one in enumerate(sets)
        ],
        "measurements": [
            {"drafter": "plain", "bits": None, "speeds": [40.0, 41.0, 39.0]},
            {"drafter": "lookup", "bits": None, "speeds": [44.0, 45.0, 43.0]},
            *({"drafter": "skip", "bits": one, "speeds": [50.0, 52.5, 49.0]} for one in sets[:2]),
        ],
        "outcome": "promoted",
        "device_seconds": {"scoring": 30.0},
    }


def finding(**changes: Any) -> Finding:
    """A search that found something."""
    found = Finding(
        job_id="job_a",
        model="tiny",
        revision="r1",
        device_kind="cpu",
        dtype="float32",
        batch_class="1",
        num_layers=LAYERS,
        status=JobStatus.SUCCEEDED,
        sampler="gp",
        max_trials=400,
        max_seconds=None,
        promotes=True,
        seed=7,
        calibration=Calibration.BUILTIN,
        num_prompts=24,
        study="job_a",
        workers=1,
        phase=SearchPhase.CONFIRMING,
        num_trials=200,
        best_speed=1.31,
        best_bits=bits(7),
        device_seconds={"scoring": 30.0, "timing": 8.0},
        outcome=SearchOutcome.PROMOTED,
        skip_set_id="skip_a",
        is_promoted=True,
        note=None,
        finalist={"draft_length": 5},
        report=report(),
        created_at=NOW,
        noted_at=NOW,
        settled_at=NOW,
    )
    return replace(found, **changes)


class Reader(HTMLParser):
    """Tags that are open, those that were seen, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def count(self, name: str, kind: str) -> int:
        return sum(name == tag and kind in (attrs.get("class") or "").split() for tag, attrs in self.seen)


def test_everything_is_drawn_and_every_tag_is_closed() -> None:
    read = Reader(render(finding(), trials()))

    assert read.open == []
    assert [tag for tag, _ in read.seen].count("svg") == 4
    assert read.count("rect", "cell") == 2 * LAYERS
    assert read.count("rect", "unknown") == 2
    assert read.count("circle", "skipped") == 4
    assert read.count("circle", "dot") == 200
    assert read.count("path", "best") == 1
    assert (read.count("circle", "expected"), read.count("circle", "measured")) == (3, 3)
    assert read.count("path", "series") == 3


def test_the_chosen_finalist_and_what_was_measured_are_told() -> None:
    text = " ".join(Reader(render(finding(), trials())).words)

    assert "A (chosen)" in text
    assert "1.256 (1.250 to 1.280)" in text
    assert "It was made active." in text
    assert "fixed length" in text


def test_the_page_asks_for_nothing_from_anywhere() -> None:
    read = Reader(render(finding(), trials()))

    assert {tag for tag, _ in read.seen} & {"script", "link", "img", "iframe", "object", "use"} == set()
    assert [attrs for _, attrs in read.seen if {"src", "href", "onload"} & attrs.keys()] == []
    assert re.findall(r"url\(|@import|https?:", render(finding(), trials())) == []
    assert "prefers-color-scheme: dark" in render(finding(), [])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"outcome": None, "report": None, "finalist": None, "status": JobStatus.RUNNING}, "No verdict yet: running."),
        ({"outcome": None, "report": None, "finalist": None, "status": None}, "No verdict yet: its job is gone."),
        ({"outcome": SearchOutcome.PLAIN, "is_promoted": False, "note": "noise", "finalist": None},
         "No skip set beats plain decoding. Nothing was promoted: noise."),
        ({"report": {}}, "A skip set beats all there was."),
    ],
)  # fmt: skip
def test_whatever_is_missing_leaves_a_page(changes: dict[str, Any], said: str) -> None:
    for tried in ([], trials(1), trials(7)):
        read = Reader(render(finding(**changes), tried))
        assert read.open == []
        assert said in " ".join(read.words)


def test_a_browser_draws_it(tmp_path: Path) -> None:
    browser = next(filter(None, map(which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no Chromium on this machine")
    page = render(finding(), trials())
    bare = re.sub(r"<body>.*</body>", "<body></body>", page, flags=re.DOTALL)
    light = photograph(browser, tmp_path / "light", page, dark=False)
    dark = photograph(browser, tmp_path / "dark", page, dark=True)

    # A picture of nothing compresses to next to nothing.
    assert min(light, dark) > 5 * photograph(browser, tmp_path / "bare", bare, dark=False)


def photograph(browser: str, folder: Path, page: str, *, dark: bool) -> int:
    """The size of a screenshot, in bytes."""
    folder.mkdir()
    (folder / "page.html").write_text(page)
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}", "--window-size=860,1900"]
    options += [f"--blink-settings=preferredColorScheme={0 if dark else 1}", f"--screenshot={folder / 'page.png'}"]
    subprocess.run([browser, *options, (folder / "page.html").as_uri()], check=True, capture_output=True, timeout=60)
    return (folder / "page.png").stat().st_size


def test_names_and_notes_are_text_not_markup() -> None:
    page = render(finding(note="<script>alert(1)</script>", is_promoted=False, revision='"><b>'), [])

    assert "<script" not in page
    assert "<b>" not in page
    assert "&lt;script&gt;" in page
    assert str(tag("text", "a<b", x='"')) == '<text x="&#34;">a&lt;b</text>'


def test_many_layers_are_drawn_in_bands_and_many_trials_are_thinned() -> None:
    many = report() | {"losses": {"attention": [], "mlp": []}, "skipped": {"attention": [79], "mlp": []}}
    read = Reader(render(finding(num_layers=80, report=many), trials(10_000)))

    assert read.count("rect", "cell") == 160
    assert read.count("circle", "skipped") == 1
    assert 1000 < read.count("circle", "dot") <= 3000


def test_ticks_are_round_and_within() -> None:
    assert Scale(0.9, 1.42, 0, 1).ticks() == [0.9, 1.0, 1.1, 1.2, 1.3, 1.4]
    assert Scale(0, 40, 0, 1).ticks(8) == [0, 5, 10, 15, 20, 25, 30, 35, 40]
    assert Scale(-0.3, 0.1, 0, 1).ticks(2) == [-0.2, 0.0]
    assert Scale(0, 10, 100, 0).at(2.5) == 75
    assert Scale(1, 1, 0, 100).at(1) == 0
