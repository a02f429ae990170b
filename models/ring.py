"""Ring: choose which waiting shards get a message next. The one function that decides who is served.

A small window of shards is rung and not yet claimed; it is topped up fairly: each place goes to the tenant with the
fewest items in flight for its weight, and in a tenant to the oldest. The cost grows with the window and the tenants
that wait, never with the backlog. Shares are right to one shard in flight, so nobody starves beside small shards.
"""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from models.shard import ShardRef
from models.states import Lane

__all__ = ["ShardRef", "ring", "searched_on", "waiting_queues"]

# Ringers of one queue take turns, so that they do not fill the same window twice.
LOCK: Final = text("SELECT pg_advisory_xact_lock(hashtextextended(:model || '/' || :lane, 7))")

# Messages are taken in the order in which they were sent. So of what is rung the latest `depth` shards lie in the
# queue, and of the others those that were not claimed within `timeout_s` are lost. Messages that mean nothing any more
# make the queue look longer: what was rung `longest_s` ago counts as lost whatever it holds.
RUNG: Final = text("""
SELECT since, (
    SELECT count(*) FROM shards WHERE model = :model AND lane = :lane AND status = 'queued' AND rung_at >= since
) AS num
FROM (
    SELECT CASE WHEN :depth = 0 THEN statement_timestamp() - make_interval(secs => :timeout_s) ELSE greatest(
        statement_timestamp() - make_interval(secs => :longest_s),
        least(statement_timestamp() - make_interval(secs => :timeout_s), coalesce((
            SELECT rung_at FROM shards
            WHERE model = :model AND lane = :lane AND status = 'queued' AND rung_at IS NOT NULL
            ORDER BY model DESC, lane DESC, rung_at DESC OFFSET greatest(:depth - 1, 0) LIMIT 1
        ), '-infinity'))
    ) END AS since
) AS found
""")

# `waiting` hops from tenant to tenant through the index (a loose index scan). `turn` is the load of its tenant with
# half of the shard, in items for its weight: ascending turns are shares by weight, with no bias for large shards or
# small ones (so Webster apportions seats). But whoever has nothing in flight comes first, however large its shards.
# Rows that somebody else has locked are left alone. LATERAL keeps to the indexes even before the table was first
# analysed. Shards are rung a microsecond apart, in the order of their messages.
TOP_UP: Final = text("""
WITH RECURSIVE waiting AS (
    (SELECT tenant_id FROM shards WHERE model = :model AND lane = :lane AND status = 'queued'
     ORDER BY model, lane, tenant_id LIMIT 1)
    UNION ALL
    SELECT (SELECT s.tenant_id FROM shards s
            WHERE s.model = :model AND s.lane = :lane AND s.status = 'queued' AND s.tenant_id > w.tenant_id
            ORDER BY s.model, s.lane, s.tenant_id LIMIT 1)
    FROM waiting w WHERE w.tenant_id IS NOT NULL
),
in_flight AS (
    SELECT tenant_id, sum(last - first + 1) AS num FROM (
        SELECT tenant_id, first, last FROM shards WHERE model = :model AND lane = :lane AND status = 'running'
        UNION ALL
        SELECT tenant_id, first, last FROM shards
        WHERE model = :model AND lane = :lane AND status = 'queued' AND rung_at >= :since
    ) AS held GROUP BY tenant_id
),
chosen AS (
    SELECT c.job_id, c.number, c.created_at, CASE WHEN coalesce(f.num, 0) + c.before = 0 THEN 0
        ELSE (coalesce(f.num, 0) + c.before + c.size / 2.0)::float8 / t.weight END AS turn
    FROM waiting w
    JOIN tenants t ON t.id = w.tenant_id
    LEFT JOIN in_flight f ON f.tenant_id = w.tenant_id
    CROSS JOIN LATERAL (
        SELECT o.*, sum(o.size) OVER (ORDER BY o.created_at, o.job_id, o.number) - o.size AS before FROM (
            SELECT s.job_id, s.number, s.created_at, s.last - s.first + 1 AS size FROM shards s
            WHERE s.model = :model AND s.lane = :lane AND s.status = 'queued' AND s.tenant_id = w.tenant_id
              AND (s.rung_at IS NULL OR s.rung_at < :since)
            ORDER BY s.created_at, s.job_id, s.number LIMIT :free
        ) AS o
    ) AS c
    ORDER BY turn, c.created_at, c.job_id, c.number LIMIT :free
),
locked AS (
    SELECT s.job_id, s.number, row_number() OVER (ORDER BY c.turn, c.created_at, c.job_id, c.number) AS place
    FROM chosen c CROSS JOIN LATERAL (
        SELECT job_id, number FROM shards
        WHERE job_id = c.job_id AND number = c.number AND status = 'queued' FOR NO KEY UPDATE SKIP LOCKED
    ) AS s
),
rung AS (
    UPDATE shards s SET rung_at = statement_timestamp() + l.place * interval '1 microsecond' FROM locked l
    WHERE s.job_id = l.job_id AND s.number = l.number
    RETURNING s.job_id, s.number, l.place
)
SELECT job_id, number FROM rung ORDER BY place
""")

# The same hop, over (model, lane).
WAITING_QUEUES: Final = text("""
WITH RECURSIVE waiting AS (
    (SELECT model, lane FROM shards WHERE status = 'queued' ORDER BY model, lane LIMIT 1)
    UNION ALL
    SELECT n.model, n.lane FROM waiting w CROSS JOIN LATERAL (
        SELECT s.model, s.lane FROM shards s
        WHERE s.status = 'queued' AND (s.model, s.lane) > (w.model, w.lane)
        ORDER BY s.model, s.lane LIMIT 1
    ) AS n
)
SELECT model, lane FROM waiting
""")


# At most one search of a model is open at a time.
SEARCHED_ON: Final = text("""
SELECT device_kind FROM jobs JOIN searches ON searches.job_id = jobs.id
WHERE jobs.model = :model AND jobs.kind = 'search' AND jobs.status IN ('queued', 'running')
""")


def ring(
    session: Session, model: str, lane: Lane, *, window: int, timeout_s: float, depth: int = 0, longest_s: float = 0
) -> list[ShardRef]:
    """Mark shards as rung and return them in the order to publish, after commit.

    At most `window` shards are rung and unclaimed at a time. A ring that is `timeout_s` seconds old counts as lost,
    unless its message may be one of the `depth` that wait in the queue; then when it is `longest_s` old.
    """
    queue: dict[str, Any] = {"model": model, "lane": lane.value}
    session.execute(LOCK, queue)
    waiting = {"depth": depth, "timeout_s": timeout_s, "longest_s": longest_s}
    since, num_rung = _rung(session, queue | waiting)
    free = window - num_rung
    if free <= 0:
        return []
    return [ShardRef(row.job_id, row.number) for row in session.execute(TOP_UP, queue | {"since": since, "free": free})]


def _rung(session: Session, values: dict[str, Any]) -> tuple[datetime, int]:
    """The ring from which on none counts as lost, and how many there are."""
    found = session.execute(RUNG, values).one()
    return found.since, found.num


def waiting_queues(session: Session) -> list[tuple[str, Lane]]:
    """Every (model, lane) with shards that nobody holds."""
    return [(row.model, Lane(row.lane)) for row in session.execute(WAITING_QUEUES)]


def searched_on(session: Session, model: str) -> str | None:
    """The device kind that the model's open search is for; its shards go to that kind's queue."""
    kind: str | None = session.execute(SEARCHED_ON, {"model": model}).scalar()
    return kind
