"""Opening a search: the job that carries it and its own row, in one transaction. One of a model is open at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from models.calibration import MAX_TOKENS, MIN_PROMPTS, builtin, recent_items
from models.catalog import ModelView, get_model
from models.errors import SearchOpen
from models.states import Calibration
from models.submit import NewItem, NewJob, Submitted, submit

Json = dict[str, Any]

ONE_OPEN: Final = "jobs_one_search"

OPEN: Final = text("""
SELECT id, tenant_id FROM jobs WHERE model = :model AND kind = 'search' AND status IN ('queued', 'running')
""")

INSERT: Final = text("""
INSERT INTO searches (job_id, tenant_id, model, revision, device_kind, dtype, batch_class, sampler, max_trials,
                      max_seconds, promotes, seed, calibration, num_prompts, study, workers)
VALUES (:job_id, :tenant_id, :model, :revision, :device_kind, :dtype, :batch_class, :sampler, :max_trials,
        :max_seconds, :promotes, :seed, :calibration, :num_prompts, :job_id, :workers)
""")


@dataclass(frozen=True, slots=True)
class NewSearch:
    """What is to be searched, and how many `workers` may share it. `prompts` are {prompt} or {messages}, for inline
    calibration only.
    """

    device_kind: str
    batch_class: str
    sampler: str
    max_trials: int
    max_seconds: float | None
    promotes: bool
    seed: int
    calibration: Calibration
    prompts: tuple[Json, ...] = ()
    workers: int = 1


def open_search(session: Session, new_job: NewJob, new: NewSearch) -> Submitted:
    """Write a search of `new_job`'s model as it is now. Recent prompts give way to the built-in ones when too few.

    Raises:
        SearchOpen: the model is being searched already.
        What `models.submit.submit` raises. The transaction has to be rolled back.
    """
    model = get_model(session, new_job.model)
    source, item = _item(session, model, new)
    with one_at_a_time(session, model.name, new_job.tenant_id):
        # The lead's item has it all; those of helpers say nothing, and each is a shard.
        items = [NewItem(None, item), *(NewItem(None, {}) for _ in range(new.workers - 1))]
        submitted = submit(session, new_job, items, shard_items=1)
    if submitted.created:
        given = {name: getattr(new, name) for name in NewSearch.__slots__ if name != "prompts"}
        place = {"model": model.name, "revision": model.revision, "dtype": model.dtype}
        told = {"calibration": source.value, "num_prompts": len(item.get("prompts") or item["items"])}
        owner = {"job_id": submitted.job_id, "tenant_id": new_job.tenant_id}
        session.execute(INSERT, given | place | told | owner)
    return submitted


@contextmanager
def one_at_a_time(session: Session, model: str, tenant_id: str) -> Iterator[None]:
    """What the database refuses because the model is being searched is a SearchOpen; the transaction stays usable."""
    try:
        with session.begin_nested():
            yield
    except IntegrityError as error:
        if ONE_OPEN not in str(error.orig):
            raise
        raise SearchOpen(model, open_search_of(session, model, tenant_id)) from error


def open_search_of(session: Session, model: str, tenant_id: str) -> str | None:
    """The job of the model's open search; None when there is none, or it is another tenant's."""
    row = session.execute(OPEN, {"model": model}).one_or_none()
    return row.id if row is not None and row.tenant_id == tenant_id else None


def _item(session: Session, model: ModelView, new: NewSearch) -> tuple[Calibration, Json]:
    """The input of the search's first item, and where its prompts come from after all."""
    if new.calibration is Calibration.INLINE:
        return new.calibration, {"prompts": list(new.prompts), "max_tokens": MAX_TOKENS}
    found = recent_items(session, model.name) if new.calibration is Calibration.RECENT else []
    if len(found) >= MIN_PROMPTS:
        return Calibration.RECENT, {"items": found, "max_tokens": MAX_TOKENS}
    return Calibration.BUILTIN, {"prompts": builtin(model.has_chat_template), "max_tokens": MAX_TOKENS}
