"""Judging texts against a reference: equal, near tie, or neither."""

from collections.abc import Sequence
from functools import cache

import pytest
import torch
from transformers import LlamaForCausalLM

from bench.arms import requests
from bench.equality import Judge, Verdict, parting
from bench.peers import sequential
from bench.workloads import Work
from tests.tools.networks import tiny

WORK = Work(((1, 2, 3), (9, 8, 7, 6)), 8)


@cache
def stock() -> LlamaForCausalLM:
    network = tiny(2, dtype=torch.float32, seed=1)
    network.set_attn_implementation("sdpa")
    return network


@pytest.mark.parametrize(
    ("wanted", "got", "at"),
    [([1, 2], [1, 2], None), ([1, 2], [1, 3], 1), ([1, 2], [1], 1), ([1], [1, 2], 1), ([], [], None)],
)
def test_texts_part_at_their_first_difference(wanted: list[int], got: list[int], at: int | None) -> None:
    assert parting(wanted, got) == at


def test_equal_texts() -> None:
    judge, texts = Judge(stock(), requests(WORK), WORK.eos), sequential(stock())(WORK).texts

    assert judge.judge(texts, texts) == Verdict(2, 0, 0, 16)


def test_a_wrong_token_is_beyond_noise_and_a_near_tie_is_not() -> None:
    judge, texts = Judge(stock(), requests(WORK), WORK.eos), sequential(stock())(WORK).texts
    wrong = [list(texts[0]), [*texts[1][:5], (texts[1][5] + 1) % 61, *texts[1][6:]]]

    assert judge.judge(texts, wrong) == Verdict(1, 0, 1, 14)
    second = runner_up(texts[1][:5])
    judge.noise = 100.0  # as if rounding were that coarse
    assert judge.judge(texts, [texts[0], [*texts[1][:5], second, *texts[1][6:]]]) == Verdict(1, 1, 0, 14)


def runner_up(text: Sequence[int]) -> int:
    """The second best token after the second prompt and ``text``."""
    tokens = torch.tensor([[*WORK.prompts[1], *text]])
    return int(stock()(tokens, use_cache=False).logits[0, -1].topk(2).indices[1])


def test_an_early_end_is_a_difference() -> None:
    texts = sequential(stock())(WORK).texts
    judge = Judge(stock(), requests(WORK), frozenset({60}))

    assert judge.judge(texts, [texts[0], texts[1][:4]]).beyond_noise == 1
