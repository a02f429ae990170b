"""Reading one job: rendered once for all who poll it, and kept until it changes.

News drops a copy as soon as the job changes. That its items come further, which they do all the time, is not such a
change: how many have, like what changes without news (its place in the queue, the live workers, tokens per second), is
at most `OPEN_S` old. A job that has ended changes no more, and is not served past the date of its deletion.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from api.conditional import Rendered, render
from api.copies import Copies
from api.news import News, Subscriber
from api.views import job_answer
from models.database import Database
from models.errors import JobNotFound
from models.jobs import JobView, get_job
from models.notify import Change

OPEN_S: Final = 1.0
ENDED_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class JobCopy:
    """A job as its owner sees it. `delete_at` is None while it goes on."""

    tenant_id: str
    answer: Rendered
    is_over: bool
    delete_at: datetime | None

    @classmethod
    def of(cls, view: JobView) -> JobCopy:
        """As read from the registry."""
        return cls(view.tenant_id, render(job_answer(view)), view.finished_at is not None, view.delete_at)

    @property
    def lasts_s(self) -> float:
        """Seconds for which it may be served, news permitting."""
        if not self.is_over:
            return OPEN_S
        left_s = ENDED_S if self.delete_at is None else (self.delete_at - datetime.now(UTC)).total_seconds()
        return min(ENDED_S, left_s)


class Jobs:
    """The jobs of all tenants, each shown to its own only."""

    def __init__(self, database: Database, news: News) -> None:
        self._database = database
        self._copies: Copies[JobCopy] = Copies(news)
        news.subscribe(Subscriber(self._hear, self._copies.clear))

    def read(self, tenant_id: str, job_id: str) -> JobCopy:
        """A job of the tenant. Raises JobNotFound."""
        found = self._copies.read(job_id, lambda: self._load(tenant_id, job_id), lambda copy: copy.lasts_s)
        if found.tenant_id != tenant_id:
            raise JobNotFound(job_id)
        return found

    def _hear(self, job_id: str, change: Change) -> None:
        if change is not Change.PROGRESS:
            self._copies.forget(job_id)

    def _load(self, tenant_id: str, job_id: str) -> JobCopy:
        with self._database.statement() as session:
            return JobCopy.of(get_job(session, tenant_id, job_id))
