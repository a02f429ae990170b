"""Counting: what the items of jobs add up to. There are no counter rows: a shard is counted once, when it has ended."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Counts:
    """Items of a job by status."""

    total: int = 0
    queued: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    expired: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of all items so far, whatever became of them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class DecodingStats:
    """How a job was decoded; a rate without a denominator is None.

    `drafter` and `skip_set_id` are those of most shards. `tokens_per_second` is the job's throughput: completion tokens
    of the items that ended over the seconds since the job started, or until it finished.
    """

    drafter: str | None = None
    skip_set_id: str | None = None
    tokens_per_verify: float | None = None
    acceptance_rate: float | None = None
    tokens_per_second: float | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """Everything there is to add up about one job."""

    counts: Counts
    usage: Usage
    decoding: DecodingStats

    @classmethod
    def stored(cls, counts: Json, usage: Json, decoding: Json) -> Self:
        """From the columns of a job that has ended."""
        return cls(Counts(**counts), Usage(**usage), DecodingStats(**decoding))

    def columns(self) -> dict[str, Json]:
        """As the columns of a job that ends."""
        return {"counts": asdict(self.counts), "usage": asdict(self.usage), "decoding_stats": asdict(self.decoding)}


# Over items. mode() skips nulls: items that never decoded have no say.
SUMS: Final = """
    count(*) FILTER (WHERE status = 'queued') AS queued,
    count(*) FILTER (WHERE status = 'running') AS running,
    count(*) FILTER (WHERE status = 'succeeded') AS succeeded,
    count(*) FILTER (WHERE status = 'failed') AS failed,
    count(*) FILTER (WHERE status = 'cancelled') AS cancelled,
    count(*) FILTER (WHERE status = 'expired') AS expired,
    sum((usage ->> 'prompt_tokens')::bigint) AS prompt_tokens,
    sum((usage ->> 'completion_tokens')::bigint) AS completion_tokens,
    sum((decoding ->> 'verifies')::bigint) AS verifies,
    sum((decoding ->> 'drafted')::bigint) AS drafted,
    sum((decoding ->> 'accepted')::bigint) AS accepted,
    mode() WITHIN GROUP (ORDER BY decoding ->> 'drafter') AS drafter,
    mode() WITHIN GROUP (ORDER BY decoding ->> 'skip_set_id') AS skip_set_id
FROM items WHERE items.job_id = shards.job_id AND items.index BETWEEN shards.first AND shards.last
"""

# For an UPDATE of shards that have ended: their items never change again, so they are counted once.
SHARD_TALLY: Final = f"(SELECT to_jsonb(sums) FROM (SELECT {SUMS}) AS sums)"

# A shard that has ended brings its tally, one that nobody has touched only its length; of all others, few at any time,
# the items are read. So a look at a job of 50,000 items reads 3,125 narrow rows and not 100 MB of documents.
COUNT: Final = text(f"""
WITH parts AS (
    SELECT shards.job_id, sums.* FROM shards CROSS JOIN LATERAL jsonb_to_record(shards.tally) AS sums(
        queued bigint, running bigint, succeeded bigint, failed bigint, cancelled bigint, expired bigint,
        prompt_tokens numeric, completion_tokens numeric, verifies numeric, drafted numeric, accepted numeric,
        drafter text, skip_set_id text
    )
    WHERE shards.job_id = ANY(CAST(:job_ids AS text[])) AND shards.tally IS NOT NULL
    UNION ALL
    SELECT job_id, sum(last - first + 1), 0, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM shards
    WHERE job_id = ANY(CAST(:job_ids AS text[])) AND tally IS NULL AND status = 'queued' AND epoch = 0
    GROUP BY job_id
    UNION ALL
    SELECT shards.job_id, sums.* FROM shards CROSS JOIN LATERAL (SELECT {SUMS}) AS sums
    WHERE shards.job_id = ANY(CAST(:job_ids AS text[])) AND shards.tally IS NULL
      AND (shards.status <> 'queued' OR shards.epoch > 0)
)
SELECT jobs.id, jobs.num_items AS total,
    sum(queued)::bigint AS queued, sum(running)::bigint AS running, sum(succeeded)::bigint AS succeeded,
    sum(failed)::bigint AS failed, sum(cancelled)::bigint AS cancelled, sum(expired)::bigint AS expired,
    coalesce(sum(prompt_tokens), 0)::bigint AS prompt_tokens,
    coalesce(sum(completion_tokens), 0)::bigint AS completion_tokens,
    sum(verifies)::bigint AS verifies, sum(drafted)::bigint AS drafted, sum(accepted)::bigint AS accepted,
    mode() WITHIN GROUP (ORDER BY drafter) AS drafter, mode() WITHIN GROUP (ORDER BY skip_set_id) AS skip_set_id,
    extract(epoch FROM statement_timestamp() - jobs.started_at)::float8 AS elapsed_s
FROM jobs JOIN parts ON parts.job_id = jobs.id
GROUP BY jobs.id
""")


def count(session: Session, job_ids: Sequence[str]) -> dict[str, Tally]:
    """The tallies of jobs now, counted from their items, by job id."""
    return {row.id: _tally(row) for row in session.execute(COUNT, {"job_ids": list(job_ids)})}


def _tally(row: Row[Any]) -> Tally:
    return Tally(
        Counts(row.total, row.queued, row.running, row.succeeded, row.failed, row.cancelled, row.expired),
        Usage(row.prompt_tokens, row.completion_tokens),
        DecodingStats(
            drafter=row.drafter,
            skip_set_id=row.skip_set_id,
            tokens_per_verify=_rate(row.completion_tokens, row.verifies),
            acceptance_rate=_rate(row.accepted, row.drafted),
            tokens_per_second=_rate(row.completion_tokens, row.elapsed_s),
        ),
    )


def _rate(amount: int | None, per: float | None) -> float | None:
    return round(amount / per, 4) if amount is not None and per else None
