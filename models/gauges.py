"""What the service looks like at this moment, for dashboards and alerts: how much waits, since when, and who serves.

Every registered model has its rows, zeros included, so that a queue that is empty is told from one that nobody knows.
No tenant and no job is named.
"""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from models.fleet import LIVE_S
from models.states import Lane


@dataclass(frozen=True, slots=True)
class QueueGauge:
    """One queue: the open shards and items of a model in a lane.

    Items are `waiting` in shards that nobody holds, `claimed` in those that somebody does, `running` once an engine has
    them. `oldest_s` is the age of the oldest waiting shard in seconds, `overdue` counts leases that have run out and
    were not given back yet.
    """

    model: str
    lane: Lane
    shards_waiting: int
    shards_held: int
    items_waiting: int
    items_claimed: int
    items_running: int
    oldest_s: float
    overdue: int


@dataclass(frozen=True, slots=True)
class FleetGauge:
    """The live workers of a model by what they do; `rows` are those that ready ones decode together at most."""

    model: str
    ready: int
    loading: int
    stopping: int
    rows: int


@dataclass(frozen=True, slots=True)
class Gauges:
    """All of it. `jobs_*` are open jobs; webhooks that wait, and how many seconds the first of them is overdue."""

    queues: tuple[QueueGauge, ...]
    fleet: tuple[FleetGauge, ...]
    jobs_queued: int
    jobs_running: int
    webhooks_waiting: int
    webhooks_overdue_s: float


# A shard that nobody has touched brings its length; of the others, which are few, the items are counted.
QUEUES: Final = text("""
WITH parts AS (
    SELECT model, lane, count(*) AS waiting, 0 AS held, sum(last - first + 1) AS items_waiting, 0 AS claimed,
           0 AS running, min(created_at) AS oldest, 0 AS overdue
    FROM shards WHERE status = 'queued' AND epoch = 0 GROUP BY model, lane
    UNION ALL
    SELECT model, lane,
           count(*) FILTER (WHERE status = 'queued'), count(*) FILTER (WHERE status = 'running'),
           coalesce(sum(items.queued + items.running) FILTER (WHERE status = 'queued'), 0),
           coalesce(sum(items.queued) FILTER (WHERE status = 'running'), 0),
           coalesce(sum(items.running) FILTER (WHERE status = 'running'), 0),
           min(created_at) FILTER (WHERE status = 'queued'),
           count(*) FILTER (WHERE status = 'running' AND lease_expires_at < statement_timestamp())
    FROM shards CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE items.status = 'queued') AS queued,
               count(*) FILTER (WHERE items.status = 'running') AS running
        FROM items WHERE items.job_id = shards.job_id AND items.index BETWEEN shards.first AND shards.last
    ) AS items
    WHERE status = 'running' OR (status = 'queued' AND epoch > 0) GROUP BY model, lane
)
SELECT models.name, lanes.lane,
       coalesce(sum(waiting), 0)::bigint, coalesce(sum(held), 0)::bigint,
       coalesce(sum(items_waiting), 0)::bigint, coalesce(sum(claimed), 0)::bigint, coalesce(sum(running), 0)::bigint,
       coalesce(extract(epoch FROM statement_timestamp() - min(oldest)), 0)::float8, coalesce(sum(overdue), 0)::bigint
FROM models CROSS JOIN unnest(CAST(:lanes AS text[])) AS lanes(lane)
LEFT JOIN parts ON parts.model = models.name AND parts.lane = lanes.lane
GROUP BY models.name, lanes.lane ORDER BY models.name, lanes.lane
""")

FLEET: Final = text("""
SELECT models.name, count(*) FILTER (WHERE workers.status = 'ready'),
       count(*) FILTER (WHERE workers.status = 'loading'), count(*) FILTER (WHERE workers.status = 'stopping'),
       coalesce(sum(workers.rows) FILTER (WHERE workers.status = 'ready'), 0)
FROM models LEFT JOIN workers
  ON workers.model = models.name AND last_seen_at > statement_timestamp() - make_interval(secs => :live_s)
GROUP BY models.name ORDER BY models.name
""")

REST: Final = text("""
SELECT (SELECT count(*) FROM jobs WHERE status = 'queued') AS jobs_queued,
       (SELECT count(*) FROM jobs WHERE status = 'running') AS jobs_running,
       (SELECT count(*) FROM deliveries WHERE status = 'waiting') AS webhooks_waiting,
       (SELECT coalesce(greatest(extract(epoch FROM statement_timestamp() - min(due_at)), 0), 0)::float8
        FROM deliveries WHERE status = 'waiting') AS webhooks_overdue_s
""")


def read_gauges(session: Session) -> Gauges:
    """Look at the registry. Reads what is open and nothing of what has ended."""
    queues = session.execute(QUEUES, {"lanes": [lane.value for lane in Lane]})
    fleet = session.execute(FLEET, {"live_s": LIVE_S})
    return Gauges(
        queues=tuple(QueueGauge(name, Lane(lane), *numbers) for name, lane, *numbers in queues),
        fleet=tuple(FleetGauge(*row) for row in fleet),
        **session.execute(REST).one()._mapping,
    )
