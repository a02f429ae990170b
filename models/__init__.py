"""The registry: what is true about jobs, models, workers and keys. Knows only SQLAlchemy and PostgreSQL.

Every verb is a function of an open `Session`; the caller owns the transaction. Locks are always taken in the order job,
shard, item, and time is the database's clock.
"""
