"""Decoding for real in a lent slot, a round at a time: the stopwatch of the finalists.

One row, no batch; the text is the full network's whatever drafts, so contenders differ in time alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from transformers import PreTrainedModel

from engine.cache import SlotCache
from engine.draft.lookup import SuffixIndex
from engine.passes import Chunk, Pass, logits_of, write
from engine.process import Prefix
from engine.request import Drafter, Request
from engine.sample import pick
from engine.search.finalists import Contender
from engine.search.meter import Meter, Phase
from engine.search.simulate import Reach
from engine.search.steps import Steps
from engine.view import draft_view

_LOOKED_UP = 5  # drafts of the lookup contender


@dataclass(slots=True)
class _Text:
    """A text in a slot: all tokens but the last have keys there."""

    request: Request
    tokens: list[int]
    index: SuffixIndex = field(init=False)

    def __post_init__(self) -> None:
        self.index = SuffixIndex(self.tokens)

    @property
    def generated(self) -> int:
        return len(self.tokens) - len(self.request.prompt)

    @property
    def room(self) -> int:
        """Drafts that could still be kept beside the token every round gives."""
        return self.request.max_tokens - self.generated - 1

    def take(self, tokens: Sequence[int]) -> None:
        self.tokens += tokens
        for token in tokens:
            self.index.push(token)


class Stopwatch:
    """Times contenders on a set of requests: a ``TimeContender``. Prefill is done but not counted."""

    def __init__(
        self,
        network: PreTrainedModel,
        cache: SlotCache,
        slot: int,
        requests: Sequence[Request],
        eos: frozenset[int],
        meter: Meter,
    ) -> None:
        self._network, self._cache, self._slot = network, cache, slot
        self._requests, self._eos, self._meter = requests, eos, meter

    def __call__(self, contender: Contender) -> Steps[float]:
        """Tokens per second over all requests."""
        view = draft_view(self._network, contender.skip_set) if contender.skip_set else self._network
        before, tokens, prefill_s = self._spent, 0, 0.0
        for request in self._requests:
            text, ends = _Text(request, list(request.prompt)), self._eos | request.stop_tokens
            began = self._spent
            self._prefill(text)
            prefill_s += self._spent - began
            reach = contender.reach or Reach(_LOOKED_UP)
            while text.generated < request.max_tokens and not ends & set(text.tokens[len(request.prompt) :]):
                with self._meter.on(Phase.CONFIRMATION):
                    drafts = self._drafts(contender.drafter, view, text, reach)
                    accepted = self._verify(text, drafts)
                reach = reach.after(len(drafts), accepted)
                yield
            tokens += text.generated
        return tokens / (self._spent - before - prefill_s)

    @property
    def _spent(self) -> float:
        return self._meter.seconds[Phase.CONFIRMATION]

    def _prefill(self, text: _Text) -> None:
        self._cache.seat(self._slot, len(text.request.prompt) + text.request.max_tokens)
        if len(text.tokens) > 1:
            with self._meter.on(Phase.CONFIRMATION):
                write(self._network, Pass(self._cache, self._slot, [Chunk(text.tokens[:-1], 0)]))

    def _drafts(self, drafter: Drafter, view: PreTrainedModel, text: _Text, reach: Reach) -> list[int]:
        most = min(reach.most, text.room)
        if drafter is Drafter.LOOKUP:
            return text.index.draft(most)
        drafts: list[int] = []
        while drafter is Drafter.SKIP and len(drafts) < most:
            token = drafts[-1] if drafts else text.tokens[-1]
            run = Pass(self._cache, self._slot, [Chunk([token], len(text.tokens) - 1 + len(drafts))])
            logits = logits_of(view, run)
            prefix = self._prefix(text, [], drafts)
            drafts += pick(logits, [text.request.sampling], run.positions, [prefix]).tokens[0]
            if reach.threshold > 0 and float(logits[0, 0].softmax(-1)[drafts[-1]]) < reach.threshold:
                break
        return drafts

    def _verify(self, text: _Text, drafts: list[int]) -> int:
        run = Pass(self._cache, self._slot, [Chunk([text.tokens[-1], *drafts], len(text.tokens) - 1)])
        prefix = self._prefix(text, drafts, [])
        picks = pick(logits_of(self._network, run), [text.request.sampling], run.positions, [prefix]).tokens[0]
        pairs = zip(drafts, picks, strict=False)
        accepted = next((i for i, (draft, picked) in enumerate(pairs) if draft != picked), len(drafts))
        text.take(picks[: accepted + 1])
        return accepted

    def _prefix(self, text: _Text, following: Sequence[int], drafted: Sequence[int]) -> Prefix | None:
        if not text.request.sampling.has_processors:
            return None
        prompt = text.request.prompt
        ends = self._eos | text.request.stop_tokens
        return Prefix(prompt, [*text.tokens[len(prompt) :], *drafted], following, ends)
