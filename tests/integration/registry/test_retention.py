"""Retention: what is past its date is gone for readers at once, and from the tables in bounded pieces."""

import pytest

from models.batches import NewBatch, cancel_batch, open_batch, refuse_batch
from models.deliveries import take_delivery
from models.errors import FileNotFound, JobNotFound
from models.files import NewFile, add_file, get_file
from models.items import stream_items
from models.jobs import list_jobs
from models.retention import forget, forget_files, forget_jobs
from models.retry import retry
from models.states import ItemStatus
from models.tables.files import FilePurpose
from models.tables.webhooks import DeliveryStatus
from tests.integration.registry.conftest import TENANT, Registry

PAST_JOB = "UPDATE jobs SET delete_at = now() - interval '1 s' WHERE id = :id"
PAST_FILE = "UPDATE files SET expires_at = now() - interval '1 s' WHERE id = :id"


def ended(registry: Registry, num_items: int = 2, *, is_past: bool = True) -> str:
    job_id = registry.submit(num_items, shard_items=num_items)
    registry.complete(registry.hold(job_id), ItemStatus.FAILED)
    if is_past:
        registry.rows(PAST_JOB, id=job_id)
    return job_id


def forget_some(registry: Registry, rows: int) -> int:
    with registry.database.session() as session:
        return forget_jobs(session, rows=rows)


def test_a_job_past_its_date_is_deleted_and_its_retry_stays(registry: Registry) -> None:
    usual, brief = registry.submit(2), registry.submit(2, keep_s=60)
    for job_id in (usual, brief):
        registry.complete(registry.hold(job_id), ItemStatus.FAILED)
    with registry.database.session() as session:
        retried = retry(session, TENANT, brief).job_id
    kept = [
        round((view.delete_at - view.finished_at).total_seconds())
        for view in map(registry.view, (usual, brief))
        if view.delete_at and view.finished_at
    ]
    registry.rows(PAST_JOB, id=brief)

    num_rows = forget(registry.database, for_s=10)

    assert kept == [30 * 24 * 3600, 60]
    assert num_rows == 3  # two items and their job
    assert registry.rows("SELECT id, retry_of FROM jobs ORDER BY id") == [(usual, None), (retried, None)]
    assert registry.rows("SELECT count(*) FROM items") == [(4,)]


def test_a_large_job_goes_in_pieces_and_is_gone_from_the_first(registry: Registry) -> None:
    large = ended(registry, 50)

    first = forget_some(registry, rows=20)
    with pytest.raises(JobNotFound), registry.database.session() as session:
        stream_items(session, TENANT, large)
    with pytest.raises(JobNotFound), registry.database.session() as session:
        retry(session, TENANT, large)
    with registry.database.session() as session:
        assert list_jobs(session, TENANT).data == ()
    rest = [forget_some(registry, rows=20) for _ in range(3)]

    assert [first, *rest] == [20, 20, 11, 0]
    assert registry.rows("SELECT count(*) FROM shards") == [(0,)]


def test_small_jobs_go_many_at_a_time(registry: Registry) -> None:
    kept = ended(registry, is_past=False)
    for _ in range(12):
        ended(registry)

    gone = [forget_some(registry, rows=10) for _ in range(4)]

    assert gone == [15, 15, 6, 0]  # five jobs and their ten items; in the end two and their four
    assert registry.rows("SELECT id FROM jobs") == [(kept,)]


def test_all_goes_while_there_is_time(registry: Registry) -> None:
    for _ in range(5):
        ended(registry)

    assert forget(registry.database, for_s=0) == 0
    assert forget(registry.database, for_s=10) == 15


def test_a_job_in_somebodys_hands_is_left_for_later(registry: Registry) -> None:
    busy, idle = ended(registry), ended(registry)
    with registry.database.session() as session:
        session.connection().exec_driver_sql("SELECT FROM jobs WHERE id = %s FOR KEY SHARE", (busy,))
        assert forget_some(registry, rows=10) == 3

    assert registry.rows("SELECT id FROM jobs") == [(busy,)]
    assert registry.rows("SELECT count(*) FROM items WHERE job_id = :id", id=idle) == [(0,)]


@pytest.mark.parametrize("status", [DeliveryStatus.DELIVERED, DeliveryStatus.GIVEN_UP])
def test_what_is_still_to_be_told_of_a_job_outlives_its_texts(registry: Registry, status: DeliveryStatus) -> None:
    """However often its receiver has to be tried; then it goes too. It holds up no other."""
    untold = registry.submit(50, shard_items=50, keep_s=60, webhook_url="https://example.org/hook")
    registry.complete(registry.hold(untold))
    told = ended(registry, is_past=False)
    for job_id, age in ((untold, 2), (told, 1)):
        registry.rows(
            "UPDATE jobs SET delete_at = now() - make_interval(mins => :age) WHERE id = :id", id=job_id, age=age
        )

    gone = [forget_some(registry, rows=20) for _ in range(5)]
    with registry.database.session() as session:
        taken = take_delivery(session)
    assert taken is not None
    registry.rows("UPDATE deliveries SET status = :status, ended_at = now()", status=status)

    assert gone == [20, 20, 10, 3, 0]
    assert (taken.job["id"], taken.job["status"], taken.job["counts"]["succeeded"]) == (untold, "succeeded", 50)
    assert forget_some(registry, rows=20) == 1
    assert registry.rows("SELECT count(*) FROM jobs") == [(0,)]


def test_a_large_file_goes_in_pieces_too(registry: Registry) -> None:
    new = NewFile(TENANT, "a.jsonl", FilePurpose.USER_DATA)
    with registry.database.session() as session:
        old, young = (add_file(session, new, [b"x"] * 5).id for _ in range(2))
    registry.rows(PAST_FILE, id=old)
    gone = []

    for _ in range(4):
        with registry.database.session() as session:
            gone.append(forget_files(session, rows=2))

    assert gone == [2, 2, 2, 0]  # the last piece, and the file
    with registry.database.session() as session:
        assert get_file(session, TENANT, young).num_bytes == 5
        with pytest.raises(FileNotFound):
            get_file(session, TENANT, old)


def test_batches_that_never_became_jobs_go_when_their_tenants_jobs_would(registry: Registry) -> None:
    registry.rows("UPDATE tenants SET keep_s = 3600 WHERE id = :id", id=TENANT)
    new = NewBatch(TENANT, "file_a", "/v1/completions", "24h", 86_400, {})
    with registry.database.session() as session:
        refused, called_off, lately, checking = (open_batch(session, new) for _ in range(4))
        refuse_batch(session, refused, [])
        refuse_batch(session, lately, [])
        cancel_batch(session, TENANT, called_off)
    registry.rows("UPDATE batches SET created_at = now() - interval '2 h'")
    registry.rows("UPDATE batches SET failed_at = now() - interval '61 min' WHERE id = :id", id=refused)
    registry.rows("UPDATE batches SET cancelled_at = now() - interval '61 min' WHERE id = :id", id=called_off)
    registry.rows("UPDATE batches SET failed_at = now() - interval '59 min' WHERE id = :id", id=lately)

    gone = forget(registry.database, for_s=10)

    assert gone == 2
    assert registry.rows("SELECT id FROM batches ORDER BY id") == sorted([(lately,), (checking,)])
