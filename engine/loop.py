"""The engine: a continuous batch, decoded round by round. ``step`` is the whole algorithm.

Token ids in, token ids out. Rounds are atomic: rows come and go only between them, and a round that is abandoned leaves
every row as it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import torch
from transformers import PreTrainedModel

from engine.attention import adopt
from engine.batch import Batch
from engine.cache import CacheShape, SlotCache
from engine.control import Controller
from engine.costs import StepCosts
from engine.draft.skip import SkipDrafter
from engine.errors import BadRequest
from engine.family import longest
from engine.limits import Limits
from engine.passes import IDLE, Chunk, Padding, Pass, logits_of, write
from engine.request import Admitted, Drafter, Event, Failed, FinishReason, Request
from engine.round import Drafted, Drafters
from engine.row import Row
from engine.sample import Picks, pick
from engine.skipset import SkipSet
from engine.stop import Decode
from engine.view import draft_view


@dataclass(frozen=True, slots=True)
class Options:
    """Sizes of an engine.

    ``rows`` decode at once, each of at most ``length`` tokens; a round prefills at most ``prefill_tokens``;
    ``width`` is the widest verify (pending token and drafts) and the fixed one of reproducible passes.
    """

    rows: int = 16
    length: int = 2048
    prefill_tokens: int = 256
    width: int = 6


class Engine:
    """Decodes requests on one network. Not thread-safe: one thread submits, steps and cancels."""

    def __init__(
        self,
        network: PreTrainedModel,
        options: Options = Options(),
        *,
        eos: frozenset[int] = frozenset(),
        decode: Decode | None = None,
        skip_set: SkipSet | None = None,
        is_measured: bool = False,
    ) -> None:
        adopt(network)
        self.options = options = replace(options, length=longest(network, options.length))
        self.num_steps = 0
        self._network = network
        self._eos = eos
        self._decode = decode
        shape = CacheShape.of(network, options.rows, options.length)
        self._cache = SlotCache(shape, network.dtype, network.device)
        self._batch = Batch(self._cache)
        costs = StepCosts.measured(self._time_pass, options.rows) if is_measured else StepCosts.assumed()
        skip = SkipDrafter(draft_view(network, skip_set), self._cache) if skip_set else None
        self._limits = Limits(options.length, network.config.vocab_size, skip is not None, decode is not None)
        self._drafters = Drafters(skip, Controller(costs), options.width - 1)

    @property
    def is_idle(self) -> bool:
        return not self._batch.rows and not self._batch.num_waiting

    @property
    def num_rows(self) -> int:
        return len(self._batch.rows)

    @property
    def num_waiting(self) -> int:
        return self._batch.num_waiting

    @property
    def drafters(self) -> tuple[Drafter, ...]:
        """What a request may ask for."""
        return self._limits.drafters

    def submit(self, request: Request) -> None:
        """Queue a request; it gets a row in a later round.

        Raises: BadRequest when it can never run here.
        """
        self._limits.check(request)
        if self._batch.has(request.id):
            raise BadRequest(f"a request {request.id!r} is here already", code="duplicate_id", parameter="id")
        self._batch.enqueue(Row(request, self._eos, self._decode))

    def cancel(self, identity: str) -> list[Event]:
        """End a request between rounds, with the tokens it has; nothing for one that is not here."""
        row = self._batch.withdraw(identity)
        return [] if row is None else [row.finished(FinishReason.CANCELLED)]

    def admit(self) -> list[Event]:
        """Seat waiting rows. Apart from ``step`` so that the news can leave before the first pass of the new rows."""
        return [Admitted(row.request.id) for row in self._batch.admit()]

    def step(self) -> list[Event]:
        """One round: admit, prefill a little, draft, verify, accept, retire."""
        self.num_steps += 1
        events = self.admit() + self._prefill()
        rows = self._batch.decoding
        if not rows or self._waits_for_prefill(rows):
            return events
        drafted = self._drafters.propose(rows, self.options.length)
        picks = self._verify(rows, [draft.tokens for draft in drafted])
        return events + self._accept(rows, drafted, picks)

    def _waits_for_prefill(self, rows: Sequence[Row]) -> bool:
        """Bulk rows decode when all are ready: a fuller batch is cheaper, and nobody watches their latency."""
        return bool(self._batch.prefilling) and not any(row.request.interactive for row in rows)

    def _prefill(self) -> list[Event]:
        group, padding = self._prefill_group()
        if not group:
            return []
        low = self._batch.rows.index(group[0])
        most = self.options.prefill_tokens // (1 if padding.width else len(group))
        chunks = [
            Chunk(row.tokens[row.length : row.length + min(most, row.num_unwritten)], row.length) for row in group
        ]
        are_finite = write(self._network, Pass(self._cache, low, chunks, padding))
        for slot, (row, chunk, is_finite) in enumerate(zip(group, chunks, are_finite, strict=True), low):
            if is_finite:
                row.length += len(chunk.tokens)
            else:
                self._doubt(row, slot, has_drafts=False)
        for row in group:
            if not row.is_prefilling:
                row.begin()
                self._batch.start(row)
        return self._retire(group)

    def _prefill_group(self) -> tuple[list[Row], Padding]:
        """Neighbouring rows that fill one pass without much padding; a reproducible row goes alone, padded."""
        waiting = self._batch.prefilling
        first = next((i for i, row in enumerate(waiting) if row.request.interactive), 0)
        group: list[Row] = []
        for row in waiting[first:]:
            self._batch.share_prefix(row)
            if row.request.reproducible:
                break
            sizes = [other.num_unwritten for other in [*group, row]]
            if len(sizes) * max(sizes) > self.options.prefill_tokens or min(sizes) < 0.7 * max(sizes):
                break
            group.append(row)
        if group or not waiting:
            return group, Padding()
        row = waiting[first]
        if row.request.reproducible:
            return [row], Padding(self.options.prefill_tokens, self.options.length)
        return [row], Padding()

    def _verify(self, rows: Sequence[Row], drafts: Sequence[list[int]]) -> Picks:
        """Run the full network over each row's pending token and drafts."""
        chunks = [Chunk([row.pending, *draft], row.length) for row, draft in zip(rows, drafts, strict=True)]
        samplings = [row.request.sampling for row in rows]
        padding = Padding()
        if self._batch.is_reproducible:
            padding = Padding(self.options.width, self.options.length)
            chunks += [IDLE] * (self.options.rows - len(rows))
        run = Pass(self._cache, 0, chunks, padding)
        logits = logits_of(self._network, run)
        prefixes = [row.prefix(draft) for row, draft in zip(rows, drafts, strict=True)]
        return pick(logits[: len(rows)], samplings, run.positions[: len(rows)], prefixes)

    def _accept(self, rows: Sequence[Row], drafted: Sequence[Drafted], picks: Picks) -> list[Event]:
        """Keep what the full network agrees with. Rows retire last: closing gaps copies what ``length`` counts."""
        outcomes = zip(rows, drafted, picks.tokens, picks.is_finite, strict=True)
        for slot, (row, draft, picked, is_finite) in enumerate(outcomes):
            if not all(is_finite[: len(draft.tokens) + 1]):
                self._doubt(row, slot, has_drafts=bool(draft.tokens))
                continue
            accepted = agreeing(draft.tokens, picked)
            row.counts.add(draft.drafter, len(draft.tokens), accepted)
            self._drafters.learn(draft, picked, accepted)
            row.length += accepted + 1
            row.take(picked[: accepted + 1])
        return self._retire(rows)

    def _doubt(self, row: Row, slot: int, has_drafts: bool) -> None:
        """Non-finite numbers: forget what the pass wrote. A draft may be to blame, so try once more without any."""
        self._cache.clear(slot, row.length)
        row.shuns_drafts = True
        row.is_broken = not has_drafts

    def _retire(self, rows: Sequence[Row]) -> list[Event]:
        events: list[Event] = []
        for row in rows:
            if row.is_broken:
                events.append(Failed(row.request.id, "non_finite_logits", "the network gave NaN or infinite numbers"))
            elif row.finish_reason is not None:
                events.append(row.finished(row.finish_reason))
            else:
                continue
            self._batch.retire(row)
        return events

    def _time_pass(self, batch: int, width: int) -> float:
        width = min(width, self.options.length)
        start = min(256, self.options.length - width)
        run = Pass(self._cache, 0, [Chunk([0] * width, start)] * batch)
        began = perf_counter()
        pick(logits_of(self._network, run), [], run.positions)
        if run.tokens.is_cuda:
            torch.cuda.synchronize()
        return perf_counter() - began


def agreeing(drafts: Sequence[int], picks: Sequence[int]) -> int:
    """How many leading drafts equal the full network's picks."""
    return next(
        (i for i, (draft, picked) in enumerate(zip(drafts, picks, strict=False)) if draft != picked),
        len(drafts),
    )
