"""Jobs: submit, list, wait for, cancel, erase."""

from __future__ import annotations

from typing import Final

import structlog
from flask import Response, url_for

from api import rules
from api.adapter import blueprint
from api.auth import auth, principal
from api.conditional import has_condition, is_known, respond
from api.documentation import JOB_BODY
from api.hooks import origin_of_request
from api.idempotency import REPLAYED, fingerprint, is_first, key_of_request
from api.jobs import JobCopy
from api.schemas.answers import JobAnswer
from api.schemas.inputs import RetryBody
from api.schemas.lists import JobPage
from api.schemas.pages import JobCursor, Wait
from api.searching import check_searcher, open_job
from api.services import services
from api.submissions import SearchSubmission, Submission, read_submission
from api.views import job_answer, page_of
from models.cancel import cancel
from models.jobs import delete_job, get_job, list_jobs
from models.retry import retry
from models.states import ItemStatus, JobKind, JobStatus, Lane
from models.submit import NewJob, Submitted, submit

routes = blueprint("jobs", "Jobs")

log = structlog.get_logger(__name__)

MAX_WAIT_S: Final = 30.0
RETRY_AFTER_S: Final = 1
RETRY_AFTER_FULL_S: Final = 2


@routes.post("/v1/jobs")
@routes.doc(
    responses={404: "Unknown model", 409: "The model is being searched", 422: "Idempotency-Key used before"},
    extensions={"requestBody": JOB_BODY},
)
@routes.auth_required(auth, roles=["jobs"])
@routes.output(JobAnswer, status_code=202)
def create_job() -> Response:
    """Submit a job.

    A JSON object with up to 1,000 inputs, or JSON Lines: the job on the first line, then one input a line. A search
    has no inputs, and needs the admin scope.
    """
    with read_submission() as given, services().database.session() as session:
        if isinstance(given, SearchSubmission):
            written, lane = open_job(session, given.given, given.model, given.fingerprint), Lane.SEARCH
        else:
            new = _new_job(given)
            written, lane = submit(session, new, given.items), new.lane
    services().bell.ring(given.model.name, lane)
    log.info("job submitted", job=written.job_id, model=given.model.name, lane=lane.value)
    return respond(_read(written.job_id).answer, 202, _submitted(written))


@routes.get("/v1/jobs")
@routes.auth_required(auth, roles=["jobs"])
@routes.input(JobCursor, location="query")
@routes.output(JobPage)
def read_jobs(query_data: JobCursor) -> JobPage:
    """List jobs, newest first."""
    with services().database.session() as session:
        page = list_jobs(
            session,
            principal().tenant_id,
            after=query_data.after,
            limit=query_data.limit,
            status=None if query_data.status is None else JobStatus(query_data.status),
            kind=None if query_data.kind is None else JobKind(query_data.kind),
            model=query_data.model,
        )
    return page_of(JobPage, [job_answer(view) for view in page.data], has_more=page.has_more)


@routes.get("/v1/jobs/<id:job_id>")
@routes.doc(responses={304: "Not modified"})
@routes.auth_required(auth, roles=["jobs"])
@routes.input(Wait, location="query")
@routes.output(JobAnswer)
def read_job(job_id: str, query_data: Wait) -> Response:
    """Read a job, at once or when there is news.

    With `wait`, answers as soon as the job differs from the one that `If-None-Match` names (without it: from what it
    was when the request came), at once if it has finished, and after that many seconds in any case. Its place in the
    queue and its speed make no difference. `Retry-After` says when to ask again about a job that has not finished.
    """
    seen, retry_after_s = _read(job_id), RETRY_AFTER_S
    if query_data.wait > 0 and not _is_news(seen, None):
        with services().gate.entered(principal().tenant_id) as is_in:
            wait_s = min(query_data.wait, MAX_WAIT_S) if is_in else 0.0
            first = seen
            seen = services().watcher.until(job_id, lambda: _read(job_id), lambda now: _is_news(now, first), wait_s)
            retry_after_s = RETRY_AFTER_S if is_in else RETRY_AFTER_FULL_S
    return respond(seen.answer, headers={} if seen.is_over else {"Retry-After": str(retry_after_s)})


@routes.post("/v1/jobs/<id:job_id>/cancel")
@routes.doc(responses={409: "Finished already", 422: "Idempotency-Key used before"})
@routes.auth_required(auth, roles=["jobs"])
@routes.output(JobAnswer)
def cancel_job(job_id: str) -> Response:
    """Cancel a job: nothing new starts, what runs stops within a second, finished items are kept."""
    tenant_id = principal().tenant_id
    with services().database.session() as session:
        if is_first(session, tenant_id):
            cancel(session, tenant_id, job_id)
    return respond(_read(job_id).answer)


@routes.post("/v1/jobs/<id:job_id>/retry")
@routes.doc(responses={409: "Not finished, or nothing to retry", 422: "Idempotency-Key used before"})
@routes.auth_required(auth, roles=["jobs"])
@routes.input(RetryBody)
@routes.output(JobAnswer, status_code=202)
def retry_job(job_id: str, json_data: RetryBody) -> Response:
    """Make a new job of the items that failed, were cancelled or expired; the old one stays as it is.

    The body may be left out; its `statuses` choose among the three. A search that did not come to its end goes on from
    the trials that it has; that needs the admin scope.
    """
    with services().database.session() as session:
        if get_job(session, principal().tenant_id, job_id).kind is JobKind.SEARCH:
            check_searcher()
        written = retry(
            session,
            principal().tenant_id,
            job_id,
            statuses=[ItemStatus(name) for name in dict.fromkeys(json_data.statuses)],
            key=key_of_request(),
            fingerprint=fingerprint((json_data.model_dump_json().encode(),)),
            origin=origin_of_request(),
        )
        job = job_answer(get_job(session, principal().tenant_id, written.job_id))
    services().bell.ring(job.model, Lane(job.priority))
    return respond(job, 202, _submitted(written))


@routes.delete("/v1/jobs/<id:job_id>")
@routes.doc(responses={409: "Not finished"})
@routes.auth_required(auth, roles=["jobs"])
@routes.output({}, status_code=204)
def erase_job(job_id: str) -> Response:
    """Erase a finished job with its inputs and outputs."""
    with services().database.session() as session:
        delete_job(session, principal().tenant_id, job_id)
    return Response(status=204)


def _submitted(written: Submitted) -> dict[str, str]:
    headers = {"Location": url_for("jobs.read_job", job_id=written.job_id), "Retry-After": str(RETRY_AFTER_S)}
    return headers if written.created else {**headers, REPLAYED: "true"}


def _new_job(given: Submission) -> NewJob:
    head = given.head
    default = "interactive" if given.num_items == 1 else "bulk"
    return NewJob(
        tenant_id=principal().tenant_id,
        kind=JobKind(head.kind),
        model=head.model,
        lane=Lane(head.priority or default),
        parameters=rules.parameters(head, given.model),
        decoding=head.decoding.model_dump(),
        options=rules.options(head),
        metadata=dict(head.metadata),
        deadline_s=head.deadline_s,
        webhook_url=head.webhook_url,
        keep_s=head.retention_s,
        origin=origin_of_request(),
        idempotency_key=key_of_request(),
        fingerprint=given.fingerprint,
    )


def _read(job_id: str) -> JobCopy:
    return services().jobs.read(principal().tenant_id, job_id)


def _is_news(seen: JobCopy, first: JobCopy | None) -> bool:
    """Whether a waiter would want to know: it is over, or not what the client (else the first look) had."""
    if seen.is_over:
        return True
    if has_condition():
        return not is_known(seen.answer)
    return first is not None and seen.answer.tag != first.answer.tag
