"""One live sequence: its tokens, how much of it the cache holds, and what it has cost. Pure bookkeeping, no tensors."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter

from engine.acceptance import Record
from engine.draft.lookup import SuffixIndex
from engine.process import Prefix
from engine.request import Drafter, Finished, FinishReason, Request, Statistics, TokenLogprob
from engine.stop import Decode, StopStrings


@dataclass(slots=True)
class Counts:
    """What a row's verifies have seen so far."""

    verifies: int = 0
    drafted: int = 0
    accepted: int = 0
    by_drafter: dict[Drafter, int] = field(default_factory=dict)
    by_skip_set: dict[str | None, int] = field(default_factory=dict)  # drafts made by skipping

    def add(self, drafter: Drafter, drafted: int, accepted: int) -> None:
        self.verifies += 1
        self.drafted += drafted
        self.accepted += accepted
        if drafted:
            self.by_drafter[drafter] = self.by_drafter.get(drafter, 0) + drafted

    def add_skipped(self, skip_set: str | None, drafted: int) -> None:
        """Note drafts that a skip set made."""
        if drafted:
            self.by_skip_set[skip_set] = self.by_skip_set.get(skip_set, 0) + drafted


class Row:
    """A request that is being decoded.

    Invariant: ``length`` counts the tokens whose keys the *full* network wrote in every layer. The last known token is
    pending: it has no keys, and the next verify starts with it. So a row is prefilling while more than one token lacks
    keys, and a parked row (length 0) is simply a row that prefills again.
    """

    def __init__(self, request: Request, eos: frozenset[int], decode: Decode | None) -> None:
        self.request = request
        self.tokens = list(request.prompt)
        self.length = 0
        self.counts = Counts()
        self.lookups = Record()  # drafts that were only imagined included
        self.skips = Record()
        self.index = SuffixIndex(self.tokens)
        self._eos = eos | request.stop_tokens
        self._stops = StopStrings(request.stop, decode) if request.stop and decode else None
        self._submitted_at = self.admitted_at = self._decoding_at = perf_counter()
        self.was_admitted = False
        self.logprobs: tuple[TokenLogprob, ...] = ()
        self.shuns_drafts = False  # its numbers went non-finite beside drafts, which may be to blame
        self.failure: tuple[str, str] | None = None  # code and message
        self.finish_reason: FinishReason | None = None
        self.stop: str | None = None

    @property
    def num_generated(self) -> int:
        return len(self.tokens) - len(self.request.prompt)

    @property
    def output(self) -> list[int]:
        return self.tokens[len(self.request.prompt) :]

    @property
    def num_unwritten(self) -> int:
        """Tokens before the pending one that still lack keys."""
        return len(self.tokens) - 1 - self.length

    @property
    def is_prefilling(self) -> bool:
        return self.num_unwritten > 0

    @property
    def tokens_left(self) -> int:
        return self.request.max_tokens - self.num_generated

    @property
    def pending(self) -> int:
        return self.tokens[-1]

    def prefix(self, drafts: Sequence[int]) -> Prefix | None:
        """What the row's logit processors need to know; None when it has none. ``drafts`` follow in the same pass."""
        if not self.request.sampling.has_processors:
            return None
        return Prefix(self.request.prompt, self.output, drafts, self._eos)

    def admit(self) -> None:
        self.was_admitted = True
        self.admitted_at = self._decoding_at = perf_counter()

    def begin(self) -> None:
        """Prefill is done; decoding starts."""
        self._decoding_at = perf_counter()

    def park(self) -> None:
        """Give the slot up; tokens are kept and prefilled again later."""
        self.length = 0

    def doubt(self, has_drafts: bool) -> None:
        """Its numbers went non-finite. A draft may be to blame, so try once more without any."""
        self.shuns_drafts = True
        if not has_drafts:
            self.fail("non_finite_logits", "the network gave NaN or infinite numbers")

    def fail(self, code: str, message: str) -> None:
        """End it with an error of its own."""
        self.failure = code, message

    def take(self, tokens: list[int]) -> None:
        """Append tokens the full network picked, up to the one that ends the row."""
        for token in tokens:
            if token in self._eos:
                self.finish_reason = FinishReason.STOP
                return
            self.tokens.append(token)
            self.index.push(token)
            self.stop = self._watched(token)
            if self.stop is not None:
                self.finish_reason = FinishReason.STOP
                return
            if self.tokens_left == 0:
                self.finish_reason = FinishReason.LENGTH
                return

    def _watched(self, token: int) -> str | None:
        """The stop string that the last token completed. As end tokens before ``min_tokens``, those among the first
        tokens end nothing.
        """
        if self._stops is None:
            return None
        if self.num_generated > self.request.sampling.min_tokens:
            return self._stops.push(token)
        self._stops.pass_over(token)
        return None

    def finished(self, reason: FinishReason) -> Finished:
        """The event that ends this row."""
        logprobs = self.logprobs if self.request.logprobs is not None else None
        return Finished(self.request.id, tuple(self.output), reason, self.stop, self._statistics(), logprobs)

    def _statistics(self) -> Statistics:
        now, counts = perf_counter(), self.counts
        return Statistics(
            prompt_tokens=len(self.request.prompt),
            completion_tokens=self.num_generated,
            verifies=counts.verifies,
            drafted=counts.drafted,
            accepted=counts.accepted,
            drafter=max(counts.by_drafter, key=counts.by_drafter.__getitem__, default=Drafter.PLAIN),
            skip_set_id=max(counts.by_skip_set, key=counts.by_skip_set.__getitem__, default=None),
            queue_s=self.admitted_at - self._submitted_at,
            prefill_s=self._decoding_at - self.admitted_at,
            decode_s=now - self._decoding_at,
        )
