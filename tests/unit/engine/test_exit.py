"""The adaptive exit of the paper, and drafts that end where the draft is unsure."""

import pytest

from engine.draft.exit import AdaptiveExit
from engine.loop import Engine, Options
from engine.request import Drafter, Exit, Request
from engine.skipset import SkipSet
from tests.tools.decoding import expected, run
from tests.tools.networks import tiny

REQUEST = Request("row", (1, 2, 3, 4), 40, drafter=Drafter.SKIP)


@pytest.mark.parametrize(
    ("drafted", "accepted", "threshold"),
    [
        (8, 2, 0.6 + 0.1 * 0.01),  # too many wrong: more caution
        (4, 4, 0.6 - 0.1 * 0.01),  # all right and room left: more courage
        (12, 12, 0.6),  # as many as may be, all right
        (0, 0, 0.6),
    ],
)
def test_the_threshold_moves_as_in_the_paper(drafted: int, accepted: int, threshold: float) -> None:
    rule = AdaptiveExit()

    rule.learn(drafted, accepted, most=12)

    assert rule.threshold == pytest.approx(threshold)


def test_the_rate_is_a_running_mean() -> None:
    rule = AdaptiveExit()

    rule.learn(4, 2, most=12)

    assert rule.rate == pytest.approx(0.5 * 0.9 + 0.5 * 0.5)


def test_unsure_drafts_end_early_and_change_no_text() -> None:
    network = tiny(4, seed=4)
    widths: dict[Exit, list[int]] = {}
    for leave in (Exit.FIXED, Exit.ADAPTIVE):
        engine = Engine(network, Options(rows=2, length=64, width=9, leave=leave), skip_set=SkipSet.of([1, 2], [2]))
        seen = widths.setdefault(leave, [])
        engine.on_round = lambda record, seen=seen: seen.append(record.width)

        assert run(engine, [REQUEST]).tokens == expected(network, [REQUEST])

    assert max(widths[Exit.FIXED]) == 9
    assert sum(widths[Exit.ADAPTIVE]) < sum(widths[Exit.FIXED])
