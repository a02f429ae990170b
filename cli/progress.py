"""Shows a job while it runs: a bar on a terminal, nothing elsewhere; warns when nobody serves its model."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from cli.client import Client
from cli.errors import ItemsFailed, JobFailed
from cli.views import Job


def watch(client: Client, job_id: str, console: Console, label: str = "") -> Job:
    """Follow the job to its end and return it as it ended."""
    with _bar(console) as bar:
        task = bar.add_task(label or job_id, total=None, note="")
        for job in client.follow(job_id):
            done, total = job.progress
            bar.update(task, total=total, completed=done, note=_note(job))
    return job


def check_outcome(job: Job) -> None:
    """Turn an end that is not a full success into an exit code.

    Raises:
        JobFailed: the job failed, was cancelled or expired.
        ItemsFailed: it succeeded, some of its items did not.
    """
    if job.status != "succeeded":
        reason = (job.body["error"] or {}).get("message")
        raise JobFailed(f"job {job.id} {job.status}{f': {reason}' if reason else ''}")
    if job.num_failed:
        raise ItemsFailed(f"{job.num_failed} of {job.num_items} items failed (skim show {job.id})")


def _bar(console: Console) -> Progress:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[note]}"),
    )
    return Progress(*columns, console=console, disable=not console.is_terminal)


def _note(job: Job) -> str:
    if job.has_no_worker:
        return f"no worker serves {job.body['model']} yet"
    if job.status == "queued":
        ahead = job.body["queue"]["ahead"]
        return f"{ahead} items ahead" if ahead else "queued"
    if job.search is not None:
        best = job.search["best_speed"]
        return f"{job.search['phase'] or 'begins'}{f', best {best:.2f}x plain (estimated)' if best else ''}"
    return f"{job.completion_tokens:,} tokens" if job.completion_tokens else job.status
