"""What ``auto`` has to reach, on texts made up to repeat their prompt more or less often; counted, so it is exact."""

import random

import pytest

from bench.replay import Text, replay
from engine.costs import Grid, StepCosts
from engine.request import Drafter

# A small network on two cores, in plain steps of one row: wide passes are dear where there are many rows.
CORES = StepCosts(Grid((1, 8), (1, 2, 4, 8, 16), ((1.0, 1.0, 1.0, 1.1, 1.3), (1.2, 1.45, 2.0, 3.2, 5.7))))
VOCABULARY, PROMPT, TOKENS = 200, 100, 48


def written(seed: int, share: float) -> Text:
    """New tokens, and with the probability ``share`` in place of one a run of 4 to 8 that the prompt has."""
    draw = random.Random(seed)
    prompt = [draw.randrange(VOCABULARY) for _ in range(PROMPT)]
    output: list[int] = []
    while len(output) < TOKENS:
        start = draw.randrange(PROMPT - 20)
        copied = prompt[start : start + draw.randrange(4, 9)]
        output += copied if draw.random() < share else [draw.randrange(VOCABULARY)]
    return Text(prompt, output[:TOKENS])


@pytest.mark.parametrize("batch", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.2, 0.4])
def test_auto_is_close_to_the_best_and_never_slower_than_plain(batch: int, share: float) -> None:
    """Short texts and a fresh engine: what is learned has to pay at once."""
    texts = [written(seed, share) for seed in range(2 * batch)]

    plain, lookup, auto = (
        replay(texts, drafter, batch, CORES) for drafter in (Drafter.PLAIN, Drafter.LOOKUP, Drafter.AUTO)
    )

    assert auto <= min(plain, lookup) / 0.97
    assert auto <= plain / 0.98


@pytest.mark.parametrize("batch", [8, 16])
def test_rows_that_repeat_hardly_hold_up_those_that_do_not(batch: int) -> None:
    """The worst case: half of the rows gain, and the batch ends with the others all the same."""
    texts = [written(seed, 0.5 * (seed % 2)) for seed in range(batch)]

    assert replay(texts, Drafter.AUTO, batch, CORES) <= replay(texts, Drafter.PLAIN, batch, CORES) / 0.95


def test_rounds_write_every_token_once() -> None:
    """Plain rounds of three texts in two rows: the third follows when both of the first have ended."""
    texts = [written(seed, 0.3) for seed in range(3)]

    assert replay(texts, Drafter.PLAIN, 2, CORES) == pytest.approx(TOKENS * (CORES.verify.of(2, 1) + 1.0))
