"""Whether an arm's texts are the reference's: equal, parted at a near tie, or parted beyond what rounding explains.

Works on texts alone: the reference's logits are computed again only where texts part.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from bench.ties import is_near_tie, noise_between, refer
from engine.request import Request

Texts = Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Counts of texts; ``tokens`` were compared, up to the first difference of each."""

    equal: int
    near_ties: int
    beyond_noise: int
    tokens: int

    def __add__(self, other: "Verdict") -> "Verdict":
        return Verdict(
            self.equal + other.equal,
            self.near_ties + other.near_ties,
            self.beyond_noise + other.beyond_noise,
            self.tokens + other.tokens,
        )

    def __str__(self) -> str:
        return f"{self.equal} / {self.near_ties} / {self.beyond_noise}"


def parting(wanted: Sequence[int], got: Sequence[int]) -> int | None:
    """Index of the first difference of two texts, None where there is none; a text that ends earlier differs there."""
    for at, (first, second) in enumerate(zip(wanted, got, strict=False)):
        if first != second:
            return at
    return None if len(wanted) == len(got) else min(len(wanted), len(got))


class Judge:
    """Holds texts against a reference of the stock network. ``noise`` is the largest difference of a logit between two
    shapes of the same pass, measured on the first requests.
    """

    def __init__(
        self, network: PreTrainedModel, requests: Sequence[Request], eos: frozenset[int], sample: int = 2
    ) -> None:
        self._network = network
        self._requests = requests
        self._eos = eos
        self._is_crowded = network.dtype in (torch.float16, torch.bfloat16)
        self.noise = max(noise_between(network, one, refer(network, one, eos)) for one in requests[:sample])

    def judge(self, reference: Texts, texts: Texts) -> Verdict:
        """Compare texts, end-of-sequence tokens left out, request by request."""
        equal = near = compared = 0
        for request, wanted, got in zip(self._requests, reference, texts, strict=True):
            whole, other = self._ended(request, wanted), self._ended(request, got)
            at = parting(whole, other)
            compared += len(whole) if at is None else at + 1
            if at is None:
                equal += 1
            else:
                near += self._explains(request, whole, at, other)
        return Verdict(equal, near, len(texts) - equal - near, compared)

    def _ended(self, request: Request, text: Sequence[int]) -> list[int]:
        """A text with the end-of-sequence token that must have ended it before its time."""
        is_short = len(text) < request.max_tokens and bool(self._eos)
        return [*text, min(self._eos)] if is_short else list(text)

    def _explains(self, request: Request, wanted: Sequence[int], at: int, got: Sequence[int]) -> bool:
        """Whether noise explains that ``got`` left ``wanted`` at index ``at``."""
        if at >= min(len(wanted), len(got)):
            return False
        logits = self._logits([*request.prompt, *wanted[:at]])
        rivals, position = (wanted[at], got[at]), len(request.prompt) + at
        return is_near_tie(logits, request.sampling, position, rivals, self.noise, is_crowded=self._is_crowded)

    @torch.inference_mode()
    def _logits(self, tokens: Sequence[int]) -> NDArray[np.float64]:
        """What follows ``tokens``, [vocabulary]."""
        given = torch.tensor([list(tokens)], device=self._network.device)
        logits: Any = self._network(given, use_cache=False, logits_to_keep=1).logits
        out: NDArray[np.float64] = logits[0, -1].double().cpu().numpy()
        return out
