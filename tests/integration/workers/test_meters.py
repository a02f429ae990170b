"""What goes wrong is counted when it does, each kind where it is noticed."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import text as sql

from models.claim import claim
from models.sweep import TRY_LOCK
from tests.integration.workers.conftest import Registry
from workers.app import app
from workers.control import _wake_senders
from workers.ledger import Ledger
from workers.queues import SWEEP_TASK
from workers.queues import connect as broker
from workers.report import Report

# The first write of an item breaks as it does when the server is shut down.
BREAK_ONCE = """
    CREATE SEQUENCE tries;
    CREATE FUNCTION break_once() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF nextval('tries') = 1 THEN RAISE EXCEPTION 'going down' USING ERRCODE = 'admin_shutdown'; END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER break_once BEFORE UPDATE ON items FOR EACH ROW EXECUTE FUNCTION break_once()
"""


@contextmanager
def counted(name: str, num: int = 1, **labels: str) -> Iterator[None]:
    """By how much a counter rises within the block."""

    def read() -> float:
        return REGISTRY.get_sample_value(name, labels) or 0.0

    before = read()
    yield
    assert read() - before == num


def test_a_lease_that_ran_out_is_counted_by_who_takes_the_shard(registry: Registry) -> None:
    job_id = registry.submit()

    def take() -> Report:
        with registry.database.session() as session:
            claimed = claim(session, job_id, 0, "wrk_test", lease_s=60)
        assert claimed is not None
        return Report(claimed)

    with counted("skim_lease_expiries_total", 0):
        take()
    registry.rows("UPDATE shards SET lease_expires_at = now() - interval '1 s' RETURNING number")
    with counted("skim_lease_expiries_total"):
        take()


def test_a_write_that_is_tried_again_is_counted(registry: Registry) -> None:
    job_id = registry.submit()
    with registry.database.session() as session:
        claimed = claim(session, job_id, 0, "wrk_test", lease_s=60)
        session.execute(sql(BREAK_ONCE))
    assert claimed is not None

    with counted("skim_registry_retries_total"):
        Ledger(registry.database, claimed).note([0], [])


def test_senders_that_could_not_be_told_are_counted() -> None:
    away = broker("redis://127.0.0.1:1/0")

    with counted("skim_publish_failures_total", lane="webhooks"):
        _wake_senders(away)


def test_a_sweep_that_finds_another_one_at_it_is_not_done(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or nobody would be told when the other one never ends."""
    sweep_all = app.tasks[SWEEP_TASK]
    monkeypatch.setitem(vars(sweep_all), "database", registry.database)
    monkeypatch.setattr("workers.control.LEAST_S", 0)

    with registry.database.session() as session:
        session.execute(TRY_LOCK)
        with counted("skim_sweeps_total", 0, outcome="done"), counted("skim_sweeps_total", outcome="busy"):
            sweep_all()
    with counted("skim_sweeps_total", outcome="done"):
        sweep_all()
