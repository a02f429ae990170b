"""Plain decoding with transformers' own cache, for networks the slot cache cannot hold or nobody has checked.

State-space layers keep one state of all they have read: no draft can be taken back from it. One row at a time, because
some such networks keep that state in their modules; the row of an interactive request goes before bulk ones.
"""

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from transformers import PreTrainedModel

from engine.batch import Batch
from engine.cache import CacheShape, SlotCache
from engine.costs import StepCosts
from engine.errors import Unsupported
from engine.limits import Limits
from engine.lineup import Active, BatchClass
from engine.logprobs import logprobs_of
from engine.loop import Engine, Options, known_tokens
from engine.relief import Relief
from engine.request import Drafter, Event
from engine.rope import turn_all
from engine.row import Row
from engine.sample import pick
from engine.shortage import is_shortage
from engine.skipset import SkipSet
from engine.stop import Decode
from engine.urgency import Urgency

_OPTIONS = Options()
_STATES = ("past_key_values", "cache_params", "state")  # what networks call the memory they hand out and take back


def engine_for(
    network: PreTrainedModel,
    options: Options = _OPTIONS,
    *,
    eos: frozenset[int] = frozenset(),
    decode: Decode | None = None,
    skip_set: SkipSet | None = None,
    costs: StepCosts | None = None,
    is_measured: bool = False,
) -> Engine:
    """The engine that decodes a network exactly: the drafting one where it can, else a plain one whose ``note`` says
    why. A plain one has no use for a skip set.

    Raises: BadRequest for a skip set that names layers the network lacks.
    """
    try:
        return Engine(network, options, eos=eos, decode=decode, skip_set=skip_set, costs=costs, is_measured=is_measured)
    except Unsupported as error:
        return StockEngine(network, options, why=str(error), eos=eos, decode=decode)


class StockEngine(Engine):
    """An engine whose round is one token of one row; ``why`` it is this one is told to whoever asks for drafts.

    The network has read a token once this returns: what it cannot do ends the start, and not a request.
    """

    def __init__(
        self,
        network: PreTrainedModel,
        options: Options = _OPTIONS,
        *,
        why: str,
        eos: frozenset[int] = frozenset(),
        decode: Decode | None = None,
    ) -> None:
        config: Any = network.config.get_text_config()
        self.options = replace(options, rows=1, length=_longest(config, options.length))
        self.num_steps = 0
        self.on_round = None
        self.urgency = Urgency()  # nobody asks: its rounds are one token of one row
        self.costs = StepCosts.assumed()
        self._network = network
        self._eos = known_tokens(network, eos)
        self._decode = decode
        cache = SlotCache(CacheShape(0, 0, 0, 1, 0), network.dtype, network.device)  # nothing in its slot
        self._batch = Batch(cache)
        self.relief = Relief(cache, self._batch)
        self._limits = Limits(self.options.length, config.vocab_size, False, decode is not None, why)
        self._parameters = frozenset(inspect.signature(network.forward).parameters)
        self._state: dict[str, Any] = {}
        self._read([0], 0)
        self._state = {}

    @property
    def start_set(self) -> None:
        """Nothing drafts here."""

    def swap(self, chosen: Mapping[BatchClass, Active]) -> None:
        """Nothing is drafted here, whatever was chosen."""

    def step(self) -> list[Event]:
        """One round: admit, read what the row has not read yet, take the next token, retire."""
        self.num_steps += 1
        events = self.admit()
        rows = list(self._batch.rows)
        for row in rows:  # one, if any
            try:
                events += self._advance(row)
            except (RuntimeError, MemoryError) as error:
                if not is_shortage(error):
                    raise
                row.fail("out_of_memory", "the device has not enough memory for this request alone")
        return events + self._retire(rows)

    def _advance(self, row: Row) -> list[Event]:
        if is_new := row.length == 0:
            self._state = {}
            turn_all(self._network, row.request.extent)
        logits = self._read(row.tokens, row.length if self._state else 0)
        row.length = len(row.tokens)
        if is_new:
            row.begin()
        here = torch.tensor([[row.length - 1]], device=logits.device)
        picks = pick(logits, [row.request.sampling], here, [row.prefix(())])
        if not picks.is_finite[0][0]:
            row.doubt(has_drafts=False)
            return []
        row.counts.add(Drafter.PLAIN, 0, 0)
        before = row.num_generated
        row.take(picks.tokens[0])
        most = row.request.logprobs
        scores = None if most is None else logprobs_of(logits[0], picks.tokens[0], most)
        return self._told(row, scores, before)

    @torch.inference_mode()
    def _read(self, tokens: list[int], start: int) -> torch.Tensor:
        """Logits [1, 1, vocabulary] behind the last token, of which those from ``start`` on are not in the state yet. A
        network that hands out no state reads everything anew for each token.
        """
        given = torch.tensor([tokens[start:], range(start, len(tokens))], device=self._network.device)
        # Some networks ask their first layer how far the text is, which has no idea where it keeps only a state.
        wishes = {"position_ids": given[1:], "logits_to_keep": 1}
        named = {name: value for name, value in wishes.items() if name in self._parameters}
        output = self._network(given[:1], use_cache=True, **self._state, **named)
        states = {name: getattr(output, name, None) for name in _STATES}
        self._state = {name: state for name, state in states.items() if state is not None}
        logits: torch.Tensor = output.logits[:, -1:]
        return logits


def _longest(config: Any, length: int) -> int:
    """The tokens a row may have. Where nothing is rotated, positions may be looked up in a table, which has an end."""
    table = None if getattr(config, "rope_parameters", None) else getattr(config, "max_position_embeddings", None)
    return min(length, table or length)
