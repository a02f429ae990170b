"""The slow, obviously correct decoder: the whole prefix through the whole network for every single token.

No cache, no batch, no draft, transformers' own eager attention. Everything fast is tested against it.

Where rotary frequencies depend on the length of a text, the length that counts is the row's extent, prompt and
``max_tokens``: the prefix is filled up to it, which changes nothing else, since no position sees those behind it.
"""

import torch
from transformers import PreTrainedModel

from engine.attention import stock_attention
from engine.process import Prefix
from engine.request import Request
from engine.rope import fresh_rope, rule_of
from engine.sample import pick


@torch.inference_mode()
def decode(network: PreTrainedModel, request: Request, eos: frozenset[int] = frozenset()) -> list[int]:
    """The tokens the full network gives for a request, without the end-of-sequence token. Stop strings are ignored."""
    tokens = list(request.prompt)
    with stock_attention(network), fresh_rope(network):
        for _ in range(request.max_tokens):
            picked = next_token(network, tokens, request, eos)
            if picked in eos | request.stop_tokens:
                break
            tokens.append(picked)
    return tokens[len(request.prompt) :]


@torch.inference_mode()
def next_token(network: PreTrainedModel, tokens: list[int], request: Request, eos: frozenset[int] = frozenset()) -> int:
    """The token that follows ``tokens``."""
    device = network.device
    here = len(tokens) - 1
    filling = [0] * (request.extent - len(tokens) if rule_of(network.config) else 0)
    logits = network(torch.tensor([tokens + filling], device=device), use_cache=False).logits[:, here : here + 1]
    positions = torch.tensor([[here]], device=device)
    prompt = len(request.prompt)
    prefix = Prefix(tokens[:prompt], tokens[prompt:], (), eos | request.stop_tokens)
    prefixes = [prefix if request.sampling.has_processors else None]
    return pick(logits, [request.sampling], positions, prefixes).tokens[0][0]
