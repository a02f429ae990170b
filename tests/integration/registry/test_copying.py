"""COPY: it may take longer than other statements, and not for ever."""

import time
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from models.database import Database, connect
from models.files import NewFile, add_file
from models.states import JobKind, Lane
from models.submit import NewItem, NewJob, submit
from models.tables.files import FilePurpose
from tests.integration.registry.conftest import MODEL, TENANT, Registry

STATEMENT_MS = 400
PAUSE_S = 0.3
JOB = NewJob(tenant_id=TENANT, kind=JobKind.GENERATE, model=MODEL, lane=Lane.BULK)
FILE = NewFile(TENANT, "input.jsonl", FilePurpose.BATCH)


@pytest.fixture
def hasty(registry: Registry, database_url: str) -> Iterator[Database]:
    """The registry's database, with little time for each statement."""
    opened = connect(database_url, pool_size=1, statement_timeout_ms=STATEMENT_MS)
    yield opened
    opened.close()


def slow_job(session: Session) -> None:
    submit(session, JOB, (NewItem(None, {"prompt": "x" * 20_000}) for _ in paused()))


def slow_file(session: Session) -> None:
    add_file(session, FILE, (b"x" * 20_000 for _ in paused()))


def paused() -> Iterator[None]:
    for _ in range(3):
        time.sleep(PAUSE_S)
        yield


@pytest.mark.parametrize("copy", [slow_job, slow_file])
def test_what_is_handed_over_slowly_is_written_whole(hasty: Database, copy: Callable[[Session], None]) -> None:
    with hasty.session() as session:
        copy(session)
        limit = session.execute(text("SHOW statement_timeout")).scalar_one()
        written = session.execute(text("SELECT (SELECT count(*) FROM items) + (SELECT count(*) FROM file_chunks)"))
        assert (limit, written.scalar_one()) == (f"{STATEMENT_MS}ms", 3)


@pytest.mark.parametrize("copy", [slow_job, slow_file])
def test_what_is_handed_over_too_slowly_is_not(
    hasty: Database, registry: Registry, copy: Callable[[Session], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.copying.COPY_S", 0.5)

    with pytest.raises(OperationalError, match="statement timeout"), hasty.session() as session:
        copy(session)

    assert registry.rows("SELECT (SELECT count(*) FROM jobs) + (SELECT count(*) FROM files)") == [(0,)]
    with hasty.session() as session:
        assert session.execute(text("SHOW statement_timeout")).scalar_one() == f"{STATEMENT_MS}ms"
