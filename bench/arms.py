"""Our arms: the engine at a batch size, with each drafter. An arm is a function from work to what was written."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

from transformers import PreTrainedModel

from bench.workloads import Work
from engine.costs import StepCosts
from engine.loop import Engine, Options
from engine.request import Drafter, Exit, Failed, Finished, Request, Sampling
from engine.round import RoundRecord
from engine.skipset import SkipSet

_FIXED = 5  # drafts a round, of arms that always make so many
WAYS = {
    "plain": (Drafter.PLAIN, Exit.GOODPUT),
    "skip": (Drafter.SKIP, Exit.GOODPUT),
    f"skip-{_FIXED}": (Drafter.SKIP, Exit.FIXED),
    "skip-adaptive": (Drafter.SKIP, Exit.ADAPTIVE),  # the paper's own
    "lookup": (Drafter.LOOKUP, Exit.GOODPUT),
    f"lookup-{_FIXED}": (Drafter.LOOKUP, Exit.FIXED),
    "cascade": (Drafter.CASCADE, Exit.GOODPUT),
    "auto": (Drafter.AUTO, Exit.GOODPUT),
}  # what an arm drafts by, and what ends its drafts
OURS = tuple(WAYS)


@dataclass(frozen=True, slots=True)
class Written:
    """The texts of one run; for our arms also what the rounds did and how many drafts were made and accepted."""

    texts: Sequence[Sequence[int]]
    rounds: Sequence[RoundRecord] = ()
    verifies: int = 0
    drafted: int = 0
    accepted: int = 0

    @property
    def num_tokens(self) -> int:
        return sum(map(len, self.texts))

    @property
    def decode_s(self) -> float | None:
        """Seconds of the decoding rounds, whatever was prefilled between them; None where nobody counted rounds."""
        return sum(one.seconds for one in self.rounds) if self.rounds else None

    @property
    def tokens_per_verify(self) -> float | None:
        return self.num_tokens / self.verifies if self.verifies else None

    @property
    def acceptance(self) -> float | None:
        """Accepted over drafted."""
        return self.accepted / self.drafted if self.drafted else None


Arm = Callable[[Work], Written]


def slots_for(batch: int) -> int:
    """The smallest engine that decodes ``batch`` bulk rows at once: it keeps an eighth of its rows for others."""
    return next(slots for slots in range(batch, 2 * batch + 2) if slots - _reserved(slots) == batch)


def _reserved(slots: int) -> int:
    return max(1, slots // 8) if slots > 1 else 0


@dataclass(frozen=True, slots=True)
class Ours:
    """Builds arms on one network."""

    network: PreTrainedModel
    skip_set: SkipSet | None
    costs: StepCosts
    length: int = 1024

    def arms(self, batch: int, names: Collection[str] = OURS) -> dict[str, Arm]:
        """The named arms at a batch size, as far as the network can have them."""
        can_skip = self.skip_set is not None
        wanted = {
            name: (drafter, leave)
            for name, (drafter, leave) in WAYS.items()
            if name in names and (can_skip or drafter not in (Drafter.SKIP, Drafter.CASCADE))
        }
        engines = {leave: self._engine(batch, leave) for leave in dict.fromkeys(leave for _, leave in wanted.values())}
        return {name: partial(run, engines[leave], drafter=drafter) for name, (drafter, leave) in wanted.items()}

    def _engine(self, batch: int, leave: Exit) -> Engine:
        width = 1 + _FIXED if leave is Exit.FIXED else Options().width
        options = Options(rows=slots_for(batch), length=self.length, width=width, leave=leave)
        return Engine(self.network, options, skip_set=self.skip_set, costs=self.costs)


def requests(work: Work, drafter: Drafter = Drafter.PLAIN) -> list[Request]:
    """The work as requests, named by their number."""
    return [
        Request(
            str(number), prompt, work.max_tokens, Sampling(work.temperature, seed=number), (), work.eos, drafter=drafter
        )
        for number, prompt in enumerate(work.prompts)
    ]


def run(engine: Engine, work: Work, drafter: Drafter) -> Written:
    """All of the work through the engine.

    Raises: RuntimeError when a request fails.
    """
    rounds: list[RoundRecord] = []
    engine.on_round = rounds.append
    for request in requests(work, drafter):
        engine.submit(request)
    finished: dict[int, Finished] = {}
    while not engine.is_idle:
        for event in engine.step():
            if isinstance(event, Failed):
                raise RuntimeError(event.message)
            if isinstance(event, Finished):
                finished[int(event.id)] = event
    engine.on_round = None
    ended = [finished[number] for number in range(len(work.prompts))]
    return Written(
        [one.tokens for one in ended],
        rounds,
        sum(one.statistics.verifies for one in ended),
        sum(one.statistics.drafted for one in ended),
        sum(one.statistics.accepted for one in ended),
    )
