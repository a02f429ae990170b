"""Skip drafting: the network itself without some sub-layers proposes the next tokens.

Draft keys go to the columns that the verify pass is about to overwrite, so drafting needs no cache of its own
(Draft & Verify, Zhang et al., arXiv 2309.08168, section 3.1).
"""

from collections.abc import Sequence
from dataclasses import replace

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

    def propose(self, rows: Sequence[Row], limits: Sequence[int]) -> list[list[int]]:
        """Up to ``limits[i]`` tokens for row i, all drafted in step with each other."""
        drafts: list[list[int]] = [[] for _ in rows]
        samplings = [row.request.sampling for row in rows]
        for step in range(max(limits, default=0)):
            active = [step < limit for limit in limits]
            tokens = [draft[-1] if draft else row.pending for row, draft in zip(rows, drafts, strict=True)]
            chunks = [
                Chunk([token], row.length + step) if is_active else IDLE
                for row, token, is_active in zip(rows, tokens, active, strict=True)
            ]
            run = Pass(self._cache, 0, chunks)
            picks = pick(logits_of(self._view, run), samplings, run.positions, _prefixes(rows, drafts))
            for draft, is_active, picked in zip(drafts, active, picks.tokens, strict=True):
                if is_active:
                    draft.append(picked[0])
        return drafts


def _prefixes(rows: Sequence[Row], drafts: Sequence[list[int]]) -> list[Prefix | None]:
    """The text before the next draft: what is drafted already counts as output."""
    prefixes = [row.prefix(()) for row in rows]
    return [
        None if prefix is None else replace(prefix, output=[*prefix.output, *draft])
        for prefix, draft in zip(prefixes, drafts, strict=True)
    ]
