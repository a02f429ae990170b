"""The engine: a continuous batch, decoded round by round. ``step`` is the whole algorithm.

Token ids in, token ids out. Rounds are atomic: rows come and go only between them, and a round that is abandoned leaves
every row as it was.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from transformers import PreTrainedModel

from engine.attention import adopt
from engine.batch import Batch
from engine.cache import CacheShape, SlotCache
from engine.confidence import Confidence
from engine.control import Controller
from engine.costs import StepCosts
from engine.draft.skip import SkipDrafter
from engine.errors import BadRequest
from engine.family import longest
from engine.limits import Limits
from engine.lineup import Active, BatchClass, Lineup
from engine.logprobs import Logprobs, logprobs_of
from engine.passes import IDLE, Chunk, Padding, Pass, logits_of
from engine.prefill import Prefill
from engine.relief import Relief
from engine.request import Admitted, Drafter, Event, Exit, Failed, FinishReason, Progress, Request
from engine.round import Drafters, Round, RoundRecord, agreeing
from engine.row import Row
from engine.sample import Picks, pick
from engine.shortage import is_shortage
from engine.skipset import SkipSet
from engine.stop import Decode
from engine.timing import measured_costs, warm
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
    assumed. With ``is_measured`` passes have run on the device once this returns, whichever costs there are.
    ``on_round`` is told what each decoding round did. ``relief`` asks others on the device for memory when it runs out,
    and ``urgency`` whether a round should be left for an interactive request, if somebody is there to answer.
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
        self._eos = known_tokens(network, eos)
        self._decode = decode
        shape = CacheShape.of(network, options.rows, options.length)
        adopt(network)
        self._cache = SlotCache(shape, network.dtype, network.device)
        self._batch = Batch(self._cache)
        self.relief = Relief(self._cache, self._batch)
        self._prefill = Prefill(
            network, self._cache, self._batch, self.urgency, options.prefill_tokens, options.length, self.relief.find
        )
        view = draft_view(network, skip_set) if skip_set else None
        self._limits = Limits(options.length, network.config.vocab_size, view is not None, decode is not None)
        if costs is None:
            costs = measured_costs(network, view, self._cache, options.width) if is_measured else StepCosts.assumed()
        elif is_measured:
            warm(network, view, self._cache)
        self.costs = costs
        self._confidence = Confidence()
        self._lineup = Lineup(self._drafters_of, Active(skip_set) if skip_set else None)

    def _drafters_of(self, active: Active | None) -> Drafters:
        options, most = self.options, self.options.width - 1
        skip, costs, confidence = None, self.costs, self._confidence
        if active is not None:
            confidence = confidence.with_other_skips(active.acceptance)
            skip = SkipDrafter(draft_view(self._network, active.skip_set), self._cache)
            costs = costs if active.share is None else costs.with_draft(active.share)
        can_skip = active is not None and not active.is_plain
        padded = options.rows, options.padding.width
        controller = Controller(costs, most, padded, can_skip=can_skip, leave=options.leave)
        identity = active.identity if active is not None else None
        return Drafters(skip, controller, most, options.leave, confidence, identity)

    def swap(self, chosen: Mapping[BatchClass, Active]) -> None:
        """Draft with these skip sets from the next round on, where the network drafts by skipping at all.

        Raises: BadRequest when one names layers that the network lacks; then nothing is changed.
        """
        for active in chosen.values():
            active.skip_set.check(self._network.config.num_hidden_layers)
        if Drafter.SKIP in self.drafters:
            self._lineup.swap(chosen)

    @property
    def drafters(self) -> tuple[Drafter, ...]:
        """What requests may ask for here."""
        return self._limits.drafters

    @property
    def start_set(self) -> Active | None:
        """What drafts by skipping where nothing else was chosen."""
        return self._lineup.start

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
            self.relief.recover(self._prefill, self._lineup)
            events += self._retire(self._prefill.advance())
            rows = self._batch.decoding
            if not rows or self._prefill.goes_first(rows):
                return events
            return events + self._go_round(rows)
        except MadeWay:  # nothing has changed, and the next round begins with whom it was for
            return events

    def _go_round(self, rows: Sequence[Row]) -> list[Event]:
        """Draft, verify and accept, for all rows or for the last of them, which still lack their first token."""
        low, drafters = 0, self._lineup.at(len(rows))
        try:
            if num_first := 0 if self._batch.is_reproducible else self.urgency.first_tokens(rows):
                low = len(rows) - num_first
                this = drafters.plain(rows[low:])
            else:
                this = drafters.propose(rows, self.options.length, self._batch.is_reproducible)
            logits, picks = self._verify(this, low)
            scores = _scores(this, logits, picks)
        except (RuntimeError, MemoryError) as error:
            if not is_shortage(error):
                raise
            return self._retire(self.relief.shrink(rows, self._lineup))
        self.urgency.settle(this.rows)
        return self._accept(this, low, drafters, picks, scores)

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
        widths = [1 + len(draft) for draft in drafts]
        return logits, pick(logits, samplings, run.positions[: len(rows)], prefixes, widths)

    def _accept(
        self, this: Round, low: int, drafters: Drafters, picks: Picks, scores: Sequence[Logprobs | None]
    ) -> list[Event]:
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
            drafters.learn(this, index, picked, accepted)
            row.counts.add(draft.drafter, len(tokens), accepted)
            row.counts.add_skipped(drafters.skip_set_id, len(draft.skipped))
            row.length += accepted + 1
            before = row.num_generated
            row.take(picked[: accepted + 1])
            events += self._told(row, scores[index], before)
            added += row.num_generated - before
        drafters.settle(this, added)
        if self.on_round is not None:
            self.on_round(this.record(added))
        return events + self._retire(this.rows)

    def _told(self, row: Row, scores: Logprobs | None, before: int) -> list[Event]:
        """What somebody wants to hear of the tokens a row has taken since it had ``before`` of them."""
        tokens = row.output[before:]
        logprobs = None
        if scores is not None:
            logprobs = scores[: len(tokens)]
            row.logprobs += logprobs
        return [Progress(row.request.id, before, tuple(tokens), logprobs)] if row.request.stream and tokens else []

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


def known_tokens(network: PreTrainedModel, tokens: frozenset[int]) -> frozenset[int]:
    """Those that the network can write: tokenizers name end tokens that were added to them alone."""
    return frozenset(token for token in tokens if token < network.config.get_text_config().vocab_size)


def _scores(this: Round, logits: torch.Tensor, picks: Picks) -> list[Logprobs | None]:
    """The log-probabilities that each row asked for, of all tokens it may take now."""
    scores: list[Logprobs | None] = []
    for index, (row, draft) in enumerate(zip(this.rows, this.drafted, strict=True)):
        tokens = picks.tokens[index][: agreeing(draft.tokens, picks.tokens[index]) + 1]
        most = row.request.logprobs
        scores.append(None if most is None else logprobs_of(logits[index, : len(tokens)], tokens, most))
    return scores
