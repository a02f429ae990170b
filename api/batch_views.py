"""From the registry's view of a batch to OpenAI's."""

from __future__ import annotations

from datetime import datetime, timedelta

from api.schemas.batches import BatchAnswer, BatchUsage, Errors, RequestCounts
from models.batches import BatchStatus, BatchView
from models.jobs import JobView

ENDED = (BatchStatus.COMPLETED, BatchStatus.EXPIRED, BatchStatus.CANCELLED)


def batch_answer(view: BatchView) -> BatchAnswer:
    """A batch; the names of its files are told once it has ended, and only of those that have a line."""
    status, job = view.status, view.job
    ended_at = None if job is None else job.finished_at
    counts = _counts(job)
    return BatchAnswer(
        id=view.id,
        endpoint=view.endpoint,
        model=None if job is None else job.model,
        errors=None if view.errors is None else Errors.model_validate(view.errors),
        input_file_id=view.input_file_id,
        completion_window=view.completion_window,
        status=status.value,
        output_file_id=view.output_file_id if ended_at and counts.completed else None,
        error_file_id=view.error_file_id if ended_at and counts.completed < counts.total else None,
        created_at=view.created_at,
        in_progress_at=None if job is None else job.created_at,
        expires_at=_expiry(view),
        finalizing_at=view.finalizing_at,
        completed_at=ended_at if status is BatchStatus.COMPLETED else None,
        failed_at=view.failed_at,
        expired_at=ended_at if status is BatchStatus.EXPIRED else None,
        cancelling_at=view.cancelled_at if job is None else job.cancel_requested_at,
        cancelled_at=view.cancelled_at or (ended_at if status is BatchStatus.CANCELLED else None),
        request_counts=counts,
        usage=_usage(job),
        metadata=view.metadata or None,
        job_id=None if job is None else job.id,
    )


def _expiry(view: BatchView) -> datetime:
    if view.job is not None and view.job.expires_at is not None:
        return view.job.expires_at
    return view.created_at + timedelta(seconds=view.window_s)


def _counts(job: JobView | None) -> RequestCounts:
    if job is None:
        return RequestCounts(total=0, completed=0, failed=0)
    return RequestCounts(total=job.counts.total, completed=job.counts.succeeded, failed=job.counts.failed)


def _usage(job: JobView | None) -> BatchUsage | None:
    if job is None:
        return None
    taken, given = job.usage.prompt_tokens, job.usage.completion_tokens
    return BatchUsage(
        input_tokens=taken,
        input_tokens_details={"cached_tokens": 0},
        output_tokens=given,
        output_tokens_details={"reasoning_tokens": 0},
        total_tokens=taken + given,
    )
