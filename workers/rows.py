"""How many rows a device has memory for. Pure arithmetic; who measures it is elsewhere."""

from dataclasses import dataclass

from workers.errors import ConfigurationError

_SHARE = 0.9  # of the free memory; the rest is for what passes need in between


@dataclass(frozen=True, slots=True)
class RowNeed:
    """What one row takes, in bytes: a slot of the cache for its whole context, and the logits of its widest verify."""

    slot: int
    logits: int

    @property
    def whole(self) -> int:
        return self.slot + self.logits


def rows_that_fit(asked: int, free: int, need: RowNeed) -> int:
    """At most `asked` rows, fewer where `free` bytes do not hold their slots and the scratch slot of the cache.

    Raises:
        ConfigurationError: not even one fits; the message names the numbers.
    """
    fitting = int(free * _SHARE - need.slot) // need.whole
    if fitting < 1:
        raise ConfigurationError(
            f"no row fits the memory: one takes {_mib(need.slot)} MiB for its context and as much again for padding,"
            f" {_mib(free)} MiB are free; register the model with a shorter context or use a larger device"
        )
    return min(asked, fitting)


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f}"
