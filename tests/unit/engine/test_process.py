"""Logit processors against the same rules told one token at a time."""

import hypothesis.strategies as st
import numpy as np
import torch
from hypothesis import given, settings

from engine.process import Prefix, process
from engine.request import Sampling

VOCABULARY = 9
TEXTS = st.lists(st.integers(0, VOCABULARY - 1), max_size=8)


def told(
    logits: list[float], sampling: Sampling, prompt: list[int], output: list[int], ends: frozenset[int]
) -> list[float]:
    """What one position's logits become behind a prompt and an output."""
    scores = []
    for token, logit in enumerate(logits):
        score = logit
        if token in prompt or token in output:
            score = score / sampling.repetition_penalty if score > 0 else score * sampling.repetition_penalty
        score -= sampling.frequency_penalty * output.count(token)
        score -= sampling.presence_penalty * (token in output)
        score += dict(sampling.logit_bias).get(token, 0.0)
        scores.append(-np.inf if token in ends and len(output) < sampling.min_tokens else score)
    return scores


@st.composite
def samplings(draw: st.DrawFn) -> Sampling:
    """Every processor on and off."""
    biases = draw(st.dictionaries(st.integers(0, VOCABULARY - 1), st.floats(-100, 100), max_size=3))
    return Sampling(
        repetition_penalty=draw(st.sampled_from((1.0, 1.3, 0.7))),
        presence_penalty=draw(st.sampled_from((0.0, 1.1, -0.5))),
        frequency_penalty=draw(st.sampled_from((0.0, 0.8, -2.0))),
        logit_bias=tuple(biases.items()),
        min_tokens=draw(st.integers(0, 10)),
    )


@settings(max_examples=200)
@given(samplings(), TEXTS, TEXTS, TEXTS, st.frozensets(st.integers(0, VOCABULARY - 1), max_size=2), st.integers(0, 3))
def test_every_position_sees_what_stands_before_it(
    sampling: Sampling, prompt: list[int], output: list[int], drafts: list[int], ends: frozenset[int], padding: int
) -> None:
    logits = np.random.default_rng(len(output)).normal(scale=3, size=(len(drafts) + 1 + padding, VOCABULARY))
    given_logits = torch.tensor(logits)

    scores = process(given_logits, sampling, Prefix(prompt, output, drafts, ends)).numpy()

    for position in range(len(drafts) + 1):
        wanted = told(logits[position].tolist(), sampling, prompt, output + drafts[:position], ends)
        np.testing.assert_allclose(scores[position], wanted, rtol=1e-12, atol=1e-12)
    assert torch.equal(given_logits, torch.tensor(logits)), "the network's own logits are left alone"
