"""Decoding for real in lent slots, a round at a time: the stopwatch of the finalists.

As many texts together as the place has rows; each is the full network's whatever drafts, so contenders differ in time
alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from transformers import PreTrainedModel

from engine.cache import SlotCache
from engine.draft.lookup import SuffixIndex
from engine.passes import IDLE, Chunk, Pass, logits_of, write
from engine.process import Prefix
from engine.request import Drafter, Request
from engine.sample import pick
from engine.search.finalists import Contender
from engine.search.meter import Meter, Phase
from engine.search.reference import CHUNK
from engine.search.simulate import Reach
from engine.search.steps import Steps
from engine.view import draft_view

_LOOKED_UP = 5  # drafts of the lookup contender


@dataclass(slots=True)
class _Text:
    """A text in a slot: all tokens but the last have keys there. ``reach`` is how far its next round drafts."""

    request: Request
    ends: frozenset[int]
    reach: Reach
    tokens: list[int] = field(init=False)
    index: SuffixIndex = field(init=False)

    def __post_init__(self) -> None:
        self.tokens = list(self.request.prompt)
        self.index = SuffixIndex(self.tokens)

    @property
    def output(self) -> list[int]:
        return self.tokens[len(self.request.prompt) :]

    @property
    def most(self) -> int:
        """Drafts of the next round: those beside the token that every round gives."""
        return min(self.reach.most, self.request.max_tokens - len(self.output) - 1)

    @property
    def is_over(self) -> bool:
        return len(self.output) >= self.request.max_tokens or bool(self.ends & set(self.output))

    def take(self, tokens: Sequence[int], drafted: int) -> None:
        self.reach = self.reach.after(drafted, len(tokens) - 1)
        self.tokens += tokens
        for token in tokens:
            self.index.push(token)

    def prefix(self, following: Sequence[int], drafted: Sequence[int]) -> Prefix | None:
        if not self.request.sampling.has_processors:
            return None
        return Prefix(self.request.prompt, [*self.output, *drafted], following, self.ends)


class Stopwatch:
    """Times contenders on a set of requests, ``batch`` at once: a ``TimeContender``. Prefill is not counted."""

    def __init__(  # noqa: PLR0913
        self,
        network: PreTrainedModel,
        cache: SlotCache,
        slot: int,
        requests: Sequence[Request],
        eos: frozenset[int],
        meter: Meter,
        *,
        batch: int = 1,
        chunk: int = CHUNK,
    ) -> None:
        self._network, self._cache, self._slot = network, cache, slot
        self._requests, self._eos, self._meter = requests, eos, meter
        self._batch, self._chunk = batch, chunk

    def __call__(self, contender: Contender) -> Steps[float]:
        """Tokens per second over all requests."""
        view = draft_view(self._network, contender.skip_set) if contender.skip_set else self._network
        reach = contender.reach or Reach(_LOOKED_UP)
        tokens, seconds = 0, 0.0
        for low in range(0, len(self._requests), self._batch):
            group = self._requests[low : low + self._batch]
            texts = [_Text(request, self._eos | request.stop_tokens, reach) for request in group]
            for slot, text in enumerate(texts, self._slot):
                yield from self._prefill(slot, text)
            before = self._spent
            while not all(text.is_over for text in texts):
                with self._meter.on(Phase.TIMING):
                    self._round(contender.drafter, view, texts)
                yield
            seconds += self._spent - before
            tokens += sum(len(text.output) for text in texts)
        return tokens / seconds

    @property
    def _spent(self) -> float:
        return self._meter.seconds[Phase.TIMING]

    def _prefill(self, slot: int, text: _Text) -> Steps[None]:
        self._cache.seat(slot, text.request.extent)
        for low in range(0, len(text.tokens) - 1, self._chunk):
            with self._meter.on(Phase.TIMING):
                write(self._network, Pass(self._cache, slot, [Chunk(text.tokens[:-1][low : low + self._chunk], low)]))
            yield

    def _round(self, drafter: Drafter, view: PreTrainedModel, texts: Sequence[_Text]) -> None:
        """Draft, verify and keep what agrees, for every text that is not over."""
        drafts: list[list[int]] = [[] for _ in texts]
        if drafter is Drafter.LOOKUP:
            drafts = [[] if text.is_over else text.index.draft(text.most) for text in texts]
        elif drafter is Drafter.SKIP:
            self._skip(view, texts, drafts)
        chunks = [
            IDLE if text.is_over else Chunk([text.tokens[-1], *draft], len(text.tokens) - 1)
            for text, draft in zip(texts, drafts, strict=True)
        ]
        run = Pass(self._cache, self._slot, chunks)
        prefixes = [text.prefix(draft, []) for text, draft in zip(texts, drafts, strict=True)]
        samplings = [text.request.sampling for text in texts]
        picks = pick(logits_of(self._network, run), samplings, run.positions, prefixes)
        for text, draft, picked in zip(texts, drafts, picks.tokens, strict=True):
            if not text.is_over:
                pairs = zip(draft, picked, strict=False)
                accepted = next((i for i, (one, other) in enumerate(pairs) if one != other), len(draft))
                text.take(picked[: accepted + 1], len(draft))

    def _skip(self, view: PreTrainedModel, texts: Sequence[_Text], drafts: Sequence[list[int]]) -> None:
        """Add drafts, in step with each other, as far as each text's reach goes."""
        samplings = [text.request.sampling for text in texts]
        active = [not text.is_over and text.most > 0 for text in texts]
        while any(active):
            chunks = [
                Chunk([draft[-1] if draft else text.tokens[-1]], len(text.tokens) - 1 + len(draft)) if on else IDLE
                for text, draft, on in zip(texts, drafts, active, strict=True)
            ]
            run = Pass(self._cache, self._slot, chunks)
            logits = logits_of(view, run)
            prefixes = [text.prefix([], draft) for text, draft in zip(texts, drafts, strict=True)]
            picks = pick(logits, samplings, run.positions, prefixes)
            for index, (text, draft) in enumerate(zip(texts, drafts, strict=True)):
                if active[index]:
                    draft.append(picks.tokens[index][0])
                    floor = text.reach.threshold
                    is_sure = floor <= 0 or float(logits[index, 0].softmax(-1)[draft[-1]]) >= floor
                    active[index] = is_sure and len(draft) < text.most
