"""Submit: what is written, what is refused, and what a repeated request gets."""

from collections.abc import Iterator

import pytest

from models.errors import (
    DuplicateCustomId,
    IdempotencyMismatch,
    ModelNotFound,
    NoItems,
    QuotaExceeded,
    UnstorableText,
)
from models.jobs import list_jobs
from models.states import JobKind, Lane
from models.submit import NewItem, NewJob, Submitted, submit
from models.tenants import ensure_tenant
from tests.integration.registry.conftest import MODEL, TENANT, Registry, at_once


def new_job(**changes: object) -> NewJob:
    values: dict[str, object] = {"tenant_id": TENANT, "kind": JobKind.SUMMARIZE, "model": MODEL, "lane": Lane.BULK}
    return NewJob(**values | changes)  # type: ignore[arg-type]


def test_everything_is_written(registry: Registry) -> None:
    given = new_job(
        parameters={"max_tokens": 8, "seed": 2**62},
        decoding={"drafter": "auto"},
        options={"style": "headline"},
        metadata={"team": "ünïcode \U0001f600"},
        deadline_s=60.5,
        webhook_url="https://example.com/hook",
    )
    with registry.database.session() as session:
        written = submit(session, given, [NewItem("a", {"document": "één\nline\t\\n"}), NewItem(None, {})])

    view = registry.view(written.job_id)
    assert written.created
    assert (view.kind, view.lane, view.status) == ("summarize", "bulk", "queued")
    assert (view.parameters, view.decoding) == (given.parameters, given.decoding)
    assert (view.options, view.metadata) == (given.options, given.metadata)
    assert view.webhook_url == given.webhook_url
    assert view.expires_at is not None
    assert (view.expires_at - view.created_at).total_seconds() == pytest.approx(60.5)
    assert registry.rows("SELECT index, custom_id, input FROM items ORDER BY index") == [
        (0, "a", {"document": "één\nline\t\\n"}),
        (1, None, {}),
    ]


@pytest.mark.parametrize(("num_items", "ranges"), [(1, [(0, 0)]), (4, [(0, 1), (2, 3)]), (5, [(0, 1), (2, 3), (4, 4)])])
def test_items_are_cut_into_shards(registry: Registry, num_items: int, ranges: list[tuple[int, int]]) -> None:
    job_id = registry.submit(num_items, shard_items=2)

    assert registry.rows("SELECT first, last FROM shards ORDER BY number") == ranges
    assert registry.rows("SELECT DISTINCT shard_number = index / 2 FROM items") == [(True,)]
    assert registry.view(job_id).counts.total == num_items


def test_a_job_needs_a_known_model(registry: Registry) -> None:
    with pytest.raises(ModelNotFound, match="no such model: nobody"):
        registry.submit(model="nobody")


def test_a_job_needs_items(registry: Registry) -> None:
    with pytest.raises(NoItems):
        registry.submit(0)
    assert registry.rows("SELECT id FROM jobs") == []


def test_custom_ids_differ(registry: Registry) -> None:
    items = [NewItem("a, (b)", {}), NewItem("c", {}), NewItem("a, (b)", {})]
    with pytest.raises(DuplicateCustomId) as caught, registry.database.session() as session:
        submit(session, new_job(), items)

    assert caught.value.custom_id == "a, (b)"
    assert registry.rows("SELECT id FROM jobs") == []


@pytest.mark.parametrize("bad", ["nul \0", "half a pair \ud83d", "the other half \ude00"])
def test_text_that_postgres_cannot_hold(registry: Registry, bad: str) -> None:
    in_item = [NewItem(None, {"prompt": "good"}), NewItem(None, {"prompt": bad})]
    in_name = [NewItem("good", {}), NewItem(bad, {})]
    for items in (in_item, in_name):
        with pytest.raises(UnstorableText) as caught, registry.database.session() as session:
            submit(session, new_job(), items)
        assert caught.value.index == 1
    with pytest.raises(UnstorableText) as caught, registry.database.session() as session:
        submit(session, new_job(metadata={"note": bad}), [NewItem(None, {})])
    assert caught.value.index is None


def test_an_input_that_breaks_off_leaves_nothing(registry: Registry) -> None:
    def items() -> Iterator[NewItem]:
        yield NewItem(None, {"prompt": "one"})
        raise ConnectionError("the client is gone")

    with pytest.raises(ConnectionError), registry.database.session() as session:
        submit(session, new_job(idempotency_key="k", fingerprint="f"), items())

    assert registry.rows("SELECT id FROM jobs") == []
    assert registry.rows("SELECT key FROM idempotency_keys") == []


def test_the_same_request_twice(registry: Registry) -> None:
    keyed = new_job(idempotency_key="k", fingerprint="f")
    with registry.database.session() as session:
        first = submit(session, keyed, [NewItem(None, {})])
    with registry.database.session() as session:
        second = submit(session, keyed, iter([]))  # a replay reads no items

    assert (first.created, second) == (True, Submitted(first.job_id, created=False))


def test_the_same_key_for_another_request(registry: Registry) -> None:
    registry.submit(idempotency_key="k", fingerprint="f")
    with pytest.raises(IdempotencyMismatch):
        registry.submit(idempotency_key="k", fingerprint="g")


def test_keys_of_tenants_do_not_meet(registry: Registry) -> None:
    first = registry.submit(idempotency_key="k", fingerprint="f")
    assert registry.submit(idempotency_key="k", fingerprint="g", tenant_id="ten_b") != first


def test_the_same_key_at_the_same_moment(registry: Registry) -> None:
    for turn in range(10):
        keyed = new_job(idempotency_key=f"k{turn}", fingerprint="f")

        def send(keyed: NewJob = keyed) -> Submitted:
            with registry.database.session() as session:
                return submit(session, keyed, [NewItem(None, {})])

        written = [answer for answer in at_once(*[send] * 6) if isinstance(answer, Submitted)]

        assert len(written) == 6
        assert len({answer.job_id for answer in written}) == 1
        assert sum(answer.created for answer in written) == 1
    assert registry.rows("SELECT count(*) FROM jobs") == [(10,)]


def test_a_failed_first_request_frees_the_key(registry: Registry) -> None:
    with pytest.raises(NoItems):
        registry.submit(0, idempotency_key="k", fingerprint="f")
    assert registry.submit(1, idempotency_key="k", fingerprint="g")


def test_a_quota_holds_against_two_at_once(registry: Registry) -> None:
    with registry.database.session() as session:
        ensure_tenant(session, "ten_small", max_open_items=10)

    answers = at_once(*[lambda: registry.submit(6, tenant_id="ten_small")] * 2)

    assert [type(answer) for answer in answers if not isinstance(answer, str)] == [QuotaExceeded]
    with registry.database.session() as session:
        assert len(list_jobs(session, "ten_small").data) == 1
