"""Mixtures of experts in passes of one fixed shape: what a token gets does not depend on where its mates are routed to.

As transformers runs them, an expert multiplies just the tokens that are routed to it, and a product is rounded by how
many those are. Here each expert that is needed multiplies all tokens of the pass, and a token takes what its own made
of it. Registered with transformers under ``NAME``, so that stock modules call it. Unlike its ``batched_mm`` it copies
no weights for each token, which at the size of real networks would take more memory than there is.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  the name every torch user knows it by
from transformers import PreTrainedModel
from transformers.integrations.moe import ExpertsInterface

NAME = "skim_fixed"


def apply(module: Any, hidden: torch.Tensor, chosen: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The outputs of each token's experts, weighted and added up in the order of the experts.

    Args:
        module: stacked weights: ``gate_up_proj`` [experts, 2 * inner, hidden], ``down_proj`` [experts, hidden, inner]
        hidden: [tokens, hidden]
        chosen, weights: [tokens, experts of a token]; no expert is chosen twice for one token

    Returns: [tokens, hidden]
    """
    shape = (len(hidden), module.gate_up_proj.shape[0])
    shares = torch.zeros(shape, dtype=weights.dtype, device=weights.device).scatter_(1, chosen, weights)
    is_chosen = torch.zeros(shape, dtype=torch.bool, device=weights.device).scatter_(1, chosen, True)
    out = torch.zeros_like(hidden)
    for expert in is_chosen.any(0).nonzero().flatten().tolist():
        inner = module._apply_gate(F.linear(hidden, module.gate_up_proj[expert]))
        made = (F.linear(inner, module.down_proj[expert]) * shares[:, expert, None]).to(out.dtype)
        out += torch.where(is_chosen[:, expert, None], made, 0)  # who did not choose it adds an exact nothing
    return out


@contextmanager
def fixed(network: PreTrainedModel) -> Iterator[None]:
    """Let the network's experts, if it has any, multiply in one shape for a while."""
    config: Any = network.config
    before = config._experts_implementation
    config._experts_implementation = NAME
    try:
        yield
    finally:
        config._experts_implementation = before


ExpertsInterface.register(NAME, apply)
