"""How a shard is named, and who may write under it."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, order=True)
class ShardRef:
    """A shard: what a message carries and no more."""

    job_id: str
    number: int


# The fence, as a CTE: yields the shard's range only while it is held at this epoch. FOR SHARE keeps release, expiry
# and finish out until the statement's transaction ends; a zombie waits for them, re-reads, and finds no row.
HELD: Final = """
held AS (
    SELECT job_id, first, last FROM shards
    WHERE job_id = :job_id AND number = :number AND epoch = :epoch AND status = 'running'
    FOR SHARE
)"""
