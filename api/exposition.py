"""The registry's gauges, and what all processes of this API have counted, in Prometheus' words.

A look at the registry serves all scrapes of the next seconds. Without the database the counters are told all the same,
and `skim_registry_up` is 0.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import structlog
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from models.database import Database
from models.gauges import Gauges, read_gauges

log = structlog.get_logger(__name__)

FRESH_S: Final = 2.0
QUEUE: Final = {
    "skim_queue_shards": ("Shards that nobody holds", "shards_waiting"),
    "skim_queue_items": ("Items of shards that nobody holds", "items_waiting"),
    "skim_queue_age_seconds": ("Age of the oldest shard that nobody holds", "oldest_s"),
    "skim_shards_held": ("Shards that a worker holds", "shards_held"),
    "skim_items_claimed": ("Items that a worker holds and no engine has admitted", "items_claimed"),
    "skim_items_running": ("Items in an engine", "items_running"),
    "skim_leases_overdue": ("Leases that have run out and were not taken back yet", "overdue"),
}


class RegistryCollector(Collector):
    """What `models.gauges` sees, at most `fresh_s` seconds old."""

    def __init__(self, database: Database, *, fresh_s: float = FRESH_S) -> None:
        self._database = database
        self._fresh_s = fresh_s
        self._lock = threading.Lock()
        self._seen: Gauges | None = None
        self._seen_at = 0.0

    def collect(self) -> Iterator[Metric]:
        """Every gauge, or only that there are none."""
        seen = self._look()
        yield GaugeMetricFamily("skim_registry_up", "Whether the database answers", value=float(seen is not None))
        if seen is not None:
            yield from _queues(seen)
            yield from _fleet(seen)
            yield from _rest(seen)

    def _look(self) -> Gauges | None:
        with self._lock:
            if self._seen is None or time.monotonic() - self._seen_at > self._fresh_s:
                self._seen = self._read()
                self._seen_at = time.monotonic()
            return self._seen

    def _read(self) -> Gauges | None:
        try:
            with self._database.session() as session:
                return read_gauges(session)
        except SQLAlchemyError as error:
            log.warning("no gauges: the database does not answer", reason=type(error).__name__)
            return None


def expose(gauges: RegistryCollector, folder: Path | None) -> bytes:
    """The text of `/metrics`. `folder` is where the processes of this API count together; None where there is one."""
    together = CollectorRegistry()
    together.register(gauges)
    if folder is None:
        return generate_latest(together) + generate_latest(REGISTRY)
    MultiProcessCollector(together, path=str(folder))  # type: ignore[no-untyped-call]
    return generate_latest(together)


def _queues(seen: Gauges) -> Iterator[Metric]:
    for name, (words, field) in QUEUE.items():
        family = GaugeMetricFamily(name, words, labels=("model", "lane"))
        for one in seen.queues:
            family.add_metric((one.model, one.lane.value), getattr(one, field))
        yield family


def _fleet(seen: Gauges) -> Iterator[Metric]:
    workers = GaugeMetricFamily("skim_workers", "Live workers by what they do", labels=("model", "status"))
    rows = GaugeMetricFamily("skim_worker_rows", "Rows that ready workers decode together", labels=("model",))
    for one in seen.fleet:
        for status in ("ready", "loading", "stopping"):
            workers.add_metric((one.model, status), getattr(one, status))
        rows.add_metric((one.model,), one.rows)
    yield workers
    yield rows


def _rest(seen: Gauges) -> Iterator[Metric]:
    jobs = GaugeMetricFamily("skim_jobs_open", "Jobs that have not ended", labels=("status",))
    jobs.add_metric(("queued",), seen.jobs_queued)
    jobs.add_metric(("running",), seen.jobs_running)
    yield jobs
    yield GaugeMetricFamily("skim_webhooks_waiting", "Webhooks to be sent", value=seen.webhooks_waiting)
    yield GaugeMetricFamily(
        "skim_webhooks_overdue_seconds", "Since the first waiting webhook was due", value=seen.webhooks_overdue_s
    )
