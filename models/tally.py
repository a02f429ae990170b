"""Counting: what the items of jobs add up to. No counter rows: counts are counted, and stored when a job ends."""

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

    `drafter` and `skip_set_id` are those of most items. `tokens_per_second` is the job's throughput: completion tokens
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


# mode() skips nulls: items that never decoded have no say.
COUNT: Final = text("""
SELECT jobs.id, sums.*, extract(epoch FROM statement_timestamp() - jobs.started_at)::float8 AS elapsed_s
FROM jobs CROSS JOIN LATERAL (
    SELECT count(*) AS total,
        count(*) FILTER (WHERE status = 'queued') AS queued,
        count(*) FILTER (WHERE status = 'running') AS running,
        count(*) FILTER (WHERE status = 'succeeded') AS succeeded,
        count(*) FILTER (WHERE status = 'failed') AS failed,
        count(*) FILTER (WHERE status = 'cancelled') AS cancelled,
        count(*) FILTER (WHERE status = 'expired') AS expired,
        coalesce(sum((usage ->> 'prompt_tokens')::bigint), 0)::bigint AS prompt_tokens,
        coalesce(sum((usage ->> 'completion_tokens')::bigint), 0)::bigint AS completion_tokens,
        sum((decoding ->> 'verifies')::bigint)::bigint AS verifies,
        sum((decoding ->> 'drafted')::bigint)::bigint AS drafted,
        sum((decoding ->> 'accepted')::bigint)::bigint AS accepted,
        mode() WITHIN GROUP (ORDER BY decoding ->> 'drafter') AS drafter,
        mode() WITHIN GROUP (ORDER BY decoding ->> 'skip_set_id') AS skip_set_id
    FROM items WHERE items.job_id = jobs.id
) AS sums
WHERE jobs.id = ANY(CAST(:job_ids AS text[]))
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
