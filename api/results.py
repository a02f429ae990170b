"""The results of a finished job as lines of JSON.

Each page is read in a session of its own, so that a slow reader holds no connection.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from api.conditional import dump
from api.finding_views import trial_answer
from api.views import item_answer
from models.database import Database
from models.errors import JobNotFound
from models.findings import list_trials
from models.items import ItemView, list_items

ITEMS: Final = 200  # read at a time
TRIALS: Final = 1000


def pages(database: Database, tenant_id: str, job_id: str, *, num_read: int = 0) -> Iterator[tuple[ItemView, ...]]:
    """All items but the first `num_read`, in the order of the inputs, some at a time.

    Raises:
        JobNotFound: it was erased meanwhile; what was read of it must not pass for the whole.
    """
    has_more = True
    while has_more:
        with database.session() as session:
            page = list_items(session, tenant_id, job_id, after=num_read - 1, limit=ITEMS)
        num_read, has_more = num_read + len(page.data), page.has_more
        if not page.data or page.data[-1].index != num_read - 1:  # erased between two statements
            raise JobNotFound(job_id)
        yield page.data


def items(database: Database, tenant_id: str, job_id: str) -> Iterator[bytes]:
    """All items; raises as `pages`."""
    for page in pages(database, tenant_id, job_id):
        yield from (dump(item_answer(view)) for view in page)


def trials(database: Database, tenant_id: str, job_id: str) -> Iterator[bytes]:
    """All trials of a search, in their order; they outlive its job.

    Raises:
        SearchNotFound: it is gone, with its model.
    """
    after: int | None = None
    has_more = True
    while has_more:
        with database.session() as session:
            page = list_trials(session, tenant_id, job_id, after=after, limit=TRIALS)
        yield from (dump(trial_answer(view)) for view in page.data)
        has_more, after = page.has_more, page.data[-1].number if page.data else None
