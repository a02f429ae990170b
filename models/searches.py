"""Searches, for the worker that carries one: what is wanted, and what it notes on the way.

Writes are fenced by the epoch of the search's shard, as results of items are.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from models.calibration import prompts_of
from models.catalog import SkipSetView
from models.errors import LeaseLost, ModelChanged, SearchNotFound
from models.notify import CHANNEL
from models.places import active_sets
from models.shard import HELD, ShardRef
from models.states import SearchPhase

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SearchView:
    """What a worker needs to do a search.

    `revision` and `dtype` are the model's when the search was submitted. `max_seconds` are the device's, None for no
    limit; earlier holders spent `device_seconds` of them, by kind of work. `prompts` are {prompt} or {messages};
    `max_tokens` of each reference continuation. `study` names the trials to go on from, which so many `workers` share.
    `incumbent` is the active set of the place now, None where there is none.
    """

    job_id: str
    model: str
    revision: str | None
    device_kind: str
    dtype: str
    batch_class: str
    num_layers: int
    sampler: str
    max_trials: int
    max_seconds: float | None
    promotes: bool
    seed: int
    study: str
    workers: int
    device_seconds: Json
    max_tokens: int
    prompts: tuple[Json, ...]
    incumbent: SkipSetView | None


@dataclass(frozen=True, slots=True)
class SearchProgress:
    """How far a search is. `best_speed` is relative to plain decoding; `device_seconds` are by kind of work.

    `weights` tells the loaded weights from others, whoever loads them. What is None a helper does not know: it stays.
    """

    phase: SearchPhase | None = None
    num_trials: int = 0
    best_speed: float | None = None
    best_bits: str | None = None
    device_seconds: Json = field(default_factory=dict)
    weights: str | None = None


@dataclass(frozen=True, slots=True)
class NewTrial:
    """A scored candidate. `bits`: attention of every layer, then MLPs; `device_seconds`: of its worker until then."""

    bits: str
    source: str
    prompts: int
    speed: float
    spread: float
    acceptance: float
    loss: float
    draft_length: int
    device_seconds: float


FIND: Final = text("""
SELECT searches.job_id, searches.model, searches.revision, device_kind, searches.dtype, batch_class, num_layers,
       sampler, max_trials, max_seconds, promotes, seed, study, workers, device_seconds, input
FROM searches JOIN models ON models.name = searches.model
JOIN items ON items.job_id = searches.job_id AND items.index = 0
WHERE searches.job_id = :job_id
""")

# Seconds are by kind of work, and by helper: nobody writes another's. Trials are everybody's.
NOTE: Final = text(f"""
WITH {HELD},
noted AS (
    UPDATE searches SET phase = coalesce(:phase, phase),
        num_trials = greatest(:num_trials, (SELECT count(DISTINCT bits) FROM trials WHERE job_id = :job_id)),
        best_speed = coalesce(:best_speed, best_speed), best_bits = coalesce(:best_bits, best_bits),
        device_seconds = device_seconds || CAST(:device_seconds AS jsonb), weights = coalesce(weights, :weights),
        noted_at = statement_timestamp()
    FROM held WHERE searches.job_id = held.job_id RETURNING searches.weights
)
SELECT EXISTS (SELECT FROM held) AS is_held, (SELECT weights FROM noted) AS weights,
       CASE WHEN EXISTS (SELECT FROM noted) THEN pg_notify(:channel, :job_id) END AS notified
""")

# Several workers add trials: one after the other, so that each sees the numbers before its own.
LOCK_SEARCH: Final = text("SELECT FROM searches WHERE job_id = :job_id FOR NO KEY UPDATE")

# Numbered on from those that are there. Those known already are left as they are.
ADD_TRIALS: Final = text(f"""
WITH {HELD},
given AS (
    SELECT * FROM jsonb_to_recordset(CAST(:trials AS jsonb)) AS given(
        bits text, source text, prompts int, speed float8, spread float8, acceptance float8, loss float8,
        draft_length int, device_seconds float8, place int
    )
),
fresh AS (
    SELECT DISTINCT ON (bits, prompts) given.* FROM given, held
    WHERE NOT EXISTS (
        SELECT FROM trials WHERE job_id = held.job_id AND bits = given.bits AND prompts = given.prompts
    )
    ORDER BY bits, prompts, place
),
added AS (
    INSERT INTO trials (job_id, number, bits, source, prompts, speed, spread, acceptance, loss, draft_length,
                        device_seconds)
    SELECT :job_id, (SELECT count(*) FROM trials WHERE job_id = :job_id) + row_number() OVER (ORDER BY place) - 1,
           bits, source, prompts, speed, spread, acceptance, loss, draft_length, device_seconds
    FROM fresh RETURNING number
)
SELECT EXISTS (SELECT FROM held) AS is_held, (SELECT count(*) FROM added) AS num_added
""")


def find_search(session: Session, job_id: str) -> SearchView:
    """What is wanted.

    Raises:
        SearchNotFound: the job is no search, or is gone.
        CalibrationGone: prompts it was to be judged by were erased.
    """
    row = session.execute(FIND, {"job_id": job_id}).one_or_none()
    if row is None:
        raise SearchNotFound(job_id)
    wanted = dict(row._mapping)
    given = wanted.pop("input")
    active = active_sets(session, row.model, row.revision, row.device_kind, row.dtype)
    return SearchView(
        **wanted,
        max_tokens=given["max_tokens"],
        prompts=prompts_of(session, job_id, given),
        incumbent=active.get(row.batch_class),
    )


def note_search(session: Session, ref: ShardRef, epoch: int, progress: SearchProgress) -> None:
    """Write how far the search is.

    Raises:
        LeaseLost: the shard is not held at `epoch` any more; nothing was written.
        ModelChanged: the search began with other weights; roll the transaction back.
    """
    phase = None if progress.phase is None else progress.phase.value
    values = asdict(progress) | {"phase": phase, "device_seconds": json.dumps(progress.device_seconds)}
    row = session.execute(NOTE, _held(ref, epoch) | values).one()
    if not row.is_held:
        raise LeaseLost(ref.job_id, ref.number, epoch)
    check_weights(session, ref.job_id, row.weights, progress.weights)


def note_trials(session: Session, ref: ShardRef, epoch: int, trials: Sequence[NewTrial]) -> int:
    """Keep trials; those known by bits and number of prompts are left as they are. Returns how many were new.

    Raises LeaseLost likewise.
    """
    values = _held(ref, epoch) | {
        "trials": json.dumps([asdict(one) | {"place": place} for place, one in enumerate(trials)])
    }
    session.execute(LOCK_SEARCH, values)
    row = session.execute(ADD_TRIALS, values).one()
    if not row.is_held:
        raise LeaseLost(ref.job_id, ref.number, epoch)
    return int(row.num_added)


def check_weights(session: Session, job_id: str, begun: str | None, now: str | None) -> None:
    """Raise ModelChanged when the search began with other weights than are loaded now."""
    if now is not None and begun is not None and begun != now:
        model = session.execute(text("SELECT model FROM searches WHERE job_id = :id"), {"id": job_id}).scalar_one()
        raise ModelChanged(model, "weights")


def _held(ref: ShardRef, epoch: int) -> Json:
    return {"job_id": ref.job_id, "number": ref.number, "epoch": epoch, "channel": CHANNEL}
