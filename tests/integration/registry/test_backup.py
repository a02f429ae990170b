"""A dump is restored into another database, and jobs go on there from where the dump has them."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg import sql
from sqlalchemy.exc import IntegrityError

from cli.stack.postgres import Postgres
from models.bootstrap import upgrade
from models.database import connect
from models.errors import LeaseLost
from models.sweep import sweep
from tests.integration.registry.conftest import MODEL, Registry, result


@pytest.fixture
def restored_url(postgres_server: Postgres) -> Iterator[str]:
    """The address of an empty database."""
    name = f"restored_{secrets.token_hex(6)}"
    with postgres_server.connect() as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield postgres_server.url(name)
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def run(server: Postgres, program: str, *arguments: str) -> None:
    """One of PostgreSQL's own programs."""
    done = subprocess.run(
        [str(server.binaries / program), f"--host={server.sockets}", "--username=skim", *arguments],
        env={**os.environ, "PGPASSWORD": server.password},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_jobs_go_on_after_a_restore(
    registry: Registry, restored_url: str, postgres_server: Postgres, tmp_path: Path
) -> None:
    done_id, open_id = registry.submit(2), registry.submit(6, shard_items=2)
    registry.complete(registry.hold(done_id))
    registry.complete(registry.hold(open_id, 0))
    held = registry.hold(open_id, 1)
    registry.admit(held, [2, 3])
    registry.record(held, result(2))
    dump = tmp_path / "skim.dump"

    run(postgres_server, "pg_dump", "--format=custom", f"--file={dump}", _name(str(registry.database.engine.url)))
    registry.record(held, result(3))  # after the dump: lost with the old database
    run(postgres_server, "pg_restore", "--exit-on-error", "--no-owner", f"--dbname={_name(restored_url)}", str(dump))

    upgrade(restored_url)  # as every start does; there is nothing to do
    database = connect(restored_url, pool_size=4)
    there = Registry(database)
    assert there.view(done_id).status == "succeeded"
    assert there.items(open_id) == [("succeeded", 0)] * 2 + [("succeeded", 1), ("running", 1)] + [("queued", 0)] * 2
    there.lapse(open_id, 1)  # by the time of a restore it has long run out
    swept = sweep(database)
    assert (swept.requeued, [model for model, _ in swept.queues]) == (1, [MODEL])
    with pytest.raises(LeaseLost):
        there.record(held, result(3, output="from before"))
    again = there.hold(open_id, 1)
    assert [(item.index, item.suspect) for item in again.items] == [(3, True)]
    there.complete(again)
    assert there.complete(there.hold(open_id, 2))
    assert there.view(open_id).status == "succeeded"
    with pytest.raises(IntegrityError, match="never changes"):  # the guards came along
        there.rows("UPDATE items SET output = 'other' WHERE job_id = :id AND index = 0", id=open_id)
    database.close()


def _name(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[2]
