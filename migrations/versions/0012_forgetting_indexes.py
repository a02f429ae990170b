"""The indexes by which batches that never became a job, and keys worth nothing any more, are found when they are old.

Built beside the traffic. A build that was interrupted leaves an invalid index behind, so whatever has the name goes
first.
"""

from typing import Final

from alembic import op

revision: str = "0012"
down_revision: str | None = "0011"
branch_labels: str | None = None
depends_on: str | None = None

INDEXES: Final = {
    "batches_refused": "batches (COALESCE(failed_at, cancelled_at)) WHERE job_id IS NULL",
    "api_keys_over": "api_keys (LEAST(revoked_at, expires_at))",
}


def upgrade() -> None:
    """Apply."""
    with op.get_context().autocommit_block():
        for name, definition in INDEXES.items():
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON {definition}")


def downgrade() -> None:
    """Undo."""
    for name in INDEXES:
        op.execute(f"DROP INDEX {name}")
