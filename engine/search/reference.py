"""References: what the full network writes for each calibration prompt, with its keys and values in slots of the cache.

Written once, one token a pass. When there are fewer slots than prompts, the keys and values that were used longest ago
make room and are computed again, many tokens a pass, when they are needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedModel

from engine.cache import SlotCache
from engine.errors import BadRequest, NonFinite
from engine.passes import Chunk, Pass, logits_of, write
from engine.process import Prefix
from engine.request import Request
from engine.sample import pick
from engine.search.meter import Meter, Phase
from engine.search.steps import Steps

_CHUNK = 256  # tokens written a pass


@dataclass(frozen=True, slots=True)
class Reference:
    """A prompt and the full network's picks after it, with the end-of-sequence token that ended them, if any."""

    request: Request
    picks: tuple[int, ...]
    ends: frozenset[int] = frozenset()

    @property
    def start(self) -> int:
        """Position of the last prompt token, from which the first draft starts."""
        return len(self.request.prompt) - 1

    @property
    def width(self) -> int:
        """Positions to draft from, one for each pick."""
        return len(self.picks)

    @property
    def end(self) -> int:
        """Columns of a slot that hold the reference; scoring uses ``width`` more behind them."""
        return self.start + self.width

    @property
    def tokens(self) -> tuple[int, ...]:
        """Prompt and picks without the last pick, which nothing is drafted from."""
        return (*self.request.prompt, *self.picks[:-1])

    @property
    def inputs(self) -> tuple[int, ...]:
        """The tokens that drafts start from."""
        return self.tokens[self.start :]

    @property
    def prefix(self) -> Prefix | None:
        """What logit processors see at each of the drafts' positions; None without processors."""
        if not self.request.sampling.has_processors:
            return None
        return Prefix(self.request.prompt, (), self.picks[:-1], self.ends)


class References:
    """Writes references into the slots it is lent and knows which of them still hold what."""

    def __init__(
        self, network: PreTrainedModel, cache: SlotCache, slots: Sequence[int], eos: frozenset[int], meter: Meter
    ) -> None:
        if not slots:
            raise BadRequest("a search needs at least one free slot", parameter="slots")
        self._network = network
        self._eos = eos
        self._meter = meter
        self._held: dict[int, Reference | None] = dict.fromkeys(slots)  # least recently used first
        self.cache = cache

    def write(self, request: Request) -> Steps[Reference]:
        """Decode a request with the full network alone.

        Raises: BadRequest when prompt, text and drafts do not fit a slot; NonFinite when the network breaks on it.
        """
        if len(request.prompt) + 2 * request.max_tokens > self.cache.shape.length:
            raise BadRequest(
                f"{len(request.prompt)} prompt tokens and twice {request.max_tokens} more exceed the context",
                code="context_length_exceeded",
                parameter="calibration",
            )
        ends = self._eos | request.stop_tokens
        slot = self._oldest()
        yield from self._fill(slot, request.prompt[:-1])
        tokens = list(request.prompt)
        for _ in range(request.max_tokens):
            with self._meter.on(Phase.REFERENCES):
                tokens.append(self._next(slot, tokens, request, ends))
            yield
            if tokens[-1] in ends:
                break
        reference = Reference(request, tuple(tokens[len(request.prompt) :]), ends)
        self._hold(slot, reference)
        return reference

    def fetch(self, reference: Reference) -> Steps[int]:
        """The slot that holds a reference's keys and values, computed again where they had to make room."""
        slot = next((slot for slot, held in self._held.items() if held == reference), None)
        if slot is None:
            slot = self._oldest()
            yield from self._fill(slot, reference.tokens)
        self._hold(slot, reference)
        return slot

    def give_back(self, slot: int) -> None:
        """Let the serving side have a slot again; one always stays until the search ends."""
        if len(self._held) > 1:
            self._held.pop(slot)

    def _oldest(self) -> int:
        return next(iter(self._held))

    def _hold(self, slot: int, reference: Reference) -> None:
        self._held.pop(slot)
        self._held[slot] = reference

    def _fill(self, slot: int, tokens: Sequence[int]) -> Steps[None]:
        self._held[slot] = None
        for low in range(0, len(tokens), _CHUNK):
            with self._meter.on(Phase.REFERENCES):
                run = Pass(self.cache, slot, [Chunk(tokens[low : low + _CHUNK], low)])
                if not all(write(self._network, run)):
                    self.cache.clear(slot, 0)
                    raise NonFinite("the network gave NaN or infinite numbers for a calibration prompt")
            yield

    def _next(self, slot: int, tokens: Sequence[int], request: Request, ends: frozenset[int]) -> int:
        run = Pass(self.cache, slot, [Chunk(tokens[-1:], len(tokens) - 1)])
        output = tokens[len(request.prompt) :]
        prefix = Prefix(request.prompt, output, (), ends) if request.sampling.has_processors else None
        picks = pick(logits_of(self._network, run), [request.sampling], run.positions, [prefix])
        if not picks.is_finite[0][0]:
            self.cache.clear(slot, 0)
            raise NonFinite("the network gave NaN or infinite numbers for a calibration prompt")
        return picks.tokens[0][0]
