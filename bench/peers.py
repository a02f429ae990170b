"""Peers that live in transformers: ``generate`` one by one, with lookup, as a padded batch; continuous batching.

Each is an arm: work in, texts out, greedy, end-of-sequence tokens left out.
"""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import ContinuousBatchingConfig, GenerationConfig, PreTrainedModel

from bench.arms import Arm, Written, requests
from bench.ties import refer
from bench.workloads import Work

LOOKUP_TOKENS = 5


def sequential(network: PreTrainedModel, **settings: Any) -> Arm:
    """One prompt after the other."""

    def arm(work: Work) -> Written:
        return Written([_generate(network, [prompt], work, **settings)[0] for prompt in work.prompts])

    return arm


def stock_texts(network: PreTrainedModel, work: Work) -> Sequence[Sequence[int]]:
    """What a stock network writes: ``generate``'s texts, or those it draws with our noise, which that does not know."""
    if not work.temperature:
        return sequential(network)(work).texts
    return [_text(refer(network, one, work.eos).picks, work) for one in requests(work)]


def padded(network: PreTrainedModel, batch: int) -> Arm:
    """Batches of ``batch`` prompts in the order given, padded on the left; a batch ends with its longest text."""

    def arm(work: Work) -> Written:
        texts: list[list[int]] = []
        for start in range(0, len(work.prompts), batch):
            texts += _generate(network, work.prompts[start : start + batch], work)
        return Written(texts)

    return arm


def continuous(network: PreTrainedModel, batch: int) -> Arm:
    """``generate_batch``. It swaps the attention of the network it runs, so that it must have one of its own."""

    def arm(work: Work) -> Written:
        settings = GenerationConfig(do_sample=False, **_settings(work))  # type: ignore[no-untyped-call]
        outputs: Any = network.generate_batch(  # type: ignore[operator]  # transformers hides the mixin's signature
            [list(prompt) for prompt in work.prompts],
            generation_config=settings,
            continuous_batching_config=ContinuousBatchingConfig(max_batch_tokens=max(256, batch)),
        )
        return Written([_text(one.generated_tokens, work) for one in outputs.values()])

    return arm


def _settings(work: Work) -> dict[str, Any]:
    return {"max_new_tokens": work.max_tokens, "eos_token_id": sorted(work.eos) or None, "pad_token_id": 0}


@torch.inference_mode()
def _generate(
    network: PreTrainedModel, prompts: Sequence[Sequence[int]], work: Work, **settings: Any
) -> list[list[int]]:
    longest = max(map(len, prompts))
    blanks = [longest - len(prompt) for prompt in prompts]
    tokens = [[0] * blank + list(prompt) for blank, prompt in zip(blanks, prompts, strict=True)]
    seen = [[0] * blank + [1] * (longest - blank) for blank in blanks]
    out = network.generate(  # type: ignore[operator]  # transformers hides the mixin's signature
        torch.tensor(tokens, device=network.device),
        attention_mask=torch.tensor(seen, device=network.device),
        do_sample=False,
        **_settings(work),
        **settings,
    )
    return [_text(row, work) for row in out[:, longest:].tolist()]


def _text(tokens: Sequence[int], work: Work) -> list[int]:
    """Up to the first end-of-sequence token; what follows is padding."""
    end = next((at for at, token in enumerate(tokens) if token in work.eos), len(tokens))
    return list(tokens[: min(end, work.max_tokens)])
