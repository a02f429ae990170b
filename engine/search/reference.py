"""References: what the full network writes for each calibration prompt, its keys and values in slots of the cache.

Written once, in a batch as wide as the slots allow. When there are fewer slots than prompts, the keys and values that
were used longest ago make room and are computed again, many tokens a pass, when they are needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedModel

from engine.cache import SlotCache
from engine.errors import BadRequest, NonFinite
from engine.passes import IDLE, Chunk, Pass, logits_of, write
from engine.process import Prefix
from engine.request import Request
from engine.sample import pick
from engine.search.meter import Meter, Phase
from engine.search.steps import Steps

CHUNK = 256  # tokens written a pass


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

    def prefix_of(self, low: int, high: int) -> Prefix | None:
        """What logit processors see at positions ``low`` to ``high`` of the drafts; None without processors."""
        if not self.request.sampling.has_processors:
            return None
        return Prefix(self.request.prompt, self.picks[:low], self.picks[low : high - 1], self.ends)


class References:
    """Writes references into the slots it is lent and knows which of them still hold what."""

    def __init__(
        self,
        network: PreTrainedModel,
        cache: SlotCache,
        slots: Sequence[int],
        eos: frozenset[int],
        meter: Meter,
        *,
        chunk: int = CHUNK,
    ) -> None:
        if not slots:
            raise BadRequest("a search needs at least one free slot", parameter="slots")
        self._network = network
        self._eos = eos
        self._meter = meter
        self._chunk = chunk
        self._held: dict[int, Reference | None] = dict.fromkeys(slots)  # least recently used first
        self.cache = cache

    def write(self, requests: Sequence[Request]) -> Steps[list[Reference]]:
        """Decode requests with the full network alone, as many at once as there are neighbouring slots.

        Raises: BadRequest when prompt, text and drafts do not fit a slot; NonFinite when the network breaks on one.
        """
        for request in requests:
            self._check(request)
        written: list[Reference] = []
        while len(written) < len(requests):
            low, most = self._neighbours()
            written += yield from self._write_beside(low, requests[len(written) :][:most])
        return written

    def _check(self, request: Request) -> None:
        if len(request.prompt) + 2 * request.max_tokens > self.cache.shape.length:
            raise BadRequest(
                f"{len(request.prompt)} prompt tokens and twice {request.max_tokens} more exceed the context",
                code="context_length_exceeded",
                parameter="calibration",
            )

    def _neighbours(self) -> tuple[int, int]:
        """The longest run of slots side by side: (first, count)."""
        runs: list[list[int]] = []
        for slot in sorted(self._held):
            if runs and runs[-1][-1] == slot - 1:
                runs[-1].append(slot)
            else:
                runs.append([slot])
        longest = max(runs, key=len)
        return longest[0], len(longest)

    def _write_beside(self, low: int, requests: Sequence[Request]) -> Steps[list[Reference]]:
        """References in slots ``low``, ``low + 1``, ..., all a token further each pass."""
        for slot, request in enumerate(requests, low):
            yield from self._fill(slot, request, request.prompt[:-1])
        texts: list[list[int]] = [[] for _ in requests]
        ends = [self._eos | request.stop_tokens for request in requests]
        open_ = list(range(len(requests)))
        while open_:
            with self._meter.on(Phase.REFERENCES):
                self._extend(low, requests, texts, open_)
            yield
            open_ = [i for i in open_ if len(texts[i]) < requests[i].max_tokens and texts[i][-1] not in ends[i]]
        written = [Reference(*one) for one in zip(requests, map(tuple, texts), ends, strict=True)]
        for slot, reference in enumerate(written, low):
            self._hold(slot, reference)
        return written

    def _extend(self, low: int, requests: Sequence[Request], texts: Sequence[list[int]], open_: Sequence[int]) -> None:
        """One more token for each text that is still open."""
        chunks = [IDLE] * len(requests)
        for i in open_:
            tokens = (*requests[i].prompt, *texts[i])
            chunks[i] = Chunk(tokens[-1:], len(tokens) - 1)
        run = Pass(self.cache, low, chunks)
        prefixes = [
            Prefix(request.prompt, text, (), self._eos | request.stop_tokens)
            if request.sampling.has_processors
            else None
            for request, text in zip(requests, texts, strict=True)
        ]
        picks = pick(logits_of(self._network, run), [one.sampling for one in requests], run.positions, prefixes)
        for i in open_:
            if not picks.is_finite[i][0]:
                self.cache.clear(low + i, 0)
                raise NonFinite("the network gave NaN or infinite numbers for a calibration prompt")
            texts[i].append(picks.tokens[i][0])

    def fetch(self, reference: Reference) -> Steps[int]:
        """The slot that holds a reference's keys and values, computed again where they had to make room."""
        slot = next((slot for slot, held in self._held.items() if held == reference), None)
        if slot is None:
            slot = self._oldest()
            yield from self._fill(slot, reference.request, reference.tokens)
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

    def _fill(self, slot: int, request: Request, tokens: Sequence[int]) -> Steps[None]:
        self._held[slot] = None
        self.cache.seat(slot, len(request.prompt) + request.max_tokens)
        for low in range(0, len(tokens), self._chunk):
            with self._meter.on(Phase.REFERENCES):
                run = Pass(self.cache, slot, [Chunk(tokens[low : low + self._chunk], low)])
                if not all(write(self._network, run)):
                    self.cache.clear(slot, 0)
                    raise NonFinite("the network gave NaN or infinite numbers for a calibration prompt")
            yield
