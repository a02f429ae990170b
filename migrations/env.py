"""How Alembic runs here: on the connection that `models.bootstrap` hands over.

Each revision is a transaction of its own and gives up soon when it cannot get a lock: a migration that waits for a long
transaction makes every request wait behind it.
"""

from alembic import context
from sqlalchemy import Connection, text

from models.tables import Base

LOCK_TIMEOUT = text("SET lock_timeout = '5s'")


def migrate(connection: Connection) -> None:
    """Run what was asked for."""
    connection.execute(LOCK_TIMEOUT)
    connection.commit()
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_type=True,
        compare_server_default=True,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


migrate(context.config.attributes["connection"])
