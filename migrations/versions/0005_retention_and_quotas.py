"""When a job that has ended is deleted, and more that a tenant may have only so much of.

Columns without a default: nothing is rewritten. Jobs that have ended already are given their date.
"""

from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Apply."""
    op.execute("ALTER TABLE jobs ADD COLUMN keep_s integer, ADD COLUMN delete_at timestamptz")
    op.execute("ALTER TABLE tenants ADD COLUMN max_open_jobs integer, ADD COLUMN max_queued_tokens bigint")
    op.execute("UPDATE jobs SET delete_at = finished_at + interval '30 days' WHERE finished_at IS NOT NULL")


def downgrade() -> None:
    """Undo; dates and quotas are lost."""
    op.execute("ALTER TABLE tenants DROP COLUMN max_open_jobs, DROP COLUMN max_queued_tokens")
    op.execute("ALTER TABLE jobs DROP COLUMN keep_s, DROP COLUMN delete_at")
