"""Our arms: the engine at a batch size, with each drafter. An arm is a function from work to what was written."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from transformers import PreTrainedModel

from bench.workloads import Work
from engine.costs import StepCosts
from engine.loop import Engine, Options
from engine.request import Drafter, Exit, Failed, Finished, Request, Sampling
from engine.round import RoundRecord
from engine.skipset import SkipSet


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

    def arms(self, batch: int) -> dict[str, Arm]:
        """Every drafter the network can have, and skipping that ends by the paper's adaptive exit."""
        drafters = [Drafter.PLAIN, Drafter.LOOKUP, Drafter.AUTO]
        if self.skip_set is not None:
            drafters[1:1] = [Drafter.SKIP, Drafter.CASCADE]
        engine = self._engine(batch, Exit.GOODPUT)
        arms = {str(drafter): _arm(engine, drafter) for drafter in drafters}
        if self.skip_set is not None:
            arms["skip-adaptive"] = _arm(self._engine(batch, Exit.ADAPTIVE), Drafter.SKIP)
        return arms

    def _engine(self, batch: int, leave: Exit) -> Engine:
        options = Options(rows=slots_for(batch), length=self.length, leave=leave)
        return Engine(self.network, options, skip_set=self.skip_set, costs=self.costs)


def _arm(engine: Engine, drafter: Drafter) -> Arm:
    return lambda work: run(engine, work, drafter)


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
