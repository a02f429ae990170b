"""The index by which jobs past their date are found, built beside the traffic.

A build that was interrupted leaves an invalid index behind, so whatever has the name goes first.
"""

from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Apply."""
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS jobs_delete_at")
        op.execute("CREATE INDEX CONCURRENTLY jobs_delete_at ON jobs (delete_at) WHERE delete_at IS NOT NULL")


def downgrade() -> None:
    """Undo."""
    op.execute("DROP INDEX jobs_delete_at")
