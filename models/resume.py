"""Resume: a new job for a search that did not come to its end. It goes on from the trials that there are.

The optimiser's study and the prompts are the same, so old and new trials can be compared.
"""

from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from models.catalog import get_model
from models.errors import Conflict, ModelChanged, SearchNotFound
from models.notify import notify
from models.opening import one_at_a_time
from models.quota import check_quota
from models.submit import INSERT_SHARDS

COPY_JOB: Final = text("""
INSERT INTO jobs (id, tenant_id, kind, model, lane, parameters, decoding, options, metadata, num_items, webhook_url,
                  retry_of, keep_s, origin, expires_at)
SELECT :job_id, tenant_id, kind, model, lane, parameters, decoding, options, metadata, 0, webhook_url,
       id, keep_s, CAST(:origin AS jsonb), statement_timestamp() + (expires_at - created_at)
FROM jobs WHERE id = :old_id
""")

FIND: Final = text("SELECT model, revision, dtype, outcome, workers FROM searches WHERE job_id = :old_id")

COPY_ITEMS: Final = text("""
INSERT INTO items (job_id, index, shard_number, input)
SELECT :job_id, index, shard_number, input FROM items WHERE job_id = :old_id
""")

COPY_SEARCH: Final = text("""
INSERT INTO searches (job_id, tenant_id, model, revision, device_kind, dtype, batch_class, sampler, max_trials,
                      max_seconds, promotes, seed, calibration, num_prompts, study, workers, num_trials, best_speed,
                      best_bits, weights)
SELECT :job_id, tenant_id, model, revision, device_kind, dtype, batch_class, sampler, max_trials, max_seconds, promotes,
       seed, calibration, num_prompts, study, workers, num_trials, best_speed, best_bits, weights
FROM searches WHERE job_id = :old_id
""")

COPY_TRIALS: Final = text("""
INSERT INTO trials (job_id, number, bits, source, prompts, speed, spread, acceptance, loss, draft_length,
                    device_seconds, created_at)
SELECT :job_id, number, bits, source, prompts, speed, spread, acceptance, loss, draft_length, device_seconds, created_at
FROM trials WHERE job_id = :old_id
""")


def resume(session: Session, tenant_id: str, old_id: str, job_id: str, origin: str) -> None:
    """Write job `job_id`, which goes on with the search of the ended job `old_id`; `origin` of the request, as JSON.

    Raises:
        SearchNotFound: what it was to do has been erased.
        Conflict: the old search came to its end.
        ModelChanged: it was about other weights.
        SearchOpen, QuotaExceeded
    """
    old = session.execute(FIND, {"old_id": old_id}).one_or_none()
    if old is None:
        raise SearchNotFound(old_id)
    if old.outcome is not None:
        raise Conflict(f"search {old_id} came to its end: start a new one")
    model = get_model(session, old.model)
    for what in ("revision", "dtype"):
        if getattr(model, what) != getattr(old, what):
            raise ModelChanged(model.name, what)
    ids = {"job_id": job_id, "old_id": old_id}
    with one_at_a_time(session, model.name, tenant_id):
        session.execute(COPY_JOB, ids | {"origin": origin})
    for statement in (COPY_ITEMS, COPY_SEARCH, COPY_TRIALS):
        session.execute(statement, ids)
    session.execute(INSERT_SHARDS, {"job_id": job_id, "num_items": old.workers, "size": 1})
    check_quota(session, tenant_id)
    notify(session, job_id)
