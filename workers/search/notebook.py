"""The engine's end of a search's notebook: trials known here, the study in another process. Nothing here waits.

A search alone belongs to whoever holds its lease, so a claim is granted at once and only entered. One that is shared
asks for each set, and asks again a little later while somebody else has it. At most one record is on its way: until it
is known to be kept, nothing further is claimed, so a crash loses the trial in work and no other.
"""

import time
from collections.abc import Callable, Iterable, Sequence

from engine.search.trial import Source, Trial, Work
from engine.skipset import SkipSet
from workers.wire.searches import Json, parse_trial, trial_json

RETRY_S = 0.1  # before what somebody else has, or what was not there, is asked for again

Send = Callable[[Json], None]


class RemoteNotebook:
    """A `Notebook` that sends entries and is given the answers. `trials` were made before this search was interrupted.

    One question is open at a time.
    """

    def __init__(
        self, layers: int, trials: Iterable[Trial], send: Send, *, can_propose: bool, is_shared: bool = False
    ) -> None:
        self._layers = layers
        self._send = send
        self._known = {(trial.skip_set, trial.prompts): trial for trial in trials}
        self._can_propose = can_propose
        self._is_shared = is_shared
        self._plan: Json = {}  # as it was told last
        self._num_open = 0  # records that nobody has confirmed
        self._is_asked = False
        self._granted: SkipSet | None = None
        self._proposal: SkipSet | None = None
        self._work: Work | None = None
        self._is_waiting = False
        self._retry_at = 0.0

    @property
    def is_waiting(self) -> bool:
        """Whether there is nothing to do: an answer is still to come, or it is too early to ask again."""
        return self._is_waiting or time.monotonic() < self._retry_at

    @property
    def can_propose(self) -> bool:
        return self._can_propose

    def find(self, skip_set: SkipSet, prompts: int) -> Trial | None:
        return self._known.get((skip_set, prompts))

    def claim(self, skip_set: SkipSet, source: Source, prompts: int) -> bool:
        if self._num_open:
            self._is_waiting = True
            return False
        if self._granted == skip_set:
            self._granted = None
            return True
        wanted = {"bits": skip_set.bits(self._layers), "source": source.value, "prompts": prompts}
        if self._is_shared:
            self._ask({"do": "ask", **wanted})
            return False
        self._send({"do": "claim", **wanted})
        return True

    def record(self, trial: Trial) -> None:
        self._known[trial.skip_set, trial.prompts] = trial
        self._num_open += 1
        self._send({"do": "record", **trial_json(trial, self._layers)})

    def propose(self, free: Iterable[SkipSet]) -> SkipSet | None:
        proposal, self._proposal = self._proposal, None
        if proposal is None:
            self._ask({"do": "propose", "free": [unit.bits(self._layers) for unit in free]})
        return proposal

    def plan(self, skip_sets: Sequence[SkipSet], source: Source, prompts: int) -> None:
        sets = [one.bits(self._layers) for one in skip_sets]
        plan = {"do": "plan", "sets": sets, "source": source.value, "prompts": prompts}
        if self._is_shared and plan != self._plan:
            self._plan = plan
            self._send(plan)

    def help(self) -> Work | None:
        if self._num_open:
            self._is_waiting = True
            return None
        work, self._work = self._work, None
        if work is None:
            self._ask({"do": "help"})
        return work

    def answer(self, entry: Json) -> None:
        """Take what the study's process says. A proposal of nothing is its last: there is nothing left to score.

        Raises KeyError, TypeError or ValueError when it is no answer.
        """
        self._is_waiting = False
        if entry["do"] == "noted":
            self._num_open = max(0, self._num_open - 1)
            return
        self._is_asked = False
        match entry["do"]:
            case "claimed" if entry["is_yours"]:
                self._granted = SkipSet.from_bits(entry["bits"])
            case "claimed" if entry["trial"] is not None:
                trial = parse_trial(entry["trial"])
                self._known[trial.skip_set, trial.prompts] = trial
            case "claimed":
                self._retry_at = time.monotonic() + RETRY_S
            case "work" if entry["bits"] is not None:
                self._work = Work(SkipSet.from_bits(entry["bits"]), Source(entry["source"]), int(entry["prompts"]))
            case "work":
                self._retry_at = time.monotonic() + RETRY_S
            case _ if entry["bits"] is None:
                self._can_propose = False
            case _:
                self._proposal = SkipSet.from_bits(entry["bits"])

    def _ask(self, question: Json) -> None:
        """Ask, unless that is under way or it is too early."""
        if self._is_asked:
            self._is_waiting = True
        elif time.monotonic() >= self._retry_at:
            self._is_asked = self._is_waiting = True
            self._send(question)
