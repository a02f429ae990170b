"""Every state of jobs, shards and items, and the legal moves between them: the one place that knows.

The database enforces the same table with triggers (`models.tables.guards`); a test compares the two move by move.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class JobKind(StrEnum):
    """What a job does with its items."""

    GENERATE = "generate"
    SUMMARIZE = "summarize"
    SEARCH = "search"


class Lane(StrEnum):
    """Which queue of a model carries a job."""

    INTERACTIVE = "interactive"
    BULK = "bulk"
    SEARCH = "search"


class JobStatus(StrEnum):
    """A job is what its items are; `succeeded` while some of them failed, `failed` when all of them did."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class ItemStatus(StrEnum):
    """`running` means admitted to an engine."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class ShardStatus(StrEnum):
    """`running` means held by a worker under a lease; `finished` says nothing about how its items ended."""

    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class SearchPhase(StrEnum):
    """What a search is doing."""

    REFERENCES = "references"
    WARM = "warm"
    CLIMBING = "climbing"
    PROPOSING = "proposing"
    CONFIRMING = "confirming"


class SearchOutcome(StrEnum):
    """What a search came to, as the engine judges it."""

    PROMOTED = "promoted"  # a new set beats all there is
    KEPT = "kept"  # the active set stays
    LOOKUP = "lookup"  # a set beats plain decoding, lookup beats the set
    PLAIN = "plain"  # nothing beats plain decoding


class Calibration(StrEnum):
    """Where the prompts of a search come from."""

    RECENT = "recent"  # of tenants that allow it
    BUILTIN = "builtin"
    INLINE = "inline"


class ActivationKind(StrEnum):
    """How a place came to be served by something else."""

    PROMOTED = "promoted"  # by a search
    PLAIN = "plain"  # a search found nothing worth drafting with
    ACTIVATED = "activated"  # by somebody
    ROLLED_BACK = "rolled_back"


class FireDecision(StrEnum):
    """Whether a night opened a search."""

    OPENED = "opened"
    SKIPPED = "skipped"


Status = JobStatus | ItemStatus | ShardStatus

JOB_MOVES: Final[Mapping[JobStatus, frozenset[JobStatus]]] = {
    JobStatus.QUEUED: frozenset({JobStatus.RUNNING, JobStatus.CANCELLED, JobStatus.EXPIRED}),
    JobStatus.RUNNING: frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.EXPIRED}),
}

# queued -> succeeded or failed: an item may end before it ever needs the engine (its prompt is too long, say).
ITEM_MOVES: Final[Mapping[ItemStatus, frozenset[ItemStatus]]] = {
    ItemStatus.QUEUED: frozenset(ItemStatus) - {ItemStatus.QUEUED},
    ItemStatus.RUNNING: frozenset(ItemStatus) - {ItemStatus.RUNNING},
}

SHARD_MOVES: Final[Mapping[ShardStatus, frozenset[ShardStatus]]] = {
    ShardStatus.QUEUED: frozenset({ShardStatus.RUNNING, ShardStatus.CANCELLED, ShardStatus.EXPIRED}),
    ShardStatus.RUNNING: frozenset({ShardStatus.QUEUED, ShardStatus.FINISHED}),
}

TERMINAL_JOB: Final = frozenset(JobStatus) - JOB_MOVES.keys()
TERMINAL_ITEM: Final = frozenset(ItemStatus) - ITEM_MOVES.keys()
TERMINAL_SHARD: Final = frozenset(ShardStatus) - SHARD_MOVES.keys()


def can_move(old: Status, new: Status) -> bool:
    """Whether a row in `old` may become `new`, of the same kind; staying as it is always may."""
    if old is new:
        return True
    match old:
        case JobStatus():
            return new in JOB_MOVES.get(old, ())
        case ItemStatus():
            return new in ITEM_MOVES.get(old, ())
        case ShardStatus():
            return new in SHARD_MOVES.get(old, ())


def is_terminal(status: Status) -> bool:
    """Whether a row in this state never changes again."""
    return status in TERMINAL_JOB | TERMINAL_ITEM | TERMINAL_SHARD
