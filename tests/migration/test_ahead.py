"""The way back after an upgrade: a release starts on the schema of a later one, and on nothing that is not ours."""

from __future__ import annotations

import pytest
from alembic import command
from sqlalchemy import text

from models.bootstrap import BootstrapFailed, Settings, bootstrap, configuration
from models.database import connect

LATER = "9999_later"
STAMP = "UPDATE alembic_version SET version_num = '9999_later'"


def run(url: str, *statements: str) -> None:
    database = connect(url, pool_size=1)
    with database.engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    database.close()


def revision(url: str) -> str:
    database = connect(url, pool_size=1)
    with database.statement() as session:
        found = str(session.execute(text("SELECT version_num FROM alembic_version")).scalar_one())
    database.close()
    return found


def start(url: str) -> str | None:
    return bootstrap(Settings(url, None, wait_s=5))


def test_the_schema_of_a_later_release_is_left_as_it_is(database_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(database_url, STAMP, "ALTER TABLE jobs ADD COLUMN later text", "CREATE TABLE later (id text)")

    secret = start(database_url)

    assert secret is not None  # the first key, as ever
    assert start(database_url) is None
    assert revision(database_url) == LATER
    said = f"skim: the database is at revision {LATER} of a later release, and stays there\n"
    assert capsys.readouterr().err == said * 2


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ("ALTER TABLE shards DROP COLUMN tally", "shards.tally"),
        ("DROP TABLE audit", r"audit\.\w+"),
    ],
)
def test_an_unknown_schema_without_ours_is_refused(database_url: str, change: str, missing: str) -> None:
    run(database_url, STAMP, change)

    with pytest.raises(
        BootstrapFailed, match=rf"^the database is at an unknown revision, {LATER}, and has no {missing}$"
    ):
        start(database_url)

    assert revision(database_url) == LATER


def test_a_schema_behind_is_brought_forward(database_url: str) -> None:
    head = revision(database_url)
    database = connect(database_url, pool_size=1)
    with database.engine.connect() as connection:
        command.downgrade(configuration(connection), "-1")
        connection.commit()
    database.close()
    assert revision(database_url) != head

    start(database_url)

    assert revision(database_url) == head
