"""The engine: a continuous batch, decoded round by round. ``step`` is the whole algorithm.

Token ids in, token ids out. Rounds are atomic: rows come and go only between them, and a round that is abandoned leaves
every row as it was.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

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
from engine.logprobs import logprobs_of
from engine.passes import IDLE, Chunk, Padding, Pass, logits_of
from engine.prefill import Prefill
from engine.request import Admitted, Drafter, Event, Exit, Failed, FinishReason, Progress, Request
from engine.round import Drafters, Round, RoundRecord
from engine.row import Row
from engine.sample import Picks, pick
from engine.shortage import is_shortage
from engine.skipset import SkipSet
from engine.stop import Decode
from engine.timing import measured_costs
from engine.urgency import MadeWay, Urgency
from engine.view import draft_view


@dataclass(frozen=True, slots=True)
class Options:
    """Sizes of an engine.

    ``rows`` decode at once, each of at most ``length`` tokens; a round prefills at most ``prefill_tokens``;
    ``width`` is the widest verify (pending token and drafts), ``padded_width`` the fixed one of reproducible passes.
    ``leave`` says what ends the drafts of rows that ask for a drafter; the others always go by goodput.
    """

    rows: int = 16
    length: int = 2048
    prefill_tokens: int = 256
    width: int = 16
    padded_width: int = 6
    leave: Exit = Exit.GOODPUT

    @property
    def padding(self) -> Padding:
        """The one shape of reproducible verifies."""
        return Padding(min(self.width, self.padded_width), self.length)


class Engine:
    """Decodes requests on one network. Not thread-safe: one thread submits, steps and cancels.

    ``costs`` are those of an earlier start on the same device; without them they are measured if ``is_measured``, else
    assumed. ``on_round`` is told what each decoding round did. ``urgency`` asks whether a round should be left for an
    interactive request, if somebody is there to answer.
    """

    def __init__(
        self,
        network: PreTrainedModel,
        options: Options = Options(),
        *,
        eos: frozenset[int] = frozenset(),
        decode: Decode | None = None,
        skip_set: SkipSet | None = None,
        costs: StepCosts | None = None,
        is_measured: bool = False,
    ) -> None:
        self.options = options = replace(options, length=longest(network, options.length))
        self.num_steps = 0
        self.on_round: Callable[[RoundRecord], None] | None = None
        self.urgency = Urgency()
        self._network = network
        self._eos = eos
        self._decode = decode
        shape = CacheShape.of(network, options.rows, options.length)
        adopt(network)
        self._cache = SlotCache(shape, network.dtype, network.device)
        self._batch = Batch(self._cache)
        self._prefill = Prefill(network, self._cache, self._batch, self.urgency, options.prefill_tokens, options.length)
        view = draft_view(network, skip_set) if skip_set else None
        self._limits = Limits(options.length, network.config.vocab_size, view is not None, decode is not None)
        if costs is None:
            costs = measured_costs(network, view, self._cache, options.width) if is_measured else StepCosts.assumed()
        self.costs = costs
        self._drafters = self._drafters_of(view)

    def _drafters_of(self, view: PreTrainedModel | None) -> Drafters:
        options, most = self.options, self.options.width - 1
        padded = options.rows, options.padding.width
        skip = SkipDrafter(view, self._cache) if view is not None else None
        controller = Controller(self.costs, most, padded, can_skip=skip is not None, leave=options.leave)
        return Drafters(skip, controller, most, options.leave)

    @property
    def drafters(self) -> tuple[Drafter, ...]:
        """What requests may ask for here."""
        return self._limits.drafters

    @property
    def note(self) -> str | None:
        """What an operator should know of how this network is decoded."""
        return self._limits.only_plain

    @property
    def is_idle(self) -> bool:
        return not self._batch.rows and not self._batch.num_waiting

    @property
    def num_rows(self) -> int:
        return len(self._batch.rows)

    @property
    def num_waiting(self) -> int:
        return self._batch.num_waiting

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
        events = self.admit()
        try:
            events += self._retire(self._prefill.advance())
            rows = self._batch.decoding
            if not rows or self._prefill.goes_first(rows):
                return events
            return events + self._go_round(rows)
        except MadeWay:  # nothing has changed, and the next round begins with whom it was for
            return events

    def _go_round(self, rows: Sequence[Row]) -> list[Event]:
        """Draft, verify and accept, for all rows or for the last of them, which still lack their first token."""
        low = 0
        try:
            if num_first := 0 if self._batch.is_reproducible else self.urgency.first_tokens(rows):
                low = len(rows) - num_first
                this = self._drafters.plain(rows[low:])
            else:
                this = self._drafters.propose(rows, self.options.length, self._batch.is_reproducible)
            logits, picks = self._verify(this, low)
        except (RuntimeError, MemoryError) as error:
            if not is_shortage(error):
                raise
            return self._retire(self._shrink(rows))
        self.urgency.settle(this.rows)
        return self._accept(this, low, logits, picks)

    def _verify(self, this: Round, low: int) -> tuple[torch.Tensor, Picks]:
        """Run the full network over each row's pending token and drafts; the first row's slot is ``low``."""
        rows, drafts = this.rows, [draft.tokens for draft in this.drafted]
        chunks = [Chunk([row.pending, *draft], row.length) for row, draft in zip(rows, drafts, strict=True)]
        padding = Padding()
        if self._batch.is_reproducible:
            padding = self.options.padding
            chunks += [IDLE] * (self.options.rows - len(rows))
        run = Pass(self._cache, low, chunks, padding, self.urgency.check_for(rows))
        logits = logits_of(self._network, run)[: len(rows)]
        samplings = [row.request.sampling for row in rows]
        prefixes = [row.prefix(draft) for row, draft in zip(rows, drafts, strict=True)]
        return logits, pick(logits, samplings, run.positions[: len(rows)], prefixes)

    def _accept(self, this: Round, low: int, logits: torch.Tensor, picks: Picks) -> list[Event]:
        """Keep what the full network agrees with. Rows retire last: closing gaps copies what ``length`` counts."""
        events: list[Event] = []
        added = 0
        for index, (row, draft) in enumerate(zip(this.rows, this.drafted, strict=True)):
            picked, tokens = picks.tokens[index], draft.tokens
            if not all(picks.is_finite[index][: len(tokens) + 1]):
                row.doubt(has_drafts=bool(tokens))
                self._cache.clear(low + index, row.length)
                continue
            accepted = agreeing(tokens, picked)
            self._drafters.learn(this, index, picked, accepted)
            row.counts.add(draft.drafter, len(tokens), accepted)
            row.length += accepted + 1
            before = row.num_generated
            row.take(picked[: accepted + 1])
            events += self._told(row, logits[index], before)
            added += accepted + 1
        self._drafters.settle(this, added)
        if self.on_round is not None:
            self.on_round(this.record(added))
        return events + self._retire(this.rows)

    def _told(self, row: Row, logits: torch.Tensor, before: int) -> list[Event]:
        """What somebody wants to hear of the tokens a row has taken since it had ``before`` of them."""
        tokens = row.output[before:]
        logprobs = None
        if row.request.logprobs is not None:
            logprobs = logprobs_of(logits[: len(tokens)], tokens, row.request.logprobs)
            row.logprobs += logprobs
        return [Progress(row.request.id, before, tuple(tokens), logprobs)] if row.request.stream and tokens else []

    def _shrink(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Memory ran out in a round, which is abandoned: from now on with shorter drafts, then with fewer rows; only a
        row that is alone and drafts nothing fails.
        """
        if self._drafters.shorten():
            return []
        if len(self._batch.rows) > 1:
            self._batch.shrink()
            return []
        rows[0].fail("out_of_memory", "the device has not enough memory for this request alone")
        return rows

    def _retire(self, rows: Sequence[Row]) -> list[Event]:
        events: list[Event] = []
        for row in rows:
            if row.failure is not None:
                events.append(Failed(row.request.id, *row.failure))
            elif row.finish_reason is not None:
                events.append(row.finished(row.finish_reason))
            else:
                continue
            self._batch.retire(row)
        return events


def agreeing(drafts: Sequence[int], picks: Sequence[int]) -> int:
    """How many leading drafts equal the full network's picks."""
    return next(
        (i for i, (draft, picked) in enumerate(zip(drafts, picks, strict=False)) if draft != picked),
        len(drafts),
    )
