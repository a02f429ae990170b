"""Running an engine to the end of its work, as the worker's loop does."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from transformers import PreTrainedModel

from engine.control import Controller
from engine.costs import StepCosts
from engine.draft.skip import SkipDrafter
from engine.lineup import Lineup
from engine.loop import Engine
from engine.oracle import decode
from engine.request import Admitted, Event, Exit, Failed, Finished, Progress, Request
from engine.round import Drafters
from engine.row import Row

MOST_ROUNDS = 2_000


@dataclass(slots=True)
class Outcome:
    """What an engine reported: admissions in order, and the end of each request."""

    admitted: list[str] = field(default_factory=list)
    finished: dict[str, Finished] = field(default_factory=dict)
    failed: dict[str, Failed] = field(default_factory=dict)
    progress: dict[str, list[Progress]] = field(default_factory=dict)

    def take(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, Admitted):
                self.admitted.append(event.id)
            elif isinstance(event, Progress):
                self.progress.setdefault(event.id, []).append(event)
            elif isinstance(event, Finished):
                assert event.id not in self.finished, "a request ends once"
                self.finished[event.id] = event
            else:
                self.failed[event.id] = event

    @property
    def tokens(self) -> dict[str, tuple[int, ...]]:
        return {identity: event.tokens for identity, event in self.finished.items()}


def run(
    engine: Engine,
    requests: Sequence[Request],
    *,
    arrivals: Mapping[str, int] | None = None,
    cancellations: Mapping[str, int] | None = None,
) -> Outcome:
    """Submit, cancel and step until nothing is left.

    ``arrivals`` and ``cancellations`` name the round before which they happen; an absent arrival is round 0.
    """
    outcome = Outcome()
    arrivals, cancellations = arrivals or {}, cancellations or {}
    coming = sorted(requests, key=lambda request: arrivals.get(request.id, 0))
    for round_number in range(MOST_ROUNDS):
        while coming and arrivals.get(coming[0].id, 0) <= round_number:
            engine.submit(coming.pop(0))
        for identity, when in cancellations.items():
            if when == round_number:
                outcome.take(engine.cancel(identity))
        if engine.is_idle and not coming:
            return outcome
        outcome.take(engine.step())
    raise AssertionError(f"not done after {MOST_ROUNDS} rounds")


def expected(
    network: PreTrainedModel, requests: Iterable[Request], eos: frozenset[int] = frozenset()
) -> dict[str, tuple[int, ...]]:
    """What the oracle gives for each request."""
    return {request.id: tuple(decode(network, request, eos)) for request in requests}


class Scripted(SkipDrafter):
    """Drafts what it is told: per request the tokens of the whole output as somebody might have guessed them."""

    def __init__(self, guesses: Mapping[str, Sequence[int]]) -> None:
        self._guesses = guesses

    def propose(
        self, rows: Sequence[Row], heads: Sequence[Sequence[int]], limits: Sequence[int], threshold: float = 0.0
    ) -> list[list[int]]:
        drafts = []
        for row, limit in zip(rows, limits, strict=True):
            guess = self._guesses.get(row.request.id, ())
            drafts.append(list(guess[row.num_generated : row.num_generated + limit]))
        return drafts


def guess_with(engine: Engine, guesses: Mapping[str, Sequence[int]]) -> None:
    """Let requests that ask for skip drafts have the scripted ones; the engine must know some skip set."""
    most, padded = engine.options.width - 1, (engine.options.rows, engine.options.padding.width)
    controller = Controller(StepCosts.assumed(), most, padded, can_skip=True, leave=Exit.FIXED)
    scripted = Drafters(Scripted(guesses), controller, most, Exit.FIXED)
    engine._lineup = Lineup(lambda _: scripted, None)
