"""The triggers know exactly the moves that `models.states` knows, and nothing that has ended ever changes."""

import pytest
from sqlalchemy.exc import IntegrityError

from models.catalog import NewSkipSet, add_skip_set
from models.states import (
    TERMINAL_ITEM,
    TERMINAL_JOB,
    TERMINAL_SHARD,
    ItemStatus,
    JobStatus,
    ShardStatus,
    Status,
    can_move,
)
from tests.integration.registry.conftest import MODEL, TENANT, Registry, result

# The columns that a state needs besides its name.
SETTING = {
    "jobs": "finished_at = CASE WHEN '{new}' IN ('queued', 'running') THEN NULL ELSE coalesce(finished_at, now()) END",
    "items": "finished_at = CASE WHEN '{new}' IN ('queued', 'running') THEN NULL ELSE coalesce(finished_at, now()) END",
    "shards": "lease_expires_at = CASE WHEN '{new}' = 'running' THEN now() END",
}


def move(registry: Registry, table: str, new: str) -> None:
    registry.rows(f"UPDATE {table} SET status = '{new}', {SETTING[table].format(new=new)}")  # noqa: S608


@pytest.mark.parametrize(("table", "kind"), [("jobs", JobStatus), ("shards", ShardStatus), ("items", ItemStatus)])
def test_the_database_knows_the_same_moves(registry: Registry, table: str, kind: type[Status]) -> None:
    allowed = set()
    for old in kind:
        for new in kind:
            registry.rows("DELETE FROM jobs")
            registry.submit(1)
            if not can_move(kind("queued"), old):
                move(registry, table, "running")
            if old != "queued":
                move(registry, table, old)
            try:
                move(registry, table, new)
            except IntegrityError as error:
                assert f"{table}: {old} may not become {new}" in str(error)
            else:
                allowed.add((old, new))

    assert allowed == {(old, new) for old in kind for new in kind if can_move(old, new)}


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("items", "output = 'other'"),
        ("items", "finish_reason = 'length'"),
        ("items", "choices = '[]'"),
        ("items", "logprobs = '{}'"),
        ("items", "usage = '{}'"),
        ("items", "decoding = '{}'"),
        ("items", "error = '{}'"),
        ("items", "finished_at = now() + interval '1 s'"),
        ("jobs", "counts = '{}'"),
        ("jobs", "usage = '{}'"),
        ("jobs", "decoding_stats = '{}'"),
        ("jobs", "error = '{}'"),
        ("jobs", "finished_at = now() + interval '1 s'"),
        ("shards", "epoch = epoch + 1"),
        ("shards", "tally = NULL"),
    ],
)
def test_what_has_ended_never_changes(registry: Registry, table: str, change: str) -> None:
    registry.complete(registry.hold(registry.submit(1)))

    with pytest.raises(IntegrityError, match="never changes"):
        registry.rows(f"UPDATE {table} SET {change}")  # noqa: S608


def test_what_is_not_frozen_may_change(registry: Registry) -> None:
    registry.complete(registry.hold(registry.submit(1)))

    registry.rows("UPDATE jobs SET webhook_url = NULL, metadata = '{}', cancel_requested_at = now()")
    registry.rows("DELETE FROM items")
    registry.rows("DELETE FROM jobs")


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE jobs SET finished_at = now()",
        "UPDATE items SET finished_at = now()",
        "UPDATE shards SET status = 'running'",
        "UPDATE shards SET lease_expires_at = now()",
        "UPDATE shards SET last = first - 1",
        "UPDATE items SET attempts = -1",
        "UPDATE tenants SET weight = 0",
        "UPDATE jobs SET status = 'lost'",
        "UPDATE models SET name = 'No Spaces'",
        "UPDATE models SET name = '-x'",
    ],
)
def test_rows_that_make_no_sense_are_refused(registry: Registry, change: str) -> None:
    registry.submit(1)
    with pytest.raises(IntegrityError):
        registry.rows(change)


def test_a_skip_set_is_what_was_measured(registry: Registry) -> None:
    with registry.database.session() as session:
        add_skip_set(session, NewSkipSet(MODEL, (1,), (), "cpu", "float32", "1"))

    registry.rows("UPDATE skip_sets SET measurements = '[3]', is_active = TRUE")
    for change in ("attention = '{1,2}'", "mlp = '{1}'", "device_kind = 'cuda'", "batch_class = '5+'"):
        with pytest.raises(IntegrityError, match="never change"):
            registry.rows(f"UPDATE skip_sets SET {change}")  # noqa: S608


def test_terminal_states() -> None:
    assert {"succeeded", "failed", "cancelled", "expired"} == TERMINAL_JOB
    assert {"succeeded", "failed", "cancelled", "expired"} == TERMINAL_ITEM
    assert {"finished", "cancelled", "expired"} == TERMINAL_SHARD


def test_a_result_of_a_deleted_job_goes_nowhere(registry: Registry) -> None:
    claimed = registry.hold(registry.submit(1))
    registry.rows("DELETE FROM jobs WHERE tenant_id = :tenant_id", tenant_id=TENANT)
    with pytest.raises(Exception, match="not held at epoch 1"):
        registry.record(claimed, result(0))
