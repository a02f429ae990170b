"""Tells a database that a later release has migrated from one that is not ours.

Migrations only add or relax, so a release runs on every schema after its own. It knows such a one by a revision that it
has never heard of and by all that it has itself being there.
"""

from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from models.tables import Base


def later_revision(connection: Connection, scripts: ScriptDirectory) -> str | None:
    """The revision that the database is at, if `scripts` have none of that name."""
    known = {script.revision for script in scripts.walk_revisions()}
    return next(
        (head for head in MigrationContext.configure(connection).get_current_heads() if head not in known), None
    )


def missing_columns(connection: Connection) -> list[str]:
    """`table.column` of everything that this release reads or writes and the database does not have."""
    there = {
        (name, column["name"])
        for (_, name), columns in inspect(connection).get_multi_columns().items()
        for column in columns
    }
    ours = {(table.name, column.name) for table in Base.metadata.tables.values() for column in table.columns}
    return [f"{table}.{column}" for table, column in sorted(ours - there)]
