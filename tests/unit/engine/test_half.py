"""16 bit numbers on the CPU: texts are the stock network's but for near ties, at its own measured noise.

Plain decoding at other batch sizes is the control. A GPU has the same test at real sizes (tests/gpu).
"""

import pytest
import torch

from bench.arms import Ours, requests
from bench.equality import Judge
from bench.peers import sequential
from bench.planted import plant, prompts_of
from bench.setting import planted_setting
from bench.weights import shape
from bench.workloads import Work
from engine.costs import StepCosts
from engine.skipset import SkipSet

ROWS = 4
CONFIG, SKIP_SET = shape(4, 64, 128, 4, 2, 256), SkipSet.of([1, 2], [2])


def work() -> Work:
    """Rows of different lengths, half of them repeating themselves, so that lookup has something to find."""
    cut = [prompt[: 20 + 3 * number] for number, prompt in enumerate(prompts_of(CONFIG, 2 * ROWS, 48, seed=5))]
    return Work(tuple((*one, *one) if number % 2 else tuple(one) for number, one in enumerate(cut)), 32)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_texts_are_the_stock_networks_but_for_near_ties(dtype: torch.dtype) -> None:
    planted = plant(CONFIG, SKIP_SET, 0.95, dtype=dtype, tolerance=0.02)
    setting = planted_setting(planted.network, SKIP_SET, ROWS)
    judge = Judge(setting.stock, requests(work()), frozenset())
    reference = sequential(setting.stock)(work()).texts
    ours = Ours(setting.network, SKIP_SET, StepCosts.assumed())

    verdicts = {
        (arm, batch): judge.judge(reference, texts(work()).texts)
        for batch in (1, ROWS)
        for arm, texts in ours.arms(batch).items()
    }

    assert {one: verdict.beyond_noise for one, verdict in verdicts.items() if verdict.beyond_noise} == {}
    control = max(verdict.near_ties for (arm, _), verdict in verdicts.items() if arm == "plain")
    assert all(verdict.near_ties <= 2 * control + 2 for verdict in verdicts.values()), verdicts
