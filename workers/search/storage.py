"""Where studies are kept: Optuna's tables in their own schema of the registry's database."""

import warnings

from optuna.storages import RDBStorage
from sqlalchemy import create_engine, make_url, text

from models.connection import TCP

SCHEMA = "optuna"
_LOCK = text("SELECT pg_advisory_lock(hashtextextended('optuna tables', 0))")


def open_storage(database_url: str) -> RDBStorage:
    """The storage; its tables are made where they are missing, by one process at a time: two at once would collide.

    The path is the schema alone. With `public` on it Optuna would read our own `alembic_version` and give up.
    """
    url = make_url(database_url)
    own = url.update_query_dict({"options": f"-csearch_path={SCHEMA}"})
    engine = create_engine(url, connect_args=dict(TCP))
    try:
        with engine.connect() as connection, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            connection.execute(_LOCK)  # until the connection is closed
            return RDBStorage(
                own.render_as_string(hide_password=False),
                engine_kwargs={"pool_size": 1, "max_overflow": 1, "pool_pre_ping": True, "connect_args": dict(TCP)},
            )
    finally:
        engine.dispose()
