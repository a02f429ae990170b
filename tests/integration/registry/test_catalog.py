"""Models and skip sets; workers and how long they are remembered."""

import pytest

from models.catalog import NewSkipSet, add_model, add_skip_set, get_model, list_models, list_skip_sets
from models.errors import ModelExists, ModelNotFound
from models.fleet import announce, leave, list_workers
from models.sweep import sweep
from tests.integration.registry.conftest import MODEL, Registry, model
from tests.integration.registry.test_jobs import beat


def add(registry: Registry, device_kind: str = "cpu", batch_class: str = "1", of: str = MODEL) -> str:
    with registry.database.session() as session:
        return add_skip_set(session, NewSkipSet(of, (3, 1), (2,), device_kind, "float32", batch_class)).id


def test_models(registry: Registry) -> None:
    with registry.database.session() as session:
        added = add_model(session, model("abc", revision="r1"))
        assert get_model(session, "abc") == added
        page = list_models(session, limit=1)
        assert (page.data, page.has_more) == ((added,), True)
        assert [view.name for view in list_models(session, after="abc").data] == [MODEL]
        with pytest.raises(ModelNotFound):
            get_model(session, "nobody")
    assert added.id.startswith("mdl_")


def test_a_name_is_taken_once(registry: Registry) -> None:
    with pytest.raises(ModelExists, match="tiny"), registry.database.session() as session:
        add_model(session, model(MODEL))


def test_skip_sets_are_kept_sorted_and_listed_newest_first(registry: Registry) -> None:
    ids = [add(registry) for _ in range(3)]
    with registry.database.session() as session:
        found = list_skip_sets(session, MODEL)
        with pytest.raises(ModelNotFound):
            list_skip_sets(session, "nobody")

    assert [skip_set.id for skip_set in found] == sorted(ids, reverse=True)
    assert {(skip_set.attention, skip_set.mlp, skip_set.is_active) for skip_set in found} == {((1, 3), (2,), False)}


def test_workers_come_and_go(registry: Registry) -> None:
    with registry.database.session() as session:
        for worker_id in ("w_b", "w_a"):
            announce(session, beat(worker_id))
    registry.rows("UPDATE workers SET last_seen_at = now() - interval '16 s', started_at = now() - interval '1 h'")
    with registry.database.session() as session:
        announce(session, beat("w_b"))
        found = list_workers(session)
        other = list_workers(session, model="other")

    assert [(view.id, view.is_live) for view in found] == [("w_a", False), ("w_b", True)]
    assert (found[1].last_seen_at - found[1].started_at).total_seconds() > 3500
    assert other == []
    with registry.database.session() as session:
        leave(session, "w_b")
        assert [view.id for view in list_workers(session)] == ["w_a"]


def test_a_worker_is_forgotten_after_a_day(registry: Registry) -> None:
    with registry.database.session() as session:
        announce(session, beat("w_a"))
    registry.rows("UPDATE workers SET last_seen_at = now() - interval '25 h'")
    sweep(registry.database)
    with registry.database.session() as session:
        assert list_workers(session) == []
