"""Skip drafting: the network itself without some sub-layers proposes the next tokens.

Draft keys go to the columns that the verify pass is about to overwrite, so drafting needs no cache of its own
(Draft & Verify, Zhang et al., arXiv 2309.08168, section 3.1).
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from transformers import PreTrainedModel

from engine.cache import SlotCache
from engine.passes import IDLE, Chunk, Pass, logits_of
from engine.process import Prefix
from engine.row import Row
from engine.sample import pick


class SkipDrafter:
    """Drafts with a view of the network; rows are slots 0, 1, ... of the cache."""

    def __init__(self, view: PreTrainedModel, cache: SlotCache) -> None:
        self._view = view
        self._cache = cache

    def propose(
        self, rows: Sequence[Row], heads: Sequence[Sequence[int]], limits: Sequence[int], threshold: float = 0.0
    ) -> list[list[int]]:
        """Up to ``limits[i]`` tokens that follow ``heads[i]``, the drafts row i has already; in step with each other.

        The first pass takes the heads in, so that the view has their keys. A row ends with the first token whose draft
        probability is under ``threshold``.
        """
        drafts: list[list[int]] = [[] for _ in rows]
        active = [limit > 0 for limit in limits]
        while any(active):
            fresh = [
                self._next(row, head, draft) if is_active else IDLE
                for row, head, draft, is_active in zip(rows, heads, drafts, active, strict=True)
            ]
            told = [[*head, *draft] for head, draft in zip(heads, drafts, strict=True)]
            tokens, probabilities = self._step(rows, fresh, told, has_threshold=threshold > 0.0)
            for index, draft in enumerate(drafts):
                if active[index]:
                    draft.append(tokens[index])
                    active[index] = len(draft) < limits[index] and probabilities[index] >= threshold
        return drafts

    def _next(self, row: Row, head: Sequence[int], draft: Sequence[int]) -> Chunk:
        if draft:
            return Chunk([draft[-1]], row.length + len(head) + len(draft))
        return Chunk([row.pending, *head], row.length)

    @torch.inference_mode()
    def _step(
        self, rows: Sequence[Row], chunks: Sequence[Chunk], drafts: Sequence[Sequence[int]], has_threshold: bool
    ) -> tuple[list[int], Sequence[float]]:
        """One pass: the token each row's chunk continues with, and its probability (1 where nobody asks)."""
        run = Pass(self._cache, 0, chunks)
        logits, positions = logits_of(self._view, run), run.positions
        if run.width > 1:
            last = torch.tensor([[max(len(chunk.tokens), 1) - 1] for chunk in chunks], device=logits.device)
            logits = logits.gather(1, last.unsqueeze(-1).expand(-1, -1, logits.shape[-1]))
            positions = positions.gather(1, last)
        samplings = [row.request.sampling for row in rows]
        picks = pick(logits, samplings, positions, _prefixes(rows, drafts))
        tokens = [line[0] for line in picks.tokens]
        return tokens, _probabilities(logits[:, 0], tokens) if has_threshold else [1.0] * len(tokens)


def _probabilities(logits: torch.Tensor, tokens: Sequence[int]) -> list[float]:
    """What the logits [rows, vocabulary] give each row's token."""
    chosen = logits.gather(1, torch.tensor(tokens, device=logits.device).unsqueeze(1)).squeeze(1)
    probabilities: list[float] = (chosen.double() - logits.double().logsumexp(-1)).exp().tolist()
    return probabilities


def _prefixes(rows: Sequence[Row], drafts: Sequence[Sequence[int]]) -> list[Prefix | None]:
    """The text before the next draft: what is drafted already counts as output."""
    prefixes = [row.prefix(()) for row in rows]
    return [
        None if prefix is None else replace(prefix, output=[*prefix.output, *draft])
        for prefix, draft in zip(prefixes, drafts, strict=True)
    ]
