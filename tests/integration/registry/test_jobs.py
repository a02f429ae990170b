"""Reading jobs and items: only one's own, in order, page by page, and with what waits ahead."""

import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.orm import Session

from models.errors import Conflict, JobNotFound
from models.fleet import WorkerBeat, announce
from models.items import list_items, stream_items
from models.jobs import delete_job, get_job, list_jobs
from models.states import ItemStatus, JobKind, JobStatus, Lane
from models.submit import NewItem, NewJob, submit
from models.tally import Counts
from tests.integration.registry.conftest import MODEL, TENANT, Registry, result

Read = Callable[[Session, str, str], Any]
READS: list[Read] = [get_job, list_items, stream_items, delete_job]


@pytest.mark.parametrize("read", READS)
def test_another_tenants_job_does_not_exist(registry: Registry, read: Read) -> None:
    job_id = registry.submit(1)
    for tenant_id, wanted in (("ten_b", job_id), (TENANT, "job_nobody")):
        with pytest.raises(JobNotFound, match="no such job"), registry.database.session() as session:
            read(session, tenant_id, wanted)
    assert registry.view(job_id).id == job_id


def test_lists_show_only_ones_own(registry: Registry) -> None:
    mine, theirs = registry.submit(1), registry.submit(1, tenant_id="ten_b")
    with registry.database.session() as session:
        assert [view.id for view in list_jobs(session, TENANT).data] == [mine]
        assert [view.id for view in list_jobs(session, "ten_b").data] == [theirs]
        # a cursor is only a place in the order: a foreign one shows nothing foreign
        assert [view.id for view in list_jobs(session, TENANT, after=theirs).data] == [mine]


def test_jobs_newest_first_page_by_page(registry: Registry) -> None:
    jobs = [registry.submit(1) for _ in range(5)][::-1]
    with registry.database.session() as session:
        first = list_jobs(session, TENANT, limit=2)
        second = list_jobs(session, TENANT, limit=2, after=first.data[-1].id)
        last = list_jobs(session, TENANT, limit=2, after=second.data[-1].id)

    assert [view.id for page in (first, second, last) for view in page.data] == jobs
    assert [page.has_more for page in (first, second, last)] == [True, True, False]


def test_jobs_by_what_they_are(registry: Registry) -> None:
    generate, summarize = registry.submit(1), registry.submit(1, kind=JobKind.SUMMARIZE)
    registry.complete(registry.hold(generate))

    def found(**filters: Any) -> list[str]:
        with registry.database.session() as session:
            return [view.id for view in list_jobs(session, TENANT, **filters).data]

    assert found(kind=JobKind.SUMMARIZE) == [summarize]
    assert found(status=JobStatus.SUCCEEDED) == [generate]
    assert found(status=JobStatus.QUEUED, kind=JobKind.GENERATE) == []
    assert found(model=MODEL) == [summarize, generate]
    assert found(model="other") == []


def test_a_list_counts_open_and_ended_jobs(registry: Registry) -> None:
    ended, open_ = registry.submit(2), registry.submit(4)
    registry.complete(registry.hold(ended))
    registry.record(registry.hold(open_), result(0))
    with registry.database.session() as session:
        counts = {view.id: view.counts for view in list_jobs(session, TENANT).data}

    assert counts == {
        ended: Counts(total=2, succeeded=2),
        open_: Counts(total=4, queued=3, succeeded=1),
    }


def test_live_counts_are_those_of_the_items(registry: Registry) -> None:
    """Ended, held, released and untouched shards are counted each in its own way."""
    job_id = registry.submit(10, shard_items=2)
    registry.complete(registry.hold(job_id, 0))
    held = registry.hold(job_id, 1)
    registry.admit(held, [2, 3])
    registry.record(held, result(3, ItemStatus.FAILED))
    again = registry.hold(job_id, 2)
    registry.record(again, result(4))
    registry.rows("UPDATE shards SET status = 'queued', lease_expires_at = NULL, epoch = 2 WHERE number = 2")

    view = registry.view(job_id)
    assert view.counts == Counts(total=10, queued=5, running=1, succeeded=3, failed=1)
    assert (view.usage.prompt_tokens, view.usage.completion_tokens) == (12, 40)
    assert view.decoding_stats.acceptance_rate == 0.75


def test_what_waits_ahead(registry: Registry) -> None:
    first, second = registry.submit(6), registry.submit(4, tenant_id="ten_b")
    third = registry.submit(2)
    registry.submit(50, lane=Lane.INTERACTIVE)
    registry.hold(first, 0)

    assert [registry.view(job_id).queue_ahead for job_id in (first, third)] == [0, 8]
    assert registry.view(second, "ten_b").queue_ahead == 4
    registry.complete(registry.hold(third))
    assert registry.view(third).queue_ahead == 0


def test_live_workers_of_the_model(registry: Registry) -> None:
    job_id = registry.submit(1)
    with registry.database.session() as session:
        for number, model in enumerate((MODEL, MODEL, "other")):
            announce(session, beat(f"w_{number}", model))
    registry.rows("UPDATE workers SET last_seen_at = now() - interval '16 s' WHERE id = 'w_1'")

    assert registry.view(job_id).queue_workers == 1


def test_items_page_by_page(registry: Registry) -> None:
    job_id = registry.submit(5)
    claimed = registry.hold(job_id, 1)
    registry.record(claimed, result(2), result(3, ItemStatus.FAILED))
    with registry.database.session() as session:
        first = list_items(session, TENANT, job_id, limit=3)
        rest = list_items(session, TENANT, job_id, limit=3, after=2)
        failed = list_items(session, TENANT, job_id, status=ItemStatus.FAILED)

    assert ([item.index for item in first.data], first.has_more) == ([0, 1, 2], True)
    assert ([item.index for item in rest.data], rest.has_more) == ([3, 4], False)
    assert [(item.index, item.custom_id, item.status) for item in failed.data] == [(3, "c3", "failed")]
    assert (first.data[2].output, first.data[2].finish_reason) == ("text 2", "stop")


def test_results_stream_in_constant_memory(registry: Registry) -> None:
    num_items, characters = 2_000, 20_000
    new_job = NewJob(TENANT, JobKind.GENERATE, MODEL, Lane.BULK)
    with registry.database.session() as session:
        job_id = submit(session, new_job, (NewItem(None, {}) for _ in range(num_items))).job_id
    registry.rows(
        "UPDATE items SET status = 'succeeded', finished_at = now(), output = repeat('x', :size)", size=characters
    )
    with registry.database.session() as session:
        tracemalloc.start()
        indices = [len(item.output or "") and item.index for item in stream_items(session, TENANT, job_id)]
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert indices == list(range(num_items))
    assert peak < num_items * characters / 3


def test_a_stream_left_early_disturbs_nobody(registry: Registry) -> None:
    job_id = registry.submit(500, shard_items=100)
    with registry.database.session() as session:
        stream = stream_items(session, TENANT, job_id)
        assert next(stream).index == 0
    assert registry.view(job_id).counts.total == 500


def test_deleting_erases_everything(registry: Registry) -> None:
    job_id, other = registry.submit(2), registry.submit(2)
    retry = registry.submit(1, retry_of=job_id)
    registry.complete(registry.hold(job_id))
    with registry.database.session() as session:
        delete_job(session, TENANT, job_id)

    for table in ("items", "shards"):
        assert {row[0] for row in registry.rows(f"SELECT job_id FROM {table}")} == {other, retry}  # noqa: S608
    assert registry.view(retry).retry_of is None


@pytest.mark.parametrize("begun", [False, True])
def test_what_has_not_ended_is_not_deleted(registry: Registry, begun: bool) -> None:
    job_id = registry.submit(1)
    if begun:
        registry.hold(job_id)
    with pytest.raises(Conflict, match="cancel it"), registry.database.session() as session:
        delete_job(session, TENANT, job_id)


def test_a_session_that_looks_twice_sees_the_news(registry: Registry) -> None:
    job_id = registry.submit(1)
    with registry.database.session() as session:
        before = get_job(session, TENANT, job_id).status
        registry.complete(registry.hold(job_id))
        assert (before, get_job(session, TENANT, job_id).status) == ("queued", "succeeded")


def beat(worker_id: str, model: str = MODEL) -> WorkerBeat:
    return WorkerBeat(worker_id, worker_id, "host", 1, model, "cpu", "cpu", "float32", 16, "ready")
