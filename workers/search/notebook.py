"""The engine's end of a search's notebook: trials known here, the study in another process. Nothing here waits.

A search belongs to whoever holds its lease, so a claim is granted at once and only entered. At most one record is on
its way: until it is known to be kept, nothing further is claimed, so a crash loses the trial in work and no other.
"""

from collections.abc import Callable, Iterable

from engine.search.trial import Source, Trial
from engine.skipset import SkipSet
from workers.wire.searches import Json, trial_json

Send = Callable[[Json], None]


class RemoteNotebook:
    """A `Notebook` that sends entries and is given the answers. `trials` were made before this search was interrupted.

    `is_waiting`: the last question it was asked has no answer yet.
    """

    def __init__(self, layers: int, trials: Iterable[Trial], send: Send, *, can_propose: bool) -> None:
        self._layers = layers
        self._send = send
        self._known = {(trial.skip_set, trial.prompts): trial for trial in trials}
        self._can_propose = can_propose
        self._num_open = 0  # records that nobody has confirmed
        self._is_asked = False
        self._proposal: SkipSet | None = None
        self.is_waiting = False

    @property
    def can_propose(self) -> bool:
        return self._can_propose

    def find(self, skip_set: SkipSet, prompts: int) -> Trial | None:
        return self._known.get((skip_set, prompts))

    def claim(self, skip_set: SkipSet, source: Source) -> bool:
        if self._num_open:
            self.is_waiting = True
            return False
        self._send({"do": "claim", "bits": skip_set.bits(self._layers), "source": source.value})
        return True

    def record(self, trial: Trial) -> None:
        self._known[trial.skip_set, trial.prompts] = trial
        self._num_open += 1
        self._send({"do": "record", **trial_json(trial, self._layers)})

    def propose(self, free: Iterable[SkipSet]) -> SkipSet | None:
        if self._proposal is not None:
            proposal, self._proposal = self._proposal, None
            return proposal
        if not self._is_asked:
            self._is_asked = True
            self._send({"do": "propose", "free": [unit.bits(self._layers) for unit in free]})
        self.is_waiting = True
        return None

    def answer(self, entry: Json) -> None:
        """Take what the study's process says. A proposal of nothing is its last: there is nothing left to score.

        Raises KeyError, TypeError or ValueError when it is no answer.
        """
        self.is_waiting = False
        if entry["do"] == "noted":
            self._num_open = max(0, self._num_open - 1)
            return
        self._is_asked = False
        if entry["bits"] is None:
            self._can_propose = False
        else:
            self._proposal = SkipSet.from_bits(entry["bits"])
