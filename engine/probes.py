"""When to try drafts that do not look worth it, so that a better chance is noticed: on a small, kept budget."""

from dataclasses import dataclass

_SHARE = 0.005  # of all time spent decoding


@dataclass(slots=True)
class Probes:
    """A ledger of seconds: ``spent`` on rounds in all, ``lost`` on probes against the plan that looked best.

    A probe that gains pays for the next one.
    """

    spent: float = 0.0
    lost: float = 0.0

    def may(self, loss_s: float) -> bool:
        """Whether a probe is affordable that loses ``loss_s`` seconds at worst."""
        return self.lost + loss_s <= _SHARE * self.spent

    def pay(self, cost_s: float, tokens: int, best_rate: float, is_probe: bool) -> None:
        """Enter a round; ``best_rate`` is the tokens per second that the best plan promised."""
        self.spent += cost_s
        if is_probe:
            self.lost += cost_s - tokens / best_rate
