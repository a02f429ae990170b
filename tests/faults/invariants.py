"""What must hold after any faults: nothing lost, nothing twice, nothing wrong."""

import json
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from tests.faults.world import Accepted, World

PATIENCE_S = 60.0
LENT_S = 2.0  # how long whoever took a delivery is waited for


def check(world: World, jobs: Sequence[Accepted], patience_s: float = 60.0) -> None:
    """Wait for the end of these jobs and of their webhooks, then look at every row."""
    world.wait(jobs, patience_s)
    _check_items(world, jobs)
    _check_witnesses(world, jobs)
    _check_counts(world, jobs)
    _check_webhooks(world, jobs)


def _ids(jobs: Sequence[Accepted]) -> list[str]:
    return [job.job_id for job in jobs]


def _check_items(world: World, jobs: Sequence[Accepted]) -> None:
    """Every item of every job has ended as it may: with its seed's own text, or texts, if it succeeded, else none."""
    query = "SELECT job_id, index, status, output, choices, attempts, error FROM items WHERE job_id = ANY(:ids)"
    found = {(row.job_id, row.index): (row.status, _said(row)) for row in world.rows(query, ids=_ids(jobs))}
    fits = {
        (job.job_id, index): [(status, texts if status == "succeeded" else ()) for status in sorted(job.ends)]
        for job in jobs
        for index, texts in enumerate(job.texts)
    }

    assert found.keys() == fits.keys()
    wrong = {key: (end, fits[key]) for key, end in found.items() if end not in fits[key]}
    assert not wrong, wrong


def _said(item: Any) -> tuple[str, ...]:
    """What all choices of an item say, the first of which is its output."""
    said = [choice["output"] for choice in item.choices] if item.choices else [item.output]
    assert said[0] == item.output
    return () if item.output is None else tuple(said)


def _check_witnesses(world: World, jobs: Sequence[Accepted]) -> None:
    """Every item got its result in one write, and every epoch followed the one before."""
    rows = world.rows("SELECT * FROM witness WHERE job_id = ANY(:ids) ORDER BY id", ids=_ids(jobs))
    results = Counter((row.job_id, row.number) for row in rows if row.what == "result")
    epochs = defaultdict(list)
    for row in rows:
        if row.what == "epoch":
            epochs[row.job_id, row.number].append(row.new)

    assert results == {(job.job_id, index): 1 for job in jobs for index in range(len(job.texts))}
    assert all(epoch == list(range(1, len(epoch) + 1)) for epoch in epochs.values()), dict(epochs)


def _check_counts(world: World, jobs: Sequence[Accepted]) -> None:
    """What the job says is what its rows add up to, its status included; no shard is left."""
    query = """
        SELECT jobs.id, jobs.status, jobs.counts, jobs.usage,
               jsonb_build_object(
                   'total', count(*),
                   'succeeded', count(*) FILTER (WHERE items.status = 'succeeded'),
                   'failed', count(*) FILTER (WHERE items.status = 'failed'),
                   'cancelled', count(*) FILTER (WHERE items.status = 'cancelled'),
                   'expired', count(*) FILTER (WHERE items.status = 'expired')
               ) AS counted,
               jsonb_build_object(
                   'prompt_tokens', coalesce(sum((items.usage ->> 'prompt_tokens')::int), 0),
                   'completion_tokens', coalesce(sum((items.usage ->> 'completion_tokens')::int), 0)
               ) AS used
        FROM jobs JOIN items ON items.job_id = jobs.id WHERE jobs.id = ANY(:ids) GROUP BY jobs.id
    """
    rows = world.rows(query, ids=_ids(jobs))
    open_shards = "SELECT job_id, number FROM shards WHERE job_id = ANY(:ids) AND status IN ('queued', 'running')"

    assert world.rows(open_shards, ids=_ids(jobs)) == []
    assert {row.id: row.status for row in rows} == {row.id: _verdict(row.counted) for row in rows}
    assert [{name: row.counts[name] for name in row.counted} for row in rows] == [row.counted for row in rows]
    assert [row.usage for row in rows] == [row.used for row in rows]


def _verdict(counted: dict[str, int]) -> str:
    """How a job has ended whose items did so."""
    return next((status for status in ("cancelled", "expired") if counted[status]), "succeeded")


def _check_webhooks(world: World, jobs: Sequence[Accepted]) -> None:
    """Every job's end was told, as often as it took, under one id. Waits for nothing that was lent: makes it due."""

    waiting = "SELECT 1 FROM deliveries WHERE job_id = ANY(:ids) AND status = 'waiting'"
    due = "UPDATE deliveries SET due_at = now() WHERE job_id = ANY(:ids) AND status = 'waiting' AND due_at > now()"
    give_up_at = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up_at:
        try:
            world.until(lambda: not world.rows(waiting, ids=_ids(jobs)), LENT_S)
            break
        except AssertionError:
            world.rows(due, ids=_ids(jobs))
    told = defaultdict(set)
    for event_id, body in list(world.hooks.seen):  # type: ignore[attr-defined]
        event = json.loads(body)
        told[event["data"]["id"]].add((event_id, event["type"], event["data"]["counts"]["succeeded"]))
    query = """
        SELECT deliveries.id, job_id, deliveries.status, jobs.status AS ended, (jobs.counts ->> 'succeeded')::int AS num
        FROM deliveries JOIN jobs ON jobs.id = job_id WHERE job_id = ANY(:ids)
    """
    rows = world.rows(query, ids=_ids(jobs))

    assert sorted((row.job_id, row.status) for row in rows) == sorted((job, "delivered") for job in _ids(jobs))
    expected = {row.job_id: {(row.id, f"job.{row.ended}", row.num)} for row in rows}
    assert {job: told[job] for job in _ids(jobs)} == expected
