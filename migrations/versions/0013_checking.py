"""Until when a batch counts as being checked, and the key of the request that made it. Bare columns, nobody waits."""

from alembic import op

revision: str = "0013"
down_revision: str | None = "0012"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Apply."""
    op.execute("ALTER TABLE batches ADD COLUMN checking_until timestamptz, ADD COLUMN idempotency_key text")


def downgrade() -> None:
    """Undo; checks that are interrupted are given up by their age again."""
    op.execute("ALTER TABLE batches DROP COLUMN checking_until, DROP COLUMN idempotency_key")
