"""Log-probabilities of tokens under the full network's raw logits, as clients may ask for them."""

from collections.abc import Sequence

import torch

from engine.request import TokenLogprob

Logprobs = tuple[TokenLogprob, ...]  # of successive tokens


@torch.inference_mode()
def logprobs_of(logits: torch.Tensor, tokens: Sequence[int], top: int) -> Logprobs:
    """What each of the tokens had, and the ``top`` likeliest beside it.

    Args:
        logits: [tokens, vocabulary], raw: before temperature, penalties and bias
    """
    if not tokens:
        return ()
    scores = logits.double().log_softmax(-1)
    chosen = scores.gather(1, torch.tensor(tokens, device=scores.device).unsqueeze(1)).squeeze(1).tolist()
    best = scores.topk(min(top, scores.shape[-1]), dim=-1)
    tops = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return tuple(
        TokenLogprob(token, logprob, tuple(zip(*listed, strict=True)))
        for token, logprob, listed in zip(tokens, chosen, tops, strict=True)
    )
