"""Opening a search from its body: the scope, the rules that need the model and its workers, the registry's call."""

from __future__ import annotations

import secrets
from typing import Final

from sqlalchemy.orm import Session

from api import rules
from api.auth import principal
from api.errors import Forbidden, InvalidFields
from api.hooks import origin_of_request
from api.idempotency import key_of_request
from api.schemas.searching import SearchJob
from models.catalog import ModelView
from models.fleet import WorkerView, list_workers
from models.keys import Scope
from models.opening import NewSearch, open_search
from models.states import Calibration, JobKind, Lane
from models.submit import NewJob, Submitted

LEAST_LAYERS: Final = 4  # fewer leave nothing to skip
READY: Final = "ready"


def check_searcher() -> None:
    """Raise Forbidden unless the key has the admin scope: a search changes how everybody's jobs are decoded."""
    if Scope.ADMIN not in principal().scopes:
        raise Forbidden("searches need a key with the admin scope")


def check_depth(model: ModelView) -> None:
    """Raise InvalidFields for a model that has no layer to spare."""
    if model.num_layers < LEAST_LAYERS:
        message = f"{model.name} has {model.num_layers} layers; a search needs at least {LEAST_LAYERS}"
        raise InvalidFields.of("model", message)


def check_search(given: SearchJob, model: ModelView) -> None:
    """Raise InvalidFields for a search that this model cannot have."""
    check_depth(model)
    if given.webhook_url is not None:
        rules.check_webhook(given.webhook_url)
    for index, prompt in enumerate(given.calibration.prompts or []):
        if prompt.messages is not None and not model.has_chat_template:
            message = f"{model.name} has no chat template; send a prompt"
            raise InvalidFields.of(f"calibration.prompts[{index}].messages", message)


def open_job(session: Session, given: SearchJob, model: ModelView, fingerprint: str) -> Submitted:
    """Write the search; raises InvalidFields naming `device_kind` or `model`, and what the registry raises."""
    new_job = NewJob(
        tenant_id=principal().tenant_id,
        kind=JobKind.SEARCH,
        model=model.name,
        lane=Lane.SEARCH,
        metadata=dict(given.metadata),
        deadline_s=given.deadline_s,
        webhook_url=given.webhook_url,
        keep_s=given.retention_s,
        idempotency_key=key_of_request(),
        fingerprint=fingerprint,
        origin=origin_of_request(),
    )
    new = NewSearch(
        device_kind=_device_kind(given, [one for one in list_workers(session, model=model.name) if one.is_live]),
        batch_class=given.batch_class,
        sampler=given.sampler,
        max_trials=given.budget.trials,
        max_seconds=given.budget.seconds,
        promotes=given.promote,
        seed=secrets.randbits(63) if given.seed is None else given.seed,
        calibration=_calibration(given),
        prompts=tuple(prompt.model_dump(exclude_none=True) for prompt in given.calibration.prompts or []),
        workers=given.workers,
    )
    return open_search(session, new_job, new)


def _calibration(given: SearchJob) -> Calibration:
    if given.calibration.source is not None:
        return Calibration(given.calibration.source)
    return Calibration.RECENT if given.calibration.prompts is None else Calibration.INLINE


def _device_kind(given: SearchJob, workers: list[WorkerView]) -> str:
    """The kind asked for, else that of the workers; refused where all of them have said that they cannot skip."""
    kinds = sorted({worker.device_kind for worker in workers})
    if given.device_kind is None and len(kinds) != 1:
        found = f"workers of several kinds serve {given.model}" if kinds else f"no worker serves {given.model} now"
        raise InvalidFields.of("device_kind", f"{found}: say which of {', '.join(kinds) or 'cpu, cuda'}")
    kind = given.device_kind or kinds[0]
    able = [worker for worker in workers if worker.device_kind == kind and worker.status == READY]
    if able and not any("skip" in worker.drafters for worker in able):
        raise InvalidFields.of("model", able[0].note or f"{given.model} cannot be drafted by skipping")
    return kind
