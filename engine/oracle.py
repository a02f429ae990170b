"""The slow, obviously correct decoder: the whole prefix through the whole network for every single token.

No cache, no batch, no draft, transformers' own eager attention. Everything fast is tested against it.
"""

import torch
from transformers import PreTrainedModel

from engine.attention import stock_attention
from engine.process import Prefix
from engine.request import Request
from engine.sample import pick


@torch.inference_mode()
def decode(network: PreTrainedModel, request: Request, eos: frozenset[int] = frozenset()) -> list[int]:
    """The tokens the full network gives for a request, without the end-of-sequence token. Stop strings are ignored."""
    tokens = list(request.prompt)
    with stock_attention(network):
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
    logits = network(torch.tensor([tokens], device=device), use_cache=False).logits[:, -1:]
    positions = torch.tensor([[len(tokens) - 1]], device=device)
    prompt = len(request.prompt)
    prefix = Prefix(tokens[:prompt], tokens[prompt:], (), eos | request.stop_tokens)
    prefixes = [prefix if request.sampling.has_processors else None]
    return pick(logits, [request.sampling], positions, prefixes).tokens[0][0]
