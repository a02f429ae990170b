"""What an item cost, added up over its passes."""

from dataclasses import dataclass, field
from typing import Any

from engine.request import Drafter, Statistics


@dataclass(slots=True)
class Tally:
    """Sums over the passes of one item. Times in seconds; passes overlap, so times may exceed the clock's."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    verifies: int = 0
    drafted: int = 0
    accepted: int = 0
    queue_s: float = 0.0
    prefill_s: float = 0.0
    decode_s: float = 0.0
    _by_drafter: dict[Drafter, int] = field(default_factory=dict)
    _by_skip_set: dict[str, int] = field(default_factory=dict)
    _prompts: set[int] = field(default_factory=set)

    def add(self, number: int, cost: Statistics) -> None:
        """Add what one sequence cost. Those of one pass `number` share their prompt, which counts once."""
        if number not in self._prompts:
            self._prompts.add(number)
            self.prompt_tokens += cost.prompt_tokens
        self.completion_tokens += cost.completion_tokens
        self.verifies += cost.verifies
        self.drafted += cost.drafted
        self.accepted += cost.accepted
        self.queue_s += cost.queue_s
        self.prefill_s += cost.prefill_s
        self.decode_s += cost.decode_s
        self._by_drafter[cost.drafter] = self._by_drafter.get(cost.drafter, 0) + cost.drafted
        if cost.skip_set_id is not None:
            self._by_skip_set[cost.skip_set_id] = self._by_skip_set.get(cost.skip_set_id, 0) + cost.drafted

    @property
    def drafter(self) -> Drafter:
        """The one that proposed most."""
        return max(self._by_drafter, key=self._by_drafter.__getitem__, default=Drafter.PLAIN)

    @property
    def skip_set_id(self) -> str | None:
        """The skip set that drafted most; None for the starting set, or none."""
        return max(self._by_skip_set, key=self._by_skip_set.__getitem__, default=None)

    @property
    def usage(self) -> dict[str, int]:
        return {"prompt_tokens": self.prompt_tokens, "completion_tokens": self.completion_tokens}

    @property
    def decoding(self) -> dict[str, Any]:
        """As stored with the item and shown by the API; a rate without a denominator is null."""
        return {
            "drafter": self.drafter.value,
            "verifies": self.verifies,
            "drafted": self.drafted,
            "accepted": self.accepted,
            "tokens_per_verify": _rate(self.completion_tokens, self.verifies),
            "acceptance_rate": _rate(self.accepted, self.drafted),
            "tokens_per_second": _rate(self.completion_tokens, self.decode_s),
            "skip_set_id": self.skip_set_id,
            "queue_s": round(self.queue_s, 6),
            "prefill_s": round(self.prefill_s, 6),
            "decode_s": round(self.decode_s, 6),
        }


def _rate(amount: float, per: float) -> float | None:
    return round(amount / per, 4) if per else None
