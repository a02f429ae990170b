"""From the registry's views to answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from api.schemas.answers import (
    Choice,
    Counts,
    Decoding,
    ItemAnswer,
    JobAnswer,
    KeyAnswer,
    Logprobs,
    ModelAnswer,
    Queue,
    SkipSetAnswer,
    TenantAnswer,
    Usage,
    WorkerAnswer,
)
from api.schemas.fields import Answer
from api.schemas.pages import Page
from models.catalog import ModelView, SkipSetView
from models.fleet import WorkerView
from models.items import ItemView
from models.jobs import JobView
from models.keys import KeyView
from models.tenants import TenantView

A = TypeVar("A", bound=Answer)
P = TypeVar("P", bound=Page)  # type: ignore[type-arg]  # which answers it holds is the caller's business


def job_answer(view: JobView) -> JobAnswer:
    """A job as its owner sees it."""
    path = f"/v1/jobs/{view.id}"
    return JobAnswer(
        id=view.id,
        kind=view.kind.value,
        model=view.model,
        status=view.status.value,
        priority=view.lane.value,
        counts=Counts.model_validate(view.counts),
        queue=Queue(ahead=view.queue_ahead, workers=view.queue_workers),
        usage=Usage.model_validate(view.usage),
        parameters=view.parameters,
        options=view.options,
        decoding=_decoding(view),
        created_at=view.created_at,
        started_at=view.started_at,
        finished_at=view.finished_at,
        cancel_requested_at=view.cancel_requested_at,
        expires_at=view.expires_at,
        delete_at=view.delete_at,
        retry_of=view.retry_of,
        metadata=view.metadata,
        error=view.error,
        links={"self": path, "items": f"{path}/items", "results": f"{path}/results", "cancel": f"{path}/cancel"},
    )


def item_answer(view: ItemView) -> ItemAnswer:
    """An item as the job's owner sees it."""
    return ItemAnswer(
        index=view.index,
        custom_id=view.custom_id,
        status=view.status.value,
        output=view.output,
        finish_reason=view.finish_reason,
        choices=None if view.choices is None else [Choice.model_validate(choice) for choice in view.choices],
        logprobs=None if view.logprobs is None else Logprobs.model_validate(view.logprobs),
        usage=None if view.usage is None else Usage.model_validate(view.usage),
        decoding=view.decoding,
        attempts=view.attempts,
        error=view.error,
    )


def model_answer(view: ModelView) -> ModelAnswer:
    """A model; jobs know it by its name, so that is its id."""
    return ModelAnswer(
        id=view.name,
        name=view.name,
        source=view.source,
        revision=view.revision,
        dtype=view.dtype,
        context_length=view.context_length,
        architecture=view.architecture,
        num_layers=view.num_layers,
        has_chat_template=view.has_chat_template,
        created_at=view.created_at,
        created=view.created_at,
    )


def skip_set_answer(view: SkipSetView) -> SkipSetAnswer:
    """A skip set."""
    return SkipSetAnswer.model_validate(view)


def worker_answer(view: WorkerView) -> WorkerAnswer:
    """A worker as last heard of."""
    return WorkerAnswer.model_validate(view)


def tenant_answer(view: TenantView) -> TenantAnswer:
    """A tenant."""
    return TenantAnswer.model_validate(view)


def key_answer(view: KeyView, secret: str | None = None) -> KeyAnswer:
    """A key, with its secret when it was made a moment ago."""
    return KeyAnswer.model_validate(view).model_copy(update={"secret": secret})


def page_of(kind: type[P], answers: Sequence[A], *, has_more: bool) -> P:
    """A page with the ids that the next and the previous one start from."""
    ends = (answers[0], answers[-1]) if answers else (None, None)
    first_id, last_id = (None if end is None else _id(end) for end in ends)
    return kind(data=list(answers), has_more=has_more, first_id=first_id, last_id=last_id)


def _decoding(view: JobView) -> Decoding:
    requested = str(view.decoding.get("drafter", "auto"))
    stats = view.decoding_stats
    return Decoding(
        drafter=stats.drafter or requested,
        requested_drafter=requested,
        reproducible=bool(view.decoding.get("reproducible", False)),
        skip_set_id=stats.skip_set_id,
        tokens_per_verify=stats.tokens_per_verify,
        acceptance_rate=stats.acceptance_rate,
        tokens_per_second=stats.tokens_per_second,
    )


def _id(answer: Answer) -> str | int:
    """What a cursor names: an item's index, anything else's id."""
    found: str | int = answer.index if isinstance(answer, ItemAnswer) else getattr(answer, "id")  # noqa: B009
    return found
