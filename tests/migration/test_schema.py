"""The migrations make exactly the schema that the tables say, and can be undone with rows in them."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from models.batches import NewBatch, open_batch, start_batch
from models.bootstrap import configuration, upgrade
from models.catalog import NewSkipSet, add_skip_set
from models.database import Database, connect
from models.files import NewFile, add_file
from models.nights import pass_nights
from models.opening import NewSearch, open_search
from models.places import activate
from models.schedules import put_schedule
from models.states import Calibration, JobKind, Lane
from models.submit import NewItem, NewJob, submit
from models.tables import Base
from models.tables.files import FilePurpose
from models.tenants import ensure_tenant
from tests.tools.nightly import SCHEDULE

# Everything a schema is made of, as PostgreSQL itself writes it down.
CATALOGUE = text("""
SELECT 'column' AS kind, attrelid::regclass || '.' || attname AS name,
       format_type(atttypid, atttypmod) || CASE WHEN attnotnull THEN ' not null' ELSE '' END
       || coalesce(' default ' || pg_get_expr(adbin, adrelid), '') AS definition
FROM pg_attribute
JOIN pg_class ON pg_class.oid = attrelid AND relkind = 'r' AND relnamespace = 'public'::regnamespace
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE attnum > 0 AND NOT attisdropped
UNION ALL
SELECT 'constraint', conrelid::regclass || '.' || conname, pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL
SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL
SELECT 'trigger', tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
UNION ALL
SELECT 'function', proname, pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
""")

Schema = dict[tuple[str, str], str]


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = connect(database_url, pool_size=2)
    yield opened
    opened.close()


def test_head_is_the_metadata(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []


def test_head_is_the_metadata_to_the_last_check_and_trigger(database: Database) -> None:
    with database.engine.connect() as connection:
        migrated = _schema(connection)
        connection.rollback()
        command.downgrade(configuration(connection), "base")
        Base.metadata.create_all(connection)
        assert _schema(connection) == migrated


def test_up_down_up_with_rows(database: Database, database_url: str) -> None:
    with database.engine.connect() as connection:
        before = _schema(connection)
    _fill(database)

    with database.engine.connect() as connection:
        command.downgrade(configuration(connection), "base")
        left = {name for kind, name in _schema(connection) if kind in {"function", "trigger"}}
        connection.commit()
    upgrade(database_url)

    assert left == set()
    with database.engine.connect() as connection:
        assert _schema(connection) == before
    _fill(database)


def test_upgrading_again_changes_nothing(database: Database, database_url: str) -> None:
    _fill(database)

    upgrade(database_url)

    with database.session() as session:
        assert session.execute(text("SELECT count(*) FROM items")).scalar_one() == 5


def test_one_line_of_history(database: Database) -> None:
    with database.engine.connect() as connection:
        script = ScriptDirectory.from_config(configuration(connection))
    assert len(script.get_heads()) == 1
    assert len(script.get_bases()) == 1


def _schema(connection: Connection) -> Schema:
    rows = connection.execute(CATALOGUE)
    return {(row.kind, row.name): row.definition for row in rows if not row.name.startswith("alembic_version")}


def _fill(database: Database) -> None:
    with database.session() as session:
        ensure_tenant(session, "ten_a")
        session.execute(
            text("""
            INSERT INTO models (id, name, source, dtype, context_length, architecture, num_layers, has_chat_template)
            VALUES ('mdl_a', 'tiny', '/nowhere', 'float32', 512, 'LlamaForCausalLM', 2, TRUE)
            """)
        )
        new_job = NewJob(tenant_id="ten_a", kind=JobKind.GENERATE, model="tiny", lane=Lane.BULK)
        submit(session, new_job, [NewItem(None, {"prompt": str(number)}) for number in range(3)], shard_items=2)
        file = add_file(session, NewFile("ten_a", "input.jsonl", FilePurpose.BATCH), [b"a", b"b"])
        batch_id = open_batch(session, NewBatch("ten_a", file.id, "/v1/completions", "24h", 86_400, {}))
        start_batch(session, batch_id, new_job, [NewItem("a", {"prompt": "a"})])
        search = NewSearch("cpu", "1", "tpe", 8, None, promotes=True, seed=1, calibration=Calibration.BUILTIN)
        job_id = open_search(session, replace(new_job, kind=JobKind.SEARCH, lane=Lane.SEARCH), search).job_id
        skip_set = add_skip_set(session, NewSkipSet("tiny", (0,), (), "cpu", "float32", "1", job_id=job_id))
        activate(session, "tiny", skip_set.id)
        session.execute(
            text("""
            INSERT INTO trials (job_id, number, bits, source, prompts, speed, spread, acceptance, loss, draft_length,
                                device_seconds)
            VALUES (:job_id, 0, '1000', 'greedy', 1, 1, 0, 1, 0, 4, 1)
            """),
            {"job_id": job_id},
        )
        put_schedule(session, "ten_a", "tiny", SCHEDULE)
        pass_nights(session, now=datetime.now(UTC) + timedelta(days=2))
