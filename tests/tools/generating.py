"""Greedy texts as ``transformers.generate`` writes them."""

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel


def generate(
    network: PreTrainedModel, prompt: Sequence[int], max_tokens: int, eos: frozenset[int] = frozenset()
) -> tuple[int, ...]:
    """The tokens after the prompt, with the end-of-sequence token that ended them, if any."""
    given = torch.tensor([list(prompt)])
    output = network.generate(  # type: ignore[operator]  # a mixin that transformers does not type
        given,
        attention_mask=torch.ones_like(given),
        max_new_tokens=max_tokens,
        do_sample=False,
        eos_token_id=sorted(eos) or None,
        pad_token_id=0,
    )
    return tuple(output[0, len(prompt) :].tolist())
