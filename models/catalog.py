"""The catalogue: registered models and the skip sets known for them."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from models.errors import ModelExists, ModelNotFound, SkipSetNotFound
from models.ids import new_id
from models.page import Page, page_of
from models.tables import Model, SkipSet

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class NewModel:
    """A set of weights to register. `source` is a hub id, a local folder or a GGUF file; lengths in tokens."""

    name: str
    source: str
    revision: str | None
    dtype: str
    context_length: int
    architecture: str
    num_layers: int
    has_chat_template: bool


@dataclass(frozen=True, slots=True)
class ModelView:
    """A registered model."""

    id: str
    name: str
    source: str
    revision: str | None
    dtype: str
    context_length: int
    architecture: str
    num_layers: int
    has_chat_template: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class NewSkipSet:
    """Layers whose attention or MLP is left out while drafting, where that was found good, and why."""

    model: str
    attention: tuple[int, ...]
    mlp: tuple[int, ...]
    device_kind: str
    dtype: str
    batch_class: str  # rows decoded together: "1", "2-4" or "5+"
    estimates: Json = field(default_factory=dict)
    measurements: Json = field(default_factory=dict)
    job_id: str | None = None  # of the search that found it
    draft_length: int | None = None
    threshold: float | None = None  # of the adaptive exit; None drafts a fixed length


@dataclass(frozen=True, slots=True)
class SkipSetView:
    """A skip set. At most one is active for a revision, device kind, dtype and batch class.

    `stale_since`: less of its drafts is accepted than when it became active, by more than the noise.
    """

    id: str
    model: str
    revision: str | None
    attention: tuple[int, ...]
    mlp: tuple[int, ...]
    device_kind: str
    dtype: str
    batch_class: str
    estimates: Json
    measurements: Json
    is_active: bool
    created_at: datetime
    activated_at: datetime | None
    job_id: str | None
    draft_length: int | None
    threshold: float | None
    stale_since: datetime | None
    stale_evidence: Json | None


def add_model(session: Session, new: NewModel) -> ModelView:
    """Register a model. Raises ModelExists; a name that breaks the rule fails the table's check."""
    values = {name: getattr(new, name) for name in NewModel.__slots__}
    statement = upsert(Model).values(id=new_id("mdl"), **values).on_conflict_do_nothing(index_elements=[Model.name])
    model = session.scalar(statement.returning(Model))
    if model is None:
        raise ModelExists(new.name)
    return _model_view(model)


def get_model(session: Session, name: str) -> ModelView:
    """One model. Raises ModelNotFound."""
    return _model_view(_find(session, name))


def list_models(session: Session, *, after: str | None = None, limit: int = 100) -> Page[ModelView]:
    """Models by name, from the one after name `after`."""
    query = select(Model).order_by(Model.name).limit(limit + 1)
    if after is not None:
        query = query.where(Model.name > after)
    return page_of([_model_view(model) for model in session.scalars(query)], limit)


def add_skip_set(session: Session, new: NewSkipSet) -> SkipSetView:
    """Keep a skip set, not active, for the model's present revision. Raises ModelNotFound."""
    model = _find(session, new.model)
    values = {name: getattr(new, name) for name in NewSkipSet.__slots__}
    values |= {"attention": sorted(new.attention), "mlp": sorted(new.mlp)}
    statement = insert(SkipSet).values(id=new_id("skip"), revision=model.revision, **values).returning(SkipSet)
    return skip_set_view(session.scalars(statement).one())


def list_skip_sets(session: Session, name: str) -> list[SkipSetView]:
    """Skip sets of a model, newest first. Raises ModelNotFound."""
    _find(session, name)
    query = select(SkipSet).where(SkipSet.model == name).order_by(SkipSet.id.desc())
    return [skip_set_view(skip_set) for skip_set in session.scalars(query)]


def get_skip_set(session: Session, model: str, skip_set_id: str) -> SkipSetView:
    """One skip set of a model. Raises SkipSetNotFound."""
    query = select(SkipSet).where(SkipSet.id == skip_set_id, SkipSet.model == model)
    found = session.scalar(query, execution_options={"populate_existing": True})
    if found is None:
        raise SkipSetNotFound(skip_set_id)
    return skip_set_view(found)


def _find(session: Session, name: str) -> Model:
    model = session.scalar(select(Model).where(Model.name == name))
    if model is None:
        raise ModelNotFound(name)
    return model


def _model_view(model: Model) -> ModelView:
    return ModelView(**{name: getattr(model, name) for name in ModelView.__slots__})


def skip_set_view(skip_set: SkipSet) -> SkipSetView:
    """A row as a value."""
    values = {name: getattr(skip_set, name) for name in SkipSetView.__slots__}
    return SkipSetView(**values | {"attention": tuple(skip_set.attention), "mlp": tuple(skip_set.mlp)})
