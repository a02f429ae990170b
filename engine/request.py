"""What goes into the engine and what comes out. No torch here: both ends of the worker's socket use it."""

from dataclasses import dataclass, field
from enum import StrEnum

from engine.errors import BadRequest

MOST_LOGPROBS = 20  # alternatives a token may be listed with


class Drafter(StrEnum):
    """What proposes tokens."""

    AUTO = "auto"
    PLAIN = "plain"
    SKIP = "skip"
    LOOKUP = "lookup"
    CASCADE = "cascade"


class Exit(StrEnum):
    """What ends the drafts of rows that ask for a drafter."""

    GOODPUT = "goodput"  # as many as make the most expected tokens per second
    ADAPTIVE = "adaptive"  # skip drafts end where the draft is unsure (Draft & Verify, section 3.3)
    FIXED = "fixed"  # always as many as fit the width


class FinishReason(StrEnum):
    """Why a row ended."""

    STOP = "stop"  # end-of-sequence token or stop string
    LENGTH = "length"  # max_tokens reached
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is picked from the logits.

    ``temperature`` 0 is greedy; ``top_k`` 0, ``top_p`` 1 and ``min_p`` 0 are off; ``seed`` keys the noise.
    ``repetition_penalty`` 1 and the other penalties 0 are off. ``logit_bias`` is (token id, added to its logit) pairs;
    before ``min_tokens`` tokens the text cannot end.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    min_tokens: int = 0

    def __post_init__(self) -> None:
        if not 0.0 <= self.temperature <= 100.0:
            raise BadRequest("temperature must lie in [0, 100]", parameter="temperature")
        if self.top_k < 0:
            raise BadRequest("top_k must not be negative", parameter="top_k")
        if not 0.0 < self.top_p <= 1.0:
            raise BadRequest("top_p must lie in (0, 1]", parameter="top_p")
        if not 0.0 <= self.min_p <= 1.0:
            raise BadRequest("min_p must lie in [0, 1]", parameter="min_p")
        if not 0.0 < self.repetition_penalty <= 10.0:
            raise BadRequest("repetition_penalty must lie in (0, 10]", parameter="repetition_penalty")
        for name in ("presence_penalty", "frequency_penalty"):
            if not -2.0 <= getattr(self, name) <= 2.0:
                raise BadRequest(f"{name} must lie in [-2, 2]", parameter=name)
        if not all(-100.0 <= bias <= 100.0 for _, bias in self.logit_bias):
            raise BadRequest("every value of logit_bias must lie in [-100, 100]", parameter="logit_bias")
        if self.min_tokens < 0:
            raise BadRequest("min_tokens must not be negative", parameter="min_tokens")
        if not 0 <= self.seed < 2**63:
            raise BadRequest("seed must lie in [0, 2**63)", parameter="seed")

    @property
    def is_greedy(self) -> bool:
        return self.temperature == 0.0

    @property
    def has_penalties(self) -> bool:
        return (self.repetition_penalty, self.presence_penalty, self.frequency_penalty) != (1.0, 0.0, 0.0)

    @property
    def has_processors(self) -> bool:
        """Whether anything but temperature and truncation changes the logits."""
        return self.has_penalties or bool(self.logit_bias) or self.min_tokens > 0


@dataclass(frozen=True, slots=True)
class Request:
    """One sequence to decode.

    ``stop`` strings and ``stop_tokens`` end the text beside the model's own end-of-sequence tokens.
    ``alone`` asks to share the batch with nobody (a request suspected of having killed an engine before);
    ``reproducible`` pads every pass to one shape, so that the text does not depend on who else is decoding.
    ``logprobs`` asks for the log-probability of each token and of so many of the likeliest ones; None for none at all.
    ``stream`` asks for a ``Progress`` after every round that added tokens.
    """

    id: str
    prompt: tuple[int, ...]
    max_tokens: int
    sampling: Sampling = Sampling()
    stop: tuple[str, ...] = ()
    stop_tokens: frozenset[int] = frozenset()
    drafter: Drafter = Drafter.AUTO
    reproducible: bool = False
    interactive: bool = False
    alone: bool = False
    logprobs: int | None = None
    stream: bool = False

    def __post_init__(self) -> None:
        if not self.prompt:
            raise BadRequest("the prompt has no tokens", code="empty_prompt", parameter="prompt")
        if self.max_tokens < 1:
            raise BadRequest("max_tokens must be at least 1", parameter="max_tokens")
        if any(not text for text in self.stop):
            raise BadRequest("a stop string must not be empty", parameter="stop")
        if self.sampling.min_tokens > self.max_tokens:
            raise BadRequest("min_tokens must not exceed max_tokens", parameter="min_tokens")
        if self.logprobs is not None and not 0 <= self.logprobs <= MOST_LOGPROBS:
            raise BadRequest(f"logprobs must lie in [0, {MOST_LOGPROBS}]", parameter="logprobs")

    @property
    def extent(self) -> int:
        """The most tokens its text can have, prompt included."""
        return len(self.prompt) + self.max_tokens


@dataclass(frozen=True, slots=True)
class Statistics:
    """What one request cost. Times in seconds; ``drafter`` is the one that proposed most of its drafts.

    ``skip_set_id`` names the skip set that made most of those made by skipping; None for the starting set, or for none.
    """

    prompt_tokens: int
    completion_tokens: int
    verifies: int
    drafted: int
    accepted: int
    drafter: Drafter
    queue_s: float
    prefill_s: float
    decode_s: float
    skip_set_id: str | None = None

    @property
    def tokens_per_verify(self) -> float | None:
        return self.completion_tokens / self.verifies if self.verifies else None

    @property
    def acceptance_rate(self) -> float | None:
        return self.accepted / self.drafted if self.drafted else None


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One token of the output: its natural log-probability under the full network's raw logits (before temperature,
    penalties and bias), and the likeliest tokens in its place as (token id, log-probability), best first.
    """

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """Tokens that a round added to a request with ``stream``; ``start`` counts those before them in the output.

    The tokens of all ``Progress`` events, in order, are those of ``Finished``. A stop string may span several events:
    who shows text as it comes holds back what could still become one.

    ``emitted_at`` is when the engine's process had it, in seconds of ``time.monotonic``, which all processes of a Linux
    host share; None where nobody noted it. It is no part of what was decoded.
    """

    id: str
    start: int
    tokens: tuple[int, ...]
    logprobs: tuple[TokenLogprob, ...] | None = None
    emitted_at: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Admitted:
    """The request got a row; its first pass comes after this event."""

    id: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The request ended. ``tokens`` exclude the end-of-sequence token and include the one that completed ``stop``.

    ``logprobs`` has one entry a token where the request asked for them.
    """

    id: str
    tokens: tuple[int, ...]
    finish_reason: FinishReason
    stop: str | None
    statistics: Statistics
    logprobs: tuple[TokenLogprob, ...] | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The request failed alone; ``code`` is stable, ``message`` is for people."""

    id: str
    code: str
    message: str


Event = Admitted | Progress | Finished | Failed
