"""Reading a job's items, always in the name of a tenant, and never more at once than fit in memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, case, select, true
from sqlalchemy.orm import Session

from models.jobs import find
from models.page import Page, page_of
from models.states import ItemStatus
from models.tables import Item, Shard

Json = dict[str, Any]

STREAM_ROWS: Final = 200  # items read at a time
MAX_CHOICES: Final = 1000  # on a page
MAX_LOGPROBS: Final = 100_000  # that an item may have, and a page of several items


@dataclass(frozen=True, slots=True)
class ItemView:
    """An item as the job's owner sees it."""

    index: int
    custom_id: str | None
    status: ItemStatus
    output: str | None
    finish_reason: str | None
    choices: list[Json] | None
    logprobs: Json | None
    usage: Json | None
    decoding: Json | None
    attempts: int
    error: Json | None
    started_at: datetime | None
    finished_at: datetime | None


ITEM_COLUMNS: Final = (
    Item.index,
    Item.custom_id,
    Item.status,
    Item.output,
    Item.finish_reason,
    Item.choices,
    Item.logprobs,
    Item.usage,
    Item.decoding,
    Item.attempts,
    Item.error,
    Item.started_at,
    Item.finished_at,
)


def num_logprobs_of(max_tokens: int, num_choices: int, top: int) -> int:
    """How many log-probabilities an item has at most, with the `top` likeliest tokens listed beside each."""
    return max_tokens * num_choices * (top + 1)


def list_items(
    session: Session,
    tenant_id: str,
    job_id: str,
    *,
    after: int | None = None,
    limit: int = 100,
    status: ItemStatus | None = None,
) -> Page[ItemView]:
    """Items of a job by index, from the one after index `after`: fewer than `limit` where they are large.

    Raises JobNotFound.
    """
    most = _most(find(session, tenant_id, job_id).parameters, limit)
    return page_of(_items(session, job_id, after, most + 1, status), most)


def stream_items(session: Session, tenant_id: str, job_id: str) -> Iterator[ItemView]:
    """All items of a job by index, a few at a time: constant memory, and no cursor to leave open.

    The session must stay open while it is read. Raises JobNotFound at once, not at the first item.
    """
    most = _most(find(session, tenant_id, job_id).parameters, STREAM_ROWS)
    return _all_items(session, job_id, most)


def _most(parameters: Json, rows: int) -> int:
    """How many items are read at once: at most `rows`, fewer where each may have many choices or log-probabilities."""
    num_choices = parameters.get("n") or 1
    asked = parameters.get("logprobs")
    num_logprobs = 0 if asked is None else num_logprobs_of(parameters["max_tokens"], num_choices, asked)
    return max(1, min(rows, MAX_CHOICES // num_choices, MAX_LOGPROBS // num_logprobs if num_logprobs else rows))


def _all_items(session: Session, job_id: str, most: int) -> Iterator[ItemView]:
    after: int | None = None
    while items := _items(session, job_id, after, most):
        yield from items
        after = items[-1].index


def _items(
    session: Session, job_id: str, after: int | None, limit: int, status: ItemStatus | None = None
) -> list[ItemView]:
    after = -1 if after is None else after
    query = _page(job_id, after, limit) if status is None else _page_of_status(job_id, after, limit, status)
    return [ItemView(**row._mapping) for row in session.execute(query)]


def _page(job_id: str, after: int, limit: int) -> Select[*tuple[Any, ...]]:
    query = select(*ITEM_COLUMNS).where(Item.job_id == job_id, Item.index > after)
    return query.order_by(Item.index).limit(limit)


def _page_of_status(job_id: str, after: int, limit: int, status: ItemStatus) -> Select[*tuple[Any, ...]]:
    """Shard by shard, past those that have none: no index has the status, for every result would have to change it."""
    found = (
        select(*ITEM_COLUMNS)
        .where(Item.job_id == Shard.job_id, Item.index.between(Shard.first, Shard.last))
        .where(Item.index > after, Item.status == status)
        .order_by(Item.index)
        .limit(limit)
        .correlate(Shard)
        .lateral()
    )
    shards = select(found).select_from(Shard).join(found, true())
    shards = shards.where(Shard.job_id == job_id, Shard.last > after, _may_have(status))
    return shards.order_by(Shard.number, found.c.index).limit(limit)


def _may_have(status: ItemStatus) -> ColumnElement[bool]:
    """Whether a shard can have items of this status.

    One that was finished was counted, in one that nobody ever held all items are as it is; of others only they know.
    """
    return case(
        (Shard.tally.is_not(None), Shard.tally[status.value].as_integer() > 0),
        (Shard.epoch == 0, Shard.status == status.value),
        else_=True,
    )
