"""Alembic: how the schema came to be what `models.tables` says."""
