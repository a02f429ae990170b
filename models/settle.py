"""Settle: what a search came to is kept, and acted upon, in the transaction that ends its item.

Fenced like a result. Nothing is promoted of a search that the world has overtaken: other weights refuse it, and a set
that somebody activated meanwhile was never measured against the find, so it stays.
"""

import json
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from models.catalog import NewSkipSet, add_skip_set
from models.errors import LeaseLost, ModelChanged
from models.places import PLAIN, Change, Place, lock_model, move, serving
from models.searches import check_weights
from models.shard import HELD, ShardRef
from models.states import ActivationKind, SearchOutcome

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Found:
    """The set that the outcome speaks of, how to draft with it, and what is expected of it."""

    attention: tuple[int, ...]
    mlp: tuple[int, ...]
    draft_length: int
    threshold: float | None
    estimates: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SearchVerdict:
    """How a search ended.

    `finalist` is None when plain decoding is best. `incumbent_id` is the active set it was measured against, as
    `find_search` told it. `measurements` are kept with the set; `report` is what the search's picture is drawn from.
    """

    outcome: SearchOutcome
    finalist: Found | None
    incumbent_id: str | None
    measurements: Json = field(default_factory=dict)
    report: Json = field(default_factory=dict)
    weights: str | None = None


FENCE: Final = text(f"""
WITH {HELD}
SELECT searches.* FROM held JOIN searches USING (job_id)
""")

SETTLE: Final = text("""
UPDATE searches SET outcome = :outcome, skip_set_id = :skip_set_id, is_promoted = :is_promoted, note = :note,
    finalist = CAST(:finalist AS jsonb), report = CAST(:report AS jsonb), settled_at = statement_timestamp()
WHERE job_id = :job_id
""")

# Found good again: measured anew, and watched from now on.
CONFIRM: Final = text("""
UPDATE skip_sets SET measurements = CAST(:measurements AS jsonb), watched_since = statement_timestamp(),
    stale_since = NULL, stale_evidence = NULL
WHERE id = :id
""")

NOT_ASKED: Final = "the search was not to promote"
OVERTAKEN: Final = "something else was activated while the search ran"
REASONS: Final = {
    SearchOutcome.KEPT: "nothing beat the active set by more than the noise",
    SearchOutcome.LOOKUP: "lookup beat every skip set on these prompts",
    SearchOutcome.PLAIN: "nothing beat plain decoding by more than the noise",
}


def settle_search(session: Session, ref: ShardRef, epoch: int, verdict: SearchVerdict) -> str | None:
    """Keep the verdict and act on it; returns the id of the skip set it speaks of. Safe to repeat.

    Raises:
        LeaseLost: the shard is not held at `epoch` any more.
        ModelChanged: revision, dtype or weights are not those that the search began with.
        Both want the transaction rolled back.
    """
    search = session.execute(FENCE, {"job_id": ref.job_id, "number": ref.number, "epoch": epoch}).one_or_none()
    if search is None:
        raise LeaseLost(ref.job_id, ref.number, epoch)
    if search.outcome is not None:
        settled: str | None = search.skip_set_id
        return settled
    _check(session, search, verdict)
    place = Place(search.model, search.revision, search.device_kind, search.dtype, search.batch_class)
    skip_set_id = _keep(session, search, verdict)
    is_promoted, note = _act(session, search, verdict, place, skip_set_id)
    values = {"outcome": verdict.outcome.value, "skip_set_id": skip_set_id, "is_promoted": is_promoted, "note": note}
    documents = {"finalist": _finalist(verdict), "report": json.dumps(verdict.report)}
    session.execute(SETTLE, {"job_id": ref.job_id, **values, **documents})
    return skip_set_id


def _check(session: Session, search: Row[Any], verdict: SearchVerdict) -> None:
    now = lock_model(session, search.model)
    for what in ("revision", "dtype"):
        if getattr(now, what) != getattr(search, what):
            raise ModelChanged(search.model, what)
    check_weights(session, search.job_id, search.weights, verdict.weights)


def _keep(session: Session, search: Row[Any], verdict: SearchVerdict) -> str | None:
    """The id of the set: that of the active one when it was kept, a new one when it was found."""
    found = verdict.finalist
    if found is None:
        return None
    if verdict.outcome is SearchOutcome.KEPT and verdict.incumbent_id is not None:
        session.execute(CONFIRM, {"id": verdict.incumbent_id, "measurements": json.dumps(verdict.measurements)})
        return verdict.incumbent_id
    new = NewSkipSet(
        model=search.model,
        attention=found.attention,
        mlp=found.mlp,
        device_kind=search.device_kind,
        dtype=search.dtype,
        batch_class=search.batch_class,
        estimates=found.estimates,
        measurements=verdict.measurements,
        job_id=search.job_id,
        draft_length=found.draft_length,
        threshold=found.threshold,
    )
    return add_skip_set(session, new).id


def _act(
    session: Session, search: Row[Any], verdict: SearchVerdict, place: Place, skip_set_id: str | None
) -> tuple[bool, str | None]:
    """Let the place be served by what was found, if it was; whether a set was promoted, and why not."""
    is_new = verdict.outcome is SearchOutcome.PROMOTED
    if not is_new and verdict.outcome is not SearchOutcome.PLAIN:
        return False, REASONS[verdict.outcome]
    if not search.promotes:
        return False, NOT_ASKED
    now = serving(session, place)
    if now not in (verdict.incumbent_id, PLAIN, None):
        return False, OVERTAKEN
    kind = ActivationKind.PROMOTED if is_new else ActivationKind.PLAIN
    move(session, place, Change(kind, skip_set_id if is_new else PLAIN, search.tenant_id, job_id=search.job_id))
    return is_new, None if is_new else REASONS[verdict.outcome]


def _finalist(verdict: SearchVerdict) -> str | None:
    found = verdict.finalist
    if found is None:
        return None
    values = {"draft_length": found.draft_length, "threshold": found.threshold, "estimates": found.estimates}
    return json.dumps({"attention": sorted(found.attention), "mlp": sorted(found.mlp), **values})
