"""Log-probabilities: the full network's own, whatever drafted and however the token was picked."""

import pytest
import torch

from engine.attention import stock_attention
from engine.loop import Engine, Options
from engine.request import Drafter, Request, Sampling, TokenLogprob
from engine.skipset import SkipSet
from tests.tools.decoding import run
from tests.tools.networks import VOCABULARY, tiny

NETWORK = tiny(4, seed=2)
SAMPLING = Sampling(1.1, seed=9, repetition_penalty=1.2, logit_bias=((3, 2.0),))


def by_hand(request: Request, tokens: tuple[int, ...]) -> list[TokenLogprob]:
    """From one pass over the whole text."""
    with torch.inference_mode(), stock_attention(NETWORK):
        logits = NETWORK(torch.tensor([[*request.prompt, *tokens]]), use_cache=False).logits[0, :-1]
    scores = logits[len(request.prompt) - 1 :].double().log_softmax(-1)
    entries = []
    for line, token in zip(scores, tokens, strict=True):
        best = line.topk(request.logprobs or 0)
        top = tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True))
        entries.append(TokenLogprob(token, float(line[token]), top))
    return entries


@pytest.mark.parametrize("drafter", list(Drafter))
@pytest.mark.parametrize("top", [0, 5])
def test_are_those_of_the_raw_logits(drafter: Drafter, top: int) -> None:
    request = Request("row", (1, 2, 3, 1, 2, 3), 20, SAMPLING, drafter=drafter, logprobs=top)
    engine = Engine(NETWORK, Options(rows=2, length=64), skip_set=SkipSet.of([1]))

    finished = run(engine, [request]).finished["row"]

    assert finished.logprobs is not None
    for found, told in zip(finished.logprobs, by_hand(request, finished.tokens), strict=True):
        assert (found.token, [one for one, _ in found.top]) == (told.token, [one for one, _ in told.top])
        assert found.logprob == pytest.approx(told.logprob, abs=1e-4)
        assert [value for _, value in found.top] == pytest.approx([value for _, value in told.top], abs=1e-4)


def test_nobody_who_did_not_ask_is_told() -> None:
    assert run(Engine(NETWORK, Options(rows=2, length=64)), [Request("row", (1,), 4)]).finished["row"].logprobs is None


def test_more_than_the_vocabulary_is_all_of_it() -> None:
    narrow = tiny(2, vocabulary=8)
    finished = run(Engine(narrow, Options(rows=1, length=64)), [Request("row", (1,), 2, logprobs=20)]).finished["row"]

    assert finished.logprobs is not None
    assert {len(entry.top) for entry in finished.logprobs} == {8}
    assert VOCABULARY > 8
