"""Sessions are transactions; notifications tell of every change, at commit and not before."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from psycopg.errors import IdleInTransactionSessionTimeout
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError

from models.cancel import cancel
from models.database import Database, connect, driver_url, is_outage
from models.files import NewFile, add_file
from models.finish import release
from models.notify import CHANNEL
from models.record import ItemResult
from models.sweep import sweep
from models.tables.files import FilePurpose
from tests.integration.registry.conftest import TENANT, Registry, ref_of, result


def test_an_exception_undoes_everything(registry: Registry) -> None:
    with pytest.raises(RuntimeError), registry.database.session() as session:
        session.execute(text("DELETE FROM models"))
        raise RuntimeError
    assert registry.rows("SELECT count(*) FROM models") == [(1,)]


def test_a_statement_is_a_transaction_by_itself(registry: Registry) -> None:
    with pytest.raises(RuntimeError), registry.database.statement() as session:
        session.execute(text("DELETE FROM models"))
        raise RuntimeError
    assert registry.rows("SELECT count(*) FROM models") == [(0,)]

    with pytest.raises(RuntimeError), registry.database.session() as session:  # the same connection, as it was before
        session.execute(text("DELETE FROM tenants WHERE id <> :kept"), {"kept": TENANT})
        raise RuntimeError
    assert registry.rows("SELECT count(*) > 1 FROM tenants") == [(True,)]


@pytest.mark.parametrize(("trust_s", "is_noticed"), [(0, True), (0.01, True), (60, False)])
def test_a_connection_that_broke(database_url: str, registry: Registry, trust_s: float, *, is_noticed: bool) -> None:
    database = connect(database_url, application_name="skim-broken", trust_s=trust_s, pool_size=1)
    database.ping()
    query = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'skim-broken'"
    assert registry.rows(query) == [(1,)]
    time.sleep(0.05)

    if is_noticed:
        database.ping()
    else:
        with pytest.raises(OperationalError):
            database.ping()
        database.ping()
    database.close()


def test_a_server_that_is_not_there(tmp_path: object) -> None:
    database = connect(f"postgresql://nobody@/nothing?host={tmp_path}")
    with pytest.raises(OperationalError):
        database.ping()


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_addresses(scheme: str) -> None:
    url = driver_url(f"{scheme}://u:p@h:1/d?sslmode=require")
    assert url.render_as_string(hide_password=False) == "postgresql+psycopg://u:p@h:1/d?sslmode=require"


def test_a_statement_that_takes_too_long(database_url: str) -> None:
    database = connect(database_url, statement_timeout_ms=50)
    with pytest.raises(OperationalError, match="statement timeout"), database.session() as session:
        session.execute(text("SELECT pg_sleep(5)"))
    database.close()


@pytest.mark.parametrize("goes_on", [lambda session: session.execute(text("SELECT 1")), lambda session: None])
def test_who_is_frozen_in_a_transaction_keeps_no_locks(
    database_url: str, registry: Registry, monkeypatch: pytest.MonkeyPatch, goes_on: Callable[[object], object]
) -> None:
    """It learns of it when it goes on or commits, as of a server that went away; the next connection is good."""
    monkeypatch.setattr("models.database.IDLE_S", 1)
    database = connect(database_url, pool_size=1, trust_s=60)

    with pytest.raises(DBAPIError) as raised, database.session() as session:
        session.execute(text("DELETE FROM tenants WHERE id = 'ten_b'"))
        began = time.monotonic()
        found = registry.rows("UPDATE tenants SET weight = 2 WHERE id = 'ten_b' RETURNING id")
        waited_s = time.monotonic() - began
        goes_on(session)

    assert isinstance(raised.value.orig, IdleInTransactionSessionTimeout)
    assert is_outage(raised.value)
    assert found == [("ten_b",)] and 0.5 < waited_s < 5
    database.ping()
    database.close()


READ_ONLY = """
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = {}', current_database()); END $$
"""


def test_a_server_that_may_only_be_read_since_a_failover(database_url: str, registry: Registry) -> None:
    """What is connected to it is dropped at once: the address leads to another one by now."""
    write = text("UPDATE tenants SET weight = 2")
    registry.rows(READ_ONLY.format("on"))
    database = connect(database_url, pool_size=1, trust_s=60)

    with pytest.raises(DBAPIError) as raised, database.session() as session:
        session.execute(write)
    registry.rows(READ_ONLY.format("off"))

    assert is_outage(raised.value)
    with database.session() as session:
        session.execute(write)
    database.close()


def test_a_copy_that_is_cut_off(registry: Registry) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"x" * 1_000_000
        registry.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'COPY file_chunks%'")
        for _ in range(100):
            yield b"x" * 1_000_000

    with pytest.raises(DBAPIError) as raised, registry.database.session() as session:
        add_file(session, NewFile(TENANT, "a", FilePurpose.USER_DATA), chunks())

    assert is_outage(raised.value)


def test_what_was_asked_wrongly_is_no_outage(database: Database) -> None:
    with pytest.raises(ProgrammingError) as raised, database.session() as session:
        session.execute(text("SELECT nothing FROM nowhere"))

    assert not is_outage(raised.value)


def test_connections_name_themselves(database_url: str) -> None:
    database = connect(database_url, application_name="skim-here")
    with database.session() as session:
        assert session.execute(text("SHOW application_name")).scalar_one() == "skim-here"
    database.close()


def test_a_session_is_not_used_after_an_error(database: Database) -> None:
    with pytest.raises(ProgrammingError), database.session() as session:
        session.execute(text("SELECT nothing FROM nowhere"))
    database.ping()


class Ear:
    """Hears what is notified while it is open."""

    def __init__(self, database: Database) -> None:
        self._stream = database.listen(CHANNEL, timeout_s=0.2)
        next(self._stream)  # connected: nothing after this is missed

    def heard(self) -> list[str]:
        """The payloads until nothing has come for a while."""
        found = []
        while (payload := next(self._stream)) is not None:
            found.append(payload)
        return found


def test_every_change_is_told(registry: Registry) -> None:
    ear = Ear(registry.database)
    job_id = registry.submit(4)
    claimed = registry.hold(job_id)
    told: list[tuple[Callable[[], object], list[str]]] = [
        (lambda: None, [job_id, job_id]),
        (lambda: registry.admit(claimed, [0]), [f"{job_id}/progress"]),
        (lambda: registry.admit(claimed, [0]), []),
        (lambda: registry.record(claimed, result(0), result(1)), [f"{job_id}/progress"]),
        (lambda: registry.record(claimed, result(0)), []),
        (lambda: registry.finish(claimed), [f"{job_id}/progress"]),
        (lambda: give_back(registry, job_id), [f"{job_id}/progress", job_id]),
        (lambda: lapse(registry, job_id), [f"{job_id}/progress", job_id]),
        (lambda: stop(registry, job_id), [job_id, f"{job_id}/over"]),
    ]
    for change, expected in told:
        change()
        assert ear.heard() == expected


def give_back(registry: Registry, job_id: str) -> None:
    claimed = registry.hold(job_id, 1)
    with registry.database.session() as session:
        release(session, ref_of(claimed), claimed.epoch, lost=False)


def lapse(registry: Registry, job_id: str) -> None:
    registry.hold(job_id, 1)
    registry.lapse(job_id, 1)
    sweep(registry.database)


def stop(registry: Registry, job_id: str) -> None:
    with registry.database.session() as session:
        cancel(session, TENANT, job_id)


def test_what_was_rolled_back_is_not_told(registry: Registry) -> None:
    claimed = registry.hold(registry.submit(1))
    ear = Ear(registry.database)
    results: list[ItemResult] = [result(0)]
    with pytest.raises(RuntimeError), registry.database.session() as session:
        session.execute(text("SELECT pg_notify(:channel, 'never')"), {"channel": CHANNEL})
        raise RuntimeError
    registry.record(claimed, *results)

    assert ear.heard() == [f"{claimed.job_id}/progress"]


def test_a_listener_wakes_at_once(registry: Registry) -> None:
    stream = registry.database.listen(CHANNEL, timeout_s=30)
    heard: list[str | None] = [next(stream)]  # listening
    thread = threading.Thread(target=lambda: heard.append(next(stream)))
    thread.start()
    job_id = registry.submit(1)
    thread.join(10)
    stream.close()  # type: ignore[attr-defined]

    assert heard == [None, job_id]
