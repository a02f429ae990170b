"""Places: what drafts where, since when and by whose hand.

A place is (model, revision, device kind, dtype, batch class).
A place is served by a skip set, by plain decoding (a search found nothing better), or, as long as nobody has decided,
by the starting set. Every change is a row of `activations` and can be undone.
"""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from models.catalog import SkipSetView, get_model, get_skip_set, skip_set_view
from models.errors import ModelNotFound, NothingBefore, WrongPlace
from models.page import Page, page_of
from models.states import ActivationKind
from models.tables import Activation, SkipSet

PLAIN: Final = "plain"  # in the history, where a skip set's id stands otherwise


@dataclass(frozen=True, slots=True)
class Place:
    """Where one skip set is active.

    `dtype` is the model's as registered (it may be `auto`); `batch_class`: rows decoded together, "1", "2-4" or "5+".
    """

    model: str
    revision: str | None
    device_kind: str
    dtype: str
    batch_class: str


@dataclass(frozen=True, slots=True)
class ActivationView:
    """A change: `was` and `became` are a skip set's id, `plain`, or None for the starting set."""

    number: int
    model: str
    revision: str | None
    device_kind: str
    dtype: str
    batch_class: str
    kind: ActivationKind
    was: str | None
    became: str | None
    undid: int | None
    tenant_id: str | None
    job_id: str | None
    actor_id: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Change:
    """What moves a place: a tenant's search `job_id` or key `actor_id`; a roll back names the activation it undoes."""

    kind: ActivationKind
    became: str | None
    tenant_id: str | None = None
    actor_id: str | None = None
    job_id: str | None = None
    undid: int | None = None


# Changes of one model take turns, so that the unique index never has to refuse one and the history has one order.
LOCK_MODEL: Final = text("SELECT revision, dtype, num_layers FROM models WHERE name = :model FOR NO KEY UPDATE")

AT_PLACE: Final = """model = :model AND revision IS NOT DISTINCT FROM :revision AND device_kind = :device_kind
  AND dtype = :dtype AND batch_class = :batch_class"""

SERVING: Final = text(f"SELECT became FROM activations WHERE {AT_PLACE} ORDER BY number DESC LIMIT 1")

# The newest that was not undone; an undoing itself is never undone, so rolling back twice goes back two steps.
UNDOABLE: Final = text(f"""
SELECT number, was FROM activations AS one WHERE {AT_PLACE} AND kind <> 'rolled_back'
  AND NOT EXISTS (SELECT FROM activations WHERE undid = one.number)
ORDER BY number DESC LIMIT 1
""")

RETIRE: Final = text(f"UPDATE skip_sets SET is_active = FALSE WHERE {AT_PLACE} AND is_active")

SERVE: Final = text("""
UPDATE skip_sets SET is_active = TRUE, activated_at = statement_timestamp(), watched_since = statement_timestamp(),
    stale_since = NULL, stale_evidence = NULL
WHERE id = :id
""")

WRITE: Final = text("""
INSERT INTO activations (model, revision, device_kind, dtype, batch_class, kind, was, became, undid, tenant_id,
                         job_id, actor_id)
VALUES (:model, :revision, :device_kind, :dtype, :batch_class, :kind, :was, :became, :undid, :tenant_id, :job_id,
        :actor_id)
""")

NEWEST: Final = text("""
SELECT DISTINCT ON (batch_class) batch_class, became FROM activations
WHERE model = :model AND revision IS NOT DISTINCT FROM :revision AND device_kind = :device_kind AND dtype = :dtype
ORDER BY batch_class, number DESC
""")


def active_sets(
    session: Session, model: str, revision: str | None, device_kind: str, dtype: str
) -> dict[str, SkipSetView | None]:
    """What was decided, by batch class: a skip set, or None for plain decoding. Missing: the starting set serves."""
    place = {"model": model, "revision": revision, "device_kind": device_kind, "dtype": dtype}
    newest = {row.batch_class: row.became for row in session.execute(NEWEST, place) if row.became is not None}
    query = select(SkipSet).where(SkipSet.id.in_(newest.values()))
    found = {
        one.id: skip_set_view(one) for one in session.scalars(query, execution_options={"populate_existing": True})
    }
    return {name: found.get(became) for name, became in newest.items()}


def lock_model(session: Session, model: str) -> Any:
    """The model's (revision, dtype, num_layers), and its places to oneself until the transaction ends.

    Raises ModelNotFound.
    """
    row = session.execute(LOCK_MODEL, {"model": model}).one_or_none()
    if row is None:
        raise ModelNotFound(model)
    return row


def serving(session: Session, place: Place) -> str | None:
    """What serves the place: a skip set's id, `plain`, or None for the starting set."""
    became: str | None = session.execute(SERVING, asdict(place)).scalar()
    return became


def move(session: Session, place: Place, change: Change) -> bool:
    """Let the place be served by something else, with the model locked; False when that serves it already."""
    at = asdict(place)
    was = serving(session, place)
    if was == change.became:
        return False
    session.execute(RETIRE, at)
    if change.became not in (None, PLAIN):
        session.execute(SERVE, {"id": change.became})
    session.execute(WRITE, at | asdict(change) | {"kind": change.kind.value, "was": was})
    return True


def activate(
    session: Session, model: str, skip_set_id: str, *, tenant_id: str | None = None, actor_id: str | None = None
) -> SkipSetView:
    """Make a skip set the active one of its place.

    Raises:
        ModelNotFound
        SkipSetNotFound: the model has no such skip set.
        WrongPlace: it was found for another revision or dtype, or names layers that the model does not have.
    """
    now = lock_model(session, model)
    found = get_skip_set(session, model, skip_set_id)
    reason = _misfit(found, now)
    if reason is not None:
        raise WrongPlace(skip_set_id, reason)
    move(session, place_of(found), Change(ActivationKind.ACTIVATED, skip_set_id, tenant_id, actor_id))
    return get_skip_set(session, model, skip_set_id)


def roll_back(
    session: Session,
    model: str,
    device_kind: str,
    batch_class: str,
    *,
    tenant_id: str | None = None,
    actor_id: str | None = None,
) -> ActivationView:
    """Undo the last activation of a place of the model's present revision and dtype; returns what was written.

    Raises ModelNotFound, NothingBefore.
    """
    now = lock_model(session, model)
    place = Place(model, now.revision, device_kind, now.dtype, batch_class)
    last = session.execute(UNDOABLE, asdict(place)).one_or_none()
    if last is None:
        raise NothingBefore(model)
    move(session, place, Change(ActivationKind.ROLLED_BACK, last.was, tenant_id, actor_id, undid=last.number))
    return last_activation(session, model, device_kind, batch_class)


def last_activation(session: Session, model: str, device_kind: str, batch_class: str) -> ActivationView:
    """The newest change of a place of the model's present revision and dtype. Raises ModelNotFound, NothingBefore."""
    now = get_model(session, model)
    place = Place(model, now.revision, device_kind, now.dtype, batch_class)
    query = select(Activation).filter_by(**asdict(place)).order_by(Activation.number.desc()).limit(1)
    row = session.scalar(query)
    if row is None:
        raise NothingBefore(model)
    return _activation_view(row)


def list_activations(
    session: Session, model: str, *, after: int | None = None, limit: int = 100
) -> Page[ActivationView]:
    """The history of a model's places, newest first, from the one after number `after`. Raises ModelNotFound."""
    get_model(session, model)
    query = select(Activation).where(Activation.model == model).order_by(Activation.number.desc()).limit(limit + 1)
    if after is not None:
        query = query.where(Activation.number < after)
    return page_of([_activation_view(row) for row in session.scalars(query)], limit)


def place_of(skip_set: SkipSetView) -> Place:
    """Where a skip set may serve."""
    return Place(**{name: getattr(skip_set, name) for name in Place.__slots__})


def _misfit(found: SkipSetView, now: Any) -> str | None:
    """Why a skip set cannot serve the model as it is now."""
    if found.revision != now.revision:
        return f"it was found for revision {found.revision}, the model is at {now.revision}"
    if found.dtype != now.dtype:
        return f"it was found for {found.dtype}, the model is served in {now.dtype}"
    deepest = max((*found.attention, *found.mlp), default=-1)
    if deepest >= now.num_layers:
        return f"it names layer {deepest}, the model has {now.num_layers}"
    return None


def _activation_view(row: Activation) -> ActivationView:
    return ActivationView(**{name: getattr(row, name) for name in ActivationView.__slots__})
